"""A Slurm cluster of one node: controller, node and munge on this machine's loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,requeue_delay=1
MpiDefault=none
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")


def missing() -> str:
    """Why there can be no cluster here, or nothing."""
    if os.getuid() != 0:
        return "slurmd runs as root"
    path = os.environ["PATH"] + ":/usr/sbin"
    return ", ".join(name for name in NEEDED if shutil.which(name, path=path) is None)


class Cluster:
    """The cluster, started; its files lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        ports = []
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        conf = CONF.format(host=socket.gethostname().split(".")[0], folder=folder, ports=ports)
        (folder / "slurm.conf").write_text(conf)
        self.env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self.env["PATH"] += ":/usr/sbin"
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._begin(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={folder / 'munge.socket'}", f"--pid-file={folder / 'munged.pid'}",
            f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}",
        )  # fmt: skip
        time.sleep(1.0)
        self._begin("slurmctld", "-D")
        self._begin("slurmd", "-D")
        deadline = time.monotonic() + 30
        while "idle" not in self("sinfo", "--noheader", "--format=%T"):
            assert time.monotonic() < deadline, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.5)

    def _begin(self, *line: str) -> None:
        with (self.folder / "said").open("ab") as said:
            self._processes.append(subprocess.Popen(line, env=self.env, stdout=said, stderr=said))

    def __call__(self, *line: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            line, env=self.env, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout

    def stop(self) -> None:
        """End it, with all its jobs."""
        self("scancel", "--user=root")
        time.sleep(2.0)
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
