"""What a worked question is made a document of: which part is asked, and which is to be learnt.

    answer              Question: Solve 3x + 7 = 40 for x.    |  Answer: 11
    trace               Question: ...                         |  Steps: 3x = 40 - 7 = 33. x = 33 / 3 = 11.
    trace_then_answer   Question: ...                         |  Steps: 3x = 40 - 7 = 33. x = 33 / 3 = 11. Answer: 11
    either              one of `answer` and `trace_then_answer`, half of the questions each: a model that can do both
    repair              Question: ... Steps: 3x = 40 - 7 = 38.|  Mended: 3x = 40 - 7 = 33. x = 33 / 3 = 11. Answer: 11
    wrong_trace         Question: ...                         |  Steps: 3x = 40 - 7 = 58. x = 58 / 3 = 94. Answer: 11
    shuffled_trace      Question: ...                         |  Steps: x = 33 / 3 = 11. 3x = 40 - 7 = 33. Answer: 11

Each label begins a line. All but `repair` are asked the very same, so that models of all of them can be asked alike.

The two controls end in the right answer and are as long as the trace, to the digit: what they teach beyond `answer` is
the form. In `wrong_trace` no result is right, and a wrong one is carried on. In `shuffled_trace` all steps are, but not
in an order that anyone could find the answer by; the steps of another question would be no steps to this answer, and
so `wrong_trace` once more. What is drawn follows from the document's id alone. A trace that leaves nothing to alter or
to exchange makes no document.

To add one: a function here, and its name in TARGETS.
"""

import random
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ablate.corpus import slips, turns
from ablate.corpus.arithmetic import equations, holds
from ablate.corpus.document import Document, identity
from ablate.corpus.turns import Part
from ablate.run.parts import require_member
from ablate.run.settings import Data, SettingsError

WHOLE = "trace_then_answer"  # what rows of prompt, trace and answer are where `data.target` does not say
PAIRED = ("answer", "trace", WHOLE)  # of which there are pairs
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
RESULT = re.compile(rf"=\s*[-$€£]*\s*({NUMBER.pattern})(?!\s*[-+*x×÷]\s*[$(\d]|\s+/|/\s)")
STEP = re.compile(r"(?<=[.!?])\s+(?=\S)")
TRIES = 50  # to draw numbers by which no equation holds


class Worked(NamedTuple):
    """A question, the way to its answer, and the answer, without labels."""

    prompt: str
    trace: str
    answer: str


def document(target: str, worked: Worked, source: str, meta: Mapping[str, Any] = {}) -> Document:
    """The document of a worked question, with an id; empty where the target makes none of it."""
    key = identity(source, "\0".join(worked))
    learnt = {"answer": worked[2:], "trace": worked[1:2]}.get(target, worked[1:])
    whole = all(part.strip() for part in learnt)  # else a label would be learnt that nothing follows
    parts = TARGETS[target](worked, random.Random(f"{target} {key}")) if whole else []
    return turns.document(parts, source, {**meta, "id": key})


def pair(target: str, worked: Worked, source: str) -> Document | None:
    """What is right of a worked question beside the same with one slip (`corpus.slips`); None where there is none."""
    key = identity(source, "\0".join(worked))
    found = slips.slip(worked.trace, worked.answer, random.Random(f"slip {key}"))
    if not found:
        return None
    rng, both = random.Random(key), (worked, worked._replace(trace=found.trace, answer=found.answer))
    asked, chosen = (part.text for part in TARGETS[target](both[0], rng))
    rejected = TARGETS[target](both[1], rng)[1].text
    better, worse = (turns.pair(asked, said) for said in (chosen, rejected))
    return turns.pair_of(better, worse, source, {"id": key})


def named(data: Data, fits: Callable[[str], bool] = lambda name: True) -> dict[str, str]:
    """The target of each name in the source. Raises SettingsError for one that there is not, or cannot be had."""
    found: dict[str, str] = {}
    for domain, target in data.target.items():
        key = f"data.target.{domain}"
        require_member("data.target", domain, data.names)
        require_member(key, target, TARGETS)
        if not fits(name := data.names[domain]):
            raise SettingsError(f"{key}={target}: {name} holds no worked questions")
        if data.pairs and target not in PAIRED:
            raise SettingsError(f"{key}={target}: must be one of {', '.join(PAIRED)} with data.pairs=true")
        found[name] = target
    for domain, name in data.names.items():
        if found.get(name, "") != data.target.get(domain, ""):
            raise SettingsError(
                f"data.target.{domain}: must be {found[name]}, as of the other domain that reads {name}"
            )
    return found


def answer(worked: Worked, rng: random.Random) -> list[Part]:
    return [_asked(worked), Part("response", _answered(worked))]


def trace(worked: Worked, rng: random.Random) -> list[Part]:
    return [_asked(worked), Part("response", f"Steps: {worked.trace}")]


def trace_then_answer(worked: Worked, rng: random.Random) -> list[Part]:
    return [_asked(worked), Part("response", f"Steps: {worked.trace}\n{_answered(worked)}")]


def either(worked: Worked, rng: random.Random) -> list[Part]:
    return (answer if rng.random() < 0.5 else trace_then_answer)(worked, rng)


def repair(worked: Worked, rng: random.Random) -> list[Part]:
    """One step is altered, and what follows it is not there."""
    found, between = steps(worked.trace)
    places = list(range(len(found)))
    rng.shuffle(places)
    for place in places:
        if slip := altered(found[place], rng):
            begun = f"{_asked(worked).text}Steps: {between.join([*found[:place], slip])}\n"
            mended = f"Mended: {between.join(found[place:])}\n{_answered(worked)}"
            return [Part("prompt", begun), Part("response", mended)]
    return []


def wrong_trace(worked: Worked, rng: random.Random) -> list[Part]:
    wrong = altered(worked.trace, rng)
    return trace_then_answer(worked._replace(trace=wrong), rng) if wrong else []


def shuffled_trace(worked: Worked, rng: random.Random) -> list[Part]:
    found, between = steps(worked.trace)
    if len(set(found)) < 2:  # a trace of one step: its words
        found, between = worked.trace.split(), " "
    if len(set(found)) < 2:
        return []
    other = list(found)
    while other == found:
        rng.shuffle(other)
    return trace_then_answer(worked._replace(trace=between.join(other)), rng)


TARGETS: dict[str, Callable[[Worked, random.Random], list[Part]]] = {
    "answer": answer,
    "trace": trace,
    "trace_then_answer": trace_then_answer,
    "either": either,
    "repair": repair,
    "wrong_trace": wrong_trace,
    "shuffled_trace": shuffled_trace,
}


def steps(trace: str) -> tuple[list[str], str]:
    """The steps of a trace and what parts them: lines, or the sentences of a single one."""
    lines = [line for line in trace.split("\n") if line.strip()]
    return (lines, "\n") if len(lines) > 1 else (STEP.split(trace.strip()), " ")


def altered(trace: str, rng: random.Random) -> str:
    """A trace with other results of as many digits, each carried on, so that no equation holds that can fail;
    nothing if there is no number. A trace without equations has all its numbers altered."""
    begins = {match[1]: match.start(1) for match in reversed(list(RESULT.finditer(trace)))}
    numbers = begins or {match[0]: 0 for match in NUMBER.finditer(trace)}
    if not numbers:
        return ""
    found = list[tuple[int, int, str]]()
    for _ in range(TRIES):
        tried = _exchanged(trace, {number: _other(number, rng) for number in sorted(numbers)}, numbers)
        held = sum(holds(*sides) for sides in equations(tried))
        found.append((held, len(found), tried))
        if not held:
            break
    return min(found)[2]


def _exchanged(trace: str, others: dict[str, str], begins: dict[str, int]) -> str:
    """Each number exchanged from the place on where it is first a result."""

    def other(match: re.Match[str]) -> str:
        return others[match[0]] if match.start() >= begins.get(match[0], len(trace)) else match[0]

    return NUMBER.sub(other, trace)


def _other(number: str, rng: random.Random) -> str:
    """A number of as many digits, in the same places; its first is not 0."""
    other = number
    while other == number:
        digits = (rng.choice("123456789" if place == 0 else "0123456789") for place in range(len(number)))
        other = "".join(new if old.isdigit() else old for new, old in zip(digits, number, strict=True))
    return other


def _asked(worked: Worked) -> Part:
    return Part("prompt", f"Question: {worked.prompt}\n")


def _answered(worked: Worked) -> str:
    return f"Answer: {worked.answer}"
