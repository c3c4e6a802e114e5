"""A run is a value: however it is interrupted, split or repeated, it ends with the same weights."""

import dataclasses
import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from runs import asked_to_stop, elsewhere, losses, record_of, train_run
from safetensors.torch import load_file

from ablate.fit import checkpoint, saver
from ablate.fit.module import Pretraining
from ablate.fit.trace import STREAMS
from ablate.model import budget, match
from ablate.plan.timeline import timeline
from ablate.run import checkpoints
from ablate.run.identity import SEMANTICS
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.scores.metrics import bits_per_byte
from ablate.sweep.worker import alone, work


def test_a_run_leaves_a_complete_record(tiny):
    settings = tiny()
    result = train_run(settings)
    record = record_of(settings)
    assert record.done
    assert record.settings() == settings
    assert result["outcome"] == "finished"
    assert result["step"] == settings.steps
    assert result["tokens"] == settings.tokens
    values = losses(result, focus="qa")
    assert set(values) == {"general", "code", "qa", "macro", "micro", "rest"}
    assert result["weights_sha256"] == checkpoint.sha256(load_file(record.weights))
    assert not record.checkpoints.exists()
    assert [row["step"] for row in record.rows("evaluation")] == list(timeline(settings).evaluations)
    for domain, rows in result["validation"].items():
        assert len(rows["nats"]) == len(rows["bytes"]) == settings.evaluation.spans
        assert bits_per_byte(sum(rows["nats"]), sum(rows["bytes"])) == pytest.approx(values[domain])


def test_realised_rates_lengths_and_mixture_are_those_of_the_timeline(tiny):
    settings = tiny(mixture={"weights": {"general": 2, "code": 1, "qa": 1}}, schedule={"decay": 0.5})
    result = train_run(settings)
    table = timeline(settings).table
    rows = record_of(settings).rows("train")
    assert [row["lr"] for row in rows] == table["lr"].tolist()
    assert [row["length"] for row in rows] == table["length"].tolist()
    for domain, share in result["mixture"]["asked"].items():
        assert result["mixture"]["realised"][domain] == pytest.approx(share, abs=0.01)


def test_training_lowers_the_loss(tiny):
    settings = tiny(tokens=40_960)
    train_run(settings)
    rows = record_of(settings).rows("evaluation")
    assert losses(rows[-1])["macro"] < losses(rows[0])["macro"] - 0.1


def test_a_finished_run_is_not_trained_again(tiny):
    settings = tiny()
    train_run(settings)
    record = record_of(settings)
    before = (record.folder / "result.json").stat().st_mtime_ns
    train_run(settings)
    assert (record.folder / "result.json").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def undisturbed(shared_tiny) -> Settings:
    """A run that takes some seconds, trained."""
    train_run(settings := shared_tiny(tokens=163_840, where={"saves": 16}))
    return settings


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(2))
def test_killed_at_any_moment_it_ends_with_the_same_weights(undisturbed, tmp_path, forkserver, attempt):
    killed = elsewhere(undisturbed, tmp_path / "killed")
    task = alone(killed)
    record = task.record
    rng, kills = random.Random(attempt), 0
    while not record.done:
        process = forkserver.Process(target=work, args=(task,))
        process.start()
        rows = len(record.rows("train")) + rng.randrange(60)  # progress, and not the machine's speed, sets the moment
        while kills < 4 and len(record.rows("train")) < rows and process.is_alive():
            time.sleep(0.01)
        if kills < 4:
            process.kill()
        process.join()
        kills += process.exitcode != 0
        assert process.exitcode in (0, -signal.SIGKILL), (record.folder / "log.txt").read_text()
    assert kills > 0
    found, expected = (one.result() or {} for one in (record, record_of(undisturbed)))
    assert found["weights_sha256"] == expected["weights_sha256"]
    first, second = record_of(undisturbed).rows("evaluation"), record.rows("evaluation")
    assert [row["sums"] for row in first] == [row["sums"] for row in second]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_it_saves_and_says_so(tiny, tmp_path, forkserver, number, code):
    settings = tiny(tokens=512_000, where={"saves": 1})
    record, left = asked_to_stop(settings, forkserver, number)
    assert left == code
    assert (record.failure() or {})["outcome"] == "interrupted"
    assert checkpoints.newest(record.checkpoints)


def test_one_request_that_arrives_twice_is_one_and_a_later_one_is_impatience(tmp_path, monkeypatch):
    one = saver.Saver(tmp_path, saver.Due(every=1))
    one._note(signal.SIGTERM, None)
    one._note(signal.SIGTERM, None)  # as srun passes it on
    assert one.signal == signal.SIGTERM
    monkeypatch.setattr(saver, "ONE_REQUEST_SECONDS", 0.0)
    with pytest.raises(SystemExit, match="143"):
        one._note(signal.SIGTERM, None)


@pytest.fixture(scope="module")
def plain(shared_tiny) -> Record:
    train_run(settings := shared_tiny())
    return record_of(settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", [{"data_workers": 1}, {"data_workers": 2}, {"threads": 2}, {"saves": 3}, {"recompute": True}]
)
def test_weights_do_not_depend_on_where(tiny, plain, where):
    other = tiny(where=where)
    assert train_run(other)["weights_sha256"] == (plain.result() or {})["weights_sha256"]
    assert record_of(other).id == plain.id


def test_parts_and_rounding_that_a_run_chose_itself_are_in_its_record(tiny):
    train_run(settings := tiny(where={"micro_tokens": 0, "tf32": True, "device": "cpu"}))
    [start] = record_of(settings).starts()
    assert start["split"]["micro_tokens"] == budget.MICRO_TOKENS
    assert start["numerics"]["matrix products"] == "high"
    train_run(tiny(seed=1))
    assert record_of(tiny(seed=1)).starts()[0]["numerics"]["matrix products"] == "highest"


def test_accumulation_changes_the_loss_only_by_rounding(tiny, tmp_path):
    settings = tiny()
    other = tiny(where={"micro_tokens": 128, "outputs": str(tmp_path / "other")})
    train_run(settings)
    train_run(other)
    for a, b in zip(record_of(settings).rows("train"), record_of(other).rows("train"), strict=True):
        assert a["nats"] == pytest.approx(b["nats"], abs=1e-5)


@pytest.mark.slow
def test_one_and_two_processes_agree(tiny, tmp_path):
    one = tiny()
    two = tiny(where={"strategy": "ddp", "devices": 2, "outputs": str(tmp_path / "two")})
    train_run(one)
    train_run(two)
    first, second = record_of(one).rows("train"), record_of(two).rows("train")
    assert len(first) == len(second) == 20
    for a, b in zip(first, second, strict=True):
        assert a["nats"] == pytest.approx(b["nats"], abs=1e-5)
        assert a["domain_tokens"] == b["domain_tokens"]
    traces = [record_of(settings).rows("trace") for settings in (one, two)]
    assert [row["step"] for row in traces[0]] == [row["step"] for row in traces[1]]
    for name in (*STREAMS, "windows", "origin", "draws"):
        assert [row[name] for row in traces[0]] == [row[name] for row in traces[1]]
    rows, others = ((record_of(which).result() or {})["validation"] for which in (one, two))
    for domain in one.data.domains:  # each row is that of the same text, whoever evaluated it
        assert rows[domain]["bytes"] == others[domain]["bytes"]
        assert rows[domain]["nats"] == pytest.approx(others[domain]["nats"], rel=1e-4)


def test_rows_that_do_not_divide_among_processes_are_refused(tiny):
    with pytest.raises(UserError, match=r"where\.devices=3"):
        train_run(tiny(where={"strategy": "ddp", "devices": 3}))


def test_a_diverged_run_is_an_outcome_with_a_reason(tiny):
    result = train_run(settings := tiny(optimizer={"lr": 1e30, "clip": 0}))
    assert result["outcome"] == "diverged"
    assert "gradient norm" in result["reason"]
    assert record_of(settings).done


def test_too_few_validation_spans_are_refused(tiny):
    with pytest.raises(UserError, match=r"evaluation\.spans=100000: domain 'general' has only"):
        train_run(tiny(evaluation={"spans": 100_000}))


def test_bf16_trains_near_fp32(tiny, tmp_path):
    full = train_run(tiny())
    mixed = train_run(tiny(precision="bf16-mixed"))
    assert losses(mixed)["macro"] == pytest.approx(losses(full)["macro"], abs=0.05)
    assert mixed["weights_sha256"] != full["weights_sha256"]


def test_a_full_disk_leaves_no_checkpoint_that_would_be_believed(tiny, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        settings = tiny(where={"saves": 2})
        (disk / "runs").mkdir()
        (Path(settings.where.outputs) / "runs").symlink_to(disk / "runs")
        with pytest.raises(UserError, match="cannot write"):
            train_run(settings)
        assert not record_of(settings).done
        assert checkpoints.newest(record_of(settings).checkpoints) is None
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_golden_run_has_not_moved(tiny):
    """Losses, rates, sums and FLOPs as when SEMANTICS was last raised. The text is the same on every machine.

    When this fails on purpose, raise `identity.SEMANTICS` and run tests/golden/record.py.
    """
    golden = json.loads((Path(__file__).parent.parent / "golden" / "tiny.json").read_text())
    settings = tiny(data={"domains": ["qa"]})
    result, rows = train_run(settings), record_of(settings).rows("train")
    assert golden["semantics"] == SEMANTICS
    assert golden["id"] == record_of(settings).id
    assert [row["lr"] for row in rows] == golden["lr"]
    assert result["flops"] == golden["flops"]
    assert [row["nats"] for row in rows] == pytest.approx(golden["nats"], abs=1e-4)  # other processors round otherwise
    for domain, sums in golden["sums"].items():
        assert result["sums"][domain] == pytest.approx(sums, rel=1e-4)


def test_module_takes_weight_decay_from_the_timeline_only_for_matrices(tiny):
    settings = tiny()
    module = Pretraining(settings, timeline(settings), torch.zeros(512))
    decays = {group["decays"]: group["params"] for group in module.configure_optimizers().param_groups}
    assert all(parameter.ndim >= 2 for parameter in decays[True])
    assert all(parameter.ndim < 2 for parameter in decays[False])


def test_the_record_says_what_was_built_and_what_did_the_work(tiny):
    settings = tiny(model={"pattern": "MA", "mamba": {"head_width": 16}}, size={"match": "parameters"})
    train_run(settings)
    record = record_of(settings)
    environment = record.environment()
    assert environment["size"] == dataclasses.asdict(match.sized(settings))
    assert environment["kernels"] == {"A": "attention in blocks of queries", "M": "ablate.model.ssd.ssd"}
    built, result = budget.of(settings), record.result()
    assert result is not None
    assert (result["parameters"], result["state_bytes"]) == (built.parameters, built.state_bytes)
    assert record.settings().size == settings.size
