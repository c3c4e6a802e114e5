"""Command: prepare the text of a configuration, and show what there is to train on.

    python -m ablate.prepare data=folder data.root=corpora

Training does this by itself when it has to. Alone it is useful to look at the data first, and on
machines where preparing and training should not share a job.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablate.console.compose import command
from ablate.data.tokens import SPLITS, Corpus, prepare
from ablate.run.settings import Settings


def describe(corpus: Corpus) -> Table:
    """One row per domain: what was read, and the tokens that it became."""
    table = Table(title=f"{corpus.folder}\n{corpus.fingerprint}", title_justify="left")
    table.add_column("domain")
    for heading in ("documents", "sources", "MB", "train tokens", "validation tokens", "bytes per token"):
        table.add_column(heading, justify="right")
    for domain in corpus.domains:
        table.add_row(domain, *_row(corpus, domain))
    return table


def _row(corpus: Corpus, domain: str) -> list[str]:
    """Documents, sources and MB of both splits together, tokens of each, bytes per token (ends counted)."""
    documents, sources, size_bytes = (corpus.total(domain, what) for what in ("documents", "sources", "bytes"))
    tokens = [corpus.num_tokens(domain, split) for split in SPLITS]
    counts = [f"{documents:,}", f"{sources:,}", f"{size_bytes / 1e6:.2f}"]
    return [*counts, *(f"{count:,}" for count in tokens), f"{size_bytes / sum(tokens):.2f}"]


def show(settings: Settings) -> None:
    """Prepare the text of a configuration, unless it is there, and print the table."""
    Console().print(describe(prepare(settings.data, Path(settings.where.outputs), progress=settings.where.progress)))


main = command(show)

if __name__ == "__main__":
    main()
