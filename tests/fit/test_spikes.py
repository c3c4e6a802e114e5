"""A run that takes a spike back ends with the weights of one that was told to leave the steps out, and of one that was
killed anywhere on the way."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from runs import KINDS, Interruption, elsewhere, interrupt, record_of, train_run

from ablate.fit.clipping import build
from ablate.fit.module import Pretraining
from ablate.fit.monitor import LOSS, NORM, OF_DOMAINS, Monitor
from ablate.fit.spikes import Spikes
from ablate.run.monitor import spelled
from ablate.run.optimizer import AdaGC, Optimizer, ZClip
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError
from ablate.run.trunks import Growth, trunk_record

LEAST = {"least": 8, "window": 16, "limit": 0.5}
FIXED = {"length": {"lengths": [64], "starts": [0]}, "tokens": 512 * 24, "where": {"saves": 6}}
PLANTED = FIXED | {"trouble": {"kind": "noise", "start": 18, "steps": 1}}


def with_monitor(tiny, act: str, *skip: str, **changes) -> Settings:
    settings = tiny(**(PLANTED | changes))
    monitor = dataclasses.replace(settings.monitor, act=act, skip=list(skip), **LEAST)
    return dataclasses.replace(settings, monitor=monitor)


def told_of(settings: Settings, windows: list[list[int]]) -> Settings:
    skip = spelled((first, end) for first, end in windows)
    return dataclasses.replace(settings, monitor=dataclasses.replace(settings.monitor, skip=skip))


@pytest.fixture
def spike_at(monkeypatch):
    """spike_at(12): every monitor finds a spike in step 12, and in no other."""

    def plant(at: int) -> None:
        take, look = Pretraining.is_healthy, Monitor.look

        def healthy(self, *arguments):
            self.monitor.at = self.trainer.global_step
            return take(self, *arguments)

        monkeypatch.setattr(Pretraining, "is_healthy", healthy)
        monkeypatch.setattr(Monitor, "look", lambda self, *seen: look(self, *seen)._replace(spike=self.at == at))

    return plant


@pytest.mark.parametrize("act", ["skip", "rollback"])
def test_a_planted_batch_is_found_and_left_out_and_the_end_is_that_of_a_run_that_was_told(tiny, act):
    settings = with_monitor(tiny, act)
    result = train_run(settings)
    [spike] = record_of(settings).rows("spike")
    assert (spike["at"], spike["action"], spike["z_loss"] > 6) == (18, act, True)
    windows = {"skip": [[18, 19]], "rollback": [[14, 19]]}[act]
    assert result["skipped"]["windows"] == windows
    assert spike["window"] == windows[0]
    assert sum(spike["rows"].values()) == 8
    told = told_of(settings, windows)
    expected = train_run(told)
    assert result["weights_sha256"] == expected["weights_sha256"]
    assert result["sums"] == expected["sums"]
    assert result["skipped"] == expected["skipped"]
    assert record_of(told).rows("spike") == []


LAW = {name: KINDS[name] for name in ("recomputed and accumulated", "adamw8bit", "muon", "average, uniform")}
LAW["bf16, lerac and an average"] = KINDS["bf16"] | KINDS["lerac"] | KINDS["average, ema"]
LAW |= {name: {"optimizer": {"clipping": name}} for name in ("zclip", "adagc")}
LAW["two processes"] = {"where": {"strategy": "ddp", "devices": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAW)
@pytest.mark.parametrize("act", ["skip", "rollback"])
def test_law(tiny, tmp_path, spike_at, act, kind):
    """Found by itself, told beforehand, and killed on the way: the same bits."""
    spike_at(18)  # in this process; two processes find the rows of noise by themselves
    changes = LAW[kind] | {"where": FIXED["where"] | LAW[kind].get("where", {})}
    settings = with_monitor(tiny, act, **changes)
    result = train_run(settings)
    windows = result["skipped"]["windows"]
    assert windows
    assert train_run(told_of(settings, windows))["weights_sha256"] == result["weights_sha256"]
    if settings.where.strategy == "single":
        killed = elsewhere(settings, tmp_path / "killed")
        interrupt(killed, 20)
        assert train_run(killed)["weights_sha256"] == result["weights_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("act", ["skip", "rollback"])
def test_killed_after_any_step_around_it(tiny, tmp_path, act):
    settings = with_monitor(tiny, act)
    expected = train_run(settings)
    for step in (13, 16, 17, 18, 19, 20):  # of which 16 and 20 are saved
        killed = elsewhere(settings, tmp_path / str(step))
        interrupt(killed, step)
        found = train_run(killed)
        assert (step, found["weights_sha256"]) == (step, expected["weights_sha256"])
        assert found["skipped"] == expected["skipped"]


@pytest.mark.parametrize("moment", ["before the list", "after the list"])
def test_killed_between_the_alarm_and_the_new_beginning(tiny, tmp_path, monkeypatch, moment):
    settings = with_monitor(tiny, "rollback")
    expected = train_run(settings)
    killed, take_back = elsewhere(settings, tmp_path / "killed"), Record.take_back

    def stopped(self, rows):
        if moment == "after the list":
            take_back(self, rows)
        raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(Record, "take_back", stopped)
        with pytest.raises(Interruption):
            train_run(killed)
    assert train_run(killed)["weights_sha256"] == expected["weights_sha256"]
    assert [record_of(one).rows("spike") for one in (settings, killed)] == [record_of(killed).rows("spike")] * 2
    assert len(record_of(killed).rows("spike")) == 1


def test_a_trunk_of_steps_that_were_taken_back_is_not_grown_from(tiny, tmp_path, spike_at):
    """The spike comes right after the trunk, so the steps to leave out begin before it."""
    spike_at(18)
    settings = with_monitor(tiny, "rollback", trouble={"kind": "none", "start": 0.5})
    trunk = trunk_record(tmp_path, "trunk")
    expected = train_run(settings, Growth(leave={16: trunk}))
    assert trunk.read()["step"] == 16
    grown = elsewhere(settings, tmp_path / "grown")
    found = train_run(grown, Growth(start=trunk))
    assert found["weights_sha256"] == expected["weights_sha256"]
    assert found["skipped"] == expected["skipped"]
    again = trunk_record(tmp_path, "again")
    third = elsewhere(settings, tmp_path / "third")
    record_of(third).folder.mkdir()
    [spike] = record_of(settings).rows("spike")
    record_of(third).take_back([{name: value for name, value in spike.items() if name != "kind"}])
    train_run(third, Growth(leave={16: again}))
    assert not again.exists


def test_no_more_is_left_out_than_the_limit(tiny):
    """Rows of noise from step 12 on: the first spikes are left out, then the run learns from them, and says so."""
    trouble = {"kind": "noise", "start": 12, "steps": 10}
    settings = with_monitor(tiny, "skip", trouble=trouble)
    settings = dataclasses.replace(settings, monitor=dataclasses.replace(settings.monitor, limit=0.1))
    result = train_run(settings)
    actions = [row["action"] for row in record_of(settings).rows("spike")]
    assert actions[:2] == ["skip", "skip"]
    assert "none" in actions
    assert result["skipped"]["steps"] <= 0.1 * 24 + 1
    assert result["outcome"] == "finished"


def test_a_loss_that_is_no_number_is_a_spike(tiny, monkeypatch):
    settings = with_monitor(tiny, "skip", trouble={"kind": "none", "start": 0.5})
    losses = Pretraining.losses

    def broken(self, batch, sums_D3):
        sums = losses(self, batch, sums_D3)
        if self.on_spike and self.trainer.global_step == 3 and self.model.training:
            sums_D3 += float("nan")
            return sums._replace(total=sums.total * float("nan"))
        return sums

    monkeypatch.setattr(Pretraining, "losses", broken)
    result = train_run(settings)
    assert (result["outcome"], result["skipped"]["windows"]) == ("finished", [[3, 4]])
    assert all(math.isfinite(row["nats"]) for row in record_of(settings).rows("train") if "nats" in row)


def test_what_nobody_looks_at_is_as_it_was(tiny, tmp_path):
    """A monitor moves no weight while it finds nothing."""
    plain = tiny(**FIXED)
    watched = dataclasses.replace(plain, monitor=dataclasses.replace(plain.monitor, act="skip", **LEAST))
    one, two = train_run(plain), train_run(watched)
    assert one["weights_sha256"] == two["weights_sha256"]
    assert two["skipped"] == {"steps": 0, "tokens": 0, "domains": {"general": 0, "code": 0, "qa": 0}, "windows": []}
    assert record_of(watched).rows("spike") == []


def monitor_of(tiny, **changes) -> Monitor:
    settings = tiny()
    return Monitor(dataclasses.replace(settings, monitor=dataclasses.replace(settings.monitor, act="skip", **changes)))


def fed(monitor: Monitor, losses, norms, phase=(0.0, 64.0, 8.0), take=True):
    looks = []
    for loss, norm in zip(losses, norms, strict=True):
        looks.append(monitor.look(phase, np.array([[loss * 512, 512.0], [0.0, 0.0], [0.0, 0.0]]), norm))
        if take and not looks[-1].spike:
            monitor.take_in(looks[-1])
    return looks


def test_a_fall_is_no_spike_and_a_rise_is(tiny):
    rng, steps = np.random.default_rng(0), np.arange(200)
    losses, norms = 3 + 4 * np.exp(-steps / 40) + rng.normal(0, 0.05, 200), np.exp(rng.normal(0, 0.1, 200))
    monitor = monitor_of(tiny)
    assert not any(look.spike for look in fed(monitor, losses, norms))
    [low, high] = fed(monitor, [2.0, 4.0], [1.0, 1.0], take=False)
    assert (low.spike, high.spike) == (False, True)
    assert low.z_F[LOSS] < 0 < 6 < high.z_F[LOSS]
    [both, norm, huge] = fed(monitor, [3.6, 3.0, 3.0], [3.0, 3.0, 9.0], take=False)
    assert (both.spike, norm.spike, norm.z_F[NORM] > 6) == (True, False, True)  # a norm alone is not borne out
    assert huge.spike


def test_a_norm_alone_is_borne_out_by_how_far_it_lies_above_all_others(tiny):
    """Norms have heavy tails: a hundred steps in a million are six times the usual, and nothing is wrong with them."""
    rng = np.random.default_rng(0)
    monitor = monitor_of(tiny)
    fed(monitor, rng.normal(3, 0.05, 100), np.exp(rng.normal(0, 0.25, 100)))
    [tail, huge] = fed(monitor, [3.0, 3.0], [7.0, 20.0], take=False)
    assert 6 < tail.z_F[NORM] < 9 < huge.z_F[NORM]
    assert (tail.spike, huge.spike) == (False, True)


def test_one_row_of_a_rare_domain_is_compared_with_those_of_its_domain(tiny):
    """Rows of one domain are all alike; those of the other are not, and come in one step of eight."""
    rng = np.random.default_rng(0)
    monitor, sums, steps = monitor_of(tiny), {0: (2.0, 0.02), 1: (3.0, 0.5)}, []
    for step in range(1600):
        mean, spread = sums[domain := int(step % 8 == 0)]
        step_D2 = np.zeros((3, 2))
        step_D2[domain] = 64 * rng.normal(mean, spread), 64
        steps.append(monitor.look((0.0, 64.0, 1.0), step_D2, float(np.exp(rng.normal(0, 0.1)))))
        monitor.take_in(steps[-1])
    rare = [look.z_F for look in steps[::8] if look.z_F[OF_DOMAINS + 1]]  # of which there were enough before
    assert len(rare) > 8
    assert all(z_F[LOSS] <= max(z_F[OF_DOMAINS + 1], 0.0) for z_F in rare)
    step_D2 = np.array([[0.0, 0.0], [64 * 12.0, 64.0], [0.0, 0.0]])
    assert monitor.look((0.0, 64.0, 1.0), step_D2, 1.0).spike


def test_what_a_bad_rate_has_done_adds_up_over_steps(tiny):
    """Each step alone would pass."""
    rng = np.random.default_rng(0)
    monitor = monitor_of(tiny)
    fed(monitor, rng.normal(3, 0.05, 100), np.exp(rng.normal(0, 0.1, 100)))
    looks = fed(monitor, [3.2, 3.2, 3.2, 3.2], [1.5, 1.5, 1.5, 1.5])
    assert not looks[0].spike
    assert any(look.spike for look in looks)
    assert monitor.suspects > 0


def test_another_stage_or_length_begins_anew(tiny):
    rng = np.random.default_rng(0)
    monitor = monitor_of(tiny)
    fed(monitor, rng.normal(2, 0.02, 100), np.ones(100))
    looks = fed(monitor, rng.normal(5, 0.02, 100), np.ones(100), phase=(1.0, 64.0, 8.0))
    assert not any(look.spike for look in looks)
    [back] = fed(monitor, [9.0], [1.0], phase=(1.0, 64.0, 8.0), take=False)
    assert back.spike


def test_its_state_goes_through_a_checkpoint_to_the_bit(tiny):
    rng = np.random.default_rng(1)
    losses, norms = rng.normal(3, 0.1, 150), np.exp(rng.normal(0, 0.1, 150))
    whole, half, other = (monitor_of(tiny) for _ in range(3))
    looks = fed(whole, losses, norms)
    fed(half, losses[:90], norms[:90])
    other.load(half.state())
    assert [look.z_F.tolist() for look in fed(other, losses[90:], norms[90:])] == [
        look.z_F.tolist() for look in looks[90:]
    ]
    assert json.dumps({name: value.tolist() for name, value in other.state().items()})


def gradients(steps: int) -> torch.Tensor:
    """(steps, parameters, numbers): of two tensors, now and then far too large."""
    torch.manual_seed(0)
    found = torch.randn(steps, 2, 8, dtype=torch.float64) * torch.tensor([1.0, 5.0], dtype=torch.float64)[:, None]
    found[40] *= 30
    found[60, 1] *= 20
    return found


def clipped(settings: Optimizer, trace: torch.Tensor) -> list[list[float]]:
    """The norm of each tensor's gradient after clipping, step by step."""
    by, found = build(settings), []
    for step in trace:
        parameters = [torch.nn.Parameter(torch.zeros(8, dtype=torch.float64)) for _ in step]
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        by.clip(parameters)
        by.accept()
        found.append([float(torch.linalg.vector_norm(parameter.grad)) for parameter in parameters])  # pyrefly: ignore
    return found


def test_zclip_is_that_of_the_paper():
    """Its public code: a mean and variance of the first norms, then exponential ones of the norms once clipped."""
    trace, by = gradients(80), ZClip()
    norms = trace.flatten(1).norm(dim=1).tolist()
    early, expected = norms[: by.warmup], []
    mean = sum(early) / len(early)
    variance = sum((norm - mean) ** 2 for norm in early) / len(early)
    for number, norm in enumerate(norms):
        limit = norm
        if number >= by.warmup:
            z = (norm - mean) / (variance**0.5 + 1e-6)
            limit = mean + by.sigma * variance**0.5 / (z / by.sigma) if z > by.sigma else norm
            mean = by.memory * mean + (1 - by.memory) * limit
            variance = by.memory * variance + (1 - by.memory) * (limit - mean) ** 2
        expected.append(min(1.0, min(limit, 7.0) / norm))
    found = clipped(Optimizer(clipping="zclip", clip=7.0), trace)
    scales = [math.hypot(*one) / norm for one, norm in zip(found, norms, strict=True)]
    assert scales == pytest.approx(expected, rel=1e-5)
    assert scales[40] < 0.05


def test_adagc_is_that_of_the_paper():
    trace, by = gradients(80), AdaGC(warmup=20)
    found, usual = clipped(Optimizer(clipping="adagc", clip=7.0, adagc=by), trace), [float("inf")] * 2
    for number, step in enumerate(trace):
        whole = float(step.norm())
        for which, gradient in enumerate(step):
            norm = float(gradient.norm())
            if number < by.warmup:
                scale = min(1.0, 7.0 / whole)
                usual[which] = min(usual[which], norm * scale)
            else:
                scale = min(1.0, by.factor * usual[which] / norm)
                usual[which] = by.memory * usual[which] + (1 - by.memory) * norm * scale
            assert found[number][which] == pytest.approx(norm * scale, rel=1e-5)
    assert found[40][0] < 0.1 * float(trace[40, 0].norm())


def test_a_step_that_is_not_taken_leaves_nothing_in_a_clipping():
    by = build(Optimizer(clipping="zclip"))
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([1.0, 2.0, float("nan")])
    by.clip([parameter])
    assert by.kept == {}


@pytest.mark.parametrize("changes", [{"monitor": {"act": "skip", "least": 8}}, {"optimizer": {"clipping": "zclip"}}])
def test_what_steps_by_itself_is_refused(tiny, changes):
    with pytest.raises(SettingsError, match=r"none with where.strategy=zero2|norm with where.strategy=zero2"):
        tiny(**changes, where={"strategy": "zero2", "devices": 2})


def test_a_spike_is_judged_against_what_was_left_out_so_far(tiny):
    monitor, rows = monitor_of(tiny, limit=0.05), []
    learns = np.ones(100, dtype=bool)
    spikes = Spikes(monitor, learns, lambda step: {"qa": 1}, lambda kind, row: rows.append(row["action"]))
    [look] = fed(monitor, [3.0], [1.0], take=False)
    for step in (20, 30, 31, 60):
        learns[step] = spikes(step, look)
    assert rows == ["skip", "skip", "none", "skip"]
