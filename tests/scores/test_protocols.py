"""What a model is asked, to the letter and to the token; and the traps of asking."""

import dataclasses

import pytest
import torch
from candidates import SPAN, candidate, naive, words  # pyrefly: ignore  # beside this file
from tokenizers.processors import TemplateProcessing

from ablate.run.settings import UserError
from ablate.scores import sampling
from ablate.scores.items import Item, check
from ablate.scores.protocols import PROTOCOLS, both, cloze, generate, likelihood, normalised, write
from ablate.scores.sampling import Answer

CAPITAL = Item("1", "geo", "Question: What is the capital of Italy?\nAnswer:", (" Rome", " London", " the sea"), 0)
SUM = Item("2", "sums", "Question: What is 2 + 2?\nAnswer:", (" 5", " 4"), 1)


def quiet() -> None:
    pass


def nats(one, context, choice):
    return naive(one, context + choice) - naive(one, context)


def test_cloze_scores_the_text_of_each_choice_where_it_would_stand():
    one = candidate()
    [row] = cloze(one, [CAPITAL], [], quiet)
    assert row["nats"] == pytest.approx([nats(one, CAPITAL.context, choice) for choice in CAPITAL.choices], abs=1e-5)
    assert (row["item"], row["source"], row["gold"]) == ("1", "geo", 0)
    assert row["bytes"] == [5, 7, 8]
    assert row["tokens"] == [len(one.tokens(choice)) - 1 for choice in CAPITAL.choices]


def test_solved_items_stand_before_each_as_paragraphs():
    one = candidate()
    [row] = cloze(one, [CAPITAL], [SUM], quiet)
    context = "Question: What is 2 + 2?\nAnswer: 4\n\n" + CAPITAL.context
    assert row["nats"] == pytest.approx([nats(one, context, choice) for choice in CAPITAL.choices], abs=1e-5)


def test_likelihood_lists_the_choices_and_scores_their_letters():
    one = candidate()
    [row] = likelihood(one, [CAPITAL], [SUM], quiet)
    context = (
        "Question: What is 2 + 2?\nA. 5\nB. 4\nAnswer: B\n\n"
        "Question: What is the capital of Italy?\nA. Rome\nB. London\nC. the sea\nAnswer:"
    )
    assert row["nats"] == pytest.approx([nats(one, context, letter) for letter in (" A", " B", " C")], abs=1e-5)
    assert row["bytes"] == [2, 2, 2]


def test_a_context_without_a_cue_gets_one():
    one, item = candidate(), Item("1", "s", "The house of the king", (" stands.", " stand."), 0)
    [row] = likelihood(one, [item], [], quiet)
    context = "The house of the king\nA. stands.\nB. stand.\nAnswer:"
    assert row["nats"] == pytest.approx([nats(one, context, letter) for letter in (" A", " B")], abs=1e-5)
    [bare] = likelihood(one, [dataclasses.replace(item, context="")], [], quiet)
    context = "A. stands.\nB. stand.\nAnswer:"
    assert bare["nats"] == pytest.approx([nats(one, context, letter) for letter in (" A", " B")], abs=1e-5)


@pytest.mark.parametrize("number", [1, 27])
def test_a_list_that_has_no_letters_for_its_choices_is_refused(number):
    with pytest.raises(UserError, match=f"item '1': a list takes 2 to 26 choices, not {number}"):
        likelihood(candidate(), [dataclasses.replace(CAPITAL, choices=(" Rome",) * number)], [], quiet)


@pytest.mark.parametrize("pattern", ["A", "M"])
def test_tokens_that_merge_across_the_border(pattern):
    """ "house" + "s" is one token, and "=" + "= 12" begins with another one: whole less context, to the token."""
    one = candidate(pattern=pattern)
    item = Item("m", "s", "if a =", ("= b", "= houses"), 0)
    whole, before = one.tokens(item.context + item.choices[0]), one.tokens(item.context)
    assert whole[: len(before)] != before
    [row] = cloze(one, [item], [], quiet)
    assert row["nats"] == pytest.approx([nats(one, item.context, choice) for choice in item.choices], abs=1e-5)


def test_a_trailing_space_is_refused_by_name():
    with pytest.raises(UserError, match="task t: item 'x': the context ends in a space; each choice must begin with"):
        check("t", [Item("x", "s", "Answer: ", ("4", "5"), 0)])


@pytest.mark.parametrize("words_", ["plain", "puts a token in front"])
def test_every_document_begins_after_one_end_token(words_):
    """Also with a tokenizer that would put a token of its own before a text and behind it."""
    its = type(words()).from_str(words().to_str())
    its.encode_special_tokens = True
    if words_ != "plain":
        its.post_processor = TemplateProcessing(single="<|end|> $A <|end|>", special_tokens=[("<|end|>", 0)])
    one = candidate(its)
    assert one.tokens("The house").count(one.end) == 1
    assert one.tokens("The house")[0] == one.end
    assert one.tokens("<|end|>").count(one.end) == 1  # text that is spelled so is text
    [row] = cloze(one, [CAPITAL], [], quiet)
    assert row["nats"] == cloze(candidate(), [CAPITAL], [], quiet)[0]["nats"]


def test_answers_of_unequal_length_do_not_touch_one_another():
    one = candidate()
    alone = [cloze(one, [dataclasses.replace(CAPITAL, choices=(choice,))], [], quiet)[0] for choice in CAPITAL.choices]
    [together] = cloze(one, [CAPITAL], [], quiet)
    assert together["nats"] == pytest.approx([row["nats"][0] for row in alone], abs=1e-5)
    assert len(set(together["tokens"])) > 1


def test_shuffled_choices_are_scored_alike():
    one, turned = candidate(), dataclasses.replace(CAPITAL, choices=CAPITAL.choices[::-1], gold=2)
    rows = cloze(one, [CAPITAL, SUM], [], quiet), cloze(one, [SUM, turned], [], quiet)
    assert rows[1][1]["nats"] == pytest.approx(rows[0][0]["nats"][::-1], abs=1e-5)
    assert rows[1][0]["nats"] == pytest.approx(rows[0][1]["nats"], abs=1e-5)


def test_what_does_not_fit_is_cut_at_the_beginning_alike_for_all_choices_and_counted():
    whole = candidate()
    one, longest = dataclasses.replace(whole, span=12), len(whole.tokens(CAPITAL.context + " London"))
    [row] = cloze(one, [CAPITAL], [], quiet)
    assert row["cut"] == longest - 12 - 1  # the last token is not read
    for choice, its in zip(CAPITAL.choices, row["nats"], strict=True):
        request, _ = one.following(CAPITAL.context, choice)
        with torch.no_grad():
            tokens = torch.tensor([request.context[row["cut"] :] + request.continuation])
            logs = one.language.logits(tokens)[0, -len(request.continuation) - 1 : -1].double().log_softmax(-1)
        assert its == pytest.approx(-logs.gather(1, tokens[0, -len(logs) :, None]).sum().item(), abs=1e-5)
    assert "cut" not in cloze(whole, [CAPITAL], [], quiet)[0]


def test_an_item_longer_than_the_span_is_refused_by_name():
    one, long = candidate(), Item("long", "s", "The", (" house" * 140, " sea"), 0)
    with pytest.raises(UserError, match=f"item 'long': a choice leaves no room for its context in {SPAN} tokens"):
        cloze(one, [long], [], quiet)


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_answer_is_refused_by_name(empty):
    with pytest.raises(UserError, match="task t: item '1': an empty choice has no bytes"):
        check("t", [dataclasses.replace(CAPITAL, choices=(" Rome", empty))])


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([], "no items"),
        ([CAPITAL, CAPITAL], "item '1' comes twice"),
        ([dataclasses.replace(CAPITAL, gold=3)], "gold=3: must be the number of one of its 3 choices"),
    ],
)
def test_items_that_cannot_be_asked_are_named(items, why):
    with pytest.raises(UserError, match=why):
        check("t", items)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_every_protocol_gives_a_row_an_item_in_order(protocol):
    rows = PROTOCOLS[protocol](candidate(), [SUM, CAPITAL], [], quiet)
    assert [(row["item"], row["source"], row["gold"]) for row in rows] == [("2", "sums", 1), ("1", "geo", 0)]


def teach(one, text: str, answer: str) -> None:
    """Make the model go on from this text with that answer, and then with a new line."""
    ids, wanted = list(one.tokens(text)), one.encode(answer + "\n")
    with torch.no_grad():
        for token in wanted:
            hidden_BLD = one.language(torch.tensor([ids]))
            one.language.head_weight[token] += 1000 * hidden_BLD[0, -1]
            ids.append(token)


def test_generate_compares_the_first_line_with_the_right_choice():
    one = candidate(tied=False)
    [before] = generate(one, [CAPITAL], [], quiet)
    teach(one, CAPITAL.context, " Rome.")
    [row] = generate(one, [CAPITAL], [], quiet)
    assert (row["text"], row["right"], row["gold"]) == (" Rome.", True, 0)
    assert not before["right"]
    assert row["nats"] == pytest.approx([nats(one, CAPITAL.context, " Rome")], abs=1e-5)
    assert (row["bytes"], "cut" in row) == ([5], False)
    [other] = generate(one, [dataclasses.replace(CAPITAL, gold=1)], [], quiet)
    assert (other["text"], other["right"], other["bytes"]) == (" Rome.", False, [7])


def test_an_answer_on_a_line_of_its_own_can_be_right():
    """The new line before it is no end of it."""
    one, item = candidate(tied=False), Item("k", "s", "The house", ("\n  Rome", "\n  London"), 0)
    teach(one, "The house\n", " Rome.")
    [row] = generate(one, [item], [], quiet)
    assert (row["text"], row["right"]) == (" Rome.", True)


def test_what_is_generated_ends_with_the_end_token_too():
    one = candidate(tied=False)
    with torch.no_grad():
        hidden_BLD = one.language(torch.tensor([one.tokens(CAPITAL.context)]))
        one.language.head_weight[one.end] = 100 * hidden_BLD[0, -1]
    [row] = generate(one, [CAPITAL], [], quiet)
    assert (row["text"], row["right"]) == ("", False)


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        (" Rome", " Rome", True),
        ("rome. ", " Rome", True),
        (' "Rome"!\nQuestion: and', " Rome", True),
        (" 1,250,000", " 1250000", True),
        (" 1,2", " 12", False),
        (" -4", " 4", False),
        (" Rome or London", " Rome", False),
        ("", " Rome", False),
        ("", " !", False),  # an answer that is a sign is not nothing
        (" !", " !", True),
        (" .5", " 5", False),
        ("... Rome", " Rome", True),
        ("...5", " 5", False),
        (" ｃａｆé", " café", True),
    ],
)
def test_an_answer_is_right_by_what_it_says_and_not_by_how_it_is_written(answer, gold, right):
    assert (normalised(answer) == normalised(gold)) == right


WRITTEN = {
    "its steps": (
        "Steps: two, then two more.\nAnswer: 4",
        "Question: What is 2 + 2?\nSteps: two, then two more.\nAnswer:",
    ),
    "at once": ("Answer: 4", "Question: What is 2 + 2?\nAnswer:"),
    "no label": ("Steps: that makes 4.", "Question: What is 2 + 2?\nSteps: that makes 4.\nAnswer:"),
}


@pytest.mark.parametrize(("written", "context"), WRITTEN.values(), ids=WRITTEN)
def test_write_lets_the_model_go_its_own_way_to_the_answer(monkeypatch, written, context):
    one, prompts = candidate(), []

    def says(language, asked, pieces, **how):
        prompts.extend(asked)
        return [Answer(written if len(prompts) == 1 else " 5")]

    monkeypatch.setattr(sampling, "generate", says)
    [row] = write(one, [SUM], [], quiet)
    assert tuple(prompts[0]) == one.tokens("Question: What is 2 + 2?\n")
    assert tuple(prompts[1]) == one.tokens(context)
    assert row["nats"] == pytest.approx([nats(one, context, " 4")], abs=1e-5)
    assert (row["text"], row["right"]) == (("4.", True) if "Answer:" not in written else (" 5", False))


@pytest.mark.parametrize(
    ("steps", "right", "came"),
    [
        (" 2 + 2 = 4.\nAnswer: 4", True, True),
        (" 2 + 2 = 5.\nAnswer: 5", False, True),
        (" it is 4", True, False),
        ("", False, False),
    ],
)
def test_both_answers_at_once_and_behind_steps(monkeypatch, steps, right, came):
    one, prompts = candidate(), []

    def says(language, asked, pieces, **how):
        prompts.extend(asked)
        at_once = Answer(" 5", [7, 8], "end")
        return [at_once if len(prompts) == 1 else Answer(steps, list(range(9)), "tokens")]

    monkeypatch.setattr(sampling, "generate", says)
    [row] = both(one, [SUM], [], quiet)
    question = one.tokens("Question: What is 2 + 2?\n")
    assert [tuple(prompt) for prompt in prompts] == [one.tokens(SUM.context), (*question, *one.encode("Steps:"))]
    assert (row["text"], row["right"], row["written"], row["ended"]) == (" 5", False, 2, True)
    assert row["steps"] == {"text": steps, "right": right, "written": 9, "came": came}
    assert (row["asked"], row["read"]) == ("Question: What is 2 + 2?", len(question))
    with torch.no_grad():
        state = one.language(torch.tensor([question]))[0, -1]
    assert row["state"] == pytest.approx(state.tolist(), rel=2e-3)


def test_states_do_not_depend_on_the_questions_beside_them():
    one = candidate()
    rows = both(one, [SUM, CAPITAL], [], quiet)
    alone = [both(one, [item], [], quiet)[0]["state"] for item in (SUM, CAPITAL)]
    assert [row["state"] for row in rows] == [pytest.approx(state, rel=2e-3) for state in alone]


@pytest.mark.parametrize("protocol", [write, both])
def test_steps_need_a_label_that_the_answer_stands_behind(protocol):
    with pytest.raises(UserError, match="must end in a line such as Answer:"):
        protocol(candidate(), [dataclasses.replace(SUM, context="2 + 2 =")], [], quiet)
