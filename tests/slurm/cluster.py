"""A real Slurm on this machine: a controller and two nodes of two cores each, in a folder of its own.

    python tests/slurm/cluster.py start /tmp/slurm     prints what to set: SLURM_CONF=/tmp/slurm/slurm.conf
    python tests/slurm/cluster.py stop /tmp/slurm
    python tests/slurm/cluster.py with COMMAND ...     a cluster for the time of one command

Needs munged, slurmctld, slurmd and the clients (Debian: slurmctld slurmd slurm-client munge), and root, for
slurmd starts jobs as their users. No systemd, no cgroups, no accounting; both nodes are this machine, on
ports of their own. `low` is the default partition; jobs of `high` preempt its jobs, which are requeued.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
NODES = ("n1", "n2")
KILL_SECONDS = 10  # between TERM and KILL
START_SECONDS = 300  # on a machine with much else to do
CONF = """
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
KillWait={kill}
MinJobAge=300
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=low Nodes=ALL Default=YES State=UP PriorityTier=1
PartitionName=high Nodes=ALL State=UP PriorityTier=10
"""


def missing() -> str:
    """Why there can be no cluster here, empty if there can."""
    absent = [name for name in PROGRAMS if not _program(name)]
    return f"not installed: {', '.join(absent)}" if absent else "" if os.geteuid() == 0 else "not root"


def start(folder: Path) -> Path:
    """Start the cluster; its slurm.conf. Does nothing where one runs in that folder."""
    conf = folder / "slurm.conf"
    if conf.exists() and _idle(conf):
        return conf
    for part in (folder, folder / "state", *(folder / f"spool-{node}" for node in NODES)):
        part.mkdir(parents=True, exist_ok=True)
        part.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    control, *ports = _free_ports(1 + len(NODES))
    address = "CPUs=2 RealMemory=4096 NodeAddr=127.0.0.1 NodeHostname=localhost State=UNKNOWN"
    nodes = [f"NodeName={node} Port={port} {address}" for node, port in zip(NODES, ports, strict=True)]
    conf.write_text(CONF.format(folder=folder, control=control, kill=KILL_SECONDS, nodes="\n".join(nodes)))
    (folder / "cgroup.conf").write_text(_cgroups())
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    _run("munged", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in files.items()))
    _run("slurmctld", "-f", str(conf))
    for node in NODES:
        _run("slurmd", "-f", str(conf), "-N", node)
    end = time.monotonic() + START_SECONDS
    while not _idle(conf):
        if time.monotonic() > end:
            stop(folder)
            raise RuntimeError(f"no idle nodes after {START_SECONDS} s; see the logs in {folder}")
        time.sleep(0.2)
    return conf


def stop(folder: Path) -> None:
    """End all jobs and daemons of the cluster in that folder, if there are any."""
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    if (folder / "slurmctld.pid").exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--me", "--signal=KILL", "--full"], env=environment, timeout=60, check=False)
            subprocess.run(["scancel", "--me"], env=environment, timeout=60, check=False)
            end = time.monotonic() + 2 * KILL_SECONDS
            while time.monotonic() < end and _output(["squeue", "--me", "--noheader"], environment):
                time.sleep(0.2)
    for file in (*folder.glob("slurmd-*.pid"), folder / "slurmctld.pid", folder / "munge.pid"):
        _end(file)


def _end(pid_file: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int(pid_file.read_text())
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.kill(pid, number)
            end = time.monotonic() + KILL_SECONDS
            while time.monotonic() < end:
                os.kill(pid, 0)  # raises once it is gone
                time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def _idle(conf: Path) -> bool:
    environment = os.environ | {"SLURM_CONF": str(conf)}
    try:
        states = _output(["sinfo", "--noheader", "--Node", "--partition=low", "--format=%T"], environment)
    except subprocess.TimeoutExpired:
        return False
    return states.split() == ["idle"] * len(NODES)


def _output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def _run(program: str, *arguments: str) -> None:
    path = _program(program)
    assert path
    # the daemon keeps what it inherits: a pipe would never end
    done = subprocess.run([path, *arguments], stdout=subprocess.DEVNULL, check=False, timeout=START_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{program}: exit code {done.returncode}")


def _program(name: str) -> str | None:
    """Daemons live in sbin, which is not always on the path."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _cgroups() -> str:
    """Slurm 22.05 finds out by itself that it needs none; 23.11 and later must be told."""
    done = subprocess.run([_program("slurmd") or "", "-V"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    assert found
    newer = (int(found[1]), int(found[2])) >= (23, 11)
    return "CgroupPlugin=disabled\n" if newer else "IgnoreSystemd=yes\n"


def _free_ports(count: int) -> list[int]:
    """Of those below 32768: the system gives them to nobody who asks for any."""
    found = list[int]()
    while len(found) < count:
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port := 20_000 + secrets.randbelow(12_000)))
            found += [port] * (port not in found)
    return found


def run_with(command: list[str]) -> int:
    """Run a command that finds a cluster; its exit code."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        try:
            conf = start(Path(folder))
            return subprocess.run(command, env=os.environ | {"SLURM_CONF": str(conf)}, check=False).returncode
        finally:
            stop(Path(folder))


if __name__ == "__main__":
    if why := missing():
        sys.exit(f"no Slurm here: {why}")
    what, *rest = sys.argv[1:]
    if what == "with":
        sys.exit(run_with(rest))
    elif what == "start":
        print(f"export SLURM_CONF={start(Path(rest[0]).absolute())}")
    else:
        stop(Path(rest[0]).absolute())
