"""The source `shards`: tokens that other tools wrote, read from where they lie, verified and held out."""

import dataclasses
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from small import small_data, write_jsonl  # pyrefly: ignore  # beside this file
from writers import WRITERS, datatrove, llmc, nanogpt, olmo, saved  # pyrefly: ignore

from ablate.data import verified
from ablate.data.heldout import texts_of
from ablate.data.tokens import Corpus, prepare, prepared
from ablate.run.settings import Data, UserError

Documents = list[list[int]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Text of the domains asked and told, prepared here: its tokens are what the shards hold."""
    root, random = tmp_path_factory.mktemp("corpora"), Random(0)
    words = ["".join(random.choices("aeionrstl", k=random.randint(2, 7))) for _ in range(2000)]
    for domain in ("asked", "told"):
        texts = [" ".join(random.choices(words, k=random.randint(5, 120))) for _ in range(300)]
        write_jsonl(root / domain / "rows.jsonl", [{"text": text, "source": text[:9]} for text in texts])
    return prepare(small_data(root), root / "outputs")


def documents_of(corpus: Corpus, domain: str, split: str = "train") -> Documents:
    ids = corpus.tokens(domain, split)
    stops = (np.flatnonzero(ids == corpus.end) + 1).tolist()
    return [ids[a:b].tolist() for a, b in zip([0, *stops], stops, strict=False)]


def data_of(corpus: Corpus, root: Path, **more: Any) -> Data:
    told: dict[str, Any] = {"tokenizer": str(corpus.folder / "tokenizer.json")} | more
    return dataclasses.replace(small_data(root, **told), source="shards")


def write(corpus: Corpus, root: Path, writer=datatrove, files: int = 3) -> None:
    """The training text of both domains in some files each."""
    for domain in corpus.domains:
        documents = documents_of(corpus, domain)
        (root / domain).mkdir(parents=True)
        for number in range(files):
            writer(root / domain, f"part-{number}", documents[number::files])


def stream_of(corpus: Corpus, domain: str, files: int) -> np.ndarray:
    documents = documents_of(corpus, domain)
    return np.concatenate([ids for number in range(files) for ids in documents[number::files]])


def split(ids: np.ndarray, end: int) -> list[tuple[int, ...]]:
    stops = (np.flatnonzero(ids == end) + 1).tolist()
    return [tuple(ids[a:b].tolist()) for a, b in zip([0, *stops], stops, strict=False)]


@pytest.mark.parametrize("name", WRITERS)
def test_every_document_is_trained_on_or_held_out(corpus, tmp_path, name):
    write(corpus, tmp_path / "shards", WRITERS[name])
    found = prepare(data_of(corpus, tmp_path / "shards"), tmp_path / "outputs")
    assert len(found.manifest["notes"]) == 1, found.manifest["notes"]
    for domain in corpus.domains:
        train = found.tokens(domain, "train")[: found.num_tokens(domain, "train")]
        held = found.tokens(domain, "validation")
        assert len(train) == found.num_tokens(domain, "train")
        assert len(held) == found.num_tokens(domain, "validation")
        assert 0.05 < len(held) / (len(held) + len(train)) < 0.15
        written = split(stream_of(corpus, domain, 3), corpus.end)
        told = split(train, corpus.end)
        assert sorted([*told, *split(held, corpus.end)]) == sorted(written)
        chosen = set(split(held, corpus.end))
        assert told == [document for document in written if document not in chosen]
        assert found.total(domain, "documents") == len(written)
        assert found.total(domain, "bytes") == corpus.manifest["domains"][domain]["train"]["bytes"]


def test_files_that_are_named_so_are_held_out_where_they_lie(corpus, tmp_path):
    root = tmp_path / "shards"
    for domain, names in {"asked": ("corpus_train_0", "corpus_val_0"), "told": ("train", "validation")}.items():
        (root / domain).mkdir(parents=True)
        for name, part in zip(names, ("train", "validation"), strict=True):
            (llmc if domain == "asked" else saved)(root / domain, name, documents_of(corpus, domain, part))
    found = prepare(data_of(corpus, root), tmp_path / "outputs")
    for domain in corpus.domains:
        for part in ("train", "validation"):
            assert np.array_equal(found.tokens(domain, part)[:], corpus.tokens(domain, part))
            assert found.is_mapped(domain, part) == (part == "train")
            assert [text for texts in texts_of(found, domain, part) for text in texts] == [
                text for texts in texts_of(corpus, domain, part) for text in texts
            ]
        same = ("documents", "bytes", "tokens")
        told = found.manifest["domains"][domain]
        for part, counts in corpus.manifest["domains"][domain].items():
            assert [told[part][key] for key in same] == [counts[key] for key in same]


def test_what_the_shards_are_called_and_where_they_lie_is_not_content(corpus, tmp_path):
    write(corpus, tmp_path / "one")
    first = prepare(data_of(corpus, tmp_path / "one"), tmp_path / "outputs")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in (tmp_path / "two").rglob("part*"):
        path.rename(path.with_name(path.name.replace("part", "shard")))
    second = prepare(data_of(corpus, tmp_path / "two", domains=["told", "asked"]), tmp_path / "outputs")
    assert first.folder != second.folder
    assert first.fingerprint == second.fingerprint
    path = next((tmp_path / "two" / "told").glob("*.ds"))
    ids = np.fromfile(path, dtype="<u2")
    ids[[100, 101]] = ids[[101, 100]]
    ids.tofile(path)
    third = prepare(data_of(corpus, tmp_path / "two"), tmp_path / "outputs")
    assert third.fingerprint != second.fingerprint
    assert third.of_text("told") != second.of_text("told")
    assert third.of_text("asked") == second.of_text("asked")


def complaint(corpus: Corpus, root: Path, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        prepare(data_of(corpus, root, **more), root.parent / "outputs")
    assert "\n" not in str(error.value)
    assert not list((root.parent / "outputs" / "data").glob("*/manifest.json"))
    return str(error.value).replace(f"{root}/", "")


def edited(path: Path, place: int, ids: Any) -> None:
    content = np.fromfile(path, dtype="<u2")
    content[place : place + len(ids)] = ids
    content.tofile(path)


def test_an_id_above_the_vocabulary_is_refused(corpus, tmp_path):
    write(corpus, tmp_path / "shards", nanogpt)
    edited(tmp_path / "shards" / "told" / "part-1.bin", 1234, [400])
    wanted = "told/part-1.bin: id 400 at place 1234: must be below data.vocabulary=400 (read as 2 bytes an id)"
    assert complaint(corpus, tmp_path / "shards") == wanted


def test_ids_of_two_bytes_read_as_four_are_refused(corpus, tmp_path):
    write(corpus, tmp_path / "shards", nanogpt, files=1)
    for path in (tmp_path / "shards").rglob("*.bin"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 4 * 4])
    said = complaint(corpus, tmp_path / "shards", vocabulary=70_000)
    assert said.startswith("asked/part-0.bin: id ")
    assert said.endswith(" at place 0: must be below data.vocabulary=70000 (read as 4 bytes an id)")


@pytest.mark.parametrize("writer", [datatrove, llmc, saved])
def test_a_page_of_zeros_is_refused(corpus, tmp_path, writer):
    write(corpus, tmp_path / "shards", writer, files=1)
    path = max((tmp_path / "shards" / "told").rglob("*"), key=lambda path: path.is_file() * path.stat().st_size)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(4096) + content[8192:])
    place = (4096 - {datatrove: 0, llmc: 1024}.get(writer, 0)) // 2
    said = complaint(corpus, tmp_path / "shards")
    assert said.startswith("told/part-0")
    assert said.endswith(" on are all 0, which no text is; copy it again")
    assert writer is saved or f"4096 bytes from place {place} on" in said


def test_most_of_a_shard_zeroed_is_refused(corpus, tmp_path):
    write(corpus, tmp_path / "shards")
    path = tmp_path / "shards" / "told" / "part-1.ds"
    path.write_bytes(path.read_bytes()[:1000] + bytes(path.stat().st_size - 1000))
    assert complaint(corpus, tmp_path / "shards").startswith("told/part-1.ds: 4096 bytes from place 2048 on are all 0")


def test_another_tokenizer_than_that_of_the_shards_is_refused(corpus, tmp_path):
    from ablate.data import tokenizer

    write(corpus, tmp_path / "shards")
    other = tokenizer.train(["some other text " * 20, "of other words, in another order"] * 3, 400)
    other.save(str(tmp_path / "other.json"))
    said = complaint(corpus, tmp_path / "shards", tokenizer=str(tmp_path / "other.json"))
    assert said.startswith("data.tokenizer: of ")
    assert said.endswith("are the same; is it the one that made the shards?")


def test_documents_without_end_tokens_are_those_of_the_index(corpus, tmp_path):
    bare = {domain: [document[:-1] for document in documents_of(corpus, domain)] for domain in corpus.domains}
    for domain, documents in bare.items():
        (tmp_path / "shards" / domain).mkdir(parents=True)
        datatrove(tmp_path / "shards" / domain, "a", documents)
    found = prepare(data_of(corpus, tmp_path / "shards"), tmp_path / "outputs")
    assert found.notes[1:] == [f"{domain}: documents do not end in an end token" for domain in corpus.domains]
    for domain, documents in bare.items():
        held = [document[:-1] for document in documents_of(found, domain, "validation")]
        assert held
        assert all(document in documents for document in held)
        left = [ids for document in documents if document not in held for ids in document]
        assert found.tokens(domain, "train")[:].tolist() == left
        assert found.total(domain, "documents") == len(documents)


def test_a_domain_whose_files_are_all_held_out_by_their_names_is_refused(corpus, tmp_path):
    write(corpus, tmp_path / "shards", nanogpt)
    (tmp_path / "shards" / "told").rename(tmp_path / "shards" / "moved")
    (tmp_path / "shards" / "told").mkdir()
    (tmp_path / "shards" / "moved").rename(tmp_path / "shards" / "told" / "test-set")
    said = complaint(corpus, tmp_path / "shards")
    assert said.startswith(
        "domain told: told has no tokens to train on: its files are held out, for their names say so"
    )
    assert "test-set/part-0.bin" in said


def test_no_telling_where_documents_end_is_refused(corpus, tmp_path):
    for domain in corpus.domains:
        (tmp_path / "shards" / domain).mkdir(parents=True)
        olmo(tmp_path / "shards" / domain, "a", [document[:-1] for document in documents_of(corpus, domain)])
    said = complaint(corpus, tmp_path / "shards")
    assert said.startswith(
        "domain asked: asked/a.npy has neither end tokens (0) nor an index of its documents; hold out"
    )


def test_copies_of_held_out_text_are_cut_out_of_every_domain(corpus, tmp_path):
    root = tmp_path / "shards"
    write(corpus, root)
    (root / "asked" / "val").mkdir()
    held = documents_of(corpus, "asked", "validation")
    olmo(root / "asked" / "val", "a", held)
    passage = max(held, key=len)[3:-5]
    assert len(passage) > 200
    planted = [*documents_of(corpus, "told")[0][:-1], *passage, corpus.end]
    datatrove(root / "told", "zz", [planted])
    clean = prepare(data_of(corpus, root, domains=["told"], focus="told"), tmp_path / "alone")
    found = prepare(data_of(corpus, root), tmp_path / "outputs")
    numbers = found.manifest["domains"]["told"]["train"]
    gone = clean.num_tokens("told", "train") - found.num_tokens("told", "train")
    assert numbers["copies"] == 1
    assert numbers["copied_bytes"] > 0
    assert gone <= len(passage)
    size = verified.Runs.of([np.concatenate(held)], corpus.bytes_per_token).size
    assert len(passage) - gone < size
    train = found.tokens("told", "train")[:]
    windows = np.lib.stride_tricks.sliding_window_view(train, size + size // 2)
    text = np.array(passage)
    parts = np.lib.stride_tricks.sliding_window_view(text, size + size // 2)
    assert not {part.tobytes() for part in parts.astype("<u2")} & {window.tobytes() for window in windows.astype("<u2")}
    assert clean.manifest["domains"]["told"]["train"]["copies"] == 0


def test_samples_are_looked_at_where_that_is_asked_for(corpus, tmp_path, monkeypatch):
    write(corpus, tmp_path / "shards", nanogpt, files=1)
    full = prepare(data_of(corpus, tmp_path / "shards"), tmp_path / "outputs")
    monkeypatch.setattr(verified, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(verified, "BLOCKS", 2)
    sampled = prepare(data_of(corpus, tmp_path / "shards", verify="sampled"), tmp_path / "outputs")
    assert sampled.fingerprint != full.fingerprint
    assert sampled.notes[0].endswith("verified by samples of its files: counts are estimates")
    for domain in corpus.domains:
        assert np.array_equal(sampled.tokens(domain, "train")[:], full.tokens(domain, "train")[:])
        assert sampled.total(domain, "bytes") == pytest.approx(full.total(domain, "bytes"), rel=0.1)
    edited(tmp_path / "shards" / "told" / "part-0.bin", 4096, [0] * 2048)
    prepare(data_of(corpus, tmp_path / "shards", verify="sampled"), tmp_path / "outputs")
    edited(tmp_path / "shards" / "told" / "part-0.bin", 40, [399 + 5])
    with pytest.raises(UserError, match="id 404 at place 40"):
        prepare(data_of(corpus, tmp_path / "shards", verify="sampled"), tmp_path / "outputs")


@pytest.mark.parametrize("verify", ["full", "sampled"])
def test_a_shard_that_changed_since_it_was_verified_is_found(corpus, tmp_path, verify):
    """Of the same size, and with the time of the old one: whoever opens what was prepared would train on zeros."""
    write(corpus, tmp_path / "shards", nanogpt)
    found = prepare(data_of(corpus, tmp_path / "shards", verify=verify), tmp_path / "outputs")
    path = tmp_path / "shards" / "told" / "part-1.bin"
    before, content = path.stat(), path.read_bytes()
    edited(path, 2048, [0] * 4096)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match=f"{path} is not what was written: its sha256 is another; delete this folder"):
        prepared(tmp_path / "outputs", found.fingerprint)
    with pytest.raises(UserError, match=rf"{path}: 4096 bytes from place \d+ on are all 0"):
        prepare(data_of(corpus, tmp_path / "shards", verify=verify), tmp_path / "outputs")
    path.write_bytes(content)  # with another time
    assert prepared(tmp_path / "outputs", found.fingerprint) == found
    path.unlink()
    with pytest.raises(UserError, match=f"{path} is gone"):
        prepared(tmp_path / "outputs", found.fingerprint)


def test_shards_that_moved_are_read_from_where_they_lie_now(corpus, tmp_path):
    """Whichever of the two folders of that text is looked at first."""
    for place in ("one", "two", "one"):
        shutil.rmtree(tmp_path / "shards", ignore_errors=True)
        write(corpus, tmp_path / "shards" / place)
        found = prepare(data_of(corpus, tmp_path / "shards" / place), tmp_path / "outputs")
        again = prepared(tmp_path / "outputs", found.fingerprint)
        assert np.array_equal(again.tokens("told", "train")[:], found.tokens("told", "train")[:])


def test_prepared_once_they_are_found_again_without_a_look(corpus, tmp_path, monkeypatch):
    write(corpus, tmp_path / "shards")
    first = prepare(data_of(corpus, tmp_path / "shards"), tmp_path / "outputs")
    monkeypatch.setattr(verified.Reader, "look", None)
    assert prepare(data_of(corpus, tmp_path / "shards"), tmp_path / "outputs") == first


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"tokenizer": ""}, "data.tokenizer: must be the one that made the shards"),
        ({"domain_bytes": 100}, "data.domain_bytes=100: must not be set with data.source=shards"),
        ({"level": {"all": 2}}, "data.level={'all': 2}: must not be set with data.source=shards"),
        ({"sources": {"told": "asked"}}, "data.sources: must be different folders"),
        ({"root": "nowhere"}, "data.root=nowhere: must be a folder"),
        ({"domains": ["asked", "new"]}, "domain new: "),
    ],
)
def test_settings_that_shards_cannot_have_are_refused(corpus, tmp_path, more, wanted):
    write(corpus, tmp_path / "shards")
    with pytest.raises(UserError, match="^" + wanted.replace("{", r"\{")):
        prepare(dataclasses.replace(data_of(corpus, tmp_path / "shards"), **more), tmp_path / "outputs")


def test_what_is_not_read_is_said(corpus, tmp_path):
    write(corpus, tmp_path / "shards")
    (tmp_path / "shards" / "told" / "part-0.ds.loss").write_bytes(b"")
    (tmp_path / "shards" / "told" / ".cache").write_bytes(b"")
    found = prepare(data_of(corpus, tmp_path / "shards"), tmp_path / "outputs")
    assert found.notes[1:] == ["told: not read: part-0.ds.loss"]
