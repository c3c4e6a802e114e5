"""Runs in the terminal: a list, one in full, several side by side, and the chain that a run ends."""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from ablate.run.identity import difference, flatten, key_in_words
from ablate.run.lineage import Link
from ablate.run.lookup import Place, short
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.scores.metrics import Metric, Scope, of_study, readings
from ablate.verdict.evidence import flops_text, tokens_text

COLOURS = {"finished": "", "running": "cyan", "diverged": "red", "crashed": "red", "out of memory": "red"}
SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
ASIDE = ("where", "study")  # what a run is not
LATELY = 2  # of a unit of time, before the next smaller one is left


@dataclass(frozen=True)
class Shown:
    """A run as it is listed. `state`: finished, running 43 %, ...; `declared`: by its study, or None."""

    record: Record
    state: str
    places: list[Place]
    declared: dict[str, Any] | None

    @property
    def scope(self) -> Scope:
        """What the metric is about: as the study says, or else as the run itself was told."""
        if self.declared:
            return Scope(self.declared["domains"], self.declared.get("focus", ""))
        return Scope(self.settings.data.domains, self.settings.data.focus)

    @property
    def metric(self) -> Metric:
        study = self.declared or {"metric": self.settings.study.metric, "imports": self.settings.where.imports}
        return of_study(study | {"domains": self.scope.domains})

    @property
    def value(self) -> float | None:
        """The metric at the end of the run."""
        return self.metric.value(self.record.result() or {}, self.scope)

    @property
    def settings(self) -> Settings:
        return self.record.settings()

    @property
    def changed(self) -> float:
        """When something was last written, in seconds since 1970."""
        files = [self.record.folder / name for name in ("result.json", "failure.json", "metrics.jsonl")]
        return max(path.stat().st_mtime for path in [*files, self.record.folder] if path.exists())

    @property
    def arm(self) -> str:
        """share_40/0, or the seed of a run of no study."""
        return f"{self.places[0].arm}/{self.places[0].seed}" if self.places else f"seed {self.seed}"

    @property
    def seed(self) -> str:
        return self.record.id.split("-s")[-1].partition("-")[0]


def listed(shown: Sequence[Shown], now: float) -> Group:
    """A table a study, the one that changed last at the end; runs of no study come first."""
    studies: dict[str, list[Shown]] = {}
    for run in shown:
        studies.setdefault(run.places[0].study if run.places else "", []).append(run)
    ordered = sorted(studies, key=lambda name: (name != "", max(run.changed for run in studies[name])))
    parts: list[RenderableType] = []
    for name in ordered:
        parts += [Text.from_markup(_heading(name, studies[name])), _table(studies[name], now), ""]
    return Group(*parts[:-1])


def _heading(study: str, shown: list[Shown]) -> str:
    metrics = {f"{run.metric.name}, {run.metric.unit}" for run in shown if run.record.done}
    said = f"; {metrics.pop()}" if len(metrics) == 1 else ""
    return f"[bold]{escape(study) or 'runs of no study'}[/]  [dim]{_count(len(shown))}{said}[/]"


def _count(runs: int) -> str:
    return f"{runs} run" + ("s" if runs != 1 else "")


def _table(shown: list[Shown], now: float) -> Table:
    out = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    out.add_column("id", no_wrap=True)
    out.add_column("arm/seed", no_wrap=True, overflow="ellipsis")
    out.add_column("model", no_wrap=True, overflow="ellipsis")
    for name in ("tokens", "metric", "age"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("state", no_wrap=True)
    for run in sorted(shown, key=lambda run: run.changed):
        result = run.record.result() or {}
        value = "–" if run.value is None else f"{run.value:.4f}"
        tokens = tokens_text(result["tokens"]) if result else "–"
        cells = [short(run.record), run.arm, model_text(run.record), tokens, value, ago(now - run.changed)]
        out.add_row(*map(Text, cells), _state(run.state))
    return out


def _state(state: str) -> Text:
    known = [colour for name, colour in COLOURS.items() if state.startswith(name)]
    return Text(state, style=known[0] if known else "yellow")


def model_text(record: Record) -> str:
    """a128x2 0.7M: mixers, width and depth, and the parameters once they were counted."""
    shape = record.id.split("-")[0]
    parameters = (record.result() or {}).get("parameters")
    return f"{shape} {tokens_text(parameters)}" if parameters else shape


def ago(seconds: float) -> str:
    """3 h, in the largest unit of which there are at least LATELY."""
    unit = next((unit for unit, length in SECONDS.items() if seconds >= LATELY * length), "s")
    return f"{max(0, round(seconds / SECONDS[unit]))} {unit}"


def one(shown: Shown, usual: Settings, parents: list[Link]) -> Group:
    """All that is known of a run. `usual`: settings to tell it from; `parents`: the chain that it ends."""
    record, result = shown.record, shown.record.result() or {}
    lines = [("state", f"{shown.state}, {_when(shown.changed)}")]
    lines += [("study", str(place)) for place in shown.places]
    lines += [("began with", _began(record, shown, parents))]
    lines += [("reason", str(why["reason"])) for why in (result, record.failure() or {}) if why.get("reason")]
    if result:
        lines += [("model", f"{model_text(record)} ({result['parameters']:,} parameters)"), ("trained", _cost(result))]
    environment = record.environment()
    lines += [("made by", f"ablate {environment.get('commit', '?')}, torch {_version(environment, 'torch')}")]
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines:
        table.add_row(name, Text(text))
    parts: list[RenderableType] = [Text(record.id, style="bold"), table]
    if result:
        parts += ["", _readings([shown])]
    return Group(*parts, "", *_own(shown.settings, usual))


def _own(settings: Settings, usual: Settings) -> list[RenderableType]:
    """The settings that `ablate train` alone would not have."""
    own = _typed(settings, usual)
    if not own:
        return [Text("settings: those of `ablate train` alone", style="dim")]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("setting", no_wrap=True)
    table.add_column("here", overflow="fold")
    table.add_column("usually", overflow="fold", style="dim")
    for key, (before, here) in own.items():
        table.add_row(*(Text(text) for text in (key, _value(here), _value(before))))
    return [table]


def _typed(settings: Settings, usual: Settings) -> dict[str, tuple[Any, Any]]:
    """{key: (usual value, value here)} as they are typed, of all that makes a run what it is."""
    here, there = ({k: v for k, v in dataclasses.asdict(each).items() if k not in ASIDE} for each in (settings, usual))
    here, there = flatten(here), flatten(there)
    return {key: (there.get(key), here.get(key)) for key in here | there if here.get(key) != there.get(key)}


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _began(record: Record, shown: Shown, parents: list[Link]) -> str:
    if len(parents) > 1:
        return f"the weights of {parents[-2].name}"
    grown = (record.result() or {}).get("grown_from")
    trunk = f"; its first {grown['step']:,} steps were taken by {grown['run']}" if grown else ""
    return f"weights drawn from seed {shown.seed}{trunk}"


def _cost(result: dict[str, Any]) -> str:
    speed = result.get("tokens_per_second")
    rate = f", {speed:,.0f} tokens/s" if speed else ""
    return f"{result['tokens']:,} tokens in {result['step']:,} steps, {result['seconds']:.1f} s{rate}, " + flops_text(
        result["flops"]
    )


def _version(environment: dict[str, Any], package: str) -> str:
    return str((environment.get("packages") or environment.get("versions") or {}).get(package, "?"))


def _when(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")


def compared(shown: Sequence[Shown]) -> Group:
    """Runs side by side: the settings that differ, the metrics, what they cost."""
    runs = [run.settings for run in shown]
    keys = {key for other in runs[1:] for key in difference(runs[0], other)}
    table = _beside(shown, "setting")
    for key in sorted(keys):
        values = [difference(runs[0], other).get(key) for other in runs[1:]]
        first = next(pair[0] for pair in values if pair)
        cells = [Text(_value(first if pair is None else pair[1])) for pair in [None, *values]]
        table.add_row(key_in_words(key), *cells)
    what = table if keys else Text("no setting differs: the same run, if the text is", style="dim")
    return Group(what, "", _readings(shown), "", _costs(shown))


def _beside(shown: Sequence[Shown], heading: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(heading, overflow="fold")
    for run in shown:
        table.add_column(f"{short(run.record)}\n{run.arm}", overflow="fold", justify="right")
    return table


def _readings(shown: Sequence[Shown]) -> Table:
    """Every number that can be read at the end of the runs; of several, also how far each is from the first."""
    scope = shown[0].scope
    found = [readings(run.record.result() or {}, scope) for run in shown]
    table = (
        _beside(shown, "at the end") if len(shown) > 1 else Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    )
    if len(shown) == 1:
        table.add_column("at the end")
        table.add_column(shown[0].metric.unit, justify="right")
    for name in dict.fromkeys(name for each in found for name in each):
        first, *others = (each.get(name) for each in found)
        cells = [_number(first), *(f"{_number(other)} {_apart(first, other)}".strip() for other in others)]
        judged = name == shown[0].metric.name
        table.add_row(name, *cells, style="bold" if judged else "")
    return table


def _costs(shown: Sequence[Shown]) -> Table:
    table = _beside(shown, "cost")
    results = [run.record.result() or {} for run in shown]
    rows: dict[str, Callable[[Any], str]] = {"tokens": tokens_text, "flops": flops_text, "parameters": tokens_text}
    for name, text in {**rows, "seconds": "{:.1f}".format}.items():
        table.add_row(name, *(text(result[name]) if result else "–" for result in results))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _apart(first: float | None, other: float | None) -> str:
    return "" if first is None or other is None else f"({other - first:+.4f})"


def chain(links: list[Link], descendants: Callable[[Record], list[Record]], text: Callable[[Record], str]) -> Tree:
    """The phases that led to a run, what each changed, and the runs that began with its weights."""
    first, *later = links
    node = root = Tree(_label(first.name, first.record, text), guide_style="dim")
    for link in later:
        label = _label(link.name, link.record, text)
        for key, (before, here) in link.changed.items():
            label.append(f"\n{key_in_words(key)}: {_value(before)} → {_value(here)}", style="not bold dim")
        node = node.add(label)
    last = links[-1].record
    for child in descendants(last) if last else []:
        node.add(_label(child.id, child, text))
    return root


def _label(name: str, record: Record | None, text: Callable[[Record], str]) -> Text:
    label = Text(name, style="bold")
    return label.append(f"  {text(record)}", style="not bold") if record else label
