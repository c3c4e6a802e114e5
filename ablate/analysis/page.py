"""One page that says what a study shows: the verdict first, then everything that it rests on.

`index.html` needs nothing but itself: figures are embedded, for light and dark paper. The same
figures and the numbers behind them lie beside it as PNG and CSV. The page follows from the records
alone (it carries no date), so writing it again changes nothing unless the records have changed.

    outputs/studies/mix_sweep/report/  index.html
                                       forest.png losses.png saturation.png mixture.png schedule.png
                                       verdicts.csv runs.csv curves.csv
"""

import base64
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ablate.analysis import compare, curves, factorial, figures
from ablate.analysis.evidence import Evidence, Run, flops_text, read, spending_text, tokens_text
from ablate.analysis.look import DARK, LIGHT, Look
from ablate.files import make_folder, write_atomically
from ablate.record import StudyRecord


def write(study: StudyRecord) -> Path:
    """Write the page of a study, finished or not; returns the path of index.html."""
    evidence = read(study)
    verdicts = compare.verdicts(evidence)
    folder = study.folder / "report"
    make_folder(folder)
    fits = [curves.fit(evidence, arm, domain) for arm in _finished_arms(evidence) for domain in evidence.domains]
    pictures = _pictures(evidence, verdicts, fits, folder)
    for name, rows in _tables(evidence, verdicts).items():
        write_atomically(folder / f"{name}.csv", _csv(rows))
    write_atomically(folder / "index.html", _html(evidence, verdicts, fits, pictures))
    return folder / "index.html"


def _finished_arms(evidence: Evidence) -> list[str]:
    return [arm for arm in [evidence.base, *evidence.arms] if evidence.finished(arm)]


def _pictures(
    evidence: Evidence, verdicts: list[compare.Verdict], fits: list[curves.Fit], folder: Path
) -> dict[str, dict[str, str]]:
    """{figure: {"light": data, "dark": data}}, base64; the light ones are also written to the folder."""
    pictures = {}
    for name, draw in _drawings(evidence, verdicts, fits).items():
        light, dark = _png(draw(LIGHT)), _png(draw(DARK))
        (folder / f"{name}.png").write_bytes(light)
        pictures[name] = {"light": base64.b64encode(light).decode(), "dark": base64.b64encode(dark).decode()}
    return pictures


def _drawings(
    evidence: Evidence, verdicts: list[compare.Verdict], fits: list[curves.Fit]
) -> dict[str, Callable[[Look], Figure]]:
    if not evidence.any_finished:
        return {}
    shown = [fit for fit in fits if fit.arm == fits[0].arm]  # the base, if it has finished
    points = {fit.domain: curves.all_points(evidence, fit.arm, fit.domain) for fit in shown}
    eps = compare.smallest_effects(evidence)
    return {
        "forest": lambda look: figures.forest(evidence, verdicts, look),
        "losses": lambda look: figures.losses(evidence, look),
        "saturation": lambda look: figures.saturation(shown, points, eps, look=look),
        "mixture": lambda look: figures.mixture(evidence, look),
        "schedule": lambda look: figures.schedule(evidence, look),
    }


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=170, metadata={"Software": None})
    return buffer.getvalue()


def _html(
    evidence: Evidence,
    verdicts: list[compare.Verdict],
    fits: list[curves.Fit],
    pictures: dict[str, dict[str, str]],
) -> str:
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"code": _code, "signed": _signed, "tokens": _or_dash(tokens_text), "flops": _or_dash(flops_text)}
    jinja.filters |= {"hours": _or_dash(_hours), "bpb": _or_dash("{:.4f}".format), "value": _value}
    eps, environments = compare.smallest_effects(evidence), _environments(evidence.distinct_runs)
    return jinja.get_template("page.html").render(
        evidence=evidence,
        study=evidence.declaration,
        verdicts=verdicts,
        sentence=_sentence(evidence, verdicts),
        settings=_settings(evidence),
        effects=_by_arm(compare.domain_effects(evidence)),
        pairing=compare.pairing_gain(evidence),
        saturations=[curves.saturation(fit, eps[fit.domain]) for fit in fits],
        cooled=any(fit.points.cooled for fit in fits),
        fitted_arm=fits[0].arm if fits else None,
        mixture_gap=_mixture_gap(evidence),
        costs=_costs(evidence),
        spending=spending_text(evidence),
        pictures=pictures,
        environments=environments,
        drift={key: values for key, values in environments.items() if len(values) > 1},
    )


def _sentence(evidence: Evidence, verdicts: list[compare.Verdict]) -> str:
    """The verdict: of a study of factors on those, whose family they are, and not on its arms."""
    if factorial.is_factorial(evidence.declaration):
        return factorial.sentence(factorial.effects(evidence))
    return compare.sentence(verdicts)


def _settings(evidence: Evidence) -> dict[str, Any]:
    """Every key in which some arm differs, with its value in the base."""
    return {key: old for arm in evidence.declaration["arms"].values() for key, (old, _) in arm.items()}


def _by_arm(effects: list[compare.DomainEffect]) -> dict[str, dict[str, compare.DomainEffect]]:
    table: dict[str, dict[str, compare.DomainEffect]] = {}
    for effect in effects:
        table.setdefault(effect.arm, {})[effect.metric] = effect
    return table


def _mixture_gap(evidence: Evidence) -> float:
    """The largest distance between a share asked for and the share read, over all finished runs."""
    mixtures = [run.result["mixture"] for run in evidence.runs if run.outcome == "finished"]
    gaps = [abs(m["realised"].get(d, 0.0) - m["asked"].get(d, 0.0)) for m in mixtures for d in evidence.domains]
    return max(gaps, default=0.0)


def _costs(evidence: Evidence) -> list[tuple[str, int, float, float]]:
    """(arm, runs done, FLOPs, seconds) of each arm, then of the study, where a run counts once."""
    groups = {arm: list(runs.values()) for arm, runs in evidence.by_arm.items()}
    groups["whole study"] = list(evidence.distinct_runs)
    done = {name: [run.result for run in runs if run.done] for name, runs in groups.items()}
    return [(n, len(rs), sum(r["flops"] for r in rs), sum(r["seconds"] for r in rs)) for n, rs in done.items()]


def _environments(runs: Iterable[Run]) -> dict[str, list[tuple[str, int]]]:
    """{what: [(value, number of runs)]} of everything recorded; more than one value is drift."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        if environment := run.record.environment():
            packages = {f"{name} (package)": version for name, version in environment.pop("packages", {}).items()}
            for key, value in (environment | packages).items():
                found.setdefault(key, Counter())[str(value)] += 1
    return {key: values.most_common() for key, values in found.items()}


def _tables(evidence: Evidence, verdicts: list[compare.Verdict]) -> dict[str, list[dict[str, Any]]]:
    return {
        "verdicts": [_verdict_row(verdict) for verdict in verdicts],
        "runs": [_run_row(run, evidence.metric) for run in evidence.runs],
        "curves": [row for run in evidence.runs for row in _curve_rows(run)],
    }


def _verdict_row(v: compare.Verdict) -> dict[str, Any]:
    return {
        "arm": v.arm,
        "base": v.base,
        "metric": v.metric,
        "word": v.word,
        "seeds": len(v.differences),
        "base_bpb": v.base_bpb,
        "arm_bpb": v.arm_bpb,
        "difference_bpb": v.effect.mean,
        "low": v.effect.interval[0],
        "high": v.effect.interval[1],
        "p": v.effect.p,
        "p_adjusted": v.effect.p_adjusted,
        "equivalence_low": v.effect.equivalence_interval[0],
        "equivalence_high": v.effect.equivalence_interval[1],
        "p_equivalent_adjusted": v.effect.p_equivalent,
        "smallest_detectable_bpb": v.effect.mde,
        "margin_bpb": v.margin,
        "confidence": v.confidence,
        "family": v.family,
        "provisional": v.provisional,
        "notes": "; ".join(v.notes),
    }


def _run_row(run: Run, metric: str) -> dict[str, Any]:
    result = run.result
    numbers = {key: result.get(key) for key in ("step", "tokens", "flops", "seconds")}
    bpb = result.get("bpb", {}).get(metric)
    return {"arm": run.arm, "seed": run.seed, "run": run.record.id, "outcome": run.outcome, "reason": run.reason} | (
        numbers | {f"{metric}_bpb": bpb}
    )


def _curve_rows(run: Run) -> list[dict[str, Any]]:
    known = {"arm": run.arm, "seed": run.seed}
    rows = [(row["step"], row["tokens"], name, bpb) for row in run.evaluations for name, bpb in row["bpb"].items()]
    return [known | {"step": step, "tokens": n, "metric": name, "bpb": bpb} for step, n, name, bpb in rows]


def _csv(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def _code(text: str) -> Markup:
    """`name` -> <code>name</code>, everything escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−") if math.isfinite(value) else "–"


def _or_dash(form: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: form(value) if value is not None and math.isfinite(value) else "–"


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.1f} min"
        if seconds >= 60
        else f"{seconds:.1f} s"
    )


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
