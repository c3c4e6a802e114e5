"""What a sweep looks like while it runs: a live table in a terminal, plain lines anywhere else."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.sweep.local import Local, Outcome

LINE_SECONDS = 15.0


class Screen:
    """Use as a context; call `show` as often as convenient."""

    def __init__(self, local: Local, console: Console):
        self.local, self.console = local, console
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.told: set[str] = set()
        self.failures: dict[str, int] = {}
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
        for outcome in self.local.outcomes:
            for failure in outcome.failures[self.failures.get(outcome.run.id, 0) :]:
                text = f"failed    {_name(outcome)}{failure}" + ("" if outcome.state == "failed" else " (tried again)")
                self.console.print(Text(text, style="red"))
            self.failures[outcome.run.id] = len(outcome.failures)
            if outcome.state == "done" and outcome.run.id not in self.told:
                self.told.add(outcome.run.id)
                self.console.print(_end(outcome, self.local))

    def _header(self) -> Text:
        states = [outcome.state for outcome in self.local.outcomes]
        done = states.count("done") + states.count("failed")
        share = (done + sum(self._share(o) for o in self.local.outcomes if o.state == "running")) / max(len(states), 1)
        passed = time.monotonic() - self.start
        left = f"about {_minutes(passed / share * (1 - share))} left" if share > 0.02 else "estimating"
        running = states.count("running") + states.count("elsewhere")
        return Text(f"{done} of {len(states)} runs  {running} running  {_minutes(passed)} passed  {left}")

    def _running(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for outcome in self.local.outcomes:
            if outcome.state == "running":
                row = self.local.record(outcome).last_row() or {}
                bar = ProgressBar(total=1.0, completed=self._share(outcome), width=30)
                nats, speed = row.get("nats"), row.get("tokens_per_second", 0.0)
                text = f"{nats:.3f} nats/token  {speed:,.0f} tokens/s" if isinstance(nats, float) else "starting"
                table.add_row(f"{outcome.run.arm} s{outcome.run.seed}", bar, text)
        return table

    def _share(self, outcome: Outcome) -> float:
        row = self.local.record(outcome).last_row()
        return row["step"] / outcome.run.settings.steps if row else 0.0


def _end(outcome: Outcome, local: Local) -> Text:
    name, result = _name(outcome), local.record(outcome).result() or {}
    if result["outcome"] != "finished":
        return Text(f"diverged  {name}{result['reason']}", style="yellow")
    return Text(f"done      {name}{result['bpb']['macro']:.4f} bits/byte  {result['seconds']:.0f} s")


def _name(outcome: Outcome) -> str:
    return f"{outcome.run.arm} s{outcome.run.seed}  {outcome.run.id}  "


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
