"""Answers to a task beside the runs of a synthetic study (`worlds`): items of a difficulty that all arms share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ablate.run.files import make_folder
from ablate.run.record import Record
from ablate.run.study_record import StudyRecord
from ablate.scores import answers, items
from ablate.scores.items import Item, Row, Sheet

SETTINGS = {"kind": "questions", "protocols": ["cloze", "likelihood"], "items": 60}


@dataclass(frozen=True)
class Asked:
    """What is planted, in nats: of the gold answer of each item."""

    items: int = 60
    effects: Mapping[str, float] = field(default_factory=dict)  # by arm; of those left out none
    seed_noise: float = 0.02
    item_noise: float = 0.3
    contaminated: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # by arm, numbers of items
    other_items: tuple[str, ...] = ()  # arms that are asked others
    left_out: tuple[tuple[str, int], ...] = ()  # (arm, seed) of runs that nobody asked
    settings: Mapping[str, Any] = field(default_factory=lambda: SETTINGS)  # of the task


def answer(
    study: StudyRecord,
    how: Asked | None = None,
    protocol: str = "cloze",
    task: str = "sums",
    steps: Mapping[int, float] | None = None,
) -> None:
    """Write the answers of all finished runs, and declare the task.

    steps: of kept weights, with the nats that each adds to all items.
    """
    how, declaration = how or Asked(), study.read()
    study.write(declaration | {"tasks": {task: dict(how.settings)}})
    for arm, seed, record in (*study.records(), *study.controls()):
        result = record.result()
        if result and result["outcome"] == "finished" and (arm, seed) not in how.left_out:
            _write(record, how, (arm, seed), (task, protocol, result["step"], result["weights_sha256"]))
            for step, more in (steps or {}).items():
                record.append("kept", step=step, tokens=step * 10_000, weights_sha256=f"{step:064d}")
                _write(record, how, (arm, seed), (task, protocol, step, f"{step:064d}"), more)


def _write(record: Record, how: Asked, run: tuple[str, int], of: tuple[str, str, int, str], more: float = 0) -> None:
    asked = [_item(number, run[0] in how.other_items) for number in range(how.items)]
    out = [asked[number].key for number in how.contaminated.get(run[0], ())]
    settings = answers.without_protocols(how.settings)
    header = Sheet(*of, asked, contaminated=out, settings=settings).header({"protocols": 1})
    make_folder(record.scores)
    items.keep(items.path_in(record.scores, header), header, _rows(asked, how, (*run, of[1]), more))


def _item(number: int, other: bool) -> Item:
    return Item(str(number), f"source {number // 2}", f"{number} + {1 + other} =", (" right", " wrong"), 0)


def _rows(asked: list[Item], how: Asked, run: tuple[str, int, str], more: float) -> list[Row]:
    shared = np.random.default_rng(7).normal(2, 1, len(asked))
    arm, seed, protocol = run
    own = np.random.default_rng([11, seed, *arm.encode(), *protocol.encode()])
    moved = more + how.effects.get(arm, 0.0) + own.normal(0, how.seed_noise)
    nats = shared + moved + own.normal(0, how.item_noise, len(asked))
    return [_row(item, float(one)) for item, one in zip(asked, nats, strict=True)]


def _row(item: Item, nats: float) -> dict[str, Any]:
    sizes = [len(choice) for choice in item.choices]
    return {"item": item.key, "source": item.source, "gold": 0, "nats": [nats, 2.2], "bytes": sizes, "tokens": [1, 1]}
