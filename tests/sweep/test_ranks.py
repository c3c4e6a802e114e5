"""One run by processes that torchrun starts: the same weights as alone, and one record."""

import subprocess
import sys

import pytest
from typed import typed

from ablate.run.record import run_record

TINY = ["size=tiny", "size.width=32", "size.hidden=64", "data.domains=[general,qa]", "data.domain_bytes=100000"]
TINY += ["data.span=64", "data.vocabulary=512", "step_tokens=512", "evaluation.times=3", "evaluation.spans=4"]
TINY += ["where.peak_tflops=0.1", "where.threads=1", "where.wandb=off", "where.device=cpu", "tokens=20000"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    line = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "ablate.train", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=500)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_torchrun_trains_one_run(tmp_path, strategy):
    words = [*TINY, f"where.strategy={strategy}"]
    alone = typed("train", *words, f"where.outputs={tmp_path}/alone", "where.devices=2")
    assert alone.returncode == 0, alone.stderr
    of_torchrun = [*words, f"where.outputs={tmp_path}/torchrun"]
    done = torchrun(*of_torchrun)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished") == 1
    results = []
    for name in ("alone", "torchrun"):
        (folder,) = (tmp_path / name / "runs").iterdir()
        record = run_record(str(tmp_path / name), folder.name)
        assert record.environment()["processes"] == 2
        results.append((folder.name, (record.result() or {})["weights_sha256"]))
    assert results[0] == results[1]
    if strategy == "ddp":  # a run that is done is nobody's, whatever it was trained by
        again = torchrun(*of_torchrun)
        assert again.returncode == 0, again.stderr
