"""Rows of prompt, chosen and rejected: a pair fills a span, and what does not fit is told."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small import intact, write_jsonl  # pyrefly: ignore  # beside this file

from ablate.data.batches import Steps, training_spans, validation_rows
from ablate.data.text import check as check_source
from ablate.data.tokens import num_spans, prepare
from ablate.data.windows import IGNORED
from ablate.fit.objectives import check
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.identity import run_id
from ablate.run.parse import from_plain
from ablate.run.settings import Data, SettingsError, UserError

SPAN = 64


def row(i: int) -> dict[str, str]:
    return {"prompt": f"What is {i} plus {i}?", "chosen": f"It is {2 * i}. ", "rejected": f"No idea, {i}?"}


def data(root, rows=None, **settings) -> Data:
    write_jsonl(root / "sums" / "rows.jsonl", [row(i) for i in range(200)] if rows is None else rows)
    given: dict[str, Any] = {"domains": ["sums"], "focus": "sums", "vocabulary": 400, "span": SPAN, "pairs": True}
    return Data(source="folder", root=str(root), **(given | {"validation": 0.1} | settings))


def halves(corpus, split="train", span=SPAN) -> list[tuple[str, str]]:
    """(text, what counts of it) of every half of every pair."""
    tokens, marks, end = corpus.tokens("sums", split), corpus.marks("sums", split), corpus.end
    assert marks is not None
    found, decode = [], corpus.tokenizer().decode
    for begin in range(0, len(tokens) - 1, span // 2):
        ids, counts = tokens[begin : begin + span // 2], marks[begin : begin + span // 2]
        assert ids[0] == ids[-1] == end
        [stop] = np.flatnonzero(np.diff(counts.astype(int), append=0) == -1).tolist()  # one run of them
        assert (ids[stop:] == end).all()
        found.append((decode(ids[1:stop].tolist()), decode(ids[:stop][counts[:stop] == 1].tolist())))
    return found


def test_a_pair_fills_a_span_and_its_responses_count(tmp_path):
    corpus = prepare(data(tmp_path / "text"), tmp_path / "out")
    found = [pair for split in ("train", "validation") for pair in halves(corpus, split)]
    pairs = {(better, worse) for better, worse in zip(found[::2], found[1::2], strict=True)}
    wanted = [(f"What is {i} plus {i}?\n", f"It is {2 * i}.", f"No idea, {i}?") for i in range(200)]
    assert pairs == {((prompt + better, better), (prompt + worse, worse)) for prompt, better, worse in wanted}
    spans = sum(num_spans(corpus.num_tokens("sums", split), SPAN) for split in ("train", "validation"))
    assert spans == 200  # to the last one
    assert intact(corpus)


def test_what_does_not_fit_and_equal_responses_are_left_out_and_told(tmp_path, capsys):
    rows = [row(i) for i in range(200)]
    for number in range(0, 200, 10):
        rows[number]["chosen"] = " ".join(f"{number}.{k}" for k in range(40))
    rows[5]["rejected"] = rows[5]["chosen"]
    corpus = prepare(data(tmp_path / "text", rows), tmp_path / "out")
    told = {split: corpus.manifest["domains"]["sums"][split] for split in ("train", "validation")}
    assert sum(one["left_out"] for one in told.values()) == 21
    assert sum(one["documents"] for one in told.values()) == 179
    lines = capsys.readouterr().out.splitlines()
    assert f"domain sums: {told['train']['left_out']} of" in lines[0]
    assert lines[0].endswith(f"left out: equal or empty responses, or longer than half of data.span={SPAN}")


def test_text_of_which_most_is_left_out_is_refused(tmp_path):
    rows = [row(i) | {"chosen": "far too long " * 40} for i in range(200)]
    with pytest.raises(UserError, match=r"^domain sums: \d+ of \d+ pairs .* do not fit into data.span=64"):
        prepare(data(tmp_path / "text", rows), tmp_path / "out")


def test_pairs_with_an_empty_part_are_left_out_and_told(tmp_path, capsys):
    rows = [row(i) for i in range(200)]
    rows[3]["chosen"], rows[50]["rejected"], rows[70]["prompt"], rows[90] = " ", "", "\n", dict.fromkeys(row(0), "")
    corpus = prepare(data(tmp_path / "text", rows), tmp_path / "out")
    assert corpus.total("sums", "documents") == 196
    assert "of its train text are left out" in capsys.readouterr().out


def test_text_of_another_kind_is_no_pair(tmp_path):
    with pytest.raises(UserError, match=r"rows\.jsonl, line 1: no column 'prompt' \(it has text\)"):
        prepare(data(tmp_path / "text", [{"text": f"It is {i}."} for i in range(200)]), tmp_path / "out")
    with pytest.raises(SettingsError, match=r"^data\.source=shards: must be another with data\.pairs=true"):
        check_source(Data(source="shards", pairs=True))


def said(*contents: str) -> list[dict[str, str]]:
    roles = itertools.cycle(("user", "assistant"))
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def dialogues(i: int) -> dict[str, Any]:
    return {key: said("Hello!", "Hi.", row(i)["prompt"], row(i)[key]) for key in ("chosen", "rejected")}


FORMS: dict[str, Callable[[int], dict[str, Any]]] = {
    "dialogues": dialogues,
    "beside the question": lambda i: dialogues(i) | {"prompt": row(i)["prompt"], "messages": [], "score": 1.0},
    "behind what was said": lambda i: {
        "prompt": dialogues(i)["chosen"][:-1],
        "chosen": dialogues(i)["chosen"][-1:],
        "rejected": dialogues(i)["rejected"][-1:],
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_pairs_may_be_dialogues(tmp_path, form):
    """Such as public preference data has them; pairs of one question are held out together whatever the form."""
    corpus = prepare(data(tmp_path / "text", [FORMS[form](i) for i in range(200)], span=128), tmp_path / "out")
    found = halves(corpus, "train", 128)
    assert len(found) % 2 == 0
    before = "User: Hello!\nAssistant: Hi.\nUser: What is {0} plus {0}?\nAssistant:"
    wanted = {(before.format(i) + f" {one.strip()}", f" {one.strip()}") for i in range(200) for one in answers(i)}
    assert set(found) | set(halves(corpus, "validation", 128)) == wanted
    assert (corpus.folder / "chat_template.jinja").exists()


def answers(i: int) -> tuple[str, str]:
    return row(i)["chosen"], row(i)["rejected"]


def test_answers_may_stand_behind_a_prompt_of_text(tmp_path):
    rows = [row(i) | {key: said("", row(i)[key])[1:] for key in ("chosen", "rejected")} for i in range(200)]
    found = halves(prepare(data(tmp_path / "text", rows), tmp_path / "out"))
    numbers = [int(text.split()[3]) for text, _ in found]
    better, worse = answers(numbers[0])
    assert [text for text, _ in found[:2]] == [
        f"User: What is {numbers[0]} plus {numbers[0]}?\nAssistant: {one.strip()}" for one in (better, worse)
    ]


def test_a_template_writes_pairs(tmp_path):
    template = tmp_path / "short.jinja"
    template.write_text(
        "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %}"
        "{% generation %}{{ m.content }}{% endgeneration %}~{% endif %}{% endfor %}"
    )
    rows = [dialogues(i) for i in range(200)]
    corpus = prepare(data(tmp_path / "text", rows, template=str(template)), tmp_path / "out")
    text, counted = halves(corpus)[0]
    i = int(text.split()[2])
    assert (text, counted) == (f"[Hello!]Hi.~[What is {i} plus {i}?]It is {2 * i}.", f"It is {2 * i}.")
    with pytest.raises(UserError, match=r"^data\.template=.*: does nothing: no domain has dialogues$"):
        prepare(data(tmp_path / "plain", template=str(template)), tmp_path / "out")


NO_PAIRS: dict[str, tuple[dict[str, Any], str]] = {
    "other questions": (
        {"chosen": said("Why?", "So."), "rejected": said("Who?", "I.")},
        "the better and the worse dialogue must be equal to their last message",
    ),
    "a question last": (
        {"chosen": said("Why?", "So.", "Really?"), "rejected": said("Why?", "No.")},
        "a dialogue must end with the assistant, not",
    ),
    "no messages": ({"chosen": [], "rejected": []}, "a dialogue must be a list of messages"),
    "text and messages": (
        {"prompt": "Why?", "chosen": "So.", "rejected": said("Why?", "No.")},
        "column 'rejected' must be a string, not list",
    ),
    "text without a question": (
        {"chosen": "Human: Why? Assistant: So.", "rejected": "Human: Why? Assistant: No."},
        "no column 'prompt' (it has chosen, rejected), which must hold what was asked where chosen and rejected are",
    ),
    "a number": (
        {"prompt": 3} | dict.fromkeys(("chosen", "rejected"), said("", "So.")[1:]),
        "role and content of a message must be strings, not \"{'role': 'user', 'content': 3}\"",
    ),
}


@pytest.mark.parametrize("name", NO_PAIRS)
def test_what_is_no_pair_is_told_with_its_row(tmp_path, name):
    wrong, line = NO_PAIRS[name]
    with pytest.raises(UserError) as error:
        prepare(data(tmp_path / "text", [wrong, *map(dialogues, range(100))]), tmp_path / "out")
    assert f"rows.jsonl, line 1: {line}" in str(error.value)


def test_pairs_of_one_prompt_are_held_out_together(tmp_path):
    rows = [row(i) | {"rejected": f"Perhaps {i} or {k}."} for i in range(60) for k in range(4)]
    corpus = prepare(data(tmp_path / "text", rows), tmp_path / "out")
    prompts = [{text.split("\n")[0] for text, _ in halves(corpus, split)} for split in ("train", "validation")]
    assert all(prompts)
    assert not prompts[0] & prompts[1]


def test_pairs_of_one_prompt_in_two_files_are_held_out_together(tmp_path):
    """Such as two models have answered: those of the other file are not trained on either, nor by another arm."""
    asked = [row(i) for i in range(100)]
    write_jsonl(tmp_path / "text" / "sums" / "more.jsonl", [one | {"rejected": f"{k}?"} for k, one in enumerate(asked)])
    base = prepare(data(tmp_path / "text", asked), tmp_path / "out")
    write_jsonl(tmp_path / "arm" / "sums" / "other.jsonl", [one | {"rejected": "Who knows."} for one in asked])
    arm = prepare(data(tmp_path / "arm", [row(300)], held_out=base.fingerprint), tmp_path / "out")
    held = {text.split("\n")[0] for text, _ in halves(base, "validation")}
    assert held
    for corpus in (base, arm):
        trained = {text.split("\n")[0] for text, _ in halves(corpus, "train")}
        assert len(trained) > 50
        assert not trained & held


def test_another_span_is_another_text(tmp_path):
    folders = {prepare(data(tmp_path / "text", span=span), tmp_path / "out").folder for span in (SPAN, 2 * SPAN)}
    assert len(folders) == 2


def test_columns_of_pairs_may_have_other_names(tmp_path):
    rows = [{"q": row(i)["prompt"], "win": row(i)["chosen"], "lose": row(i)["rejected"]} for i in range(200)]
    named = {"prompt": "q", "chosen": "win", "rejected": "lose"}
    there, here = (
        prepare(one, tmp_path / "out") for one in (data(tmp_path / "a", rows, columns=named), data(tmp_path / "b"))
    )
    assert there.tokens("sums", "train").tolist() == here.tokens("sums", "train").tolist()
    with pytest.raises(SettingsError, match=r"^data\.columns\.text=t: data\.pairs=True is for rows of prompt, chosen"):
        prepare(data(tmp_path / "c", columns={"text": "t"}), tmp_path / "out")
    with pytest.raises(SettingsError, match=r"^data\.columns\.chosen=win: data\.pairs=False is for pairs, which need"):
        prepare(data(tmp_path / "c", columns=named, pairs=False), tmp_path / "out")


def settings(where: Data, **more: Any):
    plain: dict[str, Any] = {
        "data": json.loads(json.dumps(where.__dict__)),
        "tokens": SPAN * 40,
        "step_tokens": SPAN * 4,
    }
    plain |= {"length": {"lengths": [SPAN]}, "evaluation": {"spans": 4, "times": 1}}
    return from_plain(plain | {"objective": "reward"} | more)


def test_rows_are_pairs_and_halves_are_responses(tmp_path):
    where = data(tmp_path / "text")
    corpus, one = prepare(where, tmp_path / "out"), settings(where)
    batch = Steps(Order(timeline(one), training_spans(corpus, one)), corpus)[2]
    for rows in (batch, validation_rows(corpus, one)):
        found = rows.halves()
        assert found.tokens_BL.shape == (2 * len(rows.tokens_BL), SPAN // 2)
        counted = found.targets_BL != IGNORED
        assert (found.targets_BL[:, :-1][counted[:, :-1]] == found.tokens_BL[:, 1:][counted[:, :-1]]).all()
        assert not counted[:, -1].any()  # whose target would be the first token of the other response
        assert counted.any(1).all()


def test_what_the_objective_knows_of_a_pair_goes_with_it(tmp_path):
    """Each row has the numbers of its own span, whatever process reads it."""
    where = data(tmp_path / "text")
    corpus, one = prepare(where, tmp_path / "out"), settings(where)
    spans = training_spans(corpus, one)
    order, beside = Order(timeline(one), spans), [np.arange(2.0 * spans[0]).reshape(-1, 2)]
    whole = Steps(order, corpus, beside=beside)[3]
    assert whole.beside_BK[:, 0].tolist() == (order.step(3).start_R // SPAN * 2).tolist()
    parts = [Steps(order, corpus, rank, 2, beside)[3] for rank in (0, 1)]
    assert (parts[1].beside_BK == whole.beside_BK[1::2]).all()


REFUSED = {
    "plain rows": ({"objective": "preference"}, "objective=preference: must be next_token or answers or distill with"),
    "pairs read as text": ({"data": {"pairs": True}}, "objective=next_token: must be preference or reward with"),
    "no start": (
        {"data": {"pairs": True}, "objective": "preference"},
        "start=none: must be a run or a folder with objective=preference",
    ),
    "a loss of another objective": (
        {"preference": {"beta": 0.5}},
        "preference.kind=sigmoid: must be as it is by default with objective=next_token",
    ),
    "a setting of another kind": (
        {"data": {"pairs": True}, "objective": "preference", "start": "run:x", "preference": {"gamma": 1.0}},
        "preference.gamma=1.0: must be left out with preference.kind=sigmoid",
    ),
    "a scale of what has none": (
        {
            "data": {"pairs": True},
            "objective": "preference",
            "start": "run:x",
            "preference": {"kind": "chosen", "beta": 1},
        },
        "preference.beta=1.0: must be left out with preference.kind=chosen",
    ),
    "ipo at 0": (
        {
            "data": {"pairs": True},
            "objective": "preference",
            "start": "run:x",
            "preference": {"kind": "ipo", "beta": 0},
        },
        "preference.beta=0: must be above 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_no_pair_fits_are_refused(name):
    config, line = REFUSED[name]
    with pytest.raises(SettingsError) as error:
        check(from_plain(config))
    assert str(error.value).startswith(line)


def test_what_does_nothing_to_pairs_is_refused(tmp_path):
    given = {"pairs": True, "domains": ["sums"]}
    with pytest.raises(SettingsError, match=r"^data\.counts=.*: must be left out with data\.pairs=true"):
        from_plain({"data": given | {"counts": {"sums": "all"}}, "length": {"lengths": [1024]}})
    with pytest.raises(SettingsError, match=r"^data\.target\.sums=answer: sums holds no worked questions$"):
        prepare(data(tmp_path / "text", target={"sums": "answer"}), tmp_path / "out")


def test_a_pair_is_a_row():
    with pytest.raises(SettingsError, match=r"^length\.lengths=\[512, 1024\]: must be \[1024\] with data\.pairs=true"):
        from_plain({"data": {"pairs": True}, "length": {"lengths": [512, 1024], "starts": [0, 0.5]}})


def test_what_is_as_it_was_keeps_its_id():
    of_old, spelled = from_plain({}), from_plain({"preference": {"kind": "sigmoid", "beta": 0.1, "gamma": 0.5}})
    assert run_id(of_old, "text") == run_id(spelled, "text")
    pairs = {"data": {"pairs": True}, "objective": "preference", "start": "run:x@" + "0" * 64}
    ids = {run_id(from_plain(pairs | {"preference": {"beta": beta}}), "text") for beta in (0.1, 0.2)}
    assert len(ids) == 2
