"""Levels 3 to 5 on the way that a domain takes, in processes of their own, against a server that is told what to do."""

from pathlib import Path

import pytest
from teaching import prepare, said, serving, teacher, text_of

from ablate.corpus import endpoint, flow, levels, parts
from ablate.corpus.document import Document
from ablate.corpus.levels import Wanted
from ablate.data.tokens import Corpus
from ablate.prepare import waterfall
from ablate.run.corpus import Processing, Scorer
from ablate.run.settings import SettingsError, UserError
from ablate.sweep.repeats import taught

pytestmark = pytest.mark.slow
SENTENCES = "The number {n} is the one after {m}. Nobody in {n} years has said that it is not so."


@pytest.fixture
def acquired(tmp_path) -> list[Path]:
    """Two parts of level 0."""
    texts = [f"{SENTENCES.format(n=n, m=n - 1)}\n\nIt [noise] is a fine number, and {n} it stays." for n in range(40)]
    documents = [Document(text, f"book:{n % 7}") for n, text in enumerate(texts)]
    (tmp_path / "acquired").mkdir()
    for number, some in enumerate((documents[:20], documents[20:])):
        parts.write(tmp_path / "acquired" / parts.name_of(number), some)
    return parts.paths_of(tmp_path / "acquired")


def wanted(folder: Path, url: str, of_teacher: dict, **changes: object) -> Wanted:
    of_teacher = {"chunk": 100} | of_teacher
    processing = Processing(score=Scorer(kind="entropy", keep=1.0), teacher=teacher(**of_teacher))
    return Wanted("math", processing, prepare(url, workers=2, **changes), folder)


def through(way: Wanted, found: list[Path], last: int, but: int = 0) -> tuple[list[Document], dict]:
    """The documents after steps of levels 3 to `last`, and the manifest of the last folder."""
    for level in {*range(3, last + 1)} - {but}:
        how = flow.How(way.domain, level, way.prepare, [], 1.0, way.progress)
        found = parts.paths_of(flow.run(found, way.outputs / "corpus" / f"l{level}", levels.steps_of(level, way), how))
    return [document for path in found for document in parts.read(path)], flow.manifest_of(found[0].parent)


def clean(body, number):
    return said(body, text_of(body).replace(" [noise]", ""))


def test_a_teacher_refines_in_two_processes_and_its_cost_is_in_the_manifest(tmp_path, acquired):
    with serving(clean) as (server, url):
        documents, manifest = through(wanted(tmp_path, url, {}), acquired, 4)
        assert server.requests == 80
        assert server.most_at_once <= 4
    assert len(documents) == 40
    assert not any("[noise]" in document.text for document in documents)
    assert {document.meta["level"] for document in documents} == {4}
    assert all(document.meta["scores"]["entropy"] > 0 for document in documents)
    noted = manifest["counts"][-1]["noted"]
    assert (noted["teacher.requests"], noted["teacher.prompt_tokens"], noted["refine.changed"]) == (80, 800, 40)
    [folder] = tmp_path.glob("corpus/l4-*[0-9a-f]")
    made = Corpus(tmp_path / "data" / "x", {"corpus": {"math": {"training": [folder.name]}}})
    table = waterfall(made)
    assert table
    assert table.caption == "teacher of math: 80 requests, 800 prompt tokens, 400 reply tokens"
    said = "refined: the text of math took a teacher 80 requests, 800 prompt tokens, 400 reply tokens"
    assert taught("refined", made, tmp_path) == [said]


def test_a_level_that_takes_long_says_how_many_replies_there_are(tmp_path, acquired, capsys, monkeypatch):
    monkeypatch.setattr("ablate.run.progress.PLAIN_SECONDS", 0.05)
    with serving(clean) as (_, url):
        through(wanted(tmp_path, url, {})._replace(progress=True), acquired, 4)
    said = [line for line in capsys.readouterr().out.splitlines() if "replies so far" in line]
    assert any(line.startswith("refine: ") for line in said)


def test_a_budget_that_ends_goes_on_with_the_same_command(tmp_path, acquired):
    with serving(clean) as (server, url):
        for left in (50, 20):
            endpoint._command.cache_clear()
            with pytest.raises(UserError, match=r"requests=30: as many are made, and ..? of 80 .* the same command"):
                through(wanted(tmp_path, url, {}, requests=30), acquired, 4)
            assert server.requests == 80 - left
        endpoint._command.cache_clear()
        documents, manifest = through(wanted(tmp_path, url, {}, requests=30), acquired, 4)
        paid = sum(count["noted"].get("teacher.requests", 0) for count in manifest["counts"])
        assert server.requests == paid  # a reply that was lost would be paid for again; a request made again is noted
    assert len(documents) == 40


def test_questions_by_rule_need_no_teacher_and_stay_on_their_side_of_the_split(tmp_path, acquired):
    way = wanted(tmp_path, "", {"maker": "template", "model": ""})
    with pytest.raises(SettingsError, match=r"maker=template: refines no text; leave level 4 out by corpus.skip=\[4\]"):
        levels.steps_of(4, way)
    documents, _ = through(way, acquired, 5, but=4)
    originals = {document.source for path in acquired for document in parts.read(path)}
    assert {document.source for document in documents} == originals
    assert {document.meta["level"] for document in documents} == {5}
    assert all(document.text.startswith("Question: ") and document.meta["parents"] for document in documents)
    assert len({document.meta["id"] for document in documents}) == len(documents)
