"""The engine "slurm": workers are the jobs of an array, which sbatch is handed as a plain script.

A job that reaches its time limit is told a minute before: it gives its trial back and is queued
again. scancel ends it, after it gave its trial back.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tlsweep.engine.base import Work, Workforce
from tlsweep.engine.requeue import go_on_later
from tlsweep.errors import Fault, Refusal, TlsweepError, masked
from tlsweep.section import EngineSettings, Positive, Whole

LOOK = 20.0  # seconds from one look into the queue to the next: a controller serves many
TRIES = 3  # arrays that are submitted one after another, where none of their jobs stays


def _time(value: str) -> str:
    if not re.fullmatch(r"(\d+-)?\d+(:\d\d){0,2}", value):
        raise PydanticCustomError("time", "the value is a time as sbatch reads it: HOURS:MM:SS")
    return value


def _options(values: tuple[str, ...]) -> tuple[str, ...]:
    if strange := [value for value in values if not re.match(r"--?[A-Za-z]", value)]:
        raise PydanticCustomError(
            "options", f"{strange[0]} is no option of sbatch, such as --account=NAME"
        )
    return values


Time = Annotated[str, AfterValidator(_time)]
Options = Annotated[tuple[str, ...], AfterValidator(_options)]


class Settings(EngineSettings):
    """conf/engine/slurm.yaml."""

    name: Literal["slurm"]
    workers: Positive
    cpus: Positive
    gpus: Annotated[Whole, Field(ge=0)]
    time: Time
    partition: str | None
    leave: bool
    options: Options

    @property
    def leaves(self) -> bool:
        """Whether the sweep itself becomes a job."""
        return self.leave

    @property
    def threads_each(self) -> int:
        """Of a trial."""
        return self.cpus


def open(settings: Settings, work: Work, threads: int) -> Workforce:  # noqa: A001
    """The array. Raises Refusal where there is no Slurm here."""
    _refuse_without_slurm()
    return _Array(settings, work)


def hand_over(settings: Settings, line: Sequence[str], folder: Path) -> str:
    """Submit the sweep itself, as a job that submits its workers. Returns what to say of it.

    Raises Refusal for a command line with a password: a script is no place for it.
    """
    _refuse_without_slurm()
    if masked(shlex.join(line)) != shlex.join(line):
        rule = "the script of a job holds the command, and no password"
        mend = "a file that the database's client reads (~/.pgpass), or engine.leave=false"
        raise Refusal(Fault("engine.leave=true and a password in the command", rule, mend))
    asked = {"job-name": f"tlsweep-{folder.name}", "output": folder / "slurm" / "%j.txt"}
    file, text = folder / "slurm" / "sweep.sh", _script(settings, asked, line)
    job = _submitted(file, text)
    return (
        f"the sweep is job {job} of Slurm's queue; what it says will lie in"
        f" {file.with_name(f'{job}.txt')}. scancel {job} ends it, and the same command goes on"
    )


def script(settings: Settings, work: Work) -> str:
    """What sbatch is handed for the workers."""
    asked = {
        "job-name": f"tlsweep-{work.study}",
        "array": f"1-{settings.workers}",
        "output": work.folder / "slurm" / "%A_%a.txt",
    }
    return _script(settings, asked, work.command)


def _script(settings: Settings, more: Mapping[str, object], command: Sequence[str]) -> str:
    asked = {
        **more,
        "cpus-per-task": settings.cpus,
        "gpus-per-node": settings.gpus or None,
        "time": settings.time,
        "partition": settings.partition,
        "signal": "B:USR1@60",
        "open-mode": "append",
    }
    lines = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    lines += ["--requeue", *settings.options]
    run = shlex.join([sys.executable, *command])
    return "\n".join(["#!/bin/sh", *(f"#SBATCH {line}" for line in lines), f"exec {run}", ""])


def _submitted(file: Path, text: str, environment: dict[str, str] | None = None) -> str:
    """The number of the job that a script is submitted as. Raises Refusal where sbatch does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    done = _slurm("sbatch", "--parsable", str(file), environment=environment)
    if done.returncode:
        rule = "sbatch takes the script of the job"
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Refusal(Fault(f"sbatch {file}: {said[-1]}", rule, "correct engine.*"))
    return done.stdout.strip().partition(";")[0]


def _refuse_without_slurm() -> None:
    if shutil.which("sbatch") is None:
        rule = "sbatch is a command here: the sweep is begun where Slurm's jobs are submitted"
        raise Refusal(Fault("engine=slurm", rule, "engine=local, or a login node of the cluster"))


class _Array(Workforce):
    def __init__(self, settings: Settings, work: Work) -> None:
        self._settings, self._work = settings, work
        self._job: str | None = None
        self._looked, self._submitted = 0.0, 0
        if "SLURM_JOB_ID" in os.environ:  # the sweep is a job, too
            go_on_later()

    def tend(self) -> None:
        if self._job is not None and time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        if self._job is None or not self._queued():
            self._submit()

    def close(self) -> None:
        if self._job is not None:  # those that still wait; the others see that the sweep has ended
            _slurm("scancel", "--state=PENDING", self._job)

    def _submit(self) -> None:
        if self._submitted == TRIES:
            raise TlsweepError(
                f"no job of {TRIES} arrays stayed in Slurm's queue: their output lies in"
                f" {self._folder}. The same command goes on once that is mended."
            )
        text = script(self._settings, self._work)
        self._job = _submitted(self._folder / "workers.sh", text, self._work.secret)
        self._submitted += 1

    @property
    def _folder(self) -> Path:
        return self._work.folder / "slurm"

    def _queued(self) -> bool:
        """Whether some job of the array waits or runs; where Slurm does not answer, so it seems."""
        done = _slurm("squeue", "--noheader", f"--jobs={self._job}", "--format=%T")
        if done.returncode == 0:
            return bool(done.stdout.strip())
        return "Invalid job id" not in done.stderr


def _slurm(
    *line: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **(environment or {})}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=env, timeout=120)
