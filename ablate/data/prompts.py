"""Questions whose answers are known, to be put to a teacher: generated ones, or those of a file.

of_questions(0, 1000)                          of `data.questions`; never those that tasks ask
of_questions(0, 1000, "chains")                those of a kind that is a domain of its own
of_file(Path("math.jsonl"), 0, 1000)           rows of prompt and answer, with a trace if there is one; or a text:

Question: ...  Answer: ... #### 72             as GSM8K has them, where the answer follows ####
Question: ...  Steps: ...  Answer: 72
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ablate.data.questions import TRAINED, alone, question
from ablate.run.settings import UserError

FORMS = (
    re.compile(r"\s*Question: (?P<prompt>.*?)\nSteps: (?P<trace>.*)\nAnswer: (?P<answer>[^\n]*)\s*", re.DOTALL),
    re.compile(r"\s*Question: (?P<prompt>.*?)\nAnswer: (?P<trace>.*?)\n?#### (?P<answer>[^\n]*)\s*", re.DOTALL),
)
GENERATED = re.compile(r"questions:\w+/(\d+)")


class Prompt(NamedTuple):
    source: str  # names it; all samples of it share this
    kind: str
    asked: str
    answer: str  # that is known
    trace: str = ""  # that is known, if one is


def of_questions(first: int, number: int, kind: str = "") -> list[Prompt]:
    """`kind`: one of ALONE. Raises UserError for questions that tasks ask."""
    _check_index(first + number - 1, f"--first {first} --number {number}")
    found = [(index, alone(kind, index) if kind else question(index)) for index in range(first, first + number)]
    return [Prompt(f"questions:{q.kind}/{i}", q.kind, q.asked, q.answer, q.steps) for i, q in found]


def of_file(path: Path, first: int, number: int) -> tuple[list[Prompt], int]:
    """The questions, and how many rows up to the last of them hold none with a known answer.

    Raises UserError for a file that will not do, and for a question that tasks ask.
    """
    found, without = list[Prompt](), 0
    try:
        for prompt in _rows(path):
            if number and len(found) == first + number:
                break
            without += prompt is None
            found += [prompt] if prompt else []
    except UnicodeDecodeError:
        raise UserError(f"--prompts {path}: must be text in UTF-8") from None
    if not found[first:]:
        raise UserError(f"--prompts {path}: holds no questions with answers; a row has prompt and answer, or a text")
    return found[first:], without


def _rows(path: Path) -> Iterator[Prompt | None]:
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise UserError(f"--prompts {path}: line {line}: {error}") from None
            found = _prompt(row, f"{path.name}:{line}") if isinstance(row, dict) else None
            if found and (generated := GENERATED.fullmatch(found.source)):
                _check_index(int(generated[1]), f"--prompts {path}: line {line}")
            yield found


def _prompt(row: dict[str, Any], source: str) -> Prompt | None:
    """A row may name what it is of, if it is a prompt of its own; sources of texts are files."""
    if isinstance(row.get("text"), str):
        match = next((match for form in FORMS if (match := form.fullmatch(row["text"]))), None)
        return Prompt(source, "", match["prompt"], match["answer"].strip(), match["trace"]) if match else None
    if not all(isinstance(row.get(key), str) for key in ("prompt", "answer")):
        return None
    kind, trace = (str(row.get(key, "")) for key in ("kind", "trace"))
    return Prompt(str(row.get("source", source)), kind, row["prompt"], row["answer"], trace)


def _check_index(index: int, where: str) -> None:
    if index >= TRAINED:
        raise UserError(f"{where}: question {index:,} is one that tasks ask; those below {TRAINED:,} are to train on")
