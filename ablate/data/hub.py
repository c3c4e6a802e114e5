"""Text from datasets of the Hugging Face hub, read as it streams in and no further than it is wanted.

    data.sources:   english: HuggingFaceFW/fineweb:sample-350BT        a configuration after a colon
                    code: bigcode/starcoderdata#content                a column other than `text`
                    notes: /home/me/notes                              a folder: the same, without a network

A domain that `data.sources` does not name has its usual dataset. Only the split `train` is read. Rows are those of
files (`corpus.readers.rows`): texts, dialogues, questions and pairs. Columns of other names are named by `data.columns`
too, for all datasets; a source only there.

Rows come in an order shuffled as far as a stream allows (parts of the dataset, and rows within a
buffer), always the same one. Each row is a document. Its source is its text, or what it asks, unless
`data.columns.source` names one: what a column of that name means differs from one dataset to the next. Text cut into
rows (chapters of a book) may thus straddle training and validation.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus import targets
from ablate.corpus.document import Document, identity
from ablate.corpus.readers.file import File
from ablate.corpus.readers.rows import HELD, Columns, Rows
from ablate.run.failures import first_line
from ablate.run.settings import Data, UserError

SPLIT = "train"
USUAL = {
    "english": "HuggingFaceFW/fineweb-edu:sample-10BT",
    "italian": "wikimedia/wikipedia:20231101.it",
    "math": "HuggingFaceTB/finemath:finemath-4plus",
}
BUFFER_ROWS = 1000  # shuffled among themselves; they wait in memory


class Dataset(NamedTuple):
    path: str
    config: str | None
    column: str  # empty: that of `data.columns`

    @classmethod
    def of(cls, name: str) -> "Dataset":
        """From `path[:config][#column]`."""
        rest, _, column = name.partition("#")
        path, _, config = rest.partition(":")
        return cls(path, config or None, column)


class Served(File):
    """Stands for the file of a dataset that is served row by row, in no order that a number would tell."""

    def fault(self, what: str) -> UserError:
        return UserError(f"data.sources: {self.name}: {what}")

    def source(self, named: str, alone: str | int) -> str:
        return f"{self.name}/{named or alone}"


class Hub:
    """The source `hub`."""

    def __init__(self, data: Data) -> None:
        if not data.domain_bytes:
            raise UserError(
                "data.domain_bytes=0: must be above 0 with data.source=hub, where few datasets come to an end"
            )
        self.columns, self.targets = (
            Columns.of(data.columns, data.template, data.pairs),
            targets.named(data, lambda name: not data.pairs),
        )
        given = set(data.sources.values())
        self.usual = {name: USUAL[name] for name in data.names.values() if name in USUAL and name not in given}
        self.names = sorted({self.usual.get(name, name) for name in data.names.values()})
        datasets = [Dataset.of(name)._replace(column=self._column(name)) for name in self.names]
        for name, dataset in zip(self.names, datasets, strict=True):
            if not dataset.path:
                raise UserError(f"data.sources: {name!r} names no dataset; a name is path[:config][#column]")
            if datasets.index(dataset) != self.names.index(name):
                raise UserError(
                    f"data.sources: {name!r} and {self.names[datasets.index(dataset)]!r} are one text; write one"
                )

    def documents(self, name: str) -> Iterator[Document]:
        """Raises UserError, one line, for a dataset or column that does not exist or cannot be reached or read."""
        target, name = self.targets.get(name, ""), self.usual.get(name, name)
        rows = Rows(Served(Path(name), name), self._columns(name)._replace(target=target))
        for row in _rows(name):
            document = rows.document(row)
            yield document._replace(meta={"id": identity(document.source, document.text), **document.meta})

    def _columns(self, name: str) -> Columns:
        """Those of a dataset, whose name may say the one of its text."""
        named, column = self.columns.named, Dataset.of(name).column
        if not column:
            return self.columns
        others = {what: other for what, other in named.items() if what not in HELD}
        return Columns.of({"text": column, **others}, self.columns.template, self.columns.pairs)

    def _column(self, name: str) -> str:
        return Dataset.of(name).column or self.columns.named.get("text", "text")

    def signature(self) -> dict[str, Any]:
        """Files of folders. What lies on the hub is taken to stay: asking would need a network at every start."""
        files = {name: _files(Path(Dataset.of(name).path)) for name in self.names}
        return files | {"columns": dict(self.columns.named)} | self.columns.written()


def _rows(name: str) -> Iterator[dict[str, Any]]:
    import datasets  # a second, so only for those who read from the hub
    import huggingface_hub.utils.logging

    # Both report every retry; what counts is said in the one line at the end
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    huggingface_hub.utils.logging.set_verbosity_error()
    dataset = Dataset.of(name)
    try:
        rows = datasets.load_dataset(dataset.path, dataset.config, split=SPLIT, streaming=True)
        yield from rows.shuffle(seed=0, buffer_size=BUFFER_ROWS)
    except ConnectionError as error:
        raise UserError(f"data.sources: {name} cannot be reached: {first_line(error)}; is there a network?") from None
    except Exception as error:  # of a client for HTTP, a file system, a decompressor, a parser: each has its own
        hint = "; pip install zstandard" if "zstd" in str(error) and not find_spec("zstandard") else ""
        raise UserError(f"data.sources: {name} cannot be read: {first_line(error)}{hint}") from None


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and time of every file below a folder; nothing where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in paths}
    return {name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats.items()}
