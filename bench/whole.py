"""The whole way from pages of html to tokens, beside public tools in a chain, each at its best.

    ours    what `ablate prepare data.level='{all: 2}'` does: pages are read, made text, judged by all rules; near
            copies of held-out text cut out; everything between is on disk; tokens
    chain   trafilatura (fast); datatrove's filters (Gopher, C4, FineWeb) and near duplicates; its DocumentTokenizer

Of these pages datatrove's filters leave few, so that what follows has next to nothing to do. "chain, all pages" judges,
compares and tokenises all that trafilatura finds, which is the work that ours does. All take the same pages,
those below PAGES in an order of no meaning, and the same tokenizer.json.
"""

import functools
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.corpus.document import order_key
from ablate.corpus.normal import whole as text_of
from ablate.corpus.readers.table import read
from ablate.data import tokenizer
from ablate.data.request import Levels
from ablate.data.tokens import prepare
from ablate.run.corpus import Prepare
from ablate.run.settings import Data
from bench.filters import theirs, without_copies
from bench.rounds import Row, ratios, run
from bench.tokens import datatrove

PAGES = Path("/usr/share/doc")
SIZES = range(1000, 1_000_000)  # bytes of a page: those of no text, and all pages of a manual in one, are left out
MB, ROUNDS = 12, 3
VOCABULARY = 32_000


def whole(quick: bool) -> list[Row]:
    """MB of html per CPU second, from files to tokens"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = sum(path.stat().st_size for path in laid_out(folder / "text" / "web", MB // 4 if quick else MB)) / 1e6
        paths = sorted((folder / "text" / "web").iterdir())
        texts = (text_of(document.text) for path in paths for document in read(path))
        tokenizer.train(texts, VOCABULARY).save(str(folder / "tokenizer.json"))
        numbers, tokens = itertools.count(), datatrove(folder)
        sides = {
            "ours": lambda: size / seconds(functools.partial(ours, folder, folder / f"outputs-{next(numbers)}")),
            "chain": lambda: size / seconds(lambda: tokens(chain(paths, every=False))),
            "chain, all pages": lambda: size / seconds(lambda: tokens(chain(paths, every=True))),
        }
        run(sides, 1)  # libraries are loaded, and models of words
        found = run(sides, 1 if quick else ROUNDS)
    rows = [Row(f"{size:.0f} MB of pages", f"{side}, MB/s", values) for side, values in found.items()]
    limits = {"chain": 8, "chain, all pages": None}
    ours_by = {name: ratios(found["ours"], found[name]) for name in limits}
    return rows + [Row("html to tokens", f"ours / {name}", ours_by[name], limit) for name, limit in limits.items()]


def laid_out(into: Path, megabytes: int) -> Iterator[Path]:
    """Links to so many MB of pages, in a folder of their own."""
    into.mkdir(parents=True)
    left = megabytes * 1_000_000
    for path in sorted(PAGES.rglob("*.html"), key=lambda path: order_key(str(path))):
        if left > 0 and path.is_file() and path.stat().st_size in SIZES:
            left -= path.stat().st_size
            link = into / f"{order_key(str(path)).hex()}.html"
            link.symlink_to(path.resolve())
            yield link


def ours(folder: Path, outputs: Path) -> None:
    data = Data(
        source="folder",
        root=str(folder / "text"),
        domains=["web"],
        focus="web",
        level={"all": 2},
        tokenizer=str(folder / "tokenizer.json"),
        vocabulary=VOCABULARY,
    )
    prepare(data, outputs, how=Levels(by=Prepare(workers=1)))


def chain(paths: list[Path], every: bool) -> list[Any]:
    """The documents that are left; `every`: filters judge all of them, and none goes."""
    documents = list(extracted(paths))
    for one in theirs().values():
        left = list(one.run(iter(documents)))
        documents = documents if every else left
    return without_copies(lambda: iter(documents))


def extracted(paths: list[Path]) -> Iterator[Any]:
    from datatrove.data import Document
    from trafilatura import extract  # pyrefly: ignore[missing-import]

    for path in paths:
        if text := extract(path.read_text(encoding="utf-8", errors="replace"), fast=True):
            yield Document(text=text, id=path.name)


def seconds(work: Any) -> float:
    """CPU seconds of this process and of those that it started."""
    before = os.times()
    work()
    return sum(after - begin for after, begin in zip(os.times()[:4], before[:4], strict=True))
