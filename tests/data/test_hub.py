"""Datasets as the hub serves them: read for real from a folder, which `datasets` takes by its path."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import documents_of, intact, write_jsonl  # pyrefly: ignore  # beside this file
from typed import typed

from ablate.data.hub import USUAL, Dataset, Hub
from ablate.data.questions import question
from ablate.data.text import open_source
from ablate.data.tokens import prepare
from ablate.run.settings import Data, UserError

ROWS = 2000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of rows with the columns `text`, `content` and `number`."""
    folder = tmp_path_factory.mktemp("dataset")
    for part in range(3):
        numbers = range(part * ROWS, (part + 1) * ROWS)
        rows = [{"text": question(i).text, "content": f"code of {i}", "number": i} for i in numbers]
        write_jsonl(folder / f"part-{part}.jsonl", rows)
    return folder


def hub(name: str, domain_bytes: int = 1000) -> Hub:
    return Hub(data({"a": name}, domain_bytes=domain_bytes))


def data(sources: dict[str, str], **settings) -> Data:
    given: dict[str, Any] = {"domain_bytes": 100_000, "vocabulary": 400, "span": 64, "validation": 0.1}
    return Data(source="hub", domains=list(sources), sources=sources, **(given | settings))


def complaint(name: str, **settings) -> str:
    """The one line that reading a dataset ends in."""
    with pytest.raises(UserError) as caught:
        list(hub(name, **settings).documents(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("org/set", Dataset("org/set", None, "")),
        ("org/set:part", Dataset("org/set", "part", "")),
        ("org/set#body", Dataset("org/set", None, "body")),
        ("org/set:2023.it#body", Dataset("org/set", "2023.it", "body")),
    ],
)
def test_a_name_says_dataset_configuration_and_column(name, dataset):
    assert Dataset.of(name) == dataset


@pytest.mark.slow
def test_every_row_comes_once_and_the_same_way_again(dataset):
    first, second = (list(hub(str(dataset)).documents(str(dataset))) for _ in range(2))
    assert first == second
    assert sorted(d.text for d in first) == sorted(question(i).text for i in range(3 * ROWS))
    assert len({d.source for d in first}) == len({d.text for d in first})
    assert [d.text for d in first[:50]] != [question(i).text for i in range(50)]  # shuffled


def test_another_column(dataset):
    name = f"{dataset}#content"
    assert next(hub(name).documents(name)).text.startswith("code of ")


def test_a_corpus_holds_no_more_than_it_was_asked_for(dataset, tmp_path):
    corpus = prepare(data({"asked": str(dataset), "code": f"{dataset}#content"}), tmp_path)
    assert intact(corpus)
    assert corpus.total("asked", "bytes") == pytest.approx(100_000, abs=4)
    assert 0 < corpus.total("code", "bytes") < 100_000  # there is less
    assert prepare(data({"asked": str(dataset), "code": f"{dataset}#content"}), tmp_path).folder == corpus.folder


def test_two_domains_of_one_dataset_share_no_text(dataset):
    both = data({"a": str(dataset), "b": str(dataset)})
    a, b = ({d.text for d in documents_of(both, name)} for name in ("a", "b"))
    assert not a & b
    assert a | b == {question(i).text for i in range(3 * ROWS)}


def test_a_changed_folder_is_read_again(dataset, tmp_path):
    before = hub(str(dataset)).signature()
    path = dataset / "part-0.jsonl"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert hub(str(dataset)).signature() != before


def test_an_endless_dataset_is_refused():
    with pytest.raises(UserError, match=r"^data.domain_bytes=0: must be above 0 with data.source=hub"):
        hub("org/set", domain_bytes=0)


def test_one_text_under_two_spellings_is_refused():
    with pytest.raises(UserError, match="'org/set#text' and 'org/set' are one text"):
        Hub(data({"a": "org/set", "b": "org/set#text"}))


def test_domains_without_a_source_have_their_usual_dataset():
    given = {"source": "hub", "domain_bytes": 1000}
    assert Hub(Data(domains=["english", "math"], **given)).names == sorted([USUAL["english"], USUAL["math"]])
    assert Hub(Data(domains=["english"], sources={"english": "d"}, **given)).names == ["d"]
    assert Hub(Data(domains=["english"], sources={"english": "english"}, **given)).names == ["english"]


@pytest.mark.slow
def test_a_folder_in_place_of_a_usual_dataset_needs_one_word(dataset, tmp_path):
    words = ["data=hub", "data.domains=[english]", f"data.sources={{english: {dataset}}}", "data.domain_bytes=100000"]
    words += ["data.focus=english", "data.columns={text: content}", "data.vocabulary=300", "data.span=64"]
    done = typed("prepare", *words, f"where.outputs={tmp_path}")
    assert done.returncode == 0, done.stderr


def test_columns_of_other_names(dataset):
    named = Hub(data({"a": str(dataset)}, columns={"text": "content", "source": "number", "url": "text"}))
    document = next(named.documents(str(dataset)))
    number = int(document.text.removeprefix("code of "))
    assert document.source == f"{dataset}/{number}"
    assert document.meta["url"] == question(number).text


ROWS_OF: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "answers": ({"prompt": "{0} + 1?", "response": "{1}"}, {}),
    "dialogues": ({"messages": [("user", "{0}?"), ("assistant", "{1}!")]}, {"template": "t.jinja"}),
    "worked questions": (
        {"prompt": "{0} + 1?", "trace": "{0} + 1 = {1}.", "answer": "{1}"},
        {"target": {"chat": "answer"}},
    ),
    "pairs of dialogues": (
        {key: [("user", "{0}?"), ("assistant", said)] for key, said in {"chosen": "{1}", "rejected": "?"}.items()},
        {"pairs": True},
    ),
    "pairs": ({"q": "{0} + 1?", "chosen": "{1}", "rejected": "?"}, {"pairs": True, "columns": {"prompt": "q"}}),
}


def filled(value: Any, number: int) -> Any:
    if isinstance(value, list):
        return [{"role": role, "content": filled(content, number)} for role, content in value]
    return value.format(number, number + 1)


@pytest.mark.parametrize("kind", ROWS_OF)
def test_rows_with_parts_are_those_of_files(kind, tmp_path, monkeypatch):
    """The same documents; those of one prompt are one source."""
    monkeypatch.chdir(tmp_path)
    Path("t.jinja").write_text("{% for m in messages %}|{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}")
    row, settings = ROWS_OF[kind]
    rows = [{name: filled(value, number) for name, value in row.items()} for number in range(120)]
    write_jsonl(tmp_path / "text" / "chat" / "rows.jsonl", rows)
    given: dict[str, Any] = {"domains": ["chat"], "vocabulary": 320, "span": 32, "validation": 0.2, "focus": "chat"}
    file = Data(source="folder", root=str(tmp_path / "text"), **given, **settings)
    served = Data(
        source="hub", sources={"chat": str(tmp_path / "text" / "chat")}, domain_bytes=10**6, **given, **settings
    )
    found = [list(open_source(one).documents(one.names["chat"])) for one in (file, served)]
    there, here = (sorted((d.text, d.meta["parts"]) for d in documents) for documents in found)
    assert there == here
    assert len({d.source for d in found[1]}) == 120
    corpus = prepare(served, tmp_path / "out")
    assert intact(corpus)
    assert 0 < corpus.counted("chat", "train") < corpus.num_tokens("chat", "train")


def test_a_text_that_is_named_goes_before_columns_of_parts(dataset):
    """In a mixture of both."""
    named = Hub(data({"a": f"{dataset}#content"}, columns={"messages": "talk"}))
    assert next(named.documents(f"{dataset}#content")).text.startswith("code of ")


def test_no_name():
    with pytest.raises(UserError, match="'#text' names no dataset"):
        hub("#text")


def test_a_missing_column_is_named_with_those_there_are(dataset):
    name, key = f"{dataset}#body", "data.columns.text=body"
    assert complaint(name) == f"data.sources: {name}: no column 'body' (it has text, content, number); {key}"


def test_a_column_without_text(dataset):
    assert "column 'number' must be a string, not int" in complaint(f"{dataset}#number")


def test_an_unknown_configuration(dataset):
    assert "BuilderConfig 'nope' not found" in complaint(f"{dataset}:nope")


def test_an_empty_folder(tmp_path):
    assert "doesn't contain any data files" in complaint(str(tmp_path))


def test_a_broken_file(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "one"}\n{"text": ')
    assert complaint(str(tmp_path)).startswith(f"data.sources: {tmp_path} cannot be read: ")


@pytest.mark.slow
def test_without_a_network_the_command_ends_in_one_line(tmp_path):
    words = ["data.source=hub", "data.domains=[a]", "data.sources={a: nobody/nothing}", "data.domain_bytes=1000"]
    command = [sys.executable, "-m", "ablate.prepare", *words, f"where.outputs={tmp_path}"]
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=offline, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith("error: data.sources: nobody/nothing cannot be reached: ")
    assert not list((tmp_path / "data").glob("*/"))
