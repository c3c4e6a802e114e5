"""Text with parts that count: which tokens do is stored beside them, and read with them."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small import intact, write_jsonl  # pyrefly: ignore  # beside this file

from ablate.corpus import chat, turns
from ablate.corpus.document import Document
from ablate.data import documents, spool, text
from ablate.data.batches import Steps, validation_rows
from ablate.data.request import Levels
from ablate.data.tokens import check_held_out, prepare
from ablate.data.windows import IGNORED
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.corpus import Processing
from ablate.run.parse import from_plain
from ablate.run.settings import Data, UserError

ROWS = 300


def pairs(number: int) -> list[dict]:
    return [{"prompt": f"What is {i} plus {i + 1}?", "response": f"It is {2 * i + 1}."} for i in range(number)]


def chats(number: int) -> list[dict]:
    def chat(i: int) -> list[dict]:
        asked = [{"role": "system", "content": "Add."}, {"role": "user", "content": f"{i} and {i}?"}]
        return [
            *asked,
            {"role": "assistant", "content": f"{2 * i}"},
            *asked[1:],
            {"role": "assistant", "content": "Again!"},
        ]

    return [{"messages": chat(i)} for i in range(number)]


def data(root, rows=None, **settings):
    write_jsonl(root / "chat" / "rows.jsonl", pairs(ROWS) if rows is None else rows)
    write_jsonl(
        root / "text" / "rows.jsonl", [{"text": f"{i} times a line of text.", "source": str(i)} for i in range(ROWS)]
    )
    given: dict[str, Any] = {"domains": ["chat", "text"], "focus": "chat", "vocabulary": 320, "span": 32}
    return Data(source="folder", root=str(root), **(given | {"validation": 0.2} | settings))


def marks_of(corpus, domain="chat", split="train"):
    marks = corpus.marks(domain, split)
    assert marks is not None
    return marks


def counted(corpus, domain="chat", split="train"):
    """What of each document counts, as text."""
    tokens, marks = corpus.tokens(domain, split), marks_of(corpus, domain, split)
    ends = np.flatnonzero(tokens == corpus.end)
    tokenizer, begin, found = corpus.tokenizer(), 0, []
    for end in ends.tolist():
        mine = slice(begin, end)
        found.append((tokenizer.decode(tokens[mine][marks[mine] == 1].tolist()), bool(marks[end])))
        begin = end + 1
    return found


def test_answers_count_and_the_end_after_them(tmp_path):
    corpus = prepare(data(tmp_path / "text"), tmp_path / "out")
    found = counted(corpus)
    assert len(found) > 200
    assert all(text.startswith("It is ") and text.endswith(".") and end for text, end in found)
    assert corpus.counted("chat", "train") == int(marks_of(corpus).sum())
    assert corpus.marks("text", "train") is None
    assert corpus.counted("text", "train") == corpus.num_tokens("text", "train")
    assert intact(corpus)


def test_a_dialogue_counts_what_the_assistant_says(tmp_path):
    corpus = prepare(data(tmp_path / "text", chats(ROWS)), tmp_path / "out")
    assert all(text.strip().endswith("Again!") and "and" not in text and end for text, end in counted(corpus))
    whole = corpus.tokenizer().decode(corpus.tokens("chat", "train")[:60].tolist())
    assert "System: Add.\nUser: " in whole
    assert "\nAssistant: " in whole


def test_other_roles_count_where_they_are_asked_for(tmp_path):
    rows = data(tmp_path / "text", chats(ROWS), counts={"chat": "user"})
    assert all(
        "and" in text and "Again" not in text and not end for text, end in counted(prepare(rows, tmp_path / "out"))
    )
    everything = prepare(data(tmp_path / "text", chats(ROWS), counts={"chat": "all"}), tmp_path / "out")
    assert everything.marks("chat", "train") is None
    assert (everything.tokens("chat", "train") == prepare(rows, tmp_path / "out").tokens("chat", "train")).all()
    with pytest.raises(UserError, match=r"^data\.counts\.chat=narrator: no token of its train text counts"):
        prepare(data(tmp_path / "text", chats(ROWS), counts={"chat": "narrator"}), tmp_path / "out")


def test_what_counts_is_part_of_what_the_text_is(tmp_path):
    one, other = (
        prepare(data(tmp_path / "text", chats(ROWS), counts={"chat": what}), tmp_path / "out")
        for what in ("answers", "user")
    )
    assert (one.tokens("chat", "train") == other.tokens("chat", "train")).all()
    assert one.of_text("chat") != other.of_text("chat")
    assert one.fingerprint != other.fingerprint


def settings(where, **more):
    plain = {
        "data": json.loads(json.dumps(where.__dict__)),
        "tokens": 32 * 64,
        "step_tokens": 128,
        "length": {"lengths": [32]},
    }
    return from_plain(plain | {"evaluation": {"spans": 4, "times": 1}} | more)


def batch(corpus, one):
    spans = [(corpus.num_tokens(domain, "train") - 1) // 32 for domain in one.data.domains]
    return Steps(Order(timeline(one), spans), corpus)[3]


def test_the_objective_says_whether_all_tokens_of_a_row_count(tmp_path):
    where = data(tmp_path / "text")
    corpus = prepare(where, tmp_path / "out")
    whole, answers = (batch(corpus, settings(where, objective=name)) for name in ("next_token", "answers"))
    assert (whole.targets_BL != IGNORED).all()
    left = answers.targets_BL != IGNORED
    assert (answers.targets_BL[left] == whole.targets_BL[left]).all()
    assert (answers.tokens_BL == whole.tokens_BL).all()
    assert left[answers.domain_B == 1].all()
    share = corpus.counted("chat", "train") / corpus.num_tokens("chat", "train")
    assert left[answers.domain_B == 0].double().mean() == pytest.approx(share, abs=0.15)


def test_held_out_text_counts_alike_for_every_objective(tmp_path):
    where = data(tmp_path / "text")
    corpus = prepare(where, tmp_path / "out")
    one, other = (validation_rows(corpus, settings(where, objective=name)) for name in ("next_token", "answers"))
    assert (one.targets_BL == other.targets_BL).all()
    assert (one.targets_BL == IGNORED).any()


def test_a_document_is_cut_part_by_part_as_a_prompt_alone_is(tmp_path):
    corpus = prepare(data(tmp_path / "text"), tmp_path / "out")
    tokens, marks = corpus.tokens("chat", "train"), marks_of(corpus)
    end = int(np.flatnonzero(tokens == corpus.end)[0])
    prompt = tokens[:end][marks[:end] == 0].tolist()
    text = corpus.tokenizer().decode(prompt)
    assert text.startswith("What is ")
    assert text.endswith("?\n")
    assert corpus.tokenizer().encode(text, add_special_tokens=False).ids == prompt


def test_equal_text_of_other_parts_is_left_out_and_told(tmp_path, capsys):
    """The first in the order of sources stays."""
    rows = pairs(40)
    again = [{"prompt": f"{row['prompt']}\nIt", "response": f" {row['response'][3:]}"} for row in rows[:8]]
    corpus = prepare(data(tmp_path / "text", rows + again), tmp_path / "out")
    assert corpus.manifest["other parts"] == {"chat": 8, "text": 0}
    assert "domain chat: 8 documents are left out whose text stays with other parts\n" in capsys.readouterr().out
    assert sum(corpus.manifest["domains"]["chat"][split]["documents"] for split in ("train", "validation")) == 40


@pytest.mark.parametrize("part_bytes", [1, 25, 1000])
def test_what_is_left_out_is_counted_however_often_reading_is_broken_off(tmp_path, monkeypatch, part_bytes):
    """Parts of a document, of two, of all; what comes again just as it was, or without parts, is not counted."""
    monkeypatch.setattr(documents, "BATCH", 2)
    one, other = (turns.document(turns.pair(f"{n}? It", f"is {n}."), "a", {}) for n in range(2))
    same = one._replace(meta={turns.PARTS: [["response", len(one.text)]]})
    rows = [one, other, one, same, other, same, other._replace(meta={}), same]

    def source(stop: int) -> Iterator[Document]:
        yield from rows[:stop]
        if stop < len(rows):
            raise InterruptedError

    for stop in range(len(rows)):
        with pytest.raises(InterruptedError):
            spool.fill(tmp_path / "text", source(stop), lambda document: True, 0, part_bytes)
    spool.fill(tmp_path / "text", source(len(rows)), lambda document: True, 0, part_bytes)
    assert spool.other_parts(tmp_path / "text") == 3


def at_level_2(tmp_path, rule: str, response: str):
    """Dialogues of which the rule changes every response."""
    rows = [{"prompt": f"Who is {i}?", "response": response.format(i)} for i in range(ROWS)]
    where = data(tmp_path / "text", rows, level={"chat": 2})
    return prepare(where, tmp_path / "out", how=Levels(Processing(rules=[rule], allow=[rule])))


def test_what_is_masked_leaves_parts_as_they_are(tmp_path):
    corpus = at_level_2(tmp_path, "masks", "Write to lena.{}@posteo.de, please, today.")
    assert {text for text, _ in counted(corpus)} == {"Write to <EMAIL>, please, today."}


def test_text_that_a_level_changed_has_no_parts_any_more(tmp_path):
    with pytest.raises(
        UserError, match=r"^domain chat: a step of data\.level changed documents of which a part counts"
    ):
        at_level_2(tmp_path, "lines", "He is {0}, {0}, {0}, {0} and {0}.\nWe thank you for this question today.")


def test_held_out_spans_in_which_nothing_counts_are_refused(tmp_path):
    """Before the run: there are no bits per byte of them."""
    rows = [{"prompt": " ".join(f"{i} {j}" for j in range(40)), "response": "so"} for i in range(ROWS)]
    corpus = prepare(data(tmp_path / "text", rows), tmp_path / "out")
    with pytest.raises(
        UserError, match=r"^evaluation\.spans=1: in so many spans of 32 tokens of domain 'chat' nothing"
    ):
        check_held_out(corpus, 32, 1)
    check_held_out(corpus, 32, 16)


def test_counts_that_do_nothing_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"^data\.counts\.text=all: does nothing: no document of this domain has parts"):
        prepare(data(tmp_path / "text", counts={"text": "all"}), tmp_path / "out")
    with pytest.raises(UserError, match=r"^data\.counts\.prose=all: must be for one of data\.domains: chat, text"):
        settings(data(tmp_path / "text", counts={"prose": "all"}))
    with pytest.raises(UserError, match=r"^data\.template=.*: does nothing: no domain has dialogues$"):
        prepare(data(tmp_path / "text", template=str(chat.USUAL)), tmp_path / "out")
    with pytest.raises(UserError, match=r"^data\.template=x\.jinja: must be empty unless data\.source=folder"):
        text.check(Data(template="x.jinja"))
