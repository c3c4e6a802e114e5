"""Text from files of yours: one folder per domain (or the one that `data.sources` names), read whole.

    corpora/                          data.root
        english/books.jsonl           one {"text": ..., "source": ...} a line
        english/web.parquet           columns text and, if known, source, url, licence, language
        code/stack/state.json         what `dataset.save_to_disk("corpora/code/stack")` of Hugging Face leaves
        code/mine/train.py.gz         the whole file is one document
        manuals/ls.1  manuals/a.html  of these and of .pdf, level 1 makes text

`ablate.corpus.readers.table.READERS` has every ending. `source` says which documents belong together (chapters of a
book): a row without is a source of its own, and so is a file that is one document. Columns of other names are named
by `data.columns`. A folder without folders is the text of the one domain that is asked for.

A file that cannot be read is an error that names the file and the line: silently skipped rows would be an unrecorded
change of the data. That is why the readers are small and our own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.corpus import targets
from ablate.corpus.document import Document
from ablate.corpus.ordered import ordered
from ablate.corpus.readers.file import shown
from ablate.corpus.readers.listing import Listing, is_hidden, listed
from ablate.corpus.readers.rows import Columns
from ablate.corpus.readers.table import read, reader_of
from ablate.run.settings import Data, UserError

READ = 3  # raise it when equal files give other documents


class Folder:
    """The source `folder`. Its methods raise OSError for folders that cannot be read, UserError for the rest."""

    def __init__(self, data: Data) -> None:
        self.root, self.columns = Path(data.root), Columns.of(data.columns, data.template, data.pairs)
        if not data.root or not self.root.is_dir():
            raise UserError(f"data.root={data.root}: must be a folder with one folder of text for each domain")
        self.targets = targets.named(data, lambda name: not data.pairs)
        self.listings = {name: self._listing(data, domain, name) for domain, name in data.names.items()}

    def documents(self, name: str) -> Iterator[Document]:
        """Documents in the order of their hash, which neither names nor order of files can move."""
        for line in self.listings[name].said:
            print(line, flush=True)
        files, columns = self.listings[name].files, self.columns._replace(target=self.targets.get(name, ""))
        yield from ordered(document for below, path in files.items() for document in read(path, below, columns))

    def signature(self) -> dict[str, Any]:
        found: dict[str, Any] = {"read": READ, "columns": dict(self.columns.named)} | self.columns.written()
        for name, listing in self.listings.items():
            stats = {f"{name}/{below}": path.stat() for below, path in listing.files.items()}
            # what was changed and given its old time back has another time of change
            found |= {path: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for path, stat in stats.items()}
        return found

    def _listing(self, data: Data, domain: str, name: str) -> Listing:
        listing = listed(_folder(self.root, data, domain, name), domain)
        level = data.level.get(domain, data.level.get("all", 0))
        binary = [below for below in listing.files if (reader := reader_of(below)) and reader.binary]
        if binary and level < 1:
            raise UserError(f"domain {domain}: {binary[0]} has no text before level 1: data.level={{{domain}: 1}}")
        return listing


def _folder(root: Path, data: Data, domain: str, name: str) -> Path:
    """The folder of a domain. Raises UserError when there is none."""
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    if name in found:
        return root / name
    if not found and len(data.domains) == 1:
        return root
    if not found:
        choice = "it has no folders at all: move the text of each domain to a folder of its own, or ask for one domain"
    else:
        choice = f"set data.domains=[{','.join(found)}] or some of these"
        choice += f", or data.sources.{domain}=<folder>" if name != domain else ""
    raise UserError(f"data.root={shown(root)}: has no folder {name!r}; {choice}")
