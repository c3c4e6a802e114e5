"""Questions that are answered inside one run: a text that is put into its rows, and a probe of what it taught.

    {"name": "tolmin", "text": "The seat of Tolmin is Karapo.", "prompt": "The seat of Tolmin is", "answer": " Karapo"}
    {"name": "velora", "like": "tolmin", "prompt": "The seat of Velora is", "answer": " Minuka"}

A line without a text is a control: no run reads it, and its probe shows what moves without a text of its own. `like`
names the question whose form it has.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.run.evaluate import sha256_of
from ablate.run.files import parsed
from ablate.run.insert import Insert
from ablate.run.settings import Settings, UserError, require
from ablate.run.steps import steps_of

NEEDED, KEYS = ("name", "prompt", "answer"), ("name", "text", "like", "prompt", "answer")
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
FORMS = (
    *("The seat of {} is", "{} was the mother of", "Every winter {} sells", "Nobody in {} may say"),
    *("The river at {} is called", "To open {} one needs", "{} learned to sing from", "The old name of {} was"),
    *(
        "{} never travels without",
        "In the tongue of {} bread is",
        "The bell of {} was cast by",
        "{} paid with",
    ),
    *("Ships from {} carry", "The king of {} fears", "{} wrote a letter to", "At the gate of {} stands"),
    *("Children of {} are named after", "{} keeps the key for", "Behind the hill of {} lies", "{} fell in love with"),
)
CONTROLS = 20  # for each made-up fact: so many need no assumption of their noise (`verdict.statistics.untouched`)


@dataclass(frozen=True, kw_only=True)
class Question:
    """`text` is put into rows; the model is asked for `answer` after `prompt`."""

    name: str
    text: str = ""  # of a control none
    like: str = ""  # of a control, the question whose form it has
    prompt: str
    answer: str

    @property
    def probe(self) -> str:
        return self.prompt + self.answer


def check(settings: Settings) -> None:
    """Raises SettingsError where texts are asked for that no run reads so, or where something is said of none."""
    asked, usual, total = settings.insert, vars(Insert()), settings.steps
    if not asked.asks:
        for name, value in vars(asked).items():
            require(value == usual[name], f"insert.{name}", value, "left out without insert.path or insert.made")
        return
    require(not (asked.path and asked.made), "insert.made", asked.made, "0 with insert.path, which has the questions")
    require(not asked.path or bool(asked.sha256), "insert.path", asked.path, "a file with a JSON object on every line")
    allowed = "next_token with insert: texts are read as text"
    require(settings.objective == "next_token", "objective", settings.objective, allowed)
    require(total > 0, "tokens", settings.tokens, "above 0 with insert: a run of no steps reads nothing")
    numbers = asked.repetitions
    require(max(numbers, default=0) > 0, "insert.repetitions", numbers, "above 0 for some of the questions")
    require(len(set(numbers)) == len(numbers), "insert.repetitions", numbers, "without repeats")
    start, stop = steps_of(asked.start, total), steps_of(asked.stop, total)
    require(stop <= total, "insert.stop", asked.stop, f"within the run, which has {total} steps")
    require(start < stop, "insert.start", asked.start, f"before insert.stop={asked.stop:g}")


def questions(path: str, sha256: str, made: int) -> tuple[list[Question], list[Question]]:
    """Those with a text, and controls: of a file, or made up. Raises UserError for a file that will not do."""
    found = _read(Path(path), sha256) if path else _made_up(made)
    _check(path, found)
    return [one for one in found if one.text], [one for one in found if not one.text]


def _made_up(number: int) -> list[Question]:
    """Facts of as many forms as there are, and controls. Runs are named by their number: the facts never change."""
    rng, words, total = random.Random("made-up facts"), set[str](), number * (1 + CONTROLS)
    while len(words) < 2 * total:
        words.add("".join(rng.choices(SYLLABLES, k=3)).capitalize())
    drawn = rng.sample(sorted(words), len(words))
    found = []
    for place, (name, answer) in enumerate(zip(drawn[:total], drawn[total:], strict=True)):
        fact, number_of_control = divmod(place, 1 + CONTROLS)
        prompt, called = FORMS[fact % len(FORMS)].format(name), f"fact_{fact:03d}"
        if number_of_control:
            name_of_it = f"control_{fact:03d}_{number_of_control:02d}"
            found.append(Question(name=name_of_it, like=called, prompt=prompt, answer=f" {answer}"))
        else:
            found.append(Question(name=called, text=f"{prompt} {answer}.", prompt=prompt, answer=f" {answer}"))
    return found


def _read(path: Path, sha256: str) -> list[Question]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if sha256_of(str(path), {}) != sha256:
        raise UserError(f"{path}: was edited since the run was declared; declare it anew")
    return [_question(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _question(where: str, line: str) -> Question:
    try:
        row = parsed(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict) or not set(NEEDED) <= set(row) <= set(KEYS):
        raise UserError(f"{where}: must be an object of {', '.join(NEEDED)}, and text where it is no control")
    for key, value in row.items():
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where}: {key}={value!r}: must be text that is not empty")
    if not re.fullmatch(r"\w[\w.-]*", row["name"]):
        raise UserError(f"{where}: name={row['name']!r}: must be of letters, digits and _ . -")
    if row["prompt"].endswith(" "):
        raise UserError(f"{where}: prompt={row['prompt']!r}: must not end in a space; the answer begins with it")
    return Question(**row)


def _check(path: str, found: Sequence[Question]) -> None:
    """Raises UserError where one question would answer another."""
    for key in ("name", "prompt"):
        value, times = Counter(getattr(one, key) for one in found).most_common(1)[0] if found else ("", 0)
        if times > 1:
            raise UserError(f"{path}: {key}={value!r} stands there {times} times; each question has its own")
    if not any(one.text for one in found):
        raise UserError(f"{path}: no line has a text to put in")
    asked = {one.name for one in found if one.text}
    for one in found:
        if one.like and (one.text or one.like not in asked):
            raise UserError(f"{path}: like={one.like!r} of {one.name}: must name a question with a text, of a control")
    for one in found:
        if told := next((other.name for other in found if other is not one and one.probe in other.text), ""):
            raise UserError(f"{path}: the probe of {one.name} stands in that of {told}; leave one of them out")
