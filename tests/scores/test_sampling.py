"""What a model goes on with: greedy as by hand, drawn as asked, whoever stands beside it, and where it stops."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ablate.model.language import build
from ablate.run.settings import Mamba, Model, Size, UserError
from ablate.scores import sampling
from ablate.scores.draw import Draw
from ablate.scores.sampling import choose, generate

SIZE = Size(width=48, depth=4, heads=4, kv_heads=2, hidden=64)
VOCABULARY = 97
PIECES = [f" {token}".encode() for token in range(VOCABULARY)]
PROMPTS = [[0, 5, 9, 3], [0], [0, 61, 7, 8, 9, 10, 11, 12], [0, 5, 9]]
DRAWN: dict[str, Any] = {"tokens": 12, "temperature": 1.0}


def language(pattern="A", seed=0):
    mamba = Mamba(state=16, head_width=16, chunk=16)
    return build(Model(pattern=pattern, mamba=mamba, init_scale=1.2), SIZE, VOCABULARY, seed)


@torch.no_grad()
def by_hand(model, prompt, tokens):
    read = list(prompt)
    for _ in range(tokens):
        read.append(int(model.logits(torch.tensor([read]))[0, -1].argmax()))
    return read[len(prompt) :]


@pytest.mark.parametrize("pattern", ["A", "L", "M", "MMMA", "LMMM"])
def test_greedy_text_is_that_of_a_model_run_again_and_again(pattern):
    model = language(pattern)
    answers = generate(model, PROMPTS, PIECES, tokens=12)
    assert [answer.tokens for answer in answers] == [by_hand(model, prompt, 12) for prompt in PROMPTS]
    assert answers[0].text == "".join(f" {token}" for token in answers[0].tokens)
    assert {answer.ended for answer in answers} == {"tokens"}


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_text_does_not_depend_on_the_prompts_beside_it(temperature, monkeypatch):
    model, asked = language("MMMA"), {"tokens": 12, "temperature": temperature, "end": 40, "stop": [" 8"]}
    alone = [generate(model, [prompt], PIECES, **asked)[0] for prompt in PROMPTS]
    assert generate(model, PROMPTS, PIECES, **asked) == alone
    assert generate(model, PROMPTS[::-1], PIECES, **asked) == alone[::-1]
    monkeypatch.setattr(sampling, "ROWS", 2)
    assert generate(model, PROMPTS, PIECES, **asked) == alone


def test_seeds_draw_other_texts_and_equal_prompts_other_ones():
    model = language()
    once = generate(model, [[0, 5]], PIECES, **DRAWN, seed=1)
    assert once == generate(model, [[0, 5]], PIECES, **DRAWN, seed=1)
    assert once != generate(model, [[0, 5]], PIECES, **DRAWN, seed=2)
    first, second, third = generate(model, [[0, 5]] * 3, PIECES, **DRAWN, seed=1)
    assert once == [first]
    assert len({first.text, second.text, third.text}) == 3


def shares(draw: Draw, p: list[float]) -> list[float]:
    """How often each token is chosen, over chances that are spread evenly."""
    chance_B = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    found = Counter(choose(torch.tensor(p).log().expand(1000, -1), draw, chance_B).tolist())
    return [found[token] / 1000 for token in range(len(p))]


def test_what_is_drawn_has_the_probabilities_that_were_asked_for():
    p = [0.1, 0.4, 0.2, 0.3]
    assert shares(Draw(temperature=1.0), p) == pytest.approx(p, abs=0.001)
    assert shares(Draw(temperature=0), p) == [0, 1, 0, 0]
    assert shares(Draw(temperature=0.5), p) == pytest.approx([1 / 30, 16 / 30, 4 / 30, 9 / 30], abs=0.001)
    assert shares(Draw(temperature=1.0, top_k=2), p) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.001)
    # .4 is not .5, .4 and .3 are
    assert shares(Draw(temperature=1.0, top_p=0.5), p) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.001)
    assert shares(Draw(temperature=1.0, top_p=0.1), p) == [0, 1, 0, 0]
    assert shares(Draw(temperature=1.0, top_k=1, top_p=0.9), p) == [0, 1, 0, 0]


def scripted(pieces: list[bytes]) -> Any:
    """A model that says these pieces, one after the other, whatever it was asked."""

    def forward(tokens_BL, cache, new_B=None):
        at = cache.reading(tokens_BL, new_B)
        return F.one_hot((at.position_BL % len(pieces)), len(pieces)).float()

    said = SimpleNamespace(head_weight=torch.eye(len(pieces)), blocks=[])
    return type("Scripted", (), {"__call__": staticmethod(forward), **vars(said)})()


def spoken(pieces: list[bytes], **asked: Any) -> tuple[Any, list[str]]:
    """The answer of a model that says these, and what was told of it piece by piece."""
    told: list[str] = []
    given: dict[str, Any] = {"tokens": len(pieces), "tell": lambda _, text: told.append(text)} | asked
    [answer] = generate(scripted(pieces), [[0]], pieces, **given)
    assert "".join(told) == answer.text
    return answer, told


def test_a_stop_string_ends_the_text_even_where_tokens_cut_it():
    answer, told = spoken([b"one ", b"S", b"ee ST", b"O", b"P two"], stop=["STOP", "never"])
    assert (answer.text, answer.ended, len(answer.tokens)) == ("one See ", "stop", 5)
    assert told == ["one ", "See "]  # an S may begin the stop string: it is told when it does not
    assert spoken([b"ab", b"c", b"d"], stop=["cd", "bc"])[0].text == "a"
    answer, told = spoken([b"end", b" ST"], stop=["STOP"])
    assert (answer.text, answer.ended, told) == ("end ST", "tokens", ["end", " ST"])


def test_a_character_appears_when_it_is_whole():
    snow = "\u2603".encode()
    _, told = spoken([b"a" + snow[:1], snow[1:2], snow[2:] + b"b", b"c" + snow[:2]])
    assert told == ["a", "\u2603b", "c\ufffd"]
    assert spoken([snow[:1], b"a"])[0].text == "\ufffda"
    assert spoken([snow[:2], snow[2:] + b"!"], stop=["\u2603"])[0].text == ""


def test_the_end_token_is_no_text():
    answer, told = spoken([b"one", b" two", b"END", b" three"], end=2)
    assert (answer.text, answer.tokens, answer.ended) == ("one two", [0, 1], "end")
    assert told == ["one", " two"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": -1.0}, "temperature=-1.0: must be 0"),
        ({"top_k": -2}, "top_k=-2: must be 0"),
        ({"top_p": 0.0}, "top_p=0.0: must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p=1.5: must be above 0"),
        ({"tokens": 0}, "tokens=0: must be 1 or more"),
        ({"stop": [""]}, "stop=: must be a text that is not empty"),
    ],
)
def test_values_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        generate(language(), [[0]], PIECES, **{"tokens": 3} | changes)
