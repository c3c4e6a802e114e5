"""What a sweep looks like while it runs: a live table in a terminal, plain lines anywhere else."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.record import Record
from ablate.sweep.executors import Executor
from ablate.sweep.local import Outcome

LINE_SECONDS = 15.0


class Screen:
    """Use as a context; call `show` as often as convenient."""

    def __init__(self, executor: Executor, console: Console):
        self.executor, self.console = executor, console
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.told: dict[str, str] = {}
        self.start = time.monotonic()
        self.last_line = self.start

    def __enter__(self) -> "Screen":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def show(self) -> None:
        """Bring the picture up to date."""
        self._tell_ends()
        if self.live:
            self.live.update(Group(self._header(), self._running()), refresh=True)
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            self.console.print(self._header())

    def _tell_ends(self) -> None:
        for outcome in self.executor.outcomes:
            if outcome.state in ("done", "failed") and self.told.get(outcome.run.id) != outcome.state:
                self.told[outcome.run.id] = outcome.state
                self.console.print(_end(outcome, self.executor.record(outcome)))

    def _header(self) -> Text:
        states = [outcome.state for outcome in self.executor.outcomes]
        done = states.count("done") + states.count("failed")
        begun = sum(self._share(outcome) for outcome in self.executor.outcomes if outcome.state == "running")
        share = (done + begun) / max(len(states), 1)
        passed = time.monotonic() - self.start
        left = f"about {_minutes(passed / share * (1 - share))} left" if share > 0.02 else "estimating"
        running = states.count("running") + states.count("elsewhere")
        text = f"{done} of {len(states)} runs  {running} running  {_minutes(passed)} passed  {left}"
        waits = {o.reason for o in self.executor.outcomes if o.state == "waiting" and o.reason}
        return Text(text + (f"  waiting: {'; '.join(sorted(waits))}" if waits else ""))

    def _running(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for outcome in self.executor.outcomes:
            if outcome.state == "running":
                row = self.executor.record(outcome).last_row() or {}
                bar = ProgressBar(total=1.0, completed=self._share(outcome), width=30)
                nats, speed = row.get("nats"), row.get("tokens_per_second", 0.0)
                text = f"{nats:.3f} nats/token  {speed:,.0f} tokens/s" if isinstance(nats, float) else "starting"
                table.add_row(f"{outcome.run.arm} s{outcome.run.seed}", bar, text)
        return table

    def _share(self, outcome: Outcome) -> float:
        row = self.executor.record(outcome).last_row()
        return row["step"] / outcome.run.settings.steps if row else 0.0


def _end(outcome: Outcome, record: Record) -> Text:
    name = f"{outcome.run.arm} s{outcome.run.seed}  {outcome.run.id}  "
    if outcome.state != "done":
        return Text(f"{outcome.state:9} {name}{outcome.reason}", style="red")
    result = record.result() or {}
    if result["outcome"] != "finished":
        return Text(f"diverged  {name}{result['reason']}", style="yellow")
    return Text(f"done      {name}{result['bpb']['macro']:.4f} bits/byte  {result['seconds']:.0f} s")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
