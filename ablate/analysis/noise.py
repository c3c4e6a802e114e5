"""What the records say of the noise: how far a difference from the base scatters over seeds.

    known = measured("outputs", "macro", "mix_sweep")
    known.sd, known.interval         0.0042, (0.0031, 0.0067)

One study, or every study of the folder with that metric. Noise differs between kinds of arms and sizes,
by factors and not by percents: `largest` says how far the studies are apart.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import chi2

from ablate.analysis.compare import pairing_gain
from ablate.analysis.evidence import Evidence, read
from ablate.analysis.statistics.looks import Noise, pooled
from ablate.analysis.statistics.paired import Interval
from ablate.record import StudyRecord


@dataclass(frozen=True)
class Known:
    """Of one paired difference, pooled over arms and studies. In the metric's unit."""

    sd: float
    df: float
    studies: tuple[str, ...]
    largest: float  # that of the noisiest study
    gain: float | None  # variance of two runs over that of their difference; None for several studies

    @property
    def interval(self) -> Interval:
        """Of sd, 95 %."""
        low, high = (self.sd * math.sqrt(self.df / chi2.ppf(p, self.df)) for p in (0.975, 0.025))
        return (low, high)


def measured(outputs: Path | str, metric: str, name: str = "") -> Known | None:
    """Of the study of that name, or else of all studies; None where no arm has two pairs with the base."""
    folders = sorted(path.parent for path in (Path(outputs) / "studies").glob(f"{name or '*'}/study.json"))
    evidences = [read(StudyRecord(folder)) for folder in folders]
    found = {one.study.name: (noise, one) for one in evidences if (noise := _of(one, metric)) is not None}
    if not found:
        return None
    noises = [noise for noise, _ in found.values()]
    df = sum(noise.df for noise in noises)
    variance = sum(noise.variance * noise.df for noise in noises) / df
    gain = pairing_gain(next(iter(found.values()))[1]) if len(found) == 1 else None
    largest = max(math.sqrt(noise.variance) for noise in noises)
    return Known(math.sqrt(variance), df, tuple(found), largest, gain)


def _of(evidence: Evidence, metric: str) -> Noise | None:
    differences = [list(evidence.differences(arm, metric).values()) for arm in evidence.arms if _has(evidence, metric)]
    usable = [d for d in differences if len(d) > 1]
    noise = pooled(usable, Noise()) if usable else None
    return noise if noise and noise.variance > 0 else None


def _has(evidence: Evidence, metric: str) -> bool:
    finished = [run for run in evidence.runs if run.outcome == "finished"]
    return all(metric in run.result["bpb"] for run in finished)
