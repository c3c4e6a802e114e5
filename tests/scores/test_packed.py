"""What a run answered, as one file of the lab book: every file of it comes out as it went in."""

import gzip

import pytest

from ablate.run.settings import UserError
from ablate.scores import answers, items
from ablate.scores.items import Item, Sheet

ITEMS = [Item("1", "a", "1 + 1 =", (" 2", " 3"), 0), Item("2", "b", "1 + 2 =", (" 3", " 4"), 0)]


@pytest.fixture
def scores(tmp_path):
    folder = tmp_path / "runs" / "one" / "scores"
    folder.mkdir(parents=True)
    for task, step in (("sums", 100), ("sums", 200), ("words", 200)):
        header = Sheet(task, "cloze", step, "5e0c", ITEMS, settings={"kind": task}).header({"protocols": 1})
        rows = [{"item": item.key, "source": item.source, "gold": 0, "nats": [0.1 * step, 2.0]} for item in ITEMS]
        items.keep(items.path_in(folder, header), header, rows)
    return folder


def test_every_file_comes_out_as_it_went_in(scores, tmp_path):
    items.pack(scores, tmp_path / "one.jsonl.gz")
    plain, packed = answers.found(scores), answers.found(tmp_path / "one.jsonl.gz")
    assert len(plain) == 3
    assert [(one.header, one.rows) for one in packed] == [(one.header, one.rows) for one in plain]
    found = answers.of(tmp_path / "one.jsonl.gz", "sums", {"kind": "sums"}, "cloze", 200)
    assert found is not None
    assert found.header["step"] == 200


@pytest.mark.parametrize("damage", [lambda text: text[:-40], lambda text: text.replace(b"20.0", b"10.0", 1)])
def test_a_damaged_one_is_named(scores, tmp_path, damage):
    path = tmp_path / "one.jsonl.gz"
    items.pack(scores, path)
    path.write_bytes(gzip.compress(damage(gzip.decompress(path.read_bytes()))))
    with pytest.raises(UserError, match=r"one\.jsonl\.gz: damaged or edited"):
        answers.found(path)
