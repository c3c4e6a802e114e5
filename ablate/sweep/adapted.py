"""The settings of a run whose weights are computed from the record of the run before it (`plan.adapt`).

Until that run has finished `mixture.adapt` alone says what they will be. From then on `mixture.weights` are values like
any others, which the run's id holds, and `mixture.adapted` tells what they were computed from:

    mixture.weights={general: 0.4127, ...}
    mixture.adapted=run:a64x2-256-s0-3f9c01ab: gain of the last doubling ...
"""

import dataclasses
from pathlib import Path

from ablate.data.tokens import prepared
from ablate.plan import adapt
from ablate.run.lineage import lineage
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, UserError
from ablate.run.start import parse
from ablate.scores.metrics import bits_per_byte


def adapted(settings: Settings) -> Settings:
    """The settings with their weights, where these are to come and the run before has finished.

    Raises SettingsError for a run before that tells too little (`adapt.check`), UserError for a damaged record.
    """
    start = parse(settings.start)
    if not settings.mixture.to_come or start is None or not start.known:
        return settings
    record, domains = run_record(settings.where.outputs, start.place), settings.data.domains
    if what := record.damage():
        raise UserError(f"{start.setting}: {what}; no weights are computed from it")
    adapt.check(settings, record.settings(), start.name)
    rule, old = adapt.RULES[settings.mixture.adapt], settings.mixture_stages[0][1]
    weights = rule(old, seen(record, domains), settings.seed)
    whence = f"{start.name}: {adapt.told()}"
    mixture = dataclasses.replace(settings.mixture, weights=weights, share=None, adapted=whence)
    return dataclasses.replace(settings, mixture=mixture)


def seen(record: Record, domains: list[str]) -> adapt.Seen:
    """What the record of a finished run says of some domains; text that was read before it began counts too."""
    links = [link.record for link in lineage(record) if link.record]
    epochs = [_epochs(one, domains) for one in links]
    return adapt.Seen(
        points=[(row["tokens"], _losses(row, domains)) for row in record.rows("evaluation")],
        epochs={domain: sum(one[domain] for one in epochs) for domain in domains},
    )


def _losses(row: dict, domains: list[str]) -> dict[str, float]:
    return {domain: bits_per_byte(row["sums"][domain]["nats"], row["sums"][domain]["bytes"]) for domain in domains}


def _epochs(record: Record, domains: list[str]) -> dict[str, float]:
    """How often a run has read the text of each domain; never, of one that it did not have."""
    result, corpus = record.result() or {}, prepared(Path(record.folder).parents[1], record.fingerprint)
    read = {domain: share * result["tokens"] for domain, share in result["mixture"]["realised"].items()}
    known = [domain for domain in domains if domain in read]
    return dict.fromkeys(domains, 0.0) | {d: read[d] / corpus.num_tokens(d, "train") for d in known}
