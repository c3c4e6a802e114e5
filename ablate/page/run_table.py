"""Runs in the terminal: a list, one in full, several side by side, and the chain that a run ends."""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from ablate.page.tables import facts, table
from ablate.run.identity import difference, flatten, key_in_words
from ablate.run.lineage import Link
from ablate.run.lookup import Place, children, short
from ablate.run.monitor import spelled
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError
from ablate.scores.metrics import METRICS, Metric, Scope, metric_of, of_study, readings, scope_of
from ablate.verdict.evidence import flops_text, tokens_text

COLOURS = {"finished": "", "running": "cyan", "diverged": "red", "crashed": "red", "out of memory": "red"}
SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
ASIDE = ("where.", "study.", "distill.flops", "distill.parameters")  # what a run is not
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
            declared = self.declared
            return Scope(declared["domains"], declared.get("focus", ""), declared.get("tasks", {}))
        return scope_of(self.settings)

    @cached_property
    def metric(self) -> Metric | None:
        """None where nobody knows it any more: its module is gone."""
        study = self.declared or {"metric": self.settings.study.metric, "imports": self.settings.where.imports}
        scope = self.scope
        try:
            return of_study(study | {"domains": scope.domains})
        except SettingsError:
            return None

    @property
    def value(self) -> float | None:
        """The metric at the end of the run."""
        result = (self.record.result() or {}) | {"scores": self.record.scores}
        return self.metric.value(result, self.scope) if self.metric else None

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
    metrics = {f"{run.metric.name}, {run.metric.unit}" for run in shown if run.metric and run.record.done}
    said = f"; {metrics.pop()}" if len(metrics) == 1 else ""
    count = f"{len(shown)} run" + ("s" if len(shown) != 1 else "")
    return f"[bold]{escape(study) or 'runs of no study'}[/]  [dim]{count}{said}[/]"


def _table(shown: list[Shown], now: float) -> Table:
    out = table("id", "arm/seed", "model", ">tokens", ">metric", ">age", "state")
    for column in out.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    for run in sorted(shown, key=lambda run: run.changed):
        result = run.record.result() or {}
        tokens = tokens_text(result["tokens"]) if result else "–"
        cells = [short(run.record), run.arm, model_text(run.record), tokens, _number(run.value), ago(now - run.changed)]
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


def one(shown: Shown, usual: Settings, parents: list[Link], phases: Table | None = None) -> Group:
    """All that is known of a run. `usual`: settings to tell it from; `parents`: the chain that it ends; `phases`: what
    each phase of it did, where there are several."""
    record, result = shown.record, shown.record.result() or {}
    when = datetime.datetime.fromtimestamp(shown.changed)
    lines = [("state", f"{shown.state}, {when:%Y-%m-%d %H:%M}")]
    lines += [("study", str(place)) for place in shown.places]
    lines += [("began with", _began(record, shown, parents))]
    lines += [("reason", str(why["reason"])) for why in (result, record.failure() or {}) if why.get("reason")]
    if result:
        lines += [("model", f"{model_text(record)} ({result['parameters']:,} parameters)"), ("trained", _cost(result))]
    lines += [("spikes", text)] if (text := _spikes(result)) else []
    made = record.environment()
    code = made.get("commit") or _version(made, "ablate")
    lines += [("made by", f"ablate {code}, torch {_version(made, 'torch')}")]
    parts: list[RenderableType] = [Text(record.id, style="bold"), facts(lines)]
    if result:
        parts += ["", phases or _readings([shown])]
    return Group(*parts, "", *_own(shown.settings, usual))


def _own(settings: Settings, usual: Settings) -> list[RenderableType]:
    """The settings that `ablate train` alone would not have."""
    here, there = (flatten(dataclasses.asdict(each)) for each in (settings, usual))
    own = [key for key in here | there if here.get(key) != there.get(key) and not key.startswith(ASIDE)]
    if not own:
        return [Text("settings: those of `ablate train` alone", style="dim")]
    out = table("setting", "here", "usually")
    for key in own:
        out.add_row(*map(Text, (key, _value(here.get(key)), _value(there.get(key)))))
    return [out]


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


def _spikes(result: dict[str, Any]) -> str:
    """`1 noted; 5 steps left out (14-19), 2,560 tokens; spike score 0.42 % of 236 steps, of norms 0 %`."""
    said = [f"{result['spikes']} noted"] if "spikes" in result else []
    if skipped := result.get("skipped", {}).get("steps") and result["skipped"]:
        windows = ", ".join(spelled((first, end) for first, end in skipped["windows"]))
        said.append(f"{skipped['steps']} steps left out ({windows}), {skipped['tokens']:,} tokens")
    scores = [METRICS[name].value(result, Scope([], "")) for name in ("spike_score", "spike_score_norm")]
    if None not in scores:
        loss, norm = scores
        judged = result["spike_score"]["loss"]["judged"]
        said.append(f"spike score {loss:.2%} of {judged:,} steps, of norms {norm:.2%}")
    return "; ".join(said)


def _version(environment: dict[str, Any], package: str) -> str:
    return str((environment.get("packages") or environment.get("versions") or {}).get(package, "?"))


def compared(shown: Sequence[Shown]) -> Group:
    """Runs side by side: the settings that differ, the metrics, what they cost."""
    runs = [run.settings for run in shown]
    keys = {key for other in runs[1:] for key in difference(runs[0], other)}
    out = _beside(shown, "setting")
    for key in sorted(keys):
        values = [difference(runs[0], other).get(key) for other in runs[1:]]
        first = next(pair[0] for pair in values if pair)
        cells = [Text(_value(first if pair is None else pair[1])) for pair in [None, *values]]
        out.add_row(key_in_words(key), *cells)
    what = out if keys else Text("no setting differs: the same run, if the text is", style="dim")
    return Group(what, "", _readings(shown), "", _costs(shown))


def _beside(shown: Sequence[Shown], heading: str) -> Table:
    out = table(heading)
    for run in shown:
        out.add_column(f"{short(run.record)}\n{run.arm}", overflow="fold", justify="right")
    return out


def _readings(shown: Sequence[Shown]) -> Table:
    """Every number that can be read at the end of the runs; of several, also how far each is from the first."""
    judged, scope = shown[0].metric, shown[0].scope
    found = [readings(run.record.result() or {}, scope) for run in shown]
    out = _beside(shown, "at the end") if len(shown) > 1 else table("at the end", ">")
    out.add_column("unit", style="dim")
    for name in dict.fromkeys(name for each in found for name in each):
        first, *others = (each.get(name) for each in found)
        cells = [_number(first), *(_number(other) + _apart(first, other) for other in others)]
        cells.append(metric_of(name, scope.domains).unit)
        out.add_row(name, *cells, style="bold" if judged and name == judged.name else "")
    return out


def _costs(shown: Sequence[Shown]) -> Table:
    out = _beside(shown, "cost")
    results = [run.record.result() or {} for run in shown]
    rows: dict[str, Callable[[Any], str]] = {"tokens": tokens_text, "flops": flops_text, "parameters": tokens_text}
    for name, text in {**rows, "seconds": "{:.1f}".format}.items():
        out.add_row(name, *(text(result[name]) if result else "–" for result in results))
    return out


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _apart(first: float | None, other: float | None) -> str:
    return "" if first is None or other is None else f" ({other - first:+.4f})"


def chain(links: list[Link], shown: Callable[[Record], Shown]) -> Tree:
    """The phases that led to a run, what each changed, and the runs that began with its weights."""
    first, *later = links
    node = root = Tree(_label(first, shown), guide_style="dim")
    for link in later:
        label = _label(link, shown)
        for key, (before, here) in link.changed.items():
            label.append(f"\n{key_in_words(key)}: {_value(before)} → {_value(here)}", style="not bold dim")
        node = node.add(label)
    last = links[-1].record
    for child in children(last) if last else []:
        node.add(_label(Link(child.id, child, {}), shown))
    return root


def _label(link: Link, shown: Callable[[Record], Shown]) -> Text:
    """The name of a run, and what came of it."""
    label = Text(link.name, style="bold")
    if link.record is None:
        return label
    run = shown(link.record)
    value = "" if run.metric is None or run.value is None else f", {run.metric.name} {run.value:.4f}"
    return label.append(f"  {run.state}{value}{', '.join(['', *map(str, run.places[:1])])}", style="not bold")
