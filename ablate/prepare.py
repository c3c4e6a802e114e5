"""Command: prepare the text of a configuration, and show what there is to train on.

Training does this by itself when it has to. Alone it is useful to look at the data first, and on
machines where preparing and training should not share a job.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablate.console import compose
from ablate.console.errors import command
from ablate.console.words import SettingsParser
from ablate.data.tokens import SPLITS, Corpus, prepare
from ablate.fit import parts
from ablate.page import tables
from ablate.run.settings import Settings
from ablate.sweep.worker import looked_up

WHAT = "Read and tokenize the text of a configuration, and show what there is to train on."
EXAMPLES = """\
  ablate prepare                                   text that is here already
  ablate prepare data=folder data.root=corpora     yours: corpora/<domain>/*
  ablate prepare +experiment=davinci_sweep -m      that of every arm

Training does this by itself when it has to."""


@command
def main(arguments: list[str] | None = None) -> None:
    line = SettingsParser("prepare", WHAT, EXAMPLES, ["data", "evaluation"]).read(arguments)
    if not line.multirun:
        return compose.single(line, show)
    from ablate.sweep.launcher import planned, prepared

    arms = [arm for phase in prepared(planned(line)).chain for arm in phase.arms]
    for corpus in {arm.corpus.folder: arm.corpus for arm in arms}.values():
        Console().print(describe(corpus))


def describe(corpus: Corpus) -> Table:
    """One row per domain: what was read, and the tokens that it became."""
    numbers = [">documents", ">sources", ">MB", ">train tokens", ">held-out tokens", ">bytes a token"]
    numbers += [">copies cut", ">kB cut"]
    title = [str(corpus.folder), corpus.fingerprint, *corpus.notes]
    table = tables.table("domain", *numbers, title="\n".join(title))
    for domain in corpus.domains:
        table.add_row(domain, *_row(corpus, domain))
    return table


def _row(corpus: Corpus, domain: str) -> list[str]:
    """Documents, sources and MB of both splits together, tokens of each, bytes per token (ends counted); training
    documents that held text which is held out, and what was cut out of them."""
    documents, sources, size_bytes = (corpus.total(domain, what) for what in ("documents", "sources", "bytes"))
    tokens = [corpus.num_tokens(domain, split) for split in SPLITS]
    counts = [f"{documents:,}", f"{sources:,}", f"{size_bytes / 1e6:.2f}"]
    copies, copied_bytes = (corpus.manifest["domains"][domain]["train"][what] for what in ("copies", "copied_bytes"))
    cut = [f"{copies:,}", f"{copied_bytes / 1e3:,.0f}"]
    return [*counts, *(f"{count:,}" for count in tokens), f"{size_bytes / sum(tokens):.2f}", *cut]


def show(settings: Settings) -> None:
    """Prepare the text of a configuration, unless it is there, and print the table."""
    parts.check(settings)
    settings = looked_up(settings)  # the text of a run that begins with another's weights is cut by its tokenizer
    Console().print(describe(prepare(settings.data, Path(settings.where.outputs), progress=settings.where.progress)))


if __name__ == "__main__":
    main()
