"""A sweep whose workers are the jobs of a real Slurm queue."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from slurm import Cluster, missing

from tlsweep.engine import slurm
from tlsweep.engine.base import Work
from tlsweep.errors import Refusal
from tlsweep.study.storage import default_url, open_storage

SHORT = (
    "train.epochs=2", "target.fit_size=60", "sweep.minutes=null", "sweep.n_trials=4",
    "sweep.fixed=[{plan: scratch}]", "sweep.confirm.top=1", "sweep.confirm.seeds=2",
    "sweep.confirm.controls=[scratch]", "sweep.stages=[search,confirm]", "record=none",
)  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(f"no Slurm here: {why}")
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # its sockets have short paths
    started = Cluster(folder)
    yield started
    started.stop()
    shutil.rmtree(folder, ignore_errors=True)


def jobs(cluster: Cluster) -> dict[str, str]:
    """The tasks of the queue with their states."""
    lines = cluster("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)  # type: ignore[arg-type]


def trials(output: Path) -> list[optuna.trial.FrozenTrial]:
    if not (output / "optuna.db").exists():
        return []
    storage = open_storage(default_url(output))
    names = optuna.get_all_study_names(storage)
    return [t for n in names for t in optuna.load_study(study_name=n, storage=storage).trials]


@pytest.mark.slurm
def test_jobs_of_an_array_run_a_sweep_whether_they_are_cancelled_or_reach_their_time(
    cluster: Cluster, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    line = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", "study=s", *SHORT]
    line += ["engine=slurm", "engine.workers=2", "engine.time=30:00"]
    sweep = subprocess.Popen(line, env=cluster.env, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not [t for t in trials(output) if t.state.name == "COMPLETE"]:
        assert sweep.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)
    seen = jobs(cluster)
    assert len(seen) == 2
    first, second = sorted(seen)
    cluster("scancel", "--batch", "--signal=USR1", first)  # as Slurm does before the time is over
    cluster("scancel", second)
    while set(jobs(cluster)) != {first}:  # one is queued again, the other one has ended
        assert time.monotonic() < deadline
        time.sleep(0.5)
    said = sweep.communicate(timeout=400)[0]
    assert sweep.returncode == 0, said
    ended = [t for t in trials(output) if t.state.name in ("COMPLETE", "PRUNED")]
    assert set(Counter(t.user_attrs.get("key", t.number) for t in ended).values()) == {1}
    assert {t.user_attrs.get("reason", "interrupted") for t in trials(output)} == {"interrupted"}
    deadline = time.monotonic() + 60
    while jobs(cluster):  # workers see that the sweep has ended
        assert time.monotonic() < deadline
        time.sleep(1.0)
    assert (output / "s" / "slurm" / "workers.sh").read_text().startswith("#!/bin/sh\n#SBATCH ")


def of_eight(*, leave: bool = False) -> slurm.Settings:
    return slurm.Settings(
        name="slurm", workers=8, cpus=2, gpus=1, time="2:00:00", partition="short", leave=leave,
        options=("--account=lab",),
    )  # fmt: skip


@pytest.mark.slurm
def test_a_sweep_that_is_left_to_slurm_ends_there_though_its_job_reaches_its_time(
    cluster: Cluster, tmp_path: Path
) -> None:
    line = [sys.executable, "-m", "tlsweep", "-m", "output_dir=out", "study=s", *SHORT]
    line += ["engine=slurm", "engine.workers=2", "engine.time=30:00", "engine.leave=true"]
    left = subprocess.run(
        line, env=cluster.env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    said = " ".join(left.stdout.split())
    assert "the sweep is job 1 of Slurm's queue" in said
    output, deadline = tmp_path / "out", time.monotonic() + 400
    while not [t for t in trials(output) if t.state.name == "COMPLETE"]:
        assert jobs(cluster), (output / "s" / "slurm" / "1.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    cluster("scancel", "--batch", "--signal=USR1", "1")  # as Slurm does before the time is over
    while not (output / "s" / "verdict.json").exists():
        assert jobs(cluster), (output / "s" / "slurm" / "1.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    told = (output / "s" / "slurm" / "1.txt").read_text()
    assert "stopped; the same command goes on from here" in told
    ended = [t for t in trials(output) if t.state.name in ("COMPLETE", "PRUNED")]
    assert set(Counter(t.user_attrs.get("key", t.number) for t in ended).values()) == {1}
    while jobs(cluster):
        assert time.monotonic() < deadline
        time.sleep(1.0)


def test_a_password_is_not_left_in_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    line = ["-m", "tlsweep", "-m", "sweep.storage=postgresql://me:hunter2@host/db"]
    with pytest.raises(Refusal, match="holds the command, and no password"):
        slurm.hand_over(of_eight(leave=True), line, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_the_script_says_what_was_asked_for_and_no_password(tmp_path: Path) -> None:
    settings = of_eight()
    command = ["-m", "tlsweep", "worker", "study=s", "output_dir='/a b'"]
    secret = {"TLSWEEP_STORAGE": "postgresql://me:hunter2@host/db"}
    work = Work("s", print, (), command, tmp_path, 1, secret)
    lines = slurm.script(settings, work).splitlines()
    assert lines[0] == "#!/bin/sh"
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert asked == {
        "--job-name=tlsweep-s", "--array=1-8", "--cpus-per-task=2", "--gpus-per-node=1",
        "--time=2:00:00", "--partition=short", "--signal=B:USR1@60", "--open-mode=append",
        f"--output={tmp_path}/slurm/%A_%a.txt", "--requeue", "--account=lab",
    }  # fmt: skip
    assert lines[-1].startswith(f"exec {sys.executable} -m tlsweep worker study=s ")
    assert "hunter2" not in "\n".join(lines)
