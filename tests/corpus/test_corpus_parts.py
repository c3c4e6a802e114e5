"""Documents come back from disk as they went."""

import os
import subprocess
import sys

import pyarrow.parquet
from hypothesis import given
from hypothesis import strategies as st

from ablate.corpus import parts
from ablate.corpus.document import Document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS = st.builds(Document, TEXTS, TEXTS, st.dictionaries(st.sampled_from(["id", "url", "scores"]), TEXTS))


@given(st.lists(DOCUMENTS, max_size=8))
def test_documents_come_back(tmp_path_factory, documents):
    folder = tmp_path_factory.mktemp("parts")
    one, other = folder / parts.name_of(0), folder / parts.name_of(1)
    assert parts.write(one, documents) == parts.write(other, iter(documents)) == len(documents)
    assert list(parts.read(one)) == documents
    assert one.read_bytes() == other.read_bytes()
    assert parts.paths_of(folder) == [one, other]


def test_more_documents_than_a_group_holds(tmp_path):
    documents = [Document(f"text {number}", "source") for number in range(2 * parts.ROWS + 1)]
    parts.write(tmp_path / "part-00000.parquet", documents)
    assert list(parts.read(tmp_path / "part-00000.parquet")) == documents
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_a_group_of_long_documents_holds_few(tmp_path):
    documents = [Document("word " * (parts.GROUP_CHARS // 10), str(number)) for number in range(5)]
    parts.write(tmp_path / "part-00000.parquet", documents)
    with pyarrow.parquet.ParquetFile(tmp_path / "part-00000.parquet") as file:
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [2, 2, 1]
    assert list(parts.read(tmp_path / "part-00000.parquet")) == documents


SMALL = """
import sys
from pathlib import Path
from ablate.corpus import parts, passes
from ablate.corpus.arrow import pyarrow
from ablate.corpus.document import Document
parts.write(Path(sys.argv[1]), [Document("text", "source")])
assert [*parts.read(Path(sys.argv[1]))] == [Document("text", "source")]
print("pandas" in sys.modules, pyarrow.default_memory_pool().backend_name)
"""


def test_a_process_that_writes_parts_stays_small(tmp_path):
    """pandas is 25 MB, and the allocators of pyarrow keep as much as they ever had."""
    command = [sys.executable, "-c", SMALL, str(tmp_path / "part-00000.parquet")]
    environment = {key: value for key, value in os.environ.items() if key != "ARROW_DEFAULT_MEMORY_POOL"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "system"]
