"""Sweepers of Hydra that search get the study's metric of each try back, and our launcher is refused to them."""

import math
import sys
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from test_train import TINY

from ablate import train
from ablate.fit.module import Diverged, Pretraining

RATES = (1e-4, 3e-3)


class Searcher(Sweeper):
    """Tries two rates, and keeps what came back."""

    values: list[float]
    launcher: Any = None

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        jobs = [[*arguments, f"optimizer.lr={rate}"] for rate in RATES]
        Searcher.values = [job.return_value for job in self.launcher.launch(jobs, initial_job_idx=0)]


@pytest.fixture
def search(outputs, capsys, monkeypatch):
    """search("study.metric=qa"): what a whole search prints."""
    monkeypatch.setattr(Searcher, "__module__", "hydra_plugins.searcher")  # Hydra takes plugins from there alone
    monkeypatch.setitem(sys.modules, Searcher.__module__, sys.modules[__name__])
    Plugins.instance().register(Searcher)
    node = {"_target_": f"{Searcher.__module__}.Searcher"}
    ConfigStore.instance().store(group="hydra/sweeper", name="searcher", node=node)

    def run(*words: str) -> str:
        tiny = [*TINY, "tokens=5120", "where.wandb=off", "where.progress=false", f"where.outputs={outputs}"]
        train.main(["-m", "hydra/sweeper=searcher", *tiny, *words])
        return capsys.readouterr().out

    return run


def test_a_sweeper_gets_the_metric_of_the_study(search):
    shown = search("hydra/launcher=basic", "study.metric=qa")
    assert Searcher.values == sorted(Searcher.values, reverse=True)  # the lower rate learns less
    assert f"best of 2 tries by qa: {min(Searcher.values):.4f} bits per byte" in shown
    assert "looks better than it is: judge it in a study" in shown
    for value in Searcher.values:
        assert f"  qa           {value:.4f} bits per byte" in shown


def test_a_try_that_diverged_is_the_worst_and_the_search_goes_on(search, monkeypatch):
    step = Pretraining.training_step

    def diverging(self, *arguments, **more):
        if self.settings.optimizer.lr == RATES[0]:
            raise Diverged("step 1: planted")
        return step(self, *arguments, **more)

    monkeypatch.setattr(Pretraining, "training_step", diverging)
    shown = search("hydra/launcher=basic")
    assert Searcher.values[0] == math.inf
    assert math.isfinite(Searcher.values[1])
    assert "the run diverged: step 1: planted" in shown


def test_our_launcher_wants_all_runs_at_once(search, capsys):
    with pytest.raises(SystemExit) as stop:
        search()
    assert stop.value.code == 1
    assert "error: hydra/launcher=study: must be basic with Searcher" in capsys.readouterr().err


def test_the_optuna_sweeper_finds_the_better_rate(outputs, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra optuna is not installed")
    tiny = [*TINY, "tokens=5120", "where.wandb=off", "where.progress=false", f"where.outputs={outputs}"]
    words = [
        "hydra/sweeper=optuna",
        "hydra/launcher=basic",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.sampler.seed=0",
        "optimizer.lr=choice(1e-4,3e-3)",
    ]
    train.main(["-m", *tiny, *words])
    assert "best of 3 tries by macro: " in capsys.readouterr().out
    best = (outputs / "optimization_results.yaml").read_text()
    assert "optimizer.lr: 0.003" in best
