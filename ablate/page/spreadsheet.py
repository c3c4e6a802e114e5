"""The numbers behind a page as CSV: verdicts, runs, and every evaluation.

tables(evidence, verdicts)["runs"]      'arm,seed,run,outcome,...'
"""

import csv
import io
from typing import Any

from ablate.verdict import compare
from ablate.verdict.evidence import Evidence, Run


def tables(evidence: Evidence, verdicts: list[compare.Verdict]) -> dict[str, str]:
    """{name: CSV} of all tables."""
    rows = {
        "verdicts": [_verdict_row(verdict) for verdict in verdicts],
        "runs": [_run_row(run, evidence.metric) for run in (*evidence.runs, *evidence.controls)],
        "curves": [row for run in evidence.runs for row in _curve_rows(run)],
    }
    return {name: _csv(of_table) for name, of_table in rows.items()}


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
