"""Figures over all studies of a lab book: how the bases learn each domain, and every run by its settings."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ablate.laws import curves
from ablate.page.drawing import parallel
from ablate.page.drawing.figures import WIDTH, tokens_axis
from ablate.page.drawing.style import LIGHT, Style, grid
from ablate.run.files import Damaged
from ablate.run.settings import UserError
from ablate.verdict.claims import Studied
from ablate.verdict.evidence import Run

PANELS = 4  # domains that most studies have
OUTCOME = "bits per byte"


def domains(studies: Sequence[Studied]) -> list[str]:
    """Those that most studies train on, the most frequent first."""
    counted: dict[str, int] = {}
    for one in studies:
        for domain in one.evidence.domains:
            counted[domain] = counted.get(domain, 0) + 1
    return sorted(counted, key=lambda domain: -counted[domain])[:PANELS]


def saturation(studies: Sequence[Studied], style: Style = LIGHT) -> Figure | None:
    """A panel a domain: the mean over seeds of every base that begins from nothing, coloured by its parameters.

    None where no such base has finished.
    """
    studies = [one for one in studies if not one.evidence.before and parameters(one)]
    if not studies:
        return None
    shown = domains(studies)
    with style.applied():
        figure, axes = grid(len(shown), WIDTH, 2.7, columns=2)
        drawn = [one for one in studies if set(shown) & set(one.evidence.domains)]
        sizes = sorted({parameters(one) for one in drawn})
        ramp = mpl.colormaps["viridis"]
        colours = {size: ramp(0.1 + 0.8 * i / max(1, len(sizes) - 1)) for i, size in enumerate(sizes)}
        for ax, domain in zip(axes, shown, strict=True):
            for one in studies:
                if domain in one.evidence.domains:
                    ax.plot(*_mean(one, domain), color=colours[parameters(one)], linewidth=1.1, alpha=0.8)
            ax.set_xscale("log")
            ax.set(title=domain, xlabel="tokens")
            ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
            tokens_axis(ax)
            if ax.get_subplotspec().is_first_col():  # pyrefly: ignore
                ax.set_ylabel(OUTCOME)
        lines = [axes[0].plot([], [], color=colours[size])[0] for size in sizes]
        figure.legend(lines, [_millions(size) for size in sizes], loc="outside upper left", ncols=6, title="parameters")
    return figure


def _mean(one: Studied, domain: str) -> tuple[Any, Any]:
    return curves.all_points(one.evidence, one.evidence.base, domain).mean()


def parameters(one: Studied) -> int:
    """Of the base; 0 where none of its runs took a step."""
    done = [run.result for run in one.evidence.finished(one.evidence.base).values() if run.result["step"]]
    return int(done[0]["parameters"]) if done else 0


def _millions(size: int) -> str:
    return f"{size / 1e6:.2g} M"


def parallel_runs(studies: Sequence[Studied], style: Style = LIGHT) -> Figure | None:
    """Every trained run with the domains that most studies have: settings, cost, and its mean loss over them.

    None where there is no such run.
    """
    kept = domains(studies)
    found = {run.record.id: (run, loss) for one in studies for run in one.runs if (loss := _loss(run, kept))}
    if not found:
        return None
    settings: dict[str, dict[str, Any]] = {}
    for name, (run, _) in found.items():
        for key, value in _described(run).items():
            settings.setdefault(key, {})[name] = value
    varying = {key: values for key, values in settings.items() if len(set(map(str, values.values()))) > 1}
    return parallel.of_runs(varying, {name: loss for name, (_, loss) in found.items()}, OUTCOME, style)


def _loss(run: Run, domains: Sequence[str]) -> float:
    """Bits per byte, the mean over domains; 0 for a run that lacks one of them, or took no step."""
    sums = run.result.get("sums", {})
    if run.outcome != "finished" or not run.result["step"] or not all(domain in sums for domain in domains):
        return 0.0
    return sum(sums[domain]["nats"] / sums[domain]["bytes"] for domain in domains) / len(domains) / math.log(2)


def _described(run: Run) -> dict[str, Any]:
    try:
        s = run.record.settings() if run.record.configured else None
    except (UserError, Damaged):
        s = None
    unknown = "not kept"
    return {
        "parameters": run.result["parameters"],
        "FLOPs": run.result["flops"],
        "layers": s.model.pattern if s else unknown,
        "weights": s.model.linear if s else unknown,
        "optimizer": s.optimizer.name if s else unknown,
        "decay": s.schedule.shape if s else unknown,
        "row": s.length.lengths[-1] if s else 0,
    }
