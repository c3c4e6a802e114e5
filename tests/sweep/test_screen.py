"""The screen says what is done, waits and failed, and counts compute as records do."""

import io
import json
import math
import os

import pytest
from rich.console import Console
from tiny import RESULT, ROW

from ablate.run.parse import from_config
from ablate.run.record import run_record
from ablate.run.settings import Study
from ablate.sweep import claims
from ablate.sweep import screen as screen_module
from ablate.sweep.cost import prospect
from ablate.sweep.executors.local import Local
from ablate.sweep.screen import Screen
from ablate.sweep.study import plan
from ablate.sweep.trunk import beginnings, branches, forest

HEIGHT = 30
SUMS = {  # general 1, code 2, science 3 and qa 4 bits per byte; macro 2.5, and rest without qa 2
    domain: {"nats": bits * 100 * math.log(2), "tokens": 40, "bytes": 100}
    for domain, bits in zip(["general", "code", "science", "qa"], (1, 2, 3, 4), strict=True)
}


@pytest.fixture
def screen(tmp_path):
    """Of two decays and two seeds, none of them begun; `tmp_path` is the output folder."""
    common = {"tokens": 102_400, "step_tokens": 1024, "where": {"outputs": str(tmp_path), "workers": 2}}
    arms = [from_config({**common, "schedule": {"decay": 0.2, "shape": shape}}) for shape in ("linear", "cosine")]
    plan_ = plan(Study(name="s", factor=["schedule"], seeds=[0, 1], metric="rest"), arms[0], {"cosine": arms[1]})
    local = Local(plan_.distinct(), arms[0].where, branches(beginnings(plan_)))
    return Screen(local, Console(file=io.StringIO(), width=120, height=HEIGHT), prospect(plan_))


def runs(screen: Screen, step: int, outcome: int = 0) -> None:
    """Let a run be at a step."""
    found = screen.executor.outcomes[outcome]
    found.state = "running"
    screen._notice()
    record = screen.executor.record(found)
    record.folder.mkdir(parents=True, exist_ok=True)
    record.append("train", **ROW | {"step": step, "tokens": step * 1024, "nats": 4.5, "tokens_per_second": 1000.0})
    (record.folder / "claim.json").unlink(missing_ok=True)
    assert isinstance(screen.executor, Local)
    claims.reserve(record, os.getpid(), screen.executor._missing(found))


def ends(screen: Screen, outcome: int, grown: float | None = None) -> None:
    """Let a run be done, `grown`: FLOPs that were another's."""
    found = screen.executor.outcomes[outcome]
    found.state = "done"
    flops = float(screen.found.flops[found.run.id][-1])
    trunk = grown and {"trunk": "k", "run": "r", "step": 1, "flops": grown, "seconds": 1.0}
    result = RESULT | {"flops": flops, "sums": SUMS, "grown_from": trunk}
    record = screen.executor.record(found)
    record.folder.mkdir(parents=True, exist_ok=True)
    (record.folder / "result.json").write_text(json.dumps(result))


def shown(screen: Screen, height: int = HEIGHT) -> list[str]:
    screen._notice()
    text = io.StringIO()
    Console(file=text, width=120, height=height).print(screen.picture(height))
    return text.getvalue().splitlines()


def test_a_run_that_could_start_from_a_trunk_waits_for_it(screen):
    runs(screen, 10)
    head = shown(screen)[0]
    assert head.startswith("0 of 4 runs  1 running  1 waiting for a trunk  2 waiting")


def test_segments_are_done_when_one_run_has_passed_them(screen):
    at = forest(list(screen.found.beginnings.values()))[0].last
    runs(screen, at + 5)
    lines = shown(screen)
    assert f"2 x steps 0-{at}" in lines[3]
    assert "1 done" in lines[3]
    assert "running" not in lines[3]
    assert "1 running" in lines[4]
    assert "4.500 nats/token  1,000 tokens/s" in lines[5]


def test_what_was_taken_over_is_saved_not_spent(screen):
    ends(screen, 0)
    ends(screen, 1, grown=1e11)
    total = sum(screen.found.flops[screen.executor.outcomes[i].run.id][-1] for i in (0, 1))
    assert shown(screen)[1].strip() == f"{total - 1e11:.2e} FLOPs spent, 1.00e+11 saved by sharing"


def test_what_is_left_counts_shared_steps_once(screen):
    assert screen._left() == pytest.approx(screen.found.shared)
    at = forest(list(screen.found.beginnings.values()))[0].last
    runs(screen, at)
    flops = screen.found.flops[screen.executor.outcomes[0].run.id]
    assert screen._left() == pytest.approx(screen.found.shared - flops[at])
    for number in range(4):
        ends(screen, number)
    assert screen._left() == 0


def test_the_time_left_follows_from_flops(screen):
    shown(screen)
    runs(screen, 50)
    assert screen._eta(2.0) == "estimating"
    seconds = 100 * screen._left() / screen._here()
    assert screen._eta(100.0) in (f"about {seconds:.0f} s left", f"about {seconds / 60:.1f} min left")


def said(screen: Screen) -> str:
    screen.last_shown = -screen_module.LINE_SECONDS
    screen.show()
    file = screen.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_log_tells_the_studys_metric_of_evaluations_and_of_the_end(screen):
    runs(screen, 40)
    outcome = screen.executor.outcomes[0]
    assert "rest" not in said(screen)
    screen.executor.record(outcome).append("evaluation", step=40, tokens=40_960, sums=SUMS)
    for _ in range(2):
        assert said(screen).count("at  40%   base s0") == 1
    assert said(screen).count("rest 2.0000 bits per byte") == 1
    assert "4.500 nats/token  1,000 tokens/s  rest 2.0000 bits per byte" in "\n".join(shown(screen))
    ends(screen, 0)
    assert "rest 2.0000 bits per byte  1 s" in said(screen)
    assert "macro" not in said(screen)


def test_failures_are_counted_and_told_with_their_reason(screen):
    screen.executor.outcomes[1].state = "failed"
    screen.executor.outcomes[1].failures.append("crashed: ValueError: no")
    screen.show()
    assert "crashed: ValueError: no" in screen.console.file.getvalue()
    lines = shown(screen)
    assert "1 failed" in lines[0]
    assert "1 failed" in lines[4]


@pytest.mark.parametrize("height", [10, 20])
def test_the_picture_fits(screen, height):
    for number in range(4):
        runs(screen, 10, number)
    assert len(shown(screen, height)) < height


def test_a_file_gets_plain_lines(screen):
    screen.last_shown -= 100
    screen.show()
    text = screen.console.file.getvalue()
    assert text.startswith("0 of 4 runs")
    assert "\x1b" not in text
    assert not run_record(screen.executor.where.outputs, screen.executor.outcomes[0].run.id).folder.exists()
