"""The text of a study's arms: prepared once for all that share it, all scored on what the base holds out.

held-out text and tokenizer   the base's, in every arm that may be trained on other text, unless it is cut otherwise
                              on purpose
corpus.volume                 tokens: an arm trains on as many tokens, whatever text it has
                              counted: on as many tokens that count (`data.windows`), and so on other tokens and steps
                              unique: of every domain each arm has as many unique tokens as the arm with the fewest
                              documents: of every domain each arm has the documents, or what was made of them, that
                              are left in all arms
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ablate.corpus.levels import level_of
from ablate.data.request import tokenizer_digest
from ablate.data.tokens import Corpus
from ablate.plan.timeline import timeline
from ablate.run.identity import digest, flatten
from ablate.run.settings import Data, Settings, SettingsError
from ablate.sweep import study as studies
from ablate.sweep.study import Arm, Plan
from ablate.sweep.worker import text_of

# What says which text there is, by domain or as a whole; a study sets the rest of `corpus`
OF_DATA = ("source", "root", "columns", "counts", "target", "template", "domain_bytes", "validation")
COUNTED = "counted"
OF_STUDY = ("draw", "only", "volume")
Changes = dict[str, dict[str, Any]]  # of a domain: {corpus key: {domain: value}}


def with_corpora(plan: Plan) -> Plan:
    """The plan with the text of each arm. Raises UserError for text that cannot be had."""
    base = plan.arms[0]
    first = text_of(base.settings)
    plan = dataclasses.replace(plan, arms=[base, *(scored_alike(arm, base, first) for arm in plan.arms[1:])])
    corpora = _all(plan.arms)
    volume = VOLUMES[base.settings.corpus.volume]
    if fixed := volume(plan.arms, corpora):
        arms = [_with(arm, fixed.get(arm.name, {}), first) for arm in plan.arms]
        plan, corpora = dataclasses.replace(plan, arms=arms), _all(arms)
    if base.settings.corpus.volume == COUNTED:
        plan = dataclasses.replace(plan, arms=_counted_alike(plan, corpora))
    return studies.with_corpora(plan, corpora)


def scored_alike(arm: Arm, base: Arm, corpus: Corpus) -> Arm:
    """The arm with the tokenizer and the held-out text of the base's corpus, if it may be trained on other text."""
    ours, theirs = arm.settings, base.settings
    same = settings_of_text(ours) == settings_of_text(theirs)
    others = set(ours.data.domains) - set(theirs.data.domains)  # the base holds out none of their text
    if same or others or ours.data.held_out or not _cut_alike(ours.data, theirs.data, corpus):
        return arm
    return _with(arm, {}, corpus)


def settings_of_text(settings: Settings) -> dict[str, Any]:
    """All settings by which text is chosen and processed, each by its key; equal of what is written in two ways."""
    data, processing = settings.data, dataclasses.asdict(settings.corpus)
    found: dict[str, Any] = {f"data.{key}": getattr(data, key) for key in OF_DATA}
    for domain in data.domains:
        found |= {f"data.level.{domain}": level_of(data, domain), f"data.sources.{domain}": data.names[domain]}
    return flatten(found | {"corpus": {key: part for key, part in processing.items() if key not in OF_STUDY}})


def _cut_alike(ours: Data, theirs: Data, corpus: Corpus) -> bool:
    """Whether an arm means no other tokenizer than the base's, and no other share to be held out."""
    if (ours.vocabulary, ours.validation) != (theirs.vocabulary, theirs.validation):
        return False
    if ours.tokenizer:
        return tokenizer_digest(ours.tokenizer) == corpus.of_tokenizer
    return not theirs.tokenizer


def _with(arm: Arm, changes: dict[str, Any], held_out: Corpus) -> Arm:
    """The arm with other values of `corpus`, and the held-out text of a corpus unless it has one of its own."""
    data, processing = arm.settings.data, dataclasses.replace(arm.settings.corpus, **changes)
    data = dataclasses.replace(data, held_out=data.held_out or held_out.fingerprint)
    return dataclasses.replace(arm, settings=dataclasses.replace(arm.settings, data=data, corpus=processing))


def _all(arms: list[Arm]) -> list[Corpus]:
    """The corpus of every arm, each prepared once."""
    keys = [repr((one.settings.data, one.settings.corpus, one.settings.evaluation)) for one in arms]
    corpora = {key: text_of(one.settings) for key, one in dict(zip(keys, arms, strict=True)).items()}
    return [corpora[key] for key in keys]


def _counted_alike(plan: Plan, corpora: list[Corpus]) -> list[Arm]:
    """The arms with so many tokens each that as many count as in the base. Raises SettingsError unless the study says
    that tokens differ."""
    if "tokens" not in plan.study.factor:
        raise SettingsError(
            f"corpus.volume={COUNTED}: needs tokens in study.factor, for arms are to read as many as it takes"
        )
    base, *others = plan.arms
    shares = [_share_counted(arm.settings, corpus) for arm, corpus in zip(plan.arms, corpora, strict=True)]
    if min(shares) > 1 - 1e-9:
        raise SettingsError(f"corpus.volume={COUNTED}: does nothing: all tokens count in every arm")
    wanted = base.settings.tokens * shares[0]
    arms = [base]
    for arm, share in zip(others, shares[1:], strict=True):
        tokens = round(wanted / share)
        same = abs(tokens - base.settings.tokens) < base.settings.step_tokens
        change = {} if same else {"tokens": (base.settings.tokens, tokens)}
        settings = dataclasses.replace(arm.settings, tokens=base.settings.tokens if same else tokens)
        arms.append(dataclasses.replace(arm, settings=settings, difference=arm.difference | change))
    return arms


def _share_counted(settings: Settings, corpus: Corpus) -> float:
    """Of the tokens that a run is to read, how many count."""
    line = timeline(settings)
    weights_D = np.average(line.weights[line.table["stage"]], axis=0, weights=np.diff(line.tokens))
    shares_D = [
        1.0 if settings.objective == "next_token" else corpus.counted(d, "train") / corpus.num_tokens(d, "train")
        for d in settings.data.domains
    ]
    return float(weights_D @ shares_D)


def _as_they_are(arms: list[Arm], corpora: list[Corpus]) -> Changes:
    return {}


def _unique(arms: list[Arm], corpora: list[Corpus]) -> Changes:
    """Of every domain that an arm has more of, the bytes that come to the tokens of the arm with the fewest."""
    fewest = {d: min(corpus.num_tokens(d, "train") for corpus in corpora) for d in corpora[0].domains}
    changes = {}
    for arm, corpus in zip(arms, corpora, strict=True):
        domains = corpus.manifest["domains"]
        more = {d: n / domains[d]["train"]["tokens"] for d, n in fewest.items() if n < domains[d]["train"]["tokens"]}
        if more:
            # what is held out is cut out of the text that is drawn, so that a little more of it is to be drawn
            whole = {d: domains[d]["train"]["bytes"] + domains[d]["train"]["copied_bytes"] for d in more}
            changes[arm.name] = {"draw": {d: round(share * whole[d]) for d, share in more.items()}}
    return changes


def _documents(arms: list[Arm], corpora: list[Corpus]) -> Changes:
    """Of every domain whose documents are not the same in all arms, a file of the ids that are."""
    changes: Changes = {arm.name: {"only": {}} for arm in arms}
    for domain in corpora[0].domains:
        outputs = Path(arms[0].settings.where.outputs)
        left = [ids for arm, corpus in zip(arms, corpora, strict=True) if (ids := _originals(outputs, corpus, domain))]
        if left:
            common = frozenset.intersection(*left)
            path = _listed(outputs, common)
            for arm in arms:
                changes[arm.name]["only"][domain] = str(path)
    return changes if any(one["only"] for one in changes.values()) else {}


def _originals(outputs: Path, corpus: Corpus, domain: str) -> frozenset[str] | None:
    """The ids of the documents that are left of a domain, or from which others were made; none: all are."""
    from ablate.corpus import draw, parts

    names = corpus.manifest.get("corpus", {}).get(domain, {}).get("training", [])
    if not names:
        return None
    folder = outputs / "corpus" / names[-1]
    found = (
        one for path in parts.paths_of(folder) for document in parts.read(path) for one in draw.originals(document)
    )
    return frozenset(found)


def _listed(outputs: Path, ids: frozenset[str]) -> Path:
    from ablate.corpus import draw

    path = outputs / "corpus" / f"ids-{digest(sorted(ids))}.npy"
    if not path.exists():
        draw.write_ids(path, ids)
    return path


VOLUMES: dict[str, Callable[[list[Arm], list[Corpus]], Changes]] = {
    "tokens": _as_they_are,
    COUNTED: _as_they_are,
    "unique": _unique,
    "documents": _documents,
}
