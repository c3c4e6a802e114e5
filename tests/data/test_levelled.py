"""Text at its level: what is trained on and what is held out, and that equal text is one text, wherever it lies."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from corpus.steps import Each, Short, Upper, documents_of
from small import small_data, write_jsonl  # pyrefly: ignore  # beside this file

from ablate.corpus import levels
from ablate.corpus.document import Document
from ablate.corpus.draw import originals, write_ids
from ablate.corpus.step import Measured, Result
from ablate.data.heldout import HeldOut, texts_of
from ablate.data.questions import question
from ablate.data.request import Levels
from ablate.data.tokens import Corpus, prepare
from ablate.run.corpus import Prepare, Processing
from ablate.run.settings import Data, Settings, SettingsError

SHORT = 25  # words of a text that goes at level 2


class Halves(Each):
    """Level 5 of these tests."""

    def one(self, document: Document) -> Result:
        middle = len(document.text) // 2
        texts, parent = (document.text[:middle], document.text[middle:]), document.meta["id"]
        return Result([Document(t, document.source, {"id": f"{parent}{t}", "parents": [parent]}) for t in texts])


@pytest.fixture(autouse=True)
def small_levels(monkeypatch):
    steps = {1: [Upper()], 2: [Short(least=SHORT)], 3: [], 4: [], 5: [Halves("halves")]}
    monkeypatch.setattr(levels, "STEPS", {level: lambda _, some=some: some for level, some in steps.items()})


@pytest.fixture
def corpora(tmp_path):
    """Two domains; in both every fifth document is there twice."""
    root = tmp_path / "corpora"
    for domain, first in {"asked": 0, "told": 1_000_000}.items():
        rows = [{"text": question(first + i).text, "source": f"{domain}:{i // 10}"} for i in range(200)]
        write_jsonl(root / domain / "rows.jsonl", rows + rows[::5])
    return root


def made(root: Path, outputs: Path, by: Prepare | None = None, base: str = "", **more: Any) -> Corpus:
    of_data = {key: more.pop(key) for key in ("level", "domains") if key in more}
    data = small_data(root, held_out=base, **of_data)
    return prepare(data, outputs, how=Levels(Processing(**more), by or Prepare(part_mb=1)))


def trained_on(corpus: Corpus, domain: str = "asked") -> list[str]:
    return [text for some in texts_of(corpus, domain, "train") for text in some]


def held_out(corpus: Corpus, domain: str = "asked") -> list[str]:
    return [document.text for document in HeldOut(corpus).documents(domain)]


def test_training_text_has_the_level_of_its_domain_and_held_out_text_that_of_all(corpora, tmp_path):
    raw = made(corpora, tmp_path, level={"all": 0})
    low, high = (made(corpora, tmp_path, level={"asked": level}, base=str(raw.folder)) for level in (1, 2))
    texts = {text.upper() for text in trained_on(raw)}
    assert set(trained_on(low)) == texts
    assert set(trained_on(high)) == {text for text in texts if len(text.split()) >= SHORT} < texts
    assert held_out(raw) == held_out(low) == held_out(high) == [text.upper() for text in held_out(raw)]
    for corpus in (low, high):
        assert corpus.of_tokenizer == raw.of_tokenizer
        assert (corpus.tokens("asked", "validation") == raw.tokens("asked", "validation")).all()
        assert corpus.of_text("told") != raw.of_text("told")  # it has no level, and so no text twice


def test_a_text_that_is_there_twice_is_one_without_a_level_and_two_at_level_0(corpora, tmp_path):
    once, twice = made(corpora, tmp_path), made(corpora, tmp_path, level={"asked": 0})
    assert len(trained_on(once)) == len(set(trained_on(once)))
    assert len(trained_on(twice)) > len(set(trained_on(twice)))
    assert held_out(once)[0] != held_out(once)[0].upper()  # without a level, held-out text is as it was read
    assert held_out(twice)[0] == held_out(twice)[0].upper()
    assert trained_on(once, "told") == trained_on(twice, "told")


def test_no_text_is_held_out_twice(tmp_path):
    """Rows without a source are each their own, and some copies of a text are held out where others are trained on."""
    rows = [{"text": question(i % 50).text} for i in range(1000)]
    write_jsonl(tmp_path / "corpora" / "asked" / "rows.jsonl", rows)
    found = made(tmp_path / "corpora", tmp_path, level={"asked": 0}, domains=["asked"])
    assert len(held_out(found)) == len(set(held_out(found))) > 10


def test_level_0_under_two_paths_is_one_text_also_held_against_the_other(corpora, tmp_path):
    shutil.copytree(corpora, tmp_path / "moved")
    base = made(corpora, tmp_path / "a", level={"all": 0})
    assert made(tmp_path / "moved", tmp_path / "b", level={"all": 0}).fingerprint == base.fingerprint
    for root in (corpora, tmp_path / "moved"):
        assert made(root, tmp_path / "a", level={"all": 0}, base=base.fingerprint).fingerprint == base.fingerprint


def test_one_changed_byte_is_another_text(corpora, tmp_path):
    base = made(corpora, tmp_path, level={"all": 1})
    rows = (corpora / "told" / "rows.jsonl").read_text()
    (corpora / "told" / "rows.jsonl").write_text(rows.replace(rows.split('"text": "')[150][:8], "Zebra, " + "x", 1))
    again = made(corpora, tmp_path, level={"all": 1}, base=base.fingerprint)
    assert (again.of_text("told") != base.of_text("told"), again.of_text("asked")) == (True, base.of_text("asked"))


def test_parts_workers_and_who_made_the_levels_do_not_matter(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr("ablate.data.build.WORTH_BYTES", 1)
    ways = [Prepare(workers=1, part_mb=1), Prepare(workers=2, part_mb=32)]
    found = {made(corpora, tmp_path / str(n), by, level={"all": 2}).fingerprint for n, by in enumerate(ways)}
    assert len(found) == 1


def test_a_corpus_that_is_there_is_found_again_and_its_levels_are_shared(corpora, tmp_path, monkeypatch):
    first = made(corpora, tmp_path, level={"all": 2})
    folders = {path.name for path in (tmp_path / "corpus").iterdir() if path.is_dir()}
    assert {name.rpartition("-")[0] for name in folders} == {
        *("asked-l1", "asked-l2", "told-l1", "told-l2", "asked-held-l1", "told-held-l1"),
    }
    assert {name for both in first.manifest["corpus"].values() for names in both.values() for name in names} == folders
    made(corpora, tmp_path, level={"all": 1})
    assert {path.name for path in (tmp_path / "corpus").iterdir() if path.is_dir()} == folders
    monkeypatch.setattr("ablate.data.build.Build.__call__", lambda _: pytest.fail("made again"))
    assert made(corpora, tmp_path, level={"all": 2}) == first


def test_the_random_control_has_as_much_text_as_the_level_and_other_documents(corpora, tmp_path):
    rules, random = (made(corpora, tmp_path, level={"asked": 2}, random=random) for random in (False, True))
    kept = sum(map(len, trained_on(rules))), sum(map(len, trained_on(random)))
    assert abs(kept[0] - kept[1]) < 2 * max(map(len, trained_on(random)))
    assert min(len(text.split()) for text in trained_on(random)) < SHORT
    assert held_out(rules) == held_out(random)
    low = made(corpora, tmp_path, level={"asked": 1})
    assert set(trained_on(random)) < set(trained_on(low))


def test_levels_are_left_out_on_the_way_and_held_out_text_may_have_one_of_its_own(corpora, tmp_path):
    made_of = made(corpora, tmp_path, level={"all": 5}, skip=[2], held_out={"asked": 2}).manifest["corpus"]
    ways = {
        name: [folder.rpartition("-")[0] for some in of.values() for folder in some] for name, of in made_of.items()
    }
    assert ways == {
        "told": ["told-l1", "told-l5", "told-held-l1"],
        "asked": ["asked-l1", "asked-l5", "asked-held-l1", "asked-held-l2"],
    }


def test_drawn_text_and_listed_documents_hold_for_training_text_alone(corpora, tmp_path):
    whole = made(corpora, tmp_path, level={"asked": 5})
    part = made(corpora, tmp_path, level={"asked": 5}, draw={"asked": 5000})
    assert abs(sum(map(len, trained_on(part))) - 5000) < 500
    assert (held_out(part), trained_on(part, "told")) == (held_out(whole), trained_on(whole, "told"))
    raw = made(corpora, tmp_path, draw={"told": 5000})  # of a domain without a level
    assert abs(sum(len(text) for text in trained_on(raw, "told")) - 5000) < 500
    documents = [d for d in documents_of_level(whole, tmp_path) if "5" in originals(d)[0][:2]]
    write_ids(tmp_path / "ids.npy", (one for document in documents for one in originals(document)))
    listed = made(corpora, tmp_path, level={"asked": 5}, only={"asked": str(tmp_path / "ids.npy")})
    assert set(trained_on(listed)) == {document.text for document in documents}


def documents_of_level(corpus: Corpus, outputs: Path) -> list[Document]:
    return documents_of(outputs / "corpus" / corpus.manifest["corpus"]["asked"]["training"][-1])


class Unlucky(Each):
    """Level 2 of one test: sources of one name in ten go."""

    def one(self, document: Document) -> Result:
        gone = Measured("unlucky", 1, 0)
        return Result([], gone) if document.source.endswith("3") else Result([document])


def test_sources_that_are_held_out_stay_so_when_their_last_document_goes(corpora, tmp_path, monkeypatch):
    monkeypatch.setitem(levels.STEPS, 2, lambda _: [Unlucky()])
    base = made(corpora, tmp_path, level={"asked": 0}, held_out={"all": 2}, allow=["unlucky"])
    held = {document.source for document in HeldOut(base).documents("asked")}
    assert len(held) < len(base.manifest["held sources"]["asked"])
    arm = prepare(small_data(corpora, level={"asked": 0}, held_out=base.fingerprint), tmp_path)
    assert trained_on(arm) == trained_on(base)


@pytest.mark.parametrize(
    ("data", "corpus", "said"),
    [
        ({"level": {"all": 6}}, {}, "data.level.all=6: contextual completion has no step yet; the highest is 5"),
        ({"level": {"code": 10}}, {}, "data.level.code=10: must be from 0 to 9"),
        ({"level": {"web": 1}}, {}, "data.level.web: must be one of data.domains: general, code, science, qa"),
        ({}, {"kinds": {"web": "code"}}, "corpus.kinds.web: must be one of data.domains: general"),
        ({}, {"random": True}, "corpus.random=true: must have a domain with data.level above 1"),
    ],
)
def test_levels_that_there_are_not_are_one_line(data, corpus, said):
    with pytest.raises(SettingsError, match=said):
        levels.check(Settings(data=Data(**data), corpus=Processing(**corpus)))
    assert levels.check(dataclasses.replace(Settings(), data=Data(level={"all": 5}))) is None
