"""The numbers behind a page as CSV: verdicts, runs, every evaluation, and what each phase of a chain did.

tables(evidence, verdicts)["runs"]      'arm,seed,run,outcome,...'
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

from ablate.scores.metrics import readings
from ablate.verdict import chain, compare, compression
from ablate.verdict.chain import Stage
from ablate.verdict.contrasts import Contrast
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.interventions import UNIT, Interventions, interventions


def tables(evidence: Evidence, verdicts: list[compare.Verdict], contrasts: Sequence[Contrast] = ()) -> dict[str, str]:
    """{name: CSV} of all tables."""
    amended = "; ".join(one.text for one in evidence.history.amendments)
    looks = len(evidence.history.looks)
    rows = {
        "verdicts": [_verdict_row(verdict) | {"looks": looks, "amended": amended} for verdict in verdicts],
        "runs": [_run_row(evidence, run) for run in (*evidence.runs, *evidence.controls)],
        "curves": [row for run in evidence.runs for row in _curve_rows(evidence, run)],
    }
    if evidence.before:
        rows["phases"] = [_stage_row(stage) for row in chain.of_study(evidence).rows() for stage in row]
    if smaller := compression.smaller(evidence, verdicts):
        rows["compression"] = [_smaller_row(one) for one in smaller]
    if questions := interventions(evidence):
        rows["questions"] = [row for one in questions for row in _question_rows(one)]
    if contrasts:
        rows["contrasts"] = [_contrast_row(one) for one in contrasts]
    return {name: _csv(of_table) for name, of_table in rows.items()}


def _verdict_row(v: compare.Verdict) -> dict[str, Any]:
    return {
        "arm": v.arm,
        "base": v.base,
        "metric": v.metric.name,
        "unit": v.metric.unit,
        "better": v.metric.better,
        "word": v.word,
        "seeds": len(v.differences),
        "base_value": v.base_value,
        "arm_value": v.arm_value,
        "difference": v.effect.mean,
        "standard_error": v.effect.error,
        "degrees_of_freedom": v.effect.df,
        "level": v.effect.level,
        "prior_variance": v.known.noise.variance,
        "prior_degrees_of_freedom": v.known.noise.df,
        "low": v.effect.interval[0],
        "high": v.effect.interval[1],
        "p": v.effect.p,
        "p_adjusted": v.effect.p_adjusted,
        "equivalence_low": v.effect.equivalence_interval[0],
        "equivalence_high": v.effect.equivalence_interval[1],
        "p_equivalent_adjusted": v.effect.p_equivalent,
        "smallest_detectable": v.effect.mde,
        "margin": v.margin,
        "confidence": v.confidence,
        "family": v.family,
        "provisional": v.provisional,
        "notes": "; ".join(v.remarks),
    }


def _smaller_row(one: compression.Smaller) -> dict[str, Any]:
    (low, high), word = one.interval, one.verdict.word if one.verdict else ""
    row = {"arm": one.arm, "recipe": one.recipe, "lost": one.damage, "low": low, "high": high, "word": word}
    row |= {"seeds": len(one.verdict.differences) if one.verdict else ""}
    return row | {
        "bytes": one.bytes,
        "share": one.share,
        "bits_a_weight": one.bits,
        "forms": one.forms or "",
        "speeds": [tuple(speed) for speed in one.speeds] or "",
    }


def _contrast_row(one: Contrast) -> dict[str, Any]:
    effect = one.effect
    return {"contrast": one.name, "word": effect.word, "seeds": len(one.differences), "difference": effect.mean} | {
        "low": effect.interval[0],
        "high": effect.interval[1],
        "p": effect.p,
        "p_adjusted": effect.p_adjusted,
        "standard_error": effect.error,
        "degrees_of_freedom": effect.df,
        "level": effect.level,
    }


def _question_rows(found: Interventions) -> list[dict[str, Any]]:
    """All questions of one number of repetitions together, then each alone."""
    told = {("", times): one for times, one in found.judged.by_times.items()} | dict(found.judged.answers)
    known = {"arm": found.arm, "task": found.task, "unit": UNIT, "left_alone": found.left_alone}
    return [
        known
        | {"question": question, "times": times, "word": one.word, "difference": one.mean}
        | {"low": one.interval[0], "high": one.interval[1], "p_adjusted": one.p_adjusted}
        for (question, times), one in told.items()
    ]


def _stage_row(stage: Stage) -> dict[str, Any]:
    """What one phase did to one metric of one arm."""
    metric, value = stage.metric, stage.value
    found: dict[str, Any] = {"metric": metric.name, "unit": metric.unit, "better": metric.better}
    found |= {"arm": stage.arm, "phase": stage.phase, "runs_of": stage.same or stage.arm}
    found |= {"seeds": len(value.by_seed) if value else 0, "interval_over": value.over if value else ""}
    of = {"value": value, "change": stage.change, "difference": stage.contrast, "moved": stage.shift}
    for name, one in of.items():
        low, high = (one.interval if one else None) or (None, None)
        found |= {name: one and one.mean, f"{name}_low": low, f"{name}_high": high}
    return found | {"notes": "; ".join([*stage.notes, *[stage.unchanged] * bool(stage.unchanged)])}


def _run_row(evidence: Evidence, run: Run) -> dict[str, Any]:
    numbers = {key: run.result.get(key) for key in ("step", "tokens", "flops", "seconds")}
    name = evidence.metric.name
    return {"arm": run.arm, "seed": run.seed, "run": run.record.id, "outcome": run.outcome, "reason": run.reason} | (
        numbers | {name: evidence.value(run.result, name)}
    )


def _curve_rows(evidence: Evidence, run: Run) -> list[dict[str, Any]]:
    known = {"arm": run.arm, "seed": run.seed}
    rows = [(row, name, value) for row in run.evaluations for name, value in readings(row, evidence.scope).items()]
    return [known | {"step": row["step"], "tokens": row["tokens"], "metric": n, "value": v} for row, n, v in rows]


def _csv(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()
