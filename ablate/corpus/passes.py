"""One part of a corpus, taken through one pass of a flow, in any process.

    look    what a step notes of the documents of a part, in a round        notes-1.0-00007.pickle
    apply   the part that the steps of a pass make of a part                part-00007.parquet, the last to be written
            how many documents went where, step by step                     counts-1-00007.json
            the documents that went, and the rule that they broke           removed-1-00007.parquet
            a few that stayed, the nearest to the bound of each rule        near-1-00007.parquet

A part that is there is whole, and so is all that lies beside it.
"""

import functools
import hashlib
import heapq
import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.corpus import parts
from ablate.corpus.arrow import pyarrow
from ablate.corpus.document import Document
from ablate.corpus.step import Measured, Result, Step
from ablate.run.files import appear, unfinished, write_atomically

BATCH, BATCH_CHARS = 256, 2_000_000  # documents that a step is given at once, and about how long all are together
NEAREST = 5  # of each rule and part
SHOWN, BEFORE = 1500, 400  # characters kept of a document that went, and how many stand before the evidence
JUDGED = pyarrow.schema(
    [
        *((name, pyarrow.string()) for name in ("step", "rule")),
        *((name, pyarrow.float64()) for name in ("value", "bound")),
        *((name, pyarrow.string()) for name in ("evidence", "id", "source", "text")),
        ("bytes", pyarrow.int64()),
    ]
)


@dataclass(frozen=True)
class Pass:
    """Steps that follow each other, document by document; the first may have looked at all of them before.

    `firsts`: the number of the first document of each part; `stamp`: what all documents that come out have in `meta`.
    """

    number: int
    steps: Sequence[Step]
    parts: Sequence[Path]
    firsts: Sequence[int]
    folder: Path  # of what lies beside the parts
    into: Path  # folder of the parts that it makes
    stamp: dict[str, Any] = field(default_factory=dict)

    def path(self, name: str, part: int) -> Path:
        return self.folder / f"{name}-{self.number}-{part:05d}{'.json' if name == 'counts' else '.parquet'}"

    def part(self, number: int) -> Path:
        return self.into / parts.name_of(number)

    def note(self, round: int, part: int) -> Path:
        return self.folder / f"notes-{self.number}.{round}-{part:05d}.pickle"

    def told(self, round: int) -> Path:
        """What was decided after a round; there is nothing before the first."""
        return self.folder / f"told-{self.number}.{round}.pickle"


@dataclass
class Counts:
    """What a step did to the documents of a part. Each that comes in is kept, replaced by others, or removed."""

    step: str
    documents: int = 0  # that came in
    bytes: int = 0
    kept: int = 0
    changed: int = 0  # of those kept
    replaced: int = 0
    made: int = 0  # documents that there were not
    left: int = 0  # documents that went on
    left_bytes: int = 0
    removed: dict[str, list[int]] = field(default_factory=dict)  # documents and bytes, by rule
    noted: dict[str, float] = field(default_factory=dict)

    def add(self, document: Document, result: Result) -> None:
        """Count one document and what became of it."""
        size, own = document.bytes, document.meta["id"]
        self.documents += 1
        self.bytes += size
        for name, value in result.noted.items():
            self.noted[name] = self.noted.get(name, 0) + value
        if not result.documents:
            assert result.removed, f"{self.step}: {own} is gone, and no rule says why"
            went = self.removed.setdefault(result.removed.rule, [0, 0])
            went[0] += 1
            went[1] += size
            return
        assert not result.removed, f"{self.step}: {own} is removed, and stays"
        same = [one for one in result.documents if one.meta["id"] == own]
        assert len(same) <= 1, f"{self.step}: {own} is there twice"
        self.kept += len(same)
        self.changed += bool(same) and same[0].text != document.text
        self.replaced += not same
        self.made += len(result.documents) - len(same)
        self.left += len(result.documents)
        self.left_bytes += sum(size if one.text is document.text else one.bytes for one in result.documents)

    def check(self) -> None:
        """Every document is accounted for."""
        assert self.documents == self.kept + self.replaced + sum(went for went, _ in self.removed.values()), self
        assert self.left == self.kept + self.made, self


def summed(found: Iterable[Counts]) -> Counts:
    """Of the same step, over parts."""
    one, *others = found
    for other in others:
        for name in ("documents", "bytes", "kept", "changed", "replaced", "made", "left", "left_bytes"):
            setattr(one, name, getattr(one, name) + getattr(other, name))
        for rule, went in other.removed.items():
            before = one.removed.get(rule, [0, 0])
            one.removed[rule] = [before[0] + went[0], before[1] + went[1]]
        for name, value in other.noted.items():
            one.noted[name] = one.noted.get(name, 0) + value
    return one


def id_of(document: Document) -> str:
    """The name of a document, and of all that becomes of it while no step makes others of it."""
    return document.meta.get("id") or hashlib.sha256(f"{document.source}\0{document.text}".encode()).hexdigest()[:32]


def look(job: Pass, round: int, part: int) -> None:
    """Write what the first step notes of a part."""
    if not job.note(round, part).exists():
        told = _load(job.told(round - 1)) if round else None
        notes = [job.steps[0].look(round, batch, told) for batch in _batches(_read(job.parts[part]))]
        save(job.note(round, part), notes)


def apply(job: Pass, part: int) -> None:
    """Write the part that the steps make of a part, and what is to be said of it."""
    if not job.part(part).exists():
        parts.write(job.part(part), _applied(job, part))


def counted(job: Pass, part: int) -> list[Counts]:
    """What `apply` counted, a step each."""
    return [Counts(**one) for one in json.loads(job.path("counts", part).read_text(encoding="utf-8"))]


def save(path: Path, value: Any) -> None:
    """Whole or not at all."""
    half = unfinished(path)
    half.write_bytes(pickle.dumps(value, protocol=5))
    appear(half, path)


def _load(path: Path) -> Any:
    return _loaded(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)  # what was decided of all documents, for each part that a process works off
def _loaded(path: Path, _: int) -> Any:
    return pickle.loads(path.read_bytes())


def forget() -> None:
    """Let go of what was decided."""
    _loaded.cache_clear()


def _read(path: Path) -> Iterator[Document]:
    for document in parts.read(path):
        yield document if "id" in document.meta else document._replace(meta={**document.meta, "id": id_of(document)})


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch, size = list[Document](), 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if len(batch) == BATCH or size >= BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _applied(job: Pass, part: int) -> Iterator[Document]:
    """The documents that come out of all steps; what lies beside the part is written when there are no more."""
    told = _load(job.told(job.steps[0].rounds - 1)) if job.steps[0].rounds else None
    counts, nearest = [Counts(step.name) for step in job.steps], _Nearest()
    first = job.firsts[part]
    with parts.Writer(job.path("removed", part), JUDGED) as removed:
        for batch in _batches(_read(job.parts[part])):
            documents: Sequence[Document] = batch
            for step, count in zip(job.steps, counts, strict=True):
                results = step.apply(documents, told if step is job.steps[0] else None, first) if documents else []
                assert len(results) == len(documents), f"{step.name}: a document has no result"
                for document, result in zip(documents, results, strict=True):
                    count.add(document, result)
                    if result.removed:
                        removed.add(*_judged(step.name, result.removed, document))
                    for measured in result.near:
                        nearest.add(step.name, measured, document)
                documents = [one for result in results for one in result.documents]
            first += len(batch)
            yield from (one._replace(meta={**one.meta, **job.stamp}) for one in documents) if job.stamp else documents
    for count in counts:
        count.check()
    with parts.Writer(job.path("near", part), JUDGED) as near:
        for row in nearest.rows():
            near.add(*row)
    write_atomically(job.path("counts", part), json.dumps([vars(count) for count in counts], sort_keys=True))


class _Nearest:
    """Of each rule the documents that came nearest to its bound, and stayed."""

    def __init__(self) -> None:
        self.by_rule: dict[str, list[tuple[float, str, tuple[Any, ...]]]] = {}

    def add(self, step: str, measured: Measured, document: Document) -> None:
        heap = self.by_rule.setdefault(measured.rule, [])
        place = (measured.reached, document.meta["id"])
        if len(heap) < NEAREST:
            heapq.heappush(heap, (*place, _judged(step, measured, document)))
        elif place > heap[0][:2]:
            heapq.heapreplace(heap, (*place, _judged(step, measured, document)))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        for _, heap in sorted(self.by_rule.items()):
            yield from (row for *_, row in sorted(heap, reverse=True))


def _judged(step: str, measured: Measured, document: Document) -> tuple[Any, ...]:
    """A row of JUDGED; of the text what stands around the evidence."""
    text, evidence = document.text, measured.evidence[:SHOWN]
    begin = max(0, text.find(evidence) - BEFORE) if evidence else 0
    shown = text[begin : max(begin + SHOWN, begin + BEFORE + len(evidence))]
    of_rule = (step, measured.rule, float(measured.value), float(measured.bound), evidence)
    return (*of_rule, document.meta["id"], document.source, shown, document.bytes)
