"""Command: train one run, or with -m a whole study: its runs, a verdict and a report."""

import math
import os
from dataclasses import dataclass

from ablate.console.errors import command
from ablate.console.words import SettingsParser
from ablate.fit import parts
from ablate.run.settings import Settings, UserError
from ablate.scores.metrics import Metric, metric_of, readings, scope_of
from ablate.sweep import ranks, worker

WHAT = "Train one language model, or with -m a whole study, and say which arm is better."
EXAMPLES = """\
  ablate train                                    one run with the defaults
  ablate train tokens=1e6 schedule=cosine         one run, two things changed
  ablate train +system=zagreus size=nano          a published recipe, small
  ablate train +experiment=mix_sweep -m           a study: runs, verdict, report
  ablate train +experiment=mix_sweep -m where.dry_run=true    its plan only
  ablate train +experiment=mix_sweep -m seed=0,1,2,3,4
                                                  with more seeds: another look,
                                                  judged more strictly
  torchrun --nproc-per-node 8 -m ablate.train where.strategy=ddp
                                                  one run by processes that
                                                  somebody else starts
  ablate train -m schedule=wsd,cosine seed=0,1    any combination as arms
  ablate train --config-dir my +experiment=mine -m    my/experiment/mine.yaml
  ablate train -m hydra/sweeper=optuna hydra/launcher=basic \\
      'optimizer.lr=tag(log,interval(1e-4,1e-2))'     a search (extra `optuna`)

The same command again trains nothing twice and finishes what is missing."""


@command
def main(arguments: list[str] | None = None) -> None:
    line = SettingsParser("train", WHAT, EXAMPLES).read(arguments)
    from ablate.console import compose  # Hydra, which a mistake in the flags should not wait for

    if not line.multirun:
        return compose.single(line, train)
    if ranks.started():
        raise UserError("-m: must be left out where processes are started already (torchrun): a study starts its own")
    tries: list[Try] = []  # none with our own launcher, which trains in other processes and judges by itself

    def one_try(settings: Settings) -> float:
        tries.append(tried(settings))
        return tries[-1].value

    compose.multiple(line, one_try)
    if tries:
        best = min(tries, key=lambda one: one.metric.sign * one.value)
        print(f"\nbest of {len(tries)} tries by {best.metric.name}: {best.value:.4f} {best.metric.unit}")
        print("The best of many tries looks better than it is: judge it in a study, with seeds of its own.")


class RunDiverged(UserError):
    """The run came to an end, but not to a model."""


@dataclass(frozen=True)
class Try:
    """One run of a search by another sweeper of Hydra."""

    metric: Metric
    value: float


def tried(settings: Settings) -> Try:
    """Train one configuration of a search; a run that diverged has the worst value there is, and the search goes on."""
    metric, study = metric_of(settings.study.metric, settings.data.domains), settings.study
    if study.arms or study.grid or settings.where.dry_run:
        what = "where.dry_run=true" if settings.where.dry_run else f"study {study.name}"
        raise UserError(f"hydra/launcher: must be left out with {what}; another than `study` trains single runs")
    try:
        return Try(metric, train(settings))
    except RunDiverged as error:
        print(error, flush=True)
        return Try(metric, metric.sign * math.inf)


def train(settings: Settings) -> float:
    """Train one configuration and say what came out; the study's metric at the end. Raises RunDiverged."""
    if settings.study.phases:
        raise UserError("study.phases: phases are runs of a study; -m trains them")
    if settings.study.name:
        print(f"one run, the base of {settings.study.name}; -m trains the whole study", flush=True)
    if settings.where.dry_run:
        from ablate.sweep.preview_run import preview_run  # torch, which takes seconds that mistakes should not wait for

        parts.check(settings)
        preview_run(worker.settled(settings))
        return math.nan
    if ranks.started():
        settings = ranks.placed(settings)
        if not ranks.is_first():
            ranks.follow(worker.settled(settings))
            return math.nan
    os.environ.update(settings.where.environment)
    task = worker.alone(settings)
    if ranks.started():
        result = ranks.lead(task, worker.train)
    elif settings.where.executor == "local":
        result = worker.train(task)
    else:
        from ablate.sweep.conduct import submit  # as above

        result = submit(task)
    print(f"{task.record.folder}: {result['outcome']}, {result['tokens']:,} tokens, {result['seconds']:.1f} s")
    if result["reason"]:
        raise RunDiverged(f"the run diverged: {result['reason']}")
    scope, result = scope_of(settings), result | {"scores": task.record.scores}
    for name, value in readings(result, scope).items():
        print(f"  {name:12} {value:.4f} {metric_of(name, scope.domains).unit}")
    return metric_of(settings.study.metric, scope.domains).final(task.record.id, result, scope)


if __name__ == "__main__":
    main()
