"""Command: prepare the text of a configuration, and show what there is to train on.

Training does this by itself when it has to. Alone it is useful to look at the data first, and on
machines where preparing and training should not share a job.
"""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablate.console import compose
from ablate.console.errors import command
from ablate.console.words import SettingsParser
from ablate.data.tokens import SPLITS, Corpus
from ablate.fit import parts
from ablate.page import tables
from ablate.run.settings import Settings
from ablate.sweep.worker import looked_up, text_of

WHAT = "Read and tokenize the text of a configuration, and show what there is to train on."
EXAMPLES = """\
  ablate prepare                                   text that is here already
  ablate prepare data.level='{all: 2}' --show      what rules removed, as a page
  ablate prepare data=folder data.root=corpora     yours: corpora/<domain>/*
  ablate prepare +experiment=davinci_sweep -m      that of every arm

Training does this by itself when it has to."""


@command
def main(arguments: list[str] | None = None) -> None:
    parser = SettingsParser("prepare", WHAT, EXAMPLES, ["data", "corpus", "prepare", "evaluation"])
    what = "write a page of what each rule removed, with examples; of the rules whose names begin with RULE"
    parser.add_argument("--show", nargs="?", const="", metavar="RULE", help=what)
    line = parser.read(arguments)
    if "=" in (line.show or ""):  # a setting that stands behind the flag
        line.words, line.show = [line.show, *line.words], ""
    if not line.multirun:
        return compose.single(line, partial(show, rule=line.show))
    from ablate.sweep.launcher import planned, prepared

    arms = [arm for phase in prepared(planned(line)).chain for arm in phase.arms]
    for corpus in {arm.corpus.folder: arm.corpus for arm in arms}.values():
        _tell(corpus, line.show)


def describe(corpus: Corpus) -> Table:
    """One row per domain: what was read, and the tokens that it became; below, what was cut out of it."""
    numbers = (">documents", ">sources", ">MB", ">train tokens", ">held-out tokens", ">bytes a token")
    trained = {domain: corpus.manifest["domains"][domain]["train"] for domain in corpus.domains}
    cut = [
        f"{domain} {one['copied_bytes'] / 1e3:,.0f} kB in {one['copies']:,} documents"
        for domain, one in trained.items()
        if one["copies"]
    ]
    title = [str(corpus.folder), corpus.fingerprint, *corpus.notes]
    caption = f"cut out of training text, for it is held out: {', '.join(cut)}" if cut else None
    table = tables.table("domain", *numbers, title="\n".join(title), caption=caption)
    for domain in corpus.domains:
        table.add_row(domain, *_row(corpus, domain))
    return table


def _row(corpus: Corpus, domain: str) -> list[str]:
    """Documents, sources and MB of both splits together, tokens of each, bytes per token (ends counted)."""
    documents, sources, size_bytes = (corpus.total(domain, what) for what in ("documents", "sources", "bytes"))
    tokens = [corpus.num_tokens(domain, split) for split in SPLITS]
    counts = [f"{documents:,}", f"{sources:,}", f"{size_bytes / 1e6:.2f}"]
    return [*counts, *(f"{count:,}" for count in tokens), f"{size_bytes / sum(tokens):.2f}"]


def waterfall(corpus: Corpus) -> Table | None:
    """What each step of the levels removed, rewrote or made, domain by domain; none of text without levels."""
    columns = ("domain", ">level", "step or rule", ">documents", ">bytes", ">of all")
    out, found = tables.table(*columns), folders_of(corpus)
    if not found:
        return None
    from ablate.corpus import report  # with pyarrow, which text without levels is found without

    for domain, folders in found.items():
        bars = report.waterfall(folders)
        whole = max(1, bars[0].bytes)
        for bar in bars:
            name = bar.label + {"changed": ", rewritten", "made": ", made"}.get(bar.what, "")
            numbers = (f"{bar.documents:,}", f"{bar.bytes:,}", f"{bar.bytes / whole:.1%}")
            out.add_row(domain if bar is bars[0] else "", str(bar.level), name, *numbers)
    paid = {domain: costs for domain, folders in found.items() if (costs := report.costs(folders))}
    if paid:
        out.caption = "; ".join(f"teacher of {domain}: {report.in_words(costs)}" for domain, costs in paid.items())
    return out


def folders_of(corpus: Corpus) -> dict[str, list[Path]]:
    """The folders that the training text of each domain came through, level by level, where they are still there."""
    root = corpus.folder.parents[1] / "corpus"
    found = {d: [root / name for name in both["training"]] for d, both in corpus.manifest.get("corpus", {}).items()}
    return {domain: paths for domain, paths in found.items() if paths and all(path.exists() for path in paths)}


def show(settings: Settings, rule: str | None = None) -> None:
    """Prepare the text of a configuration, unless it is there, and print the tables."""
    parts.check(settings)
    settings = looked_up(settings)  # the text of a run that begins with another's weights is cut by its tokenizer
    _tell(text_of(settings), rule)


def _tell(corpus: Corpus, rule: str | None) -> None:
    Console().print(describe(corpus))
    if table := waterfall(corpus):
        Console().print("", table)
    if rule is not None:
        from ablate.page import corpus as page  # with jinja2 and matplotlib, which only the page needs

        folders = {domain: folders_of(corpus).get(domain, []) for domain in corpus.domains}
        path = corpus.folder.parents[1] / "corpus" / f"{corpus.folder.name}.html"
        print(page.write(path, f"Text of {', '.join(corpus.domains)}", folders, rule))


if __name__ == "__main__":
    main()
