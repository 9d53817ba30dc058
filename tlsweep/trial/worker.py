"""A worker: takes trials of a study, runs them, and tells how they ended, until it is told to stop.

The study's database is the only channel: where the sweep stands, what is to be run, how it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tlsweep.engine.base import Work
from tlsweep.errors import masked
from tlsweep.jobs.line import quoted
from tlsweep.study.post import Notes, Post
from tlsweep.study.queue import INTERRUPTED, Job, Queue, job_of
from tlsweep.trial.brief import Brief
from tlsweep.trial.run import Records, run

STORAGE = "TLSWEEP_STORAGE"  # of the environment: the study's database, with its password
QUICK, SLOW = 0.02, 1.0  # seconds from one look for work to the next: it looks less and less often


def threads_here() -> int:
    """How many threads torch computes with, where nobody says another number."""
    return int(torch.get_num_threads())


@contextmanager
def with_threads(n: int) -> Iterator[None]:
    """Within, torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def work_for(brief: Brief, study: str, folder: Path) -> Work:
    """What a worker of a sweep does, in a process that this one begins, and in another one.

    folder: where the sweep's own files are.
    """
    storage, secret = brief.storage, {}
    if masked(storage) != storage:  # a command line is seen by everybody on the machine
        secret[STORAGE] = storage
        storage = f"${{oc.env:{STORAGE}}}"
    where = [f"output_dir={quoted(brief.plain['output_dir'])}", f"sweep.storage={quoted(storage)}"]
    if build := brief.plain["source"].get("build"):
        where.append(f"source.build={build}")
    command = ["-m", "tlsweep", "worker", f"study={study}", *where]
    devices = int(brief.plain["train"]["devices"])
    return Work(study, serve, (brief, study), command, folder, devices, secret)


class RunJob:
    """Runs trials that were taken, one after another. records: where they are recorded."""

    def __init__(self, records: Records | None = None) -> None:
        self._records = records or Records()

    def __call__(self, brief: Brief, study: str, job: Job) -> float:
        """A trial's score on what its fold holds out, 0 without.

        Raises what the trial raised, after the study was told.
        """
        return run(brief.settings(study, job), self._records).scores.get("select", 0.0)


def serve(
    brief: Brief,
    study: str,
    goes_on: Callable[[Notes], bool] = lambda notes: True,
    act: Callable[[Brief, str, Job], Any] | None = None,
) -> int:
    """Run trials of the sweep of ``study`` as long as ``goes_on`` says so.

    goes_on: told the sweep's notes; act: runs one trial. Returns how many were run. Raises
    KeyboardInterrupt, after it gave its trial back.
    """
    post, wait, done = Post(brief.storage, study), QUICK, 0
    act = act or RunJob()
    while goes_on(notes := post.read()):
        queue = post.queue(notes)
        trial = queue.take() if queue is not None else None
        if queue is None or trial is None:
            time.sleep(wait)
            wait = min(SLOW, 1.5 * wait)
            continue
        _do(brief, queue, job_of(trial), act)
        wait, done = QUICK, done + 1
    return done


def _do(brief: Brief, queue: Queue, job: Job, act: Callable[[Brief, str, Job], Any]) -> None:
    try:
        act(brief, queue.study.study_name, job)
    except KeyboardInterrupt:
        queue.give_back(queue.trial(job.number), INTERRUPTED)
        raise
    except Exception as error:
        queue.fail_if_open(job.number, error)
