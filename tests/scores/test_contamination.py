"""Items in training text: planted ones are found however they are set, and what is only like them is not."""

import json
import random
import unicodedata

import pytest

from ablate.corpus.document import Document
from ablate.data.questions import question
from ablate.data.tokens import Corpus, prepare
from ablate.run.evaluate import Task
from ablate.run.settings import Data
from ablate.scores import contamination
from ablate.scores.contamination import Trace, search
from ablate.scores.items import Item
from ablate.scores.ngrams import words_of
from ablate.scores.tasks.questions import Options, make
from tests.scores.tasks.heldtext import Held

PASSAGE = (
    "The lighthouse at the northern cape was built of grey stone in the year of the great storm, and for ninety "
    "winters its keepers lit the lamp at dusk, wrote down every ship that passed, and slept by turns until dawn."
)


def found(items, *texts: str) -> set[str]:
    trace = Trace({"t": items})
    trace.read("web", texts)
    return {one.item for one in trace.found.values()}


def item(key: str, context: str, right: str, wrong: str = " nothing of the kind") -> Item:
    return Item(key, key, context, (right, wrong), 0)


LONG = item("long", f"{PASSAGE} In the last winter the keeper wrote", " that no ship had passed for nine days.")
SHORT = item("short", "Question: Who built the lighthouse at the cape?\nAnswer:", " Elias Thorn")
WHOLE = f"{LONG.context}{LONG.choices[0]}"


def wrapped(text: str, width: int = 30) -> str:
    lines = [text[i : i + width] for i in range(0, len(text), width)]
    return "-\n  ".join(line.rsplit(" ", 1)[0] + "\n" + line.rsplit(" ", 1)[-1] for line in lines).replace("-\n  ", "")


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        WHOLE.lower(),
        WHOLE.upper(),
        wrapped(WHOLE),
        WHOLE.replace(",", ";").replace(".", " ..."),
        f"Other words before. {WHOLE} And others after it, of a document that goes on.",
    ],
)
def test_an_item_is_found_however_it_is_set(text):
    assert found([LONG, SHORT], "First document.", text, "Last document.") == {"long"}


ITALIAN = item(
    "italian",
    "Perché la città era così difficile da raggiungere, l’ufficiale partì più tardi e, finché poté, camminò lungo il",
    " caffè della virtù",
)


@pytest.mark.parametrize(
    "how",
    [
        lambda text: unicodedata.normalize("NFD", text),  # as files from macOS have it
        lambda text: text.replace("’", "'"),
        lambda text: text.replace("ffi", "ﬃ").replace("fi", "ﬁ"),  # as PDFs have it
        lambda text: text.replace("difficile", "diffi\u00adci\u00adle").replace(" ", " \u200b"),
    ],
)
def test_an_item_is_found_in_whatever_form_of_unicode(how):
    text = how(f"{ITALIAN.context}{ITALIAN.choices[0]}")
    assert found([ITALIAN, LONG], f"È stato detto: {text}.") == {"italian"}


def test_a_question_is_found_with_its_answer_a_little_later():
    asked = "who built the lighthouse at the cape?"
    assert found([LONG, SHORT], f"... {asked} It was, as the books tell, Elias Thorn.") == {"short"}
    assert found([SHORT], f"... {asked} Nobody knows.") == set()
    assert found([SHORT], f"{asked} {'No. ' * 60} Elias Thorn") == set()  # too far
    assert found([SHORT], f"{asked}", "Elias Thorn") == set()  # of another document


def test_half_of_an_item_is_enough_and_a_quotation_is_not():
    words = WHOLE.split()
    assert found([LONG], " ".join(words[: len(words) * 3 // 4])) == {"long"}
    assert found([LONG], " ".join(words[: len(words) // 3])) == set()
    halves = " ".join(words[:25]), " ".join(words[25:50])
    assert found([LONG], *halves) == set()  # no single document has it


def test_a_text_that_several_questions_quote_contaminates_none_of_them():
    """A source that a task asks about may be trained on; a question that stands there with its answer may not."""
    asked = {
        "stone": "Of which stone was it built?",
        "lamp": "When did they light the lamp?",
        "turns": "Who slept by turns?",
    }
    answers = {"stone": " grey stone", "lamp": " at dusk", "turns": " the keepers of the northern cape"}
    items = [item(key, f"{PASSAGE}\nQuestion: {asked[key]}\nAnswer:", answers[key]) for key in asked]
    assert found(items, f"{PASSAGE} And so it went on.") == set()
    assert found(items, f"{PASSAGE}\nQuestion: {asked['lamp']}\nAnswer: at dusk") == {"lamp"}


def test_a_header_that_stands_everywhere_contaminates_nothing():
    header = " ".join(f"Permission is granted number {n} to use copy and change this file" for n in range(3))
    items = [item(str(n), f"{header} {words}", f" {n} is returned") for n, words in enumerate(("So one", "So two"))]
    assert found(items, *[f"{header} code of file {n}" for n in range(50)]) == set()


def test_less_than_five_words_are_never_called_so():
    assert found([item("sum", "3 + 4 =", " 7")], "3 + 4 = 7") == set()
    assert found([item("tiny", "It", " was a dark and stormy night.")], "it was a dark and stormy night") == {"tiny"}


def test_numbers_and_signs_count():
    two = [item("plus", "Question: What is 50 + 31 * 4?\nAnswer:", " 174")]
    assert found(two, "What is 50 + 31 * 4? 174") == {"plus"}
    assert found(two, "What is 50 - 31 * 4? 174", "What is 50 + 32 * 4? 174") == set()
    assert words_of("Naïve_x, 5+3: 日本") == ["naïve", "x", "5", "+", "3", "日", "本"]


def test_templates_of_generated_questions_contaminate_none_and_planted_ones_are_found():
    items = make(Task(), Options(), Held({}), 400)
    training = [question(i).text for i in range(4000)]
    asked = {text.partition("\nSteps:")[0] for text in training}
    truly = {item.key for item in items if item.context.partition("\nSteps:")[0] in asked}
    clean = found(items, *training)
    assert truly <= clean
    assert len(clean - truly) <= 0.01 * len(items)  # the same calculation under other names
    planted = random.Random(0).sample([item for item in items if item.key not in clean], 30)
    texts = [
        f"{training[n]} {one.context}{one.choices[one.gold]} {training[n + 30]}".lower()
        for n, one in enumerate(planted)
    ]
    assert found(items, *training, *texts) - clean >= {one.key for one in planted}


def planted_corpus(tmp_path) -> Corpus:
    rows = [Document(question(i).text, str(i)) for i in range(300)]
    rows[50:50] = [Document(f"Some words. {WHOLE} Some more words.", f"plant {n}") for n in range(8)]
    (tmp_path / "web").mkdir()
    lines = (json.dumps({"text": f"{n}: {row.text}", "source": row.source}) for n, row in enumerate(rows))
    (tmp_path / "web" / "rows.jsonl").write_text("\n".join(lines))
    data = Data(source="folder", root=str(tmp_path), domains=["web"], vocabulary=400, span=64)
    return prepare(data, tmp_path / "outputs")


def test_what_is_found_is_kept_with_its_evidence(tmp_path, monkeypatch):
    corpus = planted_corpus(tmp_path)
    tasks = {"mine": [LONG, SHORT], "other": [SHORT]}
    [one] = search(tasks, corpus)["mine"]
    assert (one.item, one.domain, one.share) == ("long", "web", 1.0)
    assert one.span == WHOLE[: contamination.SPAN].rstrip(".")
    monkeypatch.setattr(contamination, "_read", None)
    assert search(tasks, corpus) == {"mine": [one], "other": []}  # not searched again
    with pytest.raises(TypeError):
        search({"new": [LONG]}, corpus)


def test_what_was_found_by_another_rule_is_searched_again(tmp_path, monkeypatch):
    corpus = planted_corpus(tmp_path)
    monkeypatch.setattr(contamination, "RULE", 0)
    monkeypatch.setattr(contamination, "SHARE", 2.0)
    assert search({"mine": [LONG]}, corpus) == {"mine": []}
    monkeypatch.undo()
    assert [one.item for one in search({"mine": [LONG]}, corpus)["mine"]] == ["long"]
