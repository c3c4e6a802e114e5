"""The W&B workspace of a study or a lab book as a file: the panels of the report for whoever is on wandb.ai.

    ablate report mix_sweep --workspace mix_sweep.json          offline: builds it and writes it
    ablate report --book experiments --workspace book.json      of all studies
    ablate report --apply mix_sweep.json --entity my-team       logged in (`wandb login`): saves it there

Runs are those of the study (their group), gathered by arm (their job type): a line is the mean over seeds, its band
their range, along tokens. The arms come in no order and with no verdict: seeds are not paired there, and nothing is
corrected for how many are compared, so a workspace is for watching and the report for judging.

What tests show without an account: the library builds the panels, writes them and reads the same back; every metric,
configuration key, group and job type named is in what a real run logged to W&B's own files. What they cannot show: how
wandb.ai draws it, and that saving it there works.

The library (`wandb-workspaces`, `pip install 'ablate[workspace]'`) builds and checks the panels. What it would send is
what the file holds, so that it can be read, kept and applied elsewhere.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.page.drawing import parallel
from ablate.run.files import write_atomically
from ablate.run.identity import flatten
from ablate.run.settings import Settings, UserError, Where
from ablate.scores.metrics import of_weights, readings
from ablate.verdict.evidence import Evidence

TRAINING = {  # what a run logs of its steps, and what to call it
    "train/lr": "learning rate",
    "train/length": "row length, tokens",
    "train/tokens_per_second": "tokens per second",
    "train/nats": "training loss, nats per token or of a pair",
    "train/grad_norm": "gradient norm",
    "train/weight_decay": "weight decay",
    "train/mfu": "model FLOPs utilisation",
}
BY_ARM = {"groupby": "JobType", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
OF_ALL = [  # settings by which all runs of a lab book are drawn
    *("size.width", "size.depth", "model.pattern", "model.linear"),
    *("optimizer.name", "schedule.shape", "tokens", "seed"),
]
COLUMNS = 3  # of panels in a section


def losses(evidence: Evidence) -> dict[str, str]:
    """{metric as logged: title} of every metric that runs of the study have."""
    known = {name for run in evidence.runs for name in readings(run.result, evidence.scope)}
    return {f"evaluation/metric/{n}": n for n in (*evidence.domains, *of_weights()) if not known or n in known}


def _named(evidence: Evidence) -> str:
    return f"{evidence.metric.name}, {evidence.metric.unit}"


def tokens_read(evidence: Evidence) -> dict[str, str]:
    """{metric as logged: domain} of the tokens read so far."""
    return {f"train/domain_tokens/{domain}": domain for domain in evidence.domains}


def final(evidence: Evidence) -> str:
    """The declared metric as logged."""
    return f"evaluation/metric/{evidence.metric.name}"


def settings(evidence: Evidence) -> list[str]:
    """The settings in which arms differ, as far as a run's configuration has them under their own name."""
    example = _example(evidence)
    plain = flatten(dataclasses.asdict(example)) if example else {}
    return [key for key in parallel.settings(evidence) if isinstance(plain.get(key), str | int | float)]


def _example(evidence: Evidence) -> Settings | None:
    """The whole configuration of some run; none out of the lab book, which keeps the differences alone."""
    known = (run.record for run in evidence.distinct_runs if run.record.configured)
    return next((record.settings() for record in known), None)


def write(evidence: Evidence, path: Path) -> None:
    """Write the workspace of the study as JSON. Raises UserError without the library."""
    project = (example.where if (example := _example(evidence)) else Where()).wandb_project
    _write(build(evidence, project), path)


def write_book(studies: Sequence[Evidence], path: Path) -> None:
    """Write the workspace of a lab book as JSON. Raises UserError without the library."""
    _write(build_book(studies, Where().wandb_project), path)


def _write(workspace: Any, path: Path) -> None:
    view = workspace._to_model()
    spec = view.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    held = {"project": view.project, "name": view.display_name, "spec": spec}
    write_atomically(path, json.dumps(held, indent=1) + "\n")


def build_book(studies: Sequence[Evidence], project: str) -> Any:
    """The `wandb_workspaces.workspaces.Workspace` of all studies: a line an arm of a study."""
    ws, wr = _library()
    metrics = {metric: title for one in studies for metric, title in losses(one).items()}
    column = wr.ParallelCoordinatesPlotColumn
    columns = [column(wr.Config(key), display_name=key) for key in OF_ALL]
    columns += [column(wr.SummaryMetric(metric), display_name=title) for metric, title in metrics.items()]
    runs = wr.ParallelCoordinatesPlot(title="settings and outcome of every run", columns=columns)
    return ws.Workspace(
        entity="",
        project=project,
        name="the lab book",
        sections=[
            _section("Metrics", _lines(metrics, by={})),
            _section("All runs", [runs], columns=1),
            _section("Training", _lines(TRAINING, by={})),
        ],
        settings=ws.WorkspaceSettings(x_axis="tokens", max_runs=1000),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group").isin([one.study.name for one in studies])],
            groupby=[ws.Metric("Group"), ws.Metric("JobType")],
        ),
    )


def build(evidence: Evidence, project: str, entity: str = "") -> Any:
    """The `wandb_workspaces.workspaces.Workspace` of a study."""
    ws, _ = _library()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"study {evidence.study.name}",
        sections=[
            _section("Metrics", _lines(losses(evidence))),
            _section("Outcome", _outcome(evidence), columns=2),
            _section("Training", _lines(TRAINING)),
            _section("Mixture, tokens read", _lines(tokens_read(evidence))),
        ],
        settings=ws.WorkspaceSettings(x_axis="tokens", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == evidence.study.name],
            groupby=[ws.Metric("JobType")],
            order=[ws.Ordering(ws.Summary(final(evidence)), ascending=evidence.metric.better == "lower")],
            pinned_columns=[f"summary:{final(evidence)}", "summary:train/tokens"],
        ),
    )


def _section(name: str, panels: list[Any], columns: int = COLUMNS) -> Any:
    """Open, and as high as all of its panels."""
    ws, _ = _library()
    layout = ws.SectionLayoutSettings(columns=columns, rows=math.ceil(len(panels) / columns))
    return ws.Section(name, panels=panels, is_open=True, layout_settings=layout)


def _lines(metrics: dict[str, str], by: dict[str, str] = BY_ARM) -> list[Any]:
    """A panel a metric: a line an arm, along tokens. by: how lines are grouped; empty: as the workspace groups runs."""
    _, wr = _library()
    style = {"x": "tokens", "title_x": "tokens", "smoothing_factor": 0.0, **by}
    return [wr.LinePlot(title=title, y=[metric], **style) for metric, title in metrics.items()]


def _outcome(evidence: Evidence) -> list[Any]:
    """The final loss by arm, and every run as a line over the settings in which arms differ."""
    _, wr = _library()
    column = wr.ParallelCoordinatesPlotColumn
    columns = [column(wr.Config(key), display_name=key) for key in settings(evidence)]
    columns += [
        column(wr.SummaryMetric(name), display_name=f"tokens of {d}") for name, d in tokens_read(evidence).items()
    ]
    columns.append(column(wr.SummaryMetric(final(evidence)), display_name=_named(evidence)))
    bars = wr.BarPlot(title=f"final {_named(evidence)}", metrics=[final(evidence)], **BY_ARM)
    return [bars, wr.ParallelCoordinatesPlot(title="settings and outcome of every run", columns=columns)]


def apply(path: Path, entity: str = "") -> str:
    """Save the workspace of a file on wandb.ai as a new view of its project; returns its address.

    entity: user or team, the default one of who is logged in if empty.
    """
    ws, _ = _library()
    workspace = ws.Workspace._from_model(read(path, entity))
    default = _default_entity()
    workspace.entity = entity or default
    return str(workspace.save().url)


def read(path: Path, entity: str) -> Any:
    """The view that a file holds, checked by the library. Raises UserError for a file that is none."""
    from wandb_workspaces.workspaces import internal

    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        spec = internal.WorkspaceViewspec.model_validate(held["spec"])
        name, project = held["name"], held["project"]
        return internal.View(entity=entity, project=project, display_name=name, name="", id="", spec=spec)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a workspace written by --workspace: {str(error).splitlines()[0]}") from None


def _default_entity() -> str:
    import wandb

    if not wandb.login(prompt=False):
        raise UserError("--apply needs an account: log in with `wandb login`")
    return str(wandb.Api().default_entity)


def _library() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise UserError("a workspace needs wandb-workspaces: pip install 'ablate[workspace]'") from None
    return ws, wr
