"""Files of token ids as other tools write them, and where in them the ids lie: nothing is copied.

    web/00000.ds  .ds.index  .ds.metadata     datatrove, nanotron
    web/text.bin  text.idx                    Megatron-LM, NeMo, datatrove
    web/train.bin                             nanoGPT: ids and nothing else
    web/fineweb_train_000001.bin              llm.c, modded-nanogpt: 256 numbers, then ids
    web/part-0.npy                            OLMo, dolma: ids and nothing else, or what `numpy.save` writes
    web/train/state.json                      `save_to_disk` of Hugging Face, a column `input_ids`
    web/0.parquet                             the same column; packed, so that its ids are written out once

A file that says how wide its ids are is believed. One that does not has 2 bytes an id where the vocabulary fits, unless
every other pair of bytes is 0; else 4. That all ids are below the vocabulary is looked at when the whole file is read
(`data.verified`). What does not fit together here, a size, a count, an index, is one line naming file and place.
"""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate.run.failures import first_line
from ablate.run.settings import UserError

COLUMN = "input_ids"
MEGATRON = b"MMIDIDX\x00\x00"
MEGATRON_TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
MEGATRON_HEADER = struct.Struct("<9sQBQQ")  # magic, version, type, sequences, entries of the document index
LLMC_HEADER_BYTES = 1024
LLMC = {20240520: (1, "<u2"), 20240801: (7, "<u4")}  # magic: version, type; those of GPT-2 and of Llama 3
LLMC_QUESTIONS = 20240522
PROBE_BYTES = 1 << 16


class Piece(NamedTuple):
    """Ids that lie one after the other in a file."""

    path: Path
    offset: int  # bytes before the first
    dtype: str
    count: int

    def ids(self) -> np.ndarray:
        if not self.count:  # there is nothing to map
            return np.empty(0, dtype=self.dtype)
        return np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=(self.count,))


class Shard(NamedTuple):
    """A file of ids, with the files beside it that belong to it."""

    pieces: list[Piece]
    beside: list[Path]
    ends: np.ndarray | None = None  # the id after each document's last, if the format tells

    @property
    def path(self) -> Path:
        return self.pieces[0].path

    @property
    def size(self) -> int:
        return sum(piece.count for piece in self.pieces)


def read_datatrove(path: Path, vocabulary: int, into: Path) -> Iterator[Shard]:
    index, metadata = path.with_name(path.name + ".index"), path.with_name(path.name + ".metadata")
    beside = [file for file in (index, metadata) if file.exists()]
    dtype, count = _datatrove_size(metadata) if metadata in beside else ("", None)
    piece = _flat(path, vocabulary, dtype, count)
    ends = None
    if index in beside:
        ends = _mapped(index, "<u8", "document ends")
        _check_ends(index, ends, piece)
    yield Shard([piece], beside, ends)


def read_megatron(path: Path, vocabulary: int, into: Path) -> Iterator[Shard]:
    """`path` is the index, which says what is in the .bin file."""
    tokens, size = path.with_suffix(".bin"), path.stat().st_size
    if not tokens.exists():
        raise UserError(f"{path}: is an index of Megatron without its {tokens.name}")
    with path.open("rb") as file:
        head = file.read(MEGATRON_HEADER.size)
    if len(head) < MEGATRON_HEADER.size or not head.startswith(MEGATRON):
        raise UserError(f"{path}: does not begin as an index of Megatron does")
    _, version, code, sequences, documents = MEGATRON_HEADER.unpack(head)
    if version != 1 or code not in MEGATRON_TYPES:
        raise UserError(
            f"{path}: has version {version} and type {code}; known are version 1, types {_of(MEGATRON_TYPES)}"
        )
    wanted = len(head) + 12 * sequences + 8 * documents
    if size not in (wanted, wanted + sequences):  # at the end a mode of each sequence, if there are modes
        raise UserError(f"{path}: has {size} bytes; its {sequences} sequences and {documents} entries take {wanted}")
    piece = _flat(tokens, vocabulary, MEGATRON_TYPES[code])
    yield Shard([piece], [path], _megatron_ends(path, piece, sequences, documents))


def read_bin(path: Path, vocabulary: int, into: Path) -> Iterator[Shard]:
    """Of llm.c if it begins with a header, else of nanoGPT."""
    with path.open("rb") as file:
        head = file.read(LLMC_HEADER_BYTES)
    magic, version, count = np.frombuffer(head[:12], dtype="<i4").tolist() if len(head) >= 12 else (0, 0, 0)
    if magic == LLMC_QUESTIONS:
        raise UserError(f"{path}: holds questions (llm.c), not text")
    if magic in LLMC:
        known, dtype = LLMC[magic]
        if version != known:
            raise UserError(f"{path}: has version {version}; known of its kind is {known}")
        yield Shard([_flat(path, vocabulary, dtype, count, offset=LLMC_HEADER_BYTES)], [])
    elif len(head) == LLMC_HEADER_BYTES and not any(head[12:]):
        raise UserError(f"{path}: begins as a file of llm.c does, but with magic number {magic}; known are {_of(LLMC)}")
    else:
        yield Shard([_flat(path, vocabulary)], [])


def read_npy(path: Path, vocabulary: int, into: Path) -> Iterator[Shard]:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            yield Shard([_flat(path, vocabulary)], [])
            return
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
        except Exception as error:  # it is read as Python, with all that can go wrong
            raise UserError(f"{path}: has a header that numpy cannot read ({first_line(error)})") from None
        offset = file.tell()
    if dtype.kind not in "iu" or (by_columns and len(shape) > 1):
        raise UserError(
            f"{path}: must hold whole numbers, row by row, not {dtype}{' by columns' if by_columns else ''}"
        )
    yield Shard([_flat(path, vocabulary, dtype.str, int(np.prod(shape, dtype=np.int64)), offset)], [])


def read_saved(path: Path, vocabulary: int, into: Path) -> Iterator[Shard]:
    """The dataset whose state.json is `path`; every arrow file that it names is a shard."""
    import pyarrow

    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        names = [file["filename"] for file in state["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: does not say of which files the dataset is ({first_line(error)})") from None
    if state.get("_indices_data_files"):
        raise UserError(f"{path}: its rows are picked by an index; save the dataset after `flatten_indices()`")
    beside = [path, *(file for file in [path.with_name("dataset_info.json")] if file.exists())]
    for file in [path.with_name(name) for name in names]:
        try:
            shard = _arrow(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{file}: not a whole arrow file ({first_line(error)})") from None
        if shard.pieces:
            yield shard._replace(beside=beside)


def read_parquet(path: Path, vocabulary: int, into: Path) -> Iterator[Shard]:
    """Its ids are written to a file of their own in `into`."""
    import pyarrow
    import pyarrow.parquet

    from ablate.data.shards import dtype_of

    dtype, row, ends = dtype_of(vocabulary), 0, [np.zeros(1, dtype=np.int64)]
    into.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("rb") as file, into.open("wb") as out:
            table = pyarrow.parquet.ParquetFile(file)
            _check_column(path, table.schema_arrow)
            for batch in table.iter_batches(columns=[COLUMN]):
                ids, of_batch = _rows(path, batch.column(0), row)
                _check_rows(path, ids, vocabulary, row)
                out.write(ids.astype(dtype).tobytes())
                ends.append(of_batch + ends[-1][-1])
                row += len(batch)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}, row {row + 1}: not a whole parquet file ({first_line(error)})") from None
    ends_D = np.concatenate(ends)[1:]
    yield Shard([Piece(into, 0, dtype.str, int(ends_D[-1]) if len(ends_D) else 0)], [path], ends_D)


Reader = Callable[[Path, int, Path], Iterator[Shard]]
FORMATS: dict[str, Reader] = {
    ".ds": read_datatrove,
    ".idx": read_megatron,
    ".bin": read_bin,
    ".npy": read_npy,
    "/state.json": read_saved,
    ".parquet": read_parquet,
}


def format_of(path: Path) -> str:
    """The ending that tells how a file is read; none of files that belong to others."""
    ending = next((ending for ending in FORMATS if path.as_posix().endswith(ending)), "")
    return "" if ending == ".bin" and path.with_suffix(".idx").exists() else ending


def read(path: Path, vocabulary: int, into: Path) -> list[Shard]:
    """The shards of one file. Raises UserError naming what does not fit together."""
    try:
        return list(FORMATS[format_of(path)](path, vocabulary, into))
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or first_line(error)}") from None


def check_ids(piece: Piece, first: int, ids: np.ndarray, vocabulary: int) -> None:
    """Raises UserError if one of these ids, which begin at number `first` of the piece, is not of the vocabulary."""
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        [wrong, *_] = np.flatnonzero((ids < 0) | (ids >= vocabulary)).tolist()
        raise UserError(
            f"{piece.path}: id {ids[wrong]} at place {first + wrong}: must be below data.vocabulary={vocabulary} "
            f"(read as {ids.dtype.itemsize} bytes an id)"
        )


def _flat(path: Path, vocabulary: int, dtype: str = "", count: int | None = None, offset: int = 0) -> Piece:
    """All of a file from `offset` on. Raises UserError where that is not `count` ids."""
    size = path.stat().st_size - offset
    if count is None and size == 0:
        raise UserError(f"{path}: is empty; copy it again, or move it away")
    dtype = dtype or _width(path, vocabulary)
    item = np.dtype(dtype).itemsize
    if size % item:
        raise UserError(f"{path}: has {size + offset} bytes, which is no whole number of ids of {item} bytes")
    if count is not None and count * item != size:
        raise UserError(f"{path}: holds {size // item} ids of {item} bytes, where {count} are said to be; is it whole?")
    return Piece(path, offset, dtype, size // item)


def _width(path: Path, vocabulary: int) -> str:
    """The type of ids of a file that does not tell: every other 2 bytes are 0 where small ids take 4."""
    if vocabulary > 2**16:
        return "<u4"
    with path.open("rb") as file:
        pairs = np.frombuffer(file.read(PROBE_BYTES // 4 * 4)[: path.stat().st_size // 4 * 4], dtype="<u2").reshape(
            -1, 2
        )
    return "<u4" if len(pairs) and pairs[:, 0].any() and not pairs[:, 1].any() else "<u2"


def _datatrove_size(metadata: Path) -> tuple[str, int]:
    """Type and number of ids, of lines such as `gpt2|2` and `71093`."""
    try:
        first, second = metadata.read_text(encoding="utf-8").splitlines()[:2]
        return {"2": "<u2", "4": "<u4"}[first.rpartition("|")[2]], int(second)
    except (ValueError, KeyError):
        raise UserError(f"{metadata}: must begin with lines such as gpt2|2 and 71093") from None


def _megatron_ends(path: Path, piece: Piece, sequences: int, documents: int) -> np.ndarray:
    offset = MEGATRON_HEADER.size
    lengths_S = np.memmap(path, "<i4", "r", offset, (sequences,)) if sequences else np.empty(0, "<i4")
    totals_S = np.concatenate([[0], np.cumsum(lengths_S, dtype=np.int64)])
    pointers_S = np.memmap(path, "<i8", "r", offset + 4 * sequences, (sequences,)) if sequences else totals_S[:0]
    item = np.dtype(piece.dtype).itemsize
    if wrong := np.flatnonzero(pointers_S != totals_S[:-1] * item)[:1].tolist():
        raise UserError(
            f"{path}: sequence {wrong[0]} does not begin where the one before it ends; merge the dataset anew"
        )
    if totals_S[-1] != piece.count:
        raise UserError(f"{path}: its sequences are {totals_S[-1]} ids; {piece.path.name} holds {piece.count}")
    index = np.memmap(path, "<i8", "r", offset + 12 * sequences, (documents,)) if documents else np.zeros(1, "<i8")
    if index[0] != 0 or index[-1] != sequences or (np.diff(index) < 0).any():
        raise UserError(f"{path}: its document index does not go from 0 to its {sequences} sequences")
    return totals_S[index[1:]]


def _mapped(path: Path, dtype: str, what: str) -> np.ndarray:
    size, item = path.stat().st_size, np.dtype(dtype).itemsize
    if size % item:
        raise UserError(f"{path}: has {size} bytes, which is no whole number of {what} of {item} bytes")
    return np.memmap(path, dtype=dtype, mode="r") if size else np.empty(0, dtype=dtype)


def _check_ends(path: Path, ends: np.ndarray, piece: Piece) -> None:
    last = int(ends[-1]) if len(ends) else 0
    if last != piece.count:
        raise UserError(f"{path}: its {len(ends)} documents end at id {last}; {piece.path.name} holds {piece.count}")
    if wrong := np.flatnonzero(ends[1:] < ends[:-1])[:1].tolist():
        raise UserError(f"{path}: document {wrong[0] + 1} ends before the one in front of it")


def _arrow(path: Path) -> Shard:
    """The column of a file of Hugging Face: the numbers of each batch of rows lie in it as they are."""
    import pyarrow

    pieces, ends, row = [], [np.zeros(1, dtype=np.int64)], 0
    with pyarrow.memory_map(str(path)) as file:
        base, size = file.read_buffer().address, file.size()
        file.seek(0)
        stream = pyarrow.ipc.open_stream(file)
        _check_column(path, stream.schema)
        for batch in stream:
            ids, of_batch = _rows(path, batch.column(stream.schema.get_field_index(COLUMN)), row)
            row += len(batch)
            offset = ids.__array_interface__["data"][0] - base
            if len(ids) and not 0 <= offset < size:
                raise UserError(f"{path}: is packed; save the dataset without compression")
            if len(ids):
                pieces.append(Piece(path, offset, ids.dtype.str, len(ids)))
                ends.append(of_batch + ends[-1][-1])
    return Shard(pieces, [], np.concatenate(ends)[1:])


def _rows(path: Path, column: Any, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all rows, one after the other, and where each ends."""
    values = column.flatten()
    if column.null_count or values.null_count:
        raise UserError(f"{path}: rows {row + 1} to {row + len(column)} have a gap in `{COLUMN}`")
    sizes = column.value_lengths().to_numpy(zero_copy_only=False)
    return values.to_numpy(zero_copy_only=True), np.cumsum(sizes, dtype=np.int64)


def _check_column(path: Path, schema: Any) -> None:
    import pyarrow

    if COLUMN not in schema.names:
        raise UserError(f"{path}: no column `{COLUMN}` (has {', '.join(schema.names)})")
    kind = schema.field(COLUMN).type
    lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    if not any(is_list(kind) for is_list in lists) or not pyarrow.types.is_integer(kind.value_type):
        raise UserError(f"{path}: `{COLUMN}` must be lists of whole numbers, not {kind}")


def _check_rows(path: Path, ids: np.ndarray, vocabulary: int, row: int) -> None:
    if wrong := ids[(ids < 0) | (ids >= vocabulary)][:1].tolist():
        raise UserError(
            f"{path}: from row {row + 1} on has id {wrong[0]}; ids must be below data.vocabulary={vocabulary}"
        )


def _of(known: dict[int, Any]) -> str:
    return ", ".join(map(str, known))
