"""Text from datasets of the Hugging Face hub, read as it streams in and no further than it is wanted.

    data.sources:   english: HuggingFaceFW/fineweb:sample-350BT        a configuration after a colon
                    code: bigcode/starcoderdata#content                a column other than `text`
                    notes: /home/me/notes                              a folder: the same, without a network

Rows come in an order shuffled as far as a stream allows (parts of the dataset, and rows within a
buffer), always the same one. Each row is a document and a source of its own: what a column named
`source` means differs from one dataset to the next. Text cut into rows (chapters of a book) may
thus straddle training and validation; `data=folder` keeps it together.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus.document import Document, order_key
from ablate.run.failures import first_line
from ablate.run.settings import Data, UserError

SPLIT = "train"
COLUMN = "text"
BUFFER_ROWS = 1000  # shuffled among themselves; they wait in memory


class Dataset(NamedTuple):
    path: str
    config: str | None
    column: str

    @classmethod
    def of(cls, name: str) -> "Dataset":
        """From `path[:config][#column]`."""
        rest, _, column = name.partition("#")
        path, _, config = rest.partition(":")
        return cls(path, config or None, column or COLUMN)


class Hub:
    """The source `hub`."""

    def __init__(self, data: Data) -> None:
        if not data.domain_bytes:
            raise UserError(
                "data.domain_bytes=0: must be above 0 with data.source=hub, where few datasets come to an end"
            )
        self.names = sorted(set(data.names.values()))
        datasets = [Dataset.of(name) for name in self.names]
        for name, dataset in zip(self.names, datasets, strict=True):
            if not dataset.path:
                raise UserError(f"data.sources: {name!r} names no dataset; a name is path[:config][#column]")
            if datasets.index(dataset) != self.names.index(name):
                raise UserError(
                    f"data.sources: {name!r} and {self.names[datasets.index(dataset)]!r} are one text; write one"
                )

    def documents(self, name: str) -> Iterator[Document]:
        """Raises UserError, one line, for a dataset or column that does not exist or cannot be reached or read."""
        column = Dataset.of(name).column
        for row in _rows(name):
            if column not in row:
                raise UserError(f"data.sources: {name} has no column {column!r}; it has {', '.join(row)}")
            text = row[column]
            if not isinstance(text, str):
                raise UserError(f"data.sources: {name}: column {column!r} must hold text, not {type(text).__name__}")
            yield Document(text, f"{name}/{order_key(text).hex()}")

    def signature(self) -> dict[str, Any]:
        """Files of folders. What lies on the hub is taken to stay: asking would need a network at every start."""
        return {name: _files(Path(Dataset.of(name).path)) for name in self.names}


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
        raise UserError(f"data.sources: {name} cannot be read: {first_line(error)}") from None


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and time of every file below a folder; nothing where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in paths}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
