"""A study on a real Slurm, with one of its jobs preempted on the way: what `make slurm` runs.

    python tests/slurm/sweep.py outputs/slurm +experiment=mix_sweep tokens=50_000

A job of the partition `high` takes the node of the first run that trains, and Slurm requeues that run. At the
end all runs are done, one was resumed, and the verdict was printed; anything else is an exit code of 1.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

SECONDS = 600  # for the first checkpoint to appear, on a machine however slow


def main(outputs: Path, words: list[str]) -> None:
    train = [sys.executable, "-m", "ablate.train", *words, "where=slurm", f"where.outputs={outputs}", "-m"]
    process = subprocess.Popen(train, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    preempted: list[str] = []
    threading.Thread(target=preempt, args=(outputs, preempted, process), daemon=True).start()
    printed = []
    for line in process.stdout:
        print(line, end="", flush=True)
        printed.append(line)
    judge(process.wait(), "".join(printed), preempted, outputs)


def preempt(outputs: Path, preempted: list[str], process: subprocess.Popen) -> None:
    """Once a run has saved, take its node away for a second, and let it go on sooner than in two minutes."""
    end = time.monotonic() + SECONDS
    while not (saved := sorted(outputs.glob("runs/*/checkpoints/step-*"))) and time.monotonic() < end:
        time.sleep(0.05)
    run = saved[0].parents[1]
    job = json.loads((run / "job.json").read_text())["job"]
    node = slurm("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    slurm("sbatch", "--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    preempted.append(run.name)
    released: set[str] = set()  # once: a job put off again and again never begins
    while process.poll() is None:
        for line in slurm("squeue", "--me", "--noheader", "-r", "--states=PENDING", "--format=%i %r").splitlines():
            name, reason = line.split()
            if (
                reason == "BeginTime" and name not in released
            ):  # not at once: a node refuses a job in the second in which it ended it
                slurm("scontrol", "update", f"JobId={name}", "StartTime=now+2")
                released.add(name)
        time.sleep(5)


def judge(code: int, printed: str, preempted: list[str], outputs: Path) -> None:
    """Exit with what is wrong, if anything is."""
    runs = sorted(outputs.glob("runs/*/log.txt"))
    missing = [log.parent.name for log in runs if not (log.parent / "result.json").exists()]
    resumed = [run for run in preempted if setback(outputs / "runs" / run)]
    wrong = {
        f"exit code {code}": code,
        "no job was preempted": not preempted,
        f"not resumed: {preempted}; restarted jobs: {restarted()}": not resumed,
        f"not done: {missing}": missing or not runs,
        "no verdict was printed": "page     " not in printed,
    }
    if found := [why for why, is_so in wrong.items() if is_so]:
        sys.exit("; ".join(found))
    print(f"preempted and resumed: {', '.join(resumed)}; {len(runs)} runs done")


def setback(run: Path) -> bool:
    """Whether Slurm began the run's job again."""
    return json.loads((run / "job.json").read_text())["job"] in restarted()


def restarted() -> list[str]:
    """Jobs that Slurm began more than once, as submitted: 12_3."""
    jobs = [
        dict(word.split("=", 1) for word in line.split() if "=" in word)
        for line in slurm("scontrol", "--oneliner", "show", "job").splitlines()
    ]
    return [f"{job['ArrayJobId']}_{job['ArrayTaskId']}" for job in jobs if job.get("Restarts", "0") != "0"]


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
