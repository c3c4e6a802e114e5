"""Protocols: how a model is asked for an item, and the row that its answer becomes.

    likelihood   the choices stand in a list, and their letters are scored
    cloze        the text of each choice is scored where it would stand
    generate     the model writes, and the first line is compared with the right choice
    write        the same, but the model may write what it likes before the last line of the context: its steps
    both         as `generate`, and once more with steps, which the model is made to begin with: for `ablate route`

The same item under the first two, with one solved item before it:

    Question: 1 + 1?         Question: 1 + 1?
    A. 2                     Answer: 2
    B. 3
    Answer: A                Question: 2 + 2?
                             Answer:| 4| 5
    Question: 2 + 2?
    A. 5
    B. 4
    Answer:| A| B

A last line of the context that ends in a colon stands behind the list; without one, "Answer:" does.

To add a protocol: a function here and its name in PROTOCOLS.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ablate.run.settings import UserError
from ablate.scores import sampling
from ablate.scores.candidate import Candidate
from ablate.scores.items import Item, Row
from ablate.scores.requests import Request, last_states, score

OUTER_SIGNS = r"^(?:[ ,;:!?\"'`*]|\.(?!\d))+|[ .,;:!?\"'`*]+$"  # the full stop of .5 is none
STEPS = "Steps:"  # what the steps to an answer begin with, as `corpus.targets` writes them
SPARE_TOKENS = 8  # that an answer may have beyond the longest right one

Beat = Callable[[], None]
Protocol = Callable[[Candidate, Sequence[Item], Sequence[Item], Beat], list[Row]]


def likelihood(candidate: Candidate, items: Sequence[Item], shots: Sequence[Item], beat: Beat) -> list[Row]:
    before = _before(_listed(shot) + _letters(shot)[shot.gold] for shot in shots)
    asked = [(before + _listed(item), _letters(item)) for item in items]
    return _rows(candidate, items, asked, beat)


def cloze(candidate: Candidate, items: Sequence[Item], shots: Sequence[Item], beat: Beat) -> list[Row]:
    before = _before(shot.context + shot.choices[shot.gold] for shot in shots)
    return _rows(candidate, items, [(before + item.context, item.choices) for item in items], beat)


def generate(candidate: Candidate, items: Sequence[Item], shots: Sequence[Item], beat: Beat) -> list[Row]:
    """The nats are those of the right choice, as in cloze."""
    return [row for row, _ in _generated(candidate, items, shots, beat)]


def _generated(
    candidate: Candidate, items: Sequence[Item], shots: Sequence[Item], beat: Beat
) -> list[tuple[Row, sampling.Answer]]:
    rows = cloze(candidate, [replace(item, choices=(item.choices[item.gold],), gold=0) for item in items], shots, beat)
    before = _before(shot.context + shot.choices[shot.gold] for shot in shots)
    golds = [item.choices[item.gold] for item in items]
    asked = (before + item.context + _new_line(gold) for item, gold in zip(items, golds, strict=True))
    prompts = [candidate.tokens(text) for text in asked]
    tokens = max(len(candidate.encode(gold)) for gold in golds) + SPARE_TOKENS
    room = candidate.span - tokens
    if room < 1:
        raise UserError(f"item {items[0].key!r} or another: an answer of {tokens} tokens leaves no room for a question")
    answers = _gone_on(candidate, [prompt[-room:] for prompt in prompts], tokens, "\n", beat)
    found = []
    for item, row, prompt, gold, answer in zip(items, rows, prompts, golds, answers, strict=True):
        told = {"gold": item.gold, "text": answer.text, "right": normalised(answer.text) == normalised(gold)}
        cut = max(row.pop("cut", 0), len(prompt) - room, 0)
        found.append((row | told | ({"cut": cut} if cut else {}), answer))
    return found


def write(candidate: Candidate, items: Sequence[Item], shots: Sequence[Item], beat: Beat) -> list[Row]:
    """As `generate`, with what the model wrote itself standing before the cue that the context ends in, "Answer:".

    So the nats are those of the right choice behind the model's own way to it. A model that ends without the cue has
    answered with its last word.
    """
    asked, before = [_parted(item) for item in items], _before(shot.context + shot.choices[shot.gold] for shot in shots)
    answers = _written(candidate, [before + start + newline for start, newline, _ in asked], beat)
    ways = [_way(answer.text, cue) for answer, (_, _, cue) in zip(answers, asked, strict=True)]
    with_ways = [
        replace(item, context=a + b + way + c) for item, (a, b, c), way in zip(items, asked, ways, strict=True)
    ]
    rows = generate(candidate, with_ways, shots, beat)
    for row, item, answer, (_, _, cue) in zip(rows, items, answers, asked, strict=True):
        if cue not in answer.text and (words := answer.text.split()):
            gold = item.choices[item.gold]
            row |= {"text": words[-1], "right": normalised(words[-1]) == normalised(gold)}
    return rows


def both(candidate: Candidate, items: Sequence[Item], shots: Sequence[Item], beat: Beat) -> list[Row]:
    """The row of `generate`, and what a router is made of: tokens read and written, the model's state behind the
    question, whether the answer at once had an end, and what came of steps.
    """
    asked, before = [_parted(item) for item in items], _before(shot.context + shot.choices[shot.gold] for shot in shots)
    questions = [before + start + newline for start, newline, _ in asked]
    prompts = [candidate.tokens(text)[-candidate.span :] for text in questions]
    at_once = _generated(candidate, items, shots, beat)
    states = last_states(candidate.language, prompts)
    with_steps = _written(candidate, [text + STEPS for text in questions], beat)
    rows = []
    for number, (row, answer) in enumerate(at_once):
        start, _, cue = asked[number]
        told = {"asked": start, "read": len(prompts[number]), "written": len(answer.tokens)}
        told |= {"ended": answer.ended != "tokens", "steps": _stepped(items[number], cue, with_steps[number])}
        rows.append(row | told | {"state": [float(f"{value:.4g}") for value in states[number]]})
    return rows


PROTOCOLS: dict[str, Protocol] = {
    "likelihood": likelihood,
    "cloze": cloze,
    "generate": generate,
    "write": write,
    "both": both,
}


def _parted(item: Item) -> tuple[str, str, str]:
    """The context up to its last line, a new line, and the cue that the last line is. Raises UserError without one."""
    start, newline, cue = item.context.rpartition("\n")
    if not cue.endswith(":"):
        raise UserError(
            f"item {item.key!r}: its context must end in a line such as Answer: to be asked by write or both"
        )
    return start, newline, cue


def _written(candidate: Candidate, texts: Sequence[str], beat: Beat) -> list[sampling.Answer]:
    """What the model goes on with, as long as half of what it reads at once, up to an empty line."""
    tokens = candidate.span // 2
    prompts = [candidate.tokens(text)[-(candidate.span - tokens) :] for text in texts]
    return _gone_on(candidate, prompts, tokens, "\n\n", beat)


def _gone_on(
    candidate: Candidate, prompts: Sequence[Sequence[int]], tokens: int, stop: str, beat: Beat
) -> list[sampling.Answer]:
    found = sampling.generate(
        candidate.language, prompts, candidate.pieces, tokens=tokens, stop=[stop], end=candidate.end
    )
    beat()
    return found


def _stepped(item: Item, cue: str, answer: sampling.Answer) -> Row:
    """What came of steps: the answer is behind the cue, or, where they did not come to it, the last word."""
    _, came, text = answer.text.partition(cue)
    text = text if came else (answer.text.split() or [""])[-1]
    right = normalised(text) == normalised(item.choices[item.gold])
    return {"text": answer.text, "right": right, "written": len(answer.tokens), "came": bool(came)}


def _way(written: str, cue: str) -> str:
    """What a model wrote before the cue, on lines of its own."""
    way = written.partition(cue)[0].strip()
    return f"{way}\n" if way else ""


def normalised(answer: str) -> str:
    """What of an answer is compared: its first line, without case, outer signs and commas in numbers."""
    line = unicodedata.normalize("NFKC", answer).strip().split("\n")[0]
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", " ".join(line.casefold().split()))
    return re.sub(OUTER_SIGNS, "", plain) or plain


def _new_line(choice: str) -> str:
    """What ends the context's last line, where a choice begins on a line of its own: no answer is found before it."""
    space = choice[: len(choice) - len(choice.lstrip())]
    return space[: space.rfind("\n") + 1]


def _before(solved: Iterable[str]) -> str:
    """Solved items, each a paragraph."""
    return "".join(text + "\n\n" for text in solved)


def _listed(item: Item) -> str:
    letters = _letters(item)
    if len(letters) < 2 or len(letters) < len(item.choices):
        raise UserError(f"item {item.key!r}: a list takes 2 to 26 choices, not {len(item.choices)}; ask it by cloze")
    asked, newline, cue = item.context.rpartition("\n")
    if not cue.endswith(":"):
        asked, newline, cue = item.context, "\n" if item.context else "", "Answer:"
    lines = (f"{letter[1]}. {choice.strip()}\n" for letter, choice in zip(letters, item.choices, strict=True))
    return asked + newline + "".join(lines) + cue


def _letters(item: Item) -> tuple[str, ...]:
    return tuple(f" {letter}" for letter in string.ascii_uppercase[: len(item.choices)])


def _rows(
    candidate: Candidate, items: Sequence[Item], asked: Sequence[tuple[str, Sequence[str]]], beat: Beat
) -> list[Row]:
    """A row an item, from the nats of its choices after its context."""
    pairs = [[candidate.following(context, choice) for choice in choices] for context, choices in asked]
    cuts = [_cut(item, of_item, candidate.span) for item, of_item in zip(items, pairs, strict=True)]
    requests = [
        Request(request.context[cut:], request.continuation)
        for of_item, cut in zip(pairs, cuts, strict=True)
        for pair in of_item
        for request in pair
    ]
    scored = iter(score(candidate.language, requests, longest=candidate.span, beat=beat))
    rows = []
    for item, (_, choices), cut in zip(items, asked, cuts, strict=True):
        found = [(next(scored), next(scored)) for _ in choices]
        rows.append(
            {"item": item.key, "source": item.source, "gold": item.gold}
            | {"nats": [whole.nats - context.nats for whole, context in found]}
            | {"bytes": [len(choice.encode()) for choice in choices]}
            | {"tokens": [whole.tokens for whole, _ in found]}
            | ({"cut": cut} if cut else {})
        )
    return rows


def _cut(item: Item, of_item: Sequence[tuple[Request, Request]], span: int) -> int:
    """Tokens at the beginning that do not fit: as many for every choice, so that all follow the same context."""
    requests = [request for pair in of_item for request in pair]
    longest = max(len(request.context) + len(request.continuation) for request in requests)
    cut = max(longest - (span + 1), 0)  # the last token is not read
    if cut >= min(len(request.context) for request in requests):
        raise UserError(f"item {item.key!r}: a choice leaves no room for its context in {span} tokens, data.span")
    return cut
