"""What a sweep looks like while it runs: the forest as it grows in a terminal, plain lines anywhere else.

7 of 12 runs  2 running  1 waiting for a trunk  3.1 min passed  about 2.2 min left
1.52e+13 FLOPs spent, 4.10e+12 saved by sharing
3 x steps 0-234  wsd, constant  2 done  1 running
└── 6 x steps 234-292 ...
wsd s2  ━━━━━━━━━━          3.912 nats/token  18,400 tokens/s
"""

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.run.record import Record
from ablate.scores.metrics import Scores, metric_of, scope_of
from ablate.sweep.cost import Alike, Prospect, drawn
from ablate.sweep.executors.executor import Executor, Outcome
from ablate.sweep.trunk import Segment, growth

LINE_SECONDS = 15.0
LIVE_SECONDS = 0.5
ESTIMATE_SECONDS = 5.0  # before which no speed is believed
HEADER_LINES = 4  # and the free line beneath the picture
MOST_RUNNING = 12  # rows


class Screen:
    """Use as a context; call `show` as often as convenient."""

    def __init__(self, executor: Executor, console: Console, found: Prospect):
        self.executor, self.console, self.found = executor, console, found
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.told: set[str] = set()  # runs whose end was said
        self.failures: dict[str, int] = {}  # of each run, how many were said
        self.evaluated: dict[str, dict[str, Any]] = {}  # of each run, the last evaluation that was seen
        self.begun: dict[str, int] = {}  # step that a run was at when it was first seen to run here
        self.ended: dict[str, tuple[float, float]] = {}  # FLOPs (spent, saved) of a run that is done
        self.start = time.monotonic()
        self.last_shown = self.start if self.live is None else 0.0

    def __enter__(self) -> "Screen":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def show(self) -> None:
        """Bring the picture up to date."""
        self._notice()
        self._tell_ends()
        if time.monotonic() - self.last_shown < (LIVE_SECONDS if self.live else LINE_SECONDS):
            return
        self.last_shown = time.monotonic()
        if self.live:
            self.live.update(self.picture(self.console.height), refresh=True)
        else:
            self.console.print(self._header(), self._spending(), sep="  ")
            for outcome in self._running():
                self._tell_evaluation(outcome)

    def picture(self, height: int) -> RenderableType:
        """Everything, in at most `height` lines."""
        rows = self._running()[: min(MOST_RUNNING, max(1, height // 3))]
        steps = self._steps()
        forest = drawn(self.found.trees, lambda group: self._label(group, steps), height - HEADER_LINES - len(rows))
        return Group(self._header(), self._spending(), Text(), forest, self._bars(rows))

    def _notice(self) -> None:
        """Where runs began, while it can be seen, and what those cost that are done."""
        for outcome in self.executor.outcomes:
            run = outcome.run.id
            if outcome.state == "running" and run not in self.begun:
                start = growth(self.executor.where.outputs, self.executor.ways.get(run, [])).start
                row = self.executor.record(outcome).last_row()
                self.begun[run] = max(start.read()["step"] if start else 0, row["step"] if row else 0)
            if outcome.state == "done" and run not in self.ended:
                result = self.executor.record(outcome).result() or {}
                saved = (result.get("grown_from") or {"flops": 0.0})["flops"]
                self.ended[run] = (result["flops"] - saved, saved)

    def _tell_ends(self) -> None:
        for outcome in self.executor.outcomes:
            run = outcome.run.id
            for failure in outcome.failures[self.failures.get(run, 0) :]:
                again = "" if outcome.state == "failed" else " (tried again)"
                self.console.print(Text(f"failed    {_name(outcome)}{failure}{again}", style="red"))
            self.failures[run] = len(outcome.failures)
            if outcome.state == "done" and run not in self.told:
                self.told.add(run)
                self.console.print(_end(outcome, self.executor.record(outcome)))

    def _running(self) -> list[Outcome]:
        return [outcome for outcome in self.executor.outcomes if outcome.state == "running"]

    def _evaluation(self, outcome: Outcome) -> dict[str, Any]:
        """The newest one of a run, kept because later rows push it out of the file's end; empty before the first."""
        row = self.executor.record(outcome).last_row("evaluation")
        if row:
            self.evaluated[outcome.run.id] = row
        return self.evaluated.get(outcome.run.id, {})

    def _tell_evaluation(self, outcome: Outcome) -> None:
        before = self.evaluated.get(outcome.run.id, {})
        if (row := self._evaluation(outcome)) != before:
            part = row["step"] / max(1, outcome.run.settings.steps)
            self.console.print(f"at {part:4.0%}   {_name(outcome)}{_value(outcome, row)}")

    def _header(self) -> Text:
        states = [outcome.state for outcome in self.executor.outcomes]
        held, passed = self.executor.num_held(), time.monotonic() - self.start
        text = Text(f"{states.count('done')} of {len(states)} runs", style="bold")
        counts = (
            (states.count("running") + states.count("elsewhere"), "running", ""),
            (held, "waiting for a trunk", ""),
            (states.count("waiting") - held, "waiting", ""),
            (states.count("paused"), "paused", ""),
            (states.count("failed"), "failed", "red"),
        )
        for count, what, style in counts:
            text.append(f"  {count} {what}" if count else "", style=f"not bold {style}")
        reasons = sorted({o.waits_for for o in self.executor.outcomes if o.state == "waiting" and o.waits_for})
        text.append(f" ({'; '.join(reasons)})" if reasons else "", style="not bold")
        return text.append(f"  {_minutes(passed)} passed  {self._eta(passed)}", style="not bold")

    def _eta(self, passed: float) -> str:
        """From FLOPs: runs differ in length, and most of some are trunks that others have left."""
        here, left = self._here(), self._left()
        known = here and passed > ESTIMATE_SECONDS
        return f"about {_minutes(left * passed / here)} left" if known else "estimating"

    def _spending(self) -> Text:
        spent, saved = map(sum, zip((0.0, 0.0), *self.ended.values(), *self._under_way(), strict=True))
        return Text(f"{spent:.2e} FLOPs spent, {saved:.2e} saved by sharing", style="dim")

    def _under_way(self) -> list[tuple[float, float]]:
        """(spent, saved) of the runs that are running."""
        found = []
        for outcome in self.executor.outcomes:
            if outcome.state == "running":
                flops, begun = self.found.flops[outcome.run.id], self.begun.get(outcome.run.id, 0)
                found.append((float(flops[max(self._step(outcome), begun)] - flops[begun]), float(flops[begun])))
        return found

    def _here(self) -> float:
        """FLOPs that were trained since the screen began."""
        total = sum(spent for spent, _ in self._under_way())
        for run in self.ended.keys() & self.begun.keys():
            total += float(self.found.flops[run][-1] - self.found.flops[run][self.begun[run]])
        return total

    def _left(self) -> float:
        steps = self._steps()
        segments = [segment for tree in self.found.trees for segment in tree.walk()]
        return sum(self.found.of(segment, _reached(segment, steps)) for segment in segments)

    def _steps(self) -> dict[str, int]:
        """How far every run is; one that has not begun is where its trunk ends."""
        steps = {run: self.found.starts.get(run, len(flops) - 1) for run, flops in self.found.flops.items()}
        return steps | {
            outcome.run.id: max(self._step(outcome), self.begun.get(outcome.run.id, 0))
            for outcome in self.executor.outcomes
            if outcome.state in ("running", "elsewhere", "done")
        }

    def _step(self, outcome: Outcome) -> int:
        if outcome.state == "done":
            return len(self.found.flops[outcome.run.id]) - 1
        row = self.executor.record(outcome).last_row()
        return row["step"] if row else 0

    def _label(self, group: Alike, steps: dict[str, int]) -> Text:
        arms = {outcome.run.id: outcome.run.name for outcome in self.executor.outcomes}
        names = list(dict.fromkeys(arms[run] for run in group.runs if run in arms))
        states = {outcome.run.id: outcome.state for outcome in self.executor.outcomes}
        done = [segment for segment in group.segments if _reached(segment, steps) == segment.last]
        running = [
            segment
            for segment in group.segments
            if any(states.get(run) == "running" and segment.first <= steps[run] < segment.last for run in segment.runs)
        ]
        failed = sum(states.get(run) == "failed" for segment in group.segments for run in segment.runs)
        text = Text(group.text).append(f"  {names[0]}" if names else "", style="cyan")
        text.append(f" and {len(names) - 1} more" if len(names) > 1 else "", style="cyan")
        text.append(f"  {len(done)} done" if done else "", style="green")
        text.append(f"  {len(running)} running" if running else "", style="yellow")
        text.append(f"  {failed} failed" if failed and not group.children else "", style="red")
        return text

    def _bars(self, outcomes: list[Outcome]) -> Table:
        table = Table.grid(padding=(0, 2))
        for outcome in outcomes:
            row = self.executor.record(outcome).last_row() or {}
            bar = ProgressBar(total=outcome.run.settings.steps, completed=row.get("step", 0), width=30)
            loss = f"{row['nats']:.3f} nats/token  " if "nats" in row else ""  # of rows in which something counted
            text = f"{loss}{row['tokens_per_second']:,.0f} tokens/s" if row else "starting"
            if evaluation := self._evaluation(outcome):
                text += f"  {_value(outcome, evaluation)}"
            table.add_row(f"{outcome.run.name} s{outcome.run.seed}", bar, text)
        return table


def _reached(segment: Segment, steps: dict[str, int]) -> int:
    """The step within a segment up to which some run has trained it."""
    return min(segment.last, max(segment.first, *(steps[run] for run in segment.runs)))


def _end(outcome: Outcome, record: Record) -> Text:
    name, result = _name(outcome), record.result() or {}
    if result["outcome"] != "finished":
        return Text(f"diverged  {name}{result['reason']}", style="yellow")
    value = _value(outcome, result | {"scores": record.scores})
    return Text(f"done      {name}{value}  {result['seconds']:.0f} s")


def _value(outcome: Outcome, scores: Scores) -> str:
    """The study's metric, of a result or an evaluation: `rest 2.4819 bits per byte`."""
    settings = outcome.run.settings
    metric = metric_of(settings.study.metric, settings.data.domains)
    value = metric.value(scores, scope_of(settings))
    return f"{metric.name} {value:.4f} {metric.unit}" if value is not None else f"{metric.name} not measured yet"


def _name(outcome: Outcome) -> str:
    return f"{outcome.run.name} s{outcome.run.seed}  {outcome.run.id}  "


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
