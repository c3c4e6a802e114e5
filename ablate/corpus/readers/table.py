"""Which reader reads which file: by its ending, in any case, compressed or not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ablate.corpus.document import Document, identity
from ablate.corpus.readers import lines, tables, warc, whole
from ablate.corpus.readers.file import COMPRESSIONS, File, faults
from ablate.corpus.readers.rows import Columns


class Reader(NamedTuple):
    read: Callable[[File, Columns], Iterator[Document]]
    pool: bool = False  # its files hold many documents each, and are the parts of a dataset: train, test, ...
    binary: bool = False  # what it reads has no text before level 1


ROWS = {
    ".jsonl": Reader(lines.read_lines, pool=True),
    ".ndjson": Reader(lines.read_lines, pool=True),
    ".json": Reader(lines.read_json, pool=True),
    ".csv": Reader(tables.read_csv, pool=True),
    ".tsv": Reader(tables.read_tsv, pool=True),
    ".parquet": Reader(tables.read_parquet, pool=True),
    "/state.json": Reader(tables.read_saved, pool=True),  # beside the arrow files of a saved dataset
    ".warc": Reader(warc.read_warc, pool=True),
    ".wet": Reader(warc.read_warc, pool=True),
}
PAGES = {
    ".txt": Reader(whole.text(), pool=True),
    ".text": Reader(whole.text(), pool=True),
    ".rst": Reader(whole.text("rst")),
    ".md": Reader(whole.text("markdown")),
    ".markdown": Reader(whole.text("markdown")),
    ".html": Reader(whole.read_html),
    ".htm": Reader(whole.read_html),
    ".xhtml": Reader(whole.read_html),
    ".pdf": Reader(whole.read_pdf, binary=True),
}
CODE = """
    .adb .ads .asm .awk .bash .bat .bib .c .cc .cfg .clj .cljs .cmake .coffee .cpp .cs .css .cu .cuh .cxx .d .dart
    .dockerfile .el .elm .erl .ex .exs .f .f03 .f90 .f95 .fish .fs .fsx .go .gradle .graphql .groovy .h .hh .hpp .hrl
    .hs .hxx .idr .ini .inl .ipp .java .jl .js .jsx .kt .kts .lean .less .lisp .lua .m .m4 .mjs .mk .ml .mli .mm .mojo
    .nim .nix .pas .php .pl .pm .proto .ps1 .pxd .py .pyi .pyx .r .rb .rkt .rs .s .sass .scala .scm .scss .sh .sol
    .sml .sql .sty .sv .svh .swift .tcl .tex .tf .thrift .toml .ts .tsx .v .vb .vhd .vhdl .vim .vue .wat .xml .xsd .xsl
    .yaml .yml .zig .zsh /dockerfile /makefile /cmakelists.txt
"""
# Sections of manual pages, as /usr/share/man has them
MANUAL = [
    f".{section}{kind}" for section in range(1, 10) for kind in ("", *"ptx", "pm", "ssl", "perl", "posix", "type")
]

READERS: dict[str, Reader] = {
    **ROWS,
    **PAGES,
    **dict.fromkeys(CODE.split(), Reader(whole.text("code"))),
    **dict.fromkeys(MANUAL, Reader(whole.text("man"))),
}
KINDS = (
    "rows (.jsonl .json .csv .tsv .parquet, saved datasets), .txt .md .rst .html .pdf .warc, code, manual pages, "
    f"each alone or as {' '.join(COMPRESSIONS)}"
)


def reader_of(name: str) -> Reader | None:
    """The reader of a file of that name, by the longest ending that has one."""
    name = "/" + name.lower()
    packed = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    name = name.removesuffix(packed)
    base = name[name.rindex("/") :]
    endings = [base, *("." + ending for ending in base.split(".")[1:][-1:])]
    return next((READERS[ending] for ending in endings if ending in READERS), None)


def read(path: Path, name: str = "", columns: Columns | None = None) -> Iterator[Document]:
    """The documents of a file, which is called `name` below the folder of its domain, each with its id.

    Raises UserError, one line, naming the file and the line or row that cannot be read.
    """
    file = File(path, name or path.name)
    reader = reader_of(file.name)
    if reader is None:
        raise file.fault(f"no reader has its ending; there are {KINDS}")
    with faults(file):
        for document in reader.read(file, columns or Columns()):
            yield document._replace(meta={"id": identity(document.source, document.text), **document.meta})
