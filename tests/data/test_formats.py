"""Files of ids that other tools wrote: read back as they were written, refused where they do not fit together."""

import struct
from pathlib import Path

import numpy as np
import pytest
from writers import TELL_ENDS, WRITERS, datatrove, llmc, megatron, nanogpt, numpy, olmo, saved  # pyrefly: ignore

from ablate.data import formats
from ablate.run.settings import UserError

VOCABULARY = 1000
random = np.random.default_rng(0)
DOCUMENTS = [[*random.integers(1, VOCABULARY, size).tolist(), 0] for size in random.integers(1, 400, 50).tolist()]
IDS = np.concatenate(DOCUMENTS)


def read(path: Path, tmp_path: Path, vocabulary: int = VOCABULARY) -> list[formats.Shard]:
    return formats.read(path, vocabulary, tmp_path / "written.ids")


def ids_of(shards: list[formats.Shard]) -> np.ndarray:
    return np.concatenate([piece.ids() for shard in shards for piece in shard.pieces])


def complaint(path: Path, tmp_path: Path, vocabulary: int = VOCABULARY) -> str:
    with pytest.raises(UserError) as error:
        read(path, tmp_path, vocabulary)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path.parent))
    return str(error.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("name", WRITERS)
def test_ids_are_read_as_they_were_written(tmp_path, name, width):
    shards = read(WRITERS[name](tmp_path, "text", DOCUMENTS, width), tmp_path)
    assert np.array_equal(ids_of(shards), IDS)
    if name in TELL_ENDS:
        begins = np.concatenate([[0], np.cumsum([shard.size for shard in shards])])
        ends = np.concatenate([shard.ends + begin for shard, begin in zip(shards, begins, strict=False)])
        assert ends.tolist() == np.cumsum([len(document) for document in DOCUMENTS]).tolist()


def test_a_vocabulary_above_two_bytes_takes_four_where_nothing_is_said(tmp_path):
    path = nanogpt(tmp_path, "text", [[70_000, 5, 0]], width=4)
    assert ids_of(read(path, tmp_path, 100_000)).tolist() == [70_000, 5, 0]


def test_what_a_file_says_counts_more_than_the_vocabulary(tmp_path):
    for writer in (datatrove, megatron, llmc, numpy):
        shards = read(writer(tmp_path, writer.__name__, DOCUMENTS, 2), tmp_path, vocabulary=100_000)
        assert np.array_equal(ids_of(shards), IDS)


def test_nothing_is_copied_but_what_is_packed(tmp_path):
    for name, writer in WRITERS.items():
        (tmp_path / name).mkdir()
        path = writer(tmp_path / name, "text", DOCUMENTS)
        shards = formats.read(path, VOCABULARY, tmp_path / f"{name}.ids")
        inside = all(shard.path.is_relative_to(tmp_path / name) for shard in shards)
        assert inside == (name != "parquet") == (not (tmp_path / f"{name}.ids").exists())


def test_rows_by_rows_are_one_stream(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(12, dtype=np.int32).reshape(3, 4))
    assert ids_of(read(tmp_path / "rows.npy", tmp_path)).tolist() == list(range(12))


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def put(path: Path, place: int, content: bytes) -> None:
    old = path.read_bytes()
    path.write_bytes(old[:place] + content + old[place + len(content) :])


def test_a_datatrove_index_that_disagrees_is_refused(tmp_path):
    path = datatrove(tmp_path, "text", DOCUMENTS)
    index, whole = path.with_name("text.ds.index"), path.with_name("text.ds.index").read_bytes()
    cut(index, 3)
    assert (
        complaint(path, tmp_path)
        == "text.ds.index: has 397 bytes, which is no whole number of document ends of 8 bytes"
    )
    index.write_bytes(whole[:-8])
    before = len(IDS) - len(DOCUMENTS[-1])
    assert complaint(path, tmp_path) == f"text.ds.index: its 49 documents end at id {before}; text.ds holds {len(IDS)}"
    index.write_bytes(whole[8:16] + whole[:8] + whole[16:])
    assert complaint(path, tmp_path) == "text.ds.index: document 1 ends before the one in front of it"
    index.write_bytes(whole)
    cut(path, 2)
    assert complaint(path, tmp_path).startswith(
        f"text.ds: holds {len(IDS) - 1} ids of 2 bytes, where {len(IDS)} are said"
    )
    cut(path, 1)
    assert "which is no whole number of ids of 2 bytes" in complaint(path, tmp_path)
    path.with_name("text.ds.metadata").write_text("gpt2|3\n12\n12 T")
    assert complaint(path, tmp_path).startswith("text.ds.metadata: must begin with lines such as gpt2|2")


def test_a_megatron_index_that_disagrees_is_refused(tmp_path):
    path = megatron(tmp_path, "text", DOCUMENTS)
    whole = path.read_bytes()

    def after(place: int, content: bytes) -> str:
        path.write_bytes(whole)
        put(path, place, content)
        return complaint(path, tmp_path)

    assert after(0, b"XX") == "text.idx: does not begin as an index of Megatron does"
    assert after(9, struct.pack("<Q", 2)).startswith("text.idx: has version 2 and type 8; known are")
    assert after(17, bytes([7])).startswith("text.idx: has version 1 and type 7; known are")
    assert after(18, struct.pack("<Q", 51)).startswith(
        "text.idx: has 1042 bytes; its 51 sequences and 51 entries take 1054"
    )
    assert after(34, struct.pack("<i", len(DOCUMENTS[0]) + 1)).startswith("text.idx: sequence 1 does not begin where")
    last = 34 + 4 * 49
    longer = struct.pack("<i", len(DOCUMENTS[-1]) + 1)
    assert after(last, longer) == f"text.idx: its sequences are {len(IDS) + 1} ids; text.bin holds {len(IDS)}"
    assert after(34 + 12 * 50, struct.pack("<q", 1)).startswith("text.idx: its document index does not go from 0")
    path.write_bytes(whole[:-5])
    assert complaint(path, tmp_path).startswith("text.idx: has 1037 bytes; its 50 sequences")
    path.write_bytes(whole[:20])
    assert complaint(path, tmp_path) == "text.idx: does not begin as an index of Megatron does"
    path.write_bytes(whole)
    cut(tmp_path / "text.bin", 2)
    assert complaint(path, tmp_path).endswith(f"text.bin holds {len(IDS) - 1}")
    (tmp_path / "text.bin").unlink()
    assert complaint(path, tmp_path) == "text.idx: is an index of Megatron without its text.bin"


def test_modes_behind_a_megatron_index_are_passed_over(tmp_path):
    path = megatron(tmp_path, "text", DOCUMENTS)
    path.write_bytes(path.read_bytes() + bytes(50))
    assert np.array_equal(ids_of(read(path, tmp_path)), IDS)


def test_a_header_of_llmc_that_is_not_right_is_refused(tmp_path):
    path = llmc(tmp_path, "text", DOCUMENTS)
    whole = path.read_bytes()
    cut(path, 2)
    assert complaint(path, tmp_path).startswith(
        f"text.bin: holds {len(IDS) - 1} ids of 2 bytes, where {len(IDS)} are said"
    )
    for place, number, wanted in [
        (0, 20240522, "text.bin: holds questions (llm.c), not text"),
        (0, 7, "text.bin: begins as a file of llm.c does, but with magic number 7; known are 20240520, 20240801"),
        (4, 2, "text.bin: has version 2; known of its kind is 1"),
    ]:
        path.write_bytes(whole)
        put(path, place, struct.pack("<i", number))
        assert complaint(path, tmp_path) == wanted


def test_a_numpy_file_that_is_no_list_of_ids_is_refused(tmp_path):
    path = numpy(tmp_path, "text", DOCUMENTS)
    cut(path, 2)
    assert "are said to be; is it whole?" in complaint(path, tmp_path)
    np.save(path, np.zeros(3))
    assert complaint(path, tmp_path) == "text.npy: must hold whole numbers, row by row, not float64"
    np.save(path, np.zeros((3, 2), dtype=int, order="F"))
    assert complaint(path, tmp_path) == "text.npy: must hold whole numbers, row by row, not int64 by columns"
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': ......")
    assert complaint(path, tmp_path).startswith("text.npy: has a header that numpy cannot read")


def test_an_odd_size_is_refused(tmp_path):
    path = nanogpt(tmp_path, "text", DOCUMENTS)
    path.write_bytes(path.read_bytes() + b"x")
    size = 2 * len(IDS) + 1
    assert complaint(path, tmp_path) == f"text.bin: has {size} bytes, which is no whole number of ids of 2 bytes"


@pytest.mark.parametrize("writer", [nanogpt, llmc, olmo])
def test_an_empty_file_is_refused_unless_it_is_said_to_be(tmp_path, writer):
    path = writer(tmp_path, "text", DOCUMENTS)
    path.write_bytes(b"")
    assert complaint(path, tmp_path) == f"{path.name}: is empty; copy it again, or move it away"
    path = datatrove(tmp_path, "none", DOCUMENTS)
    path.write_bytes(b"")
    path.with_name("none.ds.index").write_bytes(b"")
    path.with_name("none.ds.metadata").write_text("gpt2|2\n0\n")
    assert [shard.size for shard in read(path, tmp_path)] == [0]


def test_a_saved_dataset_that_is_not_whole_is_refused(tmp_path):
    path = saved(tmp_path, "text", DOCUMENTS)
    part = next(path.parent.glob("data-00001*"))
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    assert complaint(path, tmp_path).startswith(f"{part.name}: not a whole arrow file")
    part.unlink()
    assert complaint(path, tmp_path).startswith(f"{part.name}: not a whole arrow file")
    path.write_text("{}")
    assert complaint(path, tmp_path).startswith("state.json: does not say of which files the dataset is")


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ({"text": ["a"]}, "no column `input_ids` (has text)"),
        ({"input_ids": ["a"]}, "`input_ids` must be lists of whole numbers, not string"),
        ({"input_ids": [[1, None]]}, "rows 1 to 1 have a gap in `input_ids`"),
        ({"input_ids": [[1], None]}, "rows 1 to 2 have a gap in `input_ids`"),
        ({"input_ids": [[1], [5000]]}, "from row 1 on has id 5000; ids must be below data.vocabulary=1000"),
        ({"input_ids": [[1], [-100]]}, "from row 1 on has id -100; ids must be below data.vocabulary=1000"),
    ],
)
def test_rows_that_are_no_ids_are_refused(tmp_path, rows, wanted):
    import datasets

    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "text.parquet"))
    assert complaint(tmp_path / "text.parquet", tmp_path).endswith(wanted)
