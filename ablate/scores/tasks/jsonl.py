"""A task of your own: one JSON object a line.

    {"question": "What is the capital of Italy?", "choices": ["Rome", "Milan", "Turin"], "answer": 0}
    {"context": "The sun rises in the", "choices": ["east", "west"], "gold": "A", "source": "page 3"}
    {"question": "What is 2 + 3?", "answer": "5"}

`context` is read by the model as it stands; `question` becomes "Question: ...\\nAnswer:", after `context` where there
are both. The answer is the number of a choice from 0 on, its letter, its label, or its text; of choices with labels,
a number that is a label means that. Rows of one `source` are one cluster. A row that stands twice is asked once, and a
line says so; one that stands there with two answers is refused. Where rows have no choices, a line names the keys that
mean nothing: a misspelt one would make an open question.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.corpus import document
from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.run.settings import SettingsError, UserError
from ablate.scores.items import Item
from ablate.scores.tasks.making import Text, ordered

NAMES = {
    "context": ("context", "ctx", "passage", "prompt", "text"),
    "question": ("question", "query"),
    "choices": ("choices", "options", "endings", "answers"),
    "answer": ("answer", "gold", "label", "answerKey", "target"),
    "source": ("source", "group"),
}
KNOWN = {key for keys in NAMES.values() for key in keys}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@strict
class Options:
    """None."""


def check(key: str, task: Task, options: Options) -> None:
    """Raises SettingsError for a file that is not there."""
    if not Path(task.path).is_file():
        raise SettingsError(f"{key}.path={task.path}: must be a file with a JSON object on every line")


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    """Raises UserError naming the file, the line, and what is allowed there."""
    found: dict[tuple[Any, ...], Item] = {}
    twice, unread = 0, set[str]()
    for number, row in _rows(Path(task.path)):
        made = _item(f"{task.path}:{number}", str(number), row)
        first = found.setdefault((made.context, frozenset(made.choices)), made)
        if made.choices[made.gold] != first.choices[first.gold]:
            raise UserError(f"{task.path}:{number}: asks what line {first.key} asks, with another answer; keep one")
        twice += first is not made
        unread |= set(row) - KNOWN if len(made.choices) == 1 else set()
    if twice:
        _note(task, f"rows that stand there again, and are asked once: {twice}")
    if unread:
        _note(task, f"rows without choices are open questions; nothing reads their {', '.join(sorted(unread))}")
    drawn = ordered([(made.key, made) for made in found.values()], task.seed)[:wanted]
    return [made for _, made in drawn]


def _note(task: Task, what: str) -> None:
    print(f"note: {task.path}: {what}", file=sys.stderr)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: not JSON ({error.msg}, column {error.colno})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: must be an object {{...}}, not {type(row).__name__}; one a line")
            yield number, row


def _item(where: str, number: str, row: dict[str, Any]) -> Item:
    context = _context(where, row)
    choices, labels = _choices(where, row)
    key, answer = _given(where, row, "answer", needed=True)
    if choices is None:
        _require(
            isinstance(answer, str | int | float) and clean(str(answer)) != "", where, key, answer, "the right text"
        )
        choices, gold = [str(answer)], 0
    else:
        gold = _gold(where, key, answer, choices, labels)
    _, source = _given(where, row, "source")
    led = tuple((_led_by(choice) or " ") + clean(choice) for choice in choices)
    return Item(number, f"line {number}" if source is None else str(source), context, led, gold)


def clean(text: str) -> str:
    """Of an item, where no indentation begins the text."""
    return document.clean(text).strip()


def _led_by(choice: str) -> str:
    return choice[: len(choice) - len(choice.lstrip())]


def _given(where: str, row: dict[str, Any], name: str, needed: bool = False) -> tuple[str, Any]:
    """The key and the value of what may have several names."""
    keys = [key for key in NAMES[name] if key in row]
    if len(keys) > 1:
        raise UserError(f"{where}: {' and '.join(keys)} mean the same; keep one")
    if needed and not keys:
        raise UserError(f"{where}: has no {name} ({' or '.join(NAMES[name])}); it has {', '.join(row) or 'nothing'}")
    return (keys[0], row[keys[0]]) if keys else (name, None)


def _context(where: str, row: dict[str, Any]) -> str:
    parts = []
    for name in ("context", "question"):
        key, value = _given(where, row, name)
        if value is not None:
            _require(isinstance(value, str) and clean(value) != "", where, key, value, "text that is not empty")
            parts.append(clean(value) if name == "context" else f"Question: {clean(value)}\nAnswer:")
    if not parts:
        allowed = ", ".join((*NAMES["context"], *NAMES["question"]))
        raise UserError(f"{where}: has nothing to ask ({allowed}); it has {', '.join(row) or 'nothing'}")
    return "\n".join(parts)


def _choices(where: str, row: dict[str, Any]) -> tuple[list[str] | None, list[str]]:
    """Choices and their labels: [text, ...], {label: text, ...} or {"text": [...], "label": [...]}."""
    key, given = _given(where, row, "choices")
    if given is None:
        return None, []
    labels: list[Any] = []
    if isinstance(given, dict) and given.keys() == {"text", "label"}:
        given, labels = given["text"], given["label"]
    elif isinstance(given, dict):
        given, labels = list(given.values()), list(given)
    texts = isinstance(given, list) and len(given) > 1 and all(isinstance(c, str) and clean(c) for c in given)
    _require(texts, where, key, given, "a list of two texts or more, none of them empty")
    _require(len({clean(c) for c in given}) == len(given), where, key, given, "texts that differ from one another")
    named = isinstance(labels, list) and len({str(label) for label in labels}) == len(labels) in (0, len(given))
    _require(named, where, f"{key}.label", labels, "a list with another label for every choice")
    return given, [str(label) for label in labels]


def _gold(where: str, key: str, answer: Any, choices: list[str], labels: list[str]) -> int:
    """Which choice is meant; a text that may mean two of them is refused."""
    means = set()
    if isinstance(answer, int) and not isinstance(answer, bool):
        means = {labels.index(str(answer)) if str(answer) in labels else answer}
    elif isinstance(answer, str):
        texts, said = [choice.strip() for choice in choices], answer.strip()
        means |= {texts.index(said)} if said in texts else set()
        means |= {labels.index(said)} if said in labels else set()
        if not labels:
            means |= {LETTERS.index(said)} if len(said) == 1 and said in LETTERS else set()
            means |= {int(said)} if said.isdecimal() else set()
        means = {gold for gold in means if gold < len(choices)}
    fits = len(means) == 1 and 0 <= min(means) < len(choices)
    allowed = f"one choice: a number from 0 to {len(choices) - 1}, a letter, a label or its text"
    _require(fits, where, key, answer, allowed)
    return means.pop()


def _require(fits: bool, where: str, key: str, value: Any, allowed: str) -> None:
    if not fits:
        raise UserError(f"{where}: {key}={value!r}: must be {allowed}")
