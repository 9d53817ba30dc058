"""What a job of Slurm's does when its time is nearly over: it ends well, and is queued again."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
from types import FrameType


def go_on_later() -> None:
    """From now on SIGUSR1 is as Ctrl-C, after which Slurm queues the job again.

    ``sbatch --signal=B:USR1@60`` sends it a minute before the job's time is over.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, _at_its_time)


def _at_its_time(number: int, frame: FrameType | None) -> None:
    if job := os.environ.get("SLURM_JOB_ID"):
        # last of all: it ends the job at once
        atexit.register(subprocess.run, ["scontrol", "requeue", job], check=False)
    signal.default_int_handler(number, frame)
