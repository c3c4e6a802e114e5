"""What is asked of a study beyond its keys: of its text before the first run, of its weights before the verdict.

    trained text     the base's, unless the factor says how it differs: a path says nothing of what lies there
    held-out text    the same in every arm, to the byte, or a difference may be one of the text
    steps            others than the base's in every seed, or the arm is the base under another name
    weights          scored once more, before a verdict leans on what the runs reported (`validity.scores`)

The audit of keys (`study.plan`) compares what was asked for; this compares what it comes to.
"""

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ablate.data.inserted import Inserted
from ablate.data.tokens import Corpus, held_out
from ablate.fit.asking import asks_of, unanswered
from ablate.fit.basis import basis
from ablate.plan.order import same_columns, same_rows
from ablate.plan.timeline import Timeline, timeline
from ablate.run.evaluate import Evaluate
from ablate.run.identity import in_words
from ablate.run.parse import fitted
from ablate.run.record import Record
from ablate.run.settings import SettingsError, UserError
from ablate.sweep.contrast import within
from ablate.sweep.study import Arm, Plan, Run, inherited
from ablate.sweep.texts import settings_of_text
from ablate.verdict import items
from ablate.verdict.evidence import Evidence, under_first
from ablate.verdict.validity import scores

# Factors that explain other text, with all keys below them, and text that is cut otherwise
OF_TEXT = ["corpus", "data.columns", "data.counts", "data.domain_bytes", "data.level", "data.root", "data.source"]
OF_TEXT += ["data.sources", "data.target", "data.template", "data.validation"]
OF_TOKENS = ["data.tokenizer", "data.vocabulary", "start"]


def with_text(plan: Plan) -> Plan:
    """The plan whose arms say what text they are trained on that is not the base's: data.text.<domain>, data.tokens.

    Raises SettingsError naming the first arm whose text differs outside the factor.
    """
    arms = []
    for arm in plan.arms:
        changed = other_text(plan.arms[0].corpus, arm.corpus)
        if changed:
            changed = _declared(plan, arm, changed)
        difference = inherited(plan.before, arm.name) | arm.difference | changed
        arms.append(dataclasses.replace(arm, difference=difference))
    return dataclasses.replace(plan, arms=arms)


def is_of_text(factor: str, which: Sequence[str] = OF_TEXT) -> bool:
    """Whether a factor says that the text differs."""
    return factor == "data" or any(within(factor, key) for key in which)


def _declared(plan: Plan, arm: Arm, changed: dict[str, tuple[str, str]]) -> dict[str, tuple[Any, Any]]:
    """Other text, and how it was made another. Raises SettingsError where the factor says nothing of it."""
    factors, which = plan.study.factor, OF_TOKENS if "data.tokens" in changed else OF_TEXT
    ours, theirs = (settings_of_text(one.settings) for one in (arm, plan.arms[0]))
    pairs = {key: (theirs.get(key), ours.get(key)) for key in sorted({*ours, *theirs})}
    keys = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    outside = {key: pair for key, pair in keys.items() if not any(within(key, factor) for factor in factors)}
    if outside or not any(is_of_text(factor, which) for factor in factors):
        would_be = "" if outside else f", which would be one of {', '.join(which)}"
        raise SettingsError(
            f"{_name(plan, arm)}: differs outside the factor {factors}{would_be}: {in_words(changed | outside)}"
        )
    return changed | {key: pair for key, pair in keys.items() if is_of_text(key, ["corpus", "data.level"])}


def other_text(base: Corpus, arm: Corpus) -> dict[str, tuple[str, str]]:
    """The domains of both whose training text differs, or the tokenizer if it does, by their sha256."""
    if base.of_tokenizer != arm.of_tokenizer:  # then all tokens differ
        return {"data.tokens": (base.of_tokenizer[:8], arm.of_tokenizer[:8])}
    shared = [domain for domain in base.domains if domain in arm.domains]
    found = {f"data.text.{domain}": (base.of_text(domain)[:8], arm.of_text(domain)[:8]) for domain in shared}
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


def audit(plan: Plan) -> None:
    """Raise SettingsError naming the first arm that is scored on other text than the base, or does what the base does,
    and UserError for texts that no arm can read.

    The corpora of the plan are prepared; each phase is asked for itself.
    """
    arms = [arm for arm in plan.arms[1:] if arm.difference]
    for arm in arms:
        _check_held_out(plan, arm)
    # weights that are computed may come to the base's, which is then what the study says of the rule
    _check_acts(plan, [arm for arm in arms if not arm.settings.mixture.to_come])
    for arm in plan.arms:
        Inserted.of(timeline(arm.settings), arm.corpus)


def rescore(evidence: Evidence, again: bool = False) -> None:
    """Score the runs of all phases that were not scored from what is there now; `again`: whatever was noted."""
    records = {run.record.id: run.record for one in (*evidence.before, evidence) for run in scores.finished(one)}
    runs = [one for one in records.values() if one.weights.exists() and (again or _changed(one))]
    if runs:
        importlib.import_module("ablate.fit.saved").rescore(runs)  # loads torch, which takes seconds


def ask(evidence: Evidence) -> None:
    """Ask the finished runs for those tasks of the study that nobody has asked them, and for those that it declared at
    first. Raises UserError where that is not possible, and the study's metric is of a task."""
    _ask(evidence, needed=evidence.metric.asked is not None)
    if first := under_first(evidence):
        _ask(first, needed=False)


def _ask(evidence: Evidence, needed: bool) -> None:
    tasks = fitted(Evaluate, {"tasks": evidence.declaration.get("tasks", {})}).tasks
    records = [run.record for run in items.asked_of(evidence) if run.record.weights.exists()]
    try:
        if asks := unanswered(one for record in records for one in asks_of(record, tasks)):
            importlib.import_module("ablate.fit.answering").answer(asks, shown=True)
    except UserError as error:
        if needed:
            raise
        print(f"not asked: {error}", flush=True)


def _changed(record: Record) -> bool:
    """Whether weights, text or scorer are not those that the score beside the run came from."""
    return not basis(record).items() <= record.rescored().get("basis", {}).items()


def _check_held_out(plan: Plan, arm: Arm) -> None:
    base = plan.arms[0]
    ours, theirs = ((s.data.span, s.evaluation.spans, s.evaluation.part) for s in (arm.settings, base.settings))
    domains, others = (one.settings.data.domains for one in (arm, base))
    if set(domains) != set(others):
        raise _refused(plan, arm, f"is scored on {', '.join(domains)}, the base on {', '.join(others)}")
    if ours == theirs and arm.corpus.fingerprint == base.corpus.fingerprint:
        return
    cut = [one.corpus.of_tokenizer for one in (arm, base)]
    for domain in domains:
        a, b = held_out(arm.corpus, domain, *ours), held_out(base.corpus, domain, *theirs)
        if cut[0] != cut[1] or not np.array_equal(a.targets_RL, b.targets_RL):
            sizes = [one.corpus.bytes_per_token[w.tokens_RT[:, 1:]].sum() for one, w in ((arm, a), (base, b))]
            text = "is scored on other held-out text of domain {} than the base ({:,} bytes, the base {:,})"
            raise _refused(plan, arm, text.format(domain, *sizes))


def _check_acts(plan: Plan, arms: list[Arm]) -> None:
    idle: dict[str, list[str]] = {}
    for seed in plan.study.seeds if arms else ():
        base = plan.run(plan.arms[0], seed)
        line = timeline(base.settings)  # of one seed at a time: a long one takes 100 MB
        for arm in (arm for arm in arms if _same(plan.run(arm, seed), base, line)):
            idle.setdefault(arm.name, []).append(str(seed))
    for arm in (arm for arm in arms if arm.name in idle):
        seeds = f"seed{'s' * (len(idle[arm.name]) > 1)} {', '.join(idle[arm.name])}"
        raise _refused(plan, arm, f"is the base itself in {seeds}: no row, rate or shape of a step differs")


def _same(ours: Run, base: Run, theirs: Timeline) -> bool:
    line = timeline(ours.settings)
    if not same_columns(line, theirs):
        return False
    heads = [one.head(run.corpus.fingerprint) for one, run in ((line, ours), (theirs, base))]
    return heads[0] == heads[1] and same_rows(line, theirs)


def _refused(plan: Plan, arm: Arm, why: str) -> SettingsError:
    return SettingsError(f"{_name(plan, arm)}: {why}; it differs in {in_words(arm.difference)}")


def _name(plan: Plan, arm: Arm) -> str:
    return f"study.arms.{arm.name}.{plan.phase}".rstrip(".")
