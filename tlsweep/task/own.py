"""The task "own": what the target itself asks of its examples."""

from __future__ import annotations

from typing import Literal

from tlsweep.section import TaskSettings
from tlsweep.task.base import Task


class Settings(TaskSettings):
    """conf/task/own.yaml."""

    name: Literal["own"]


def open(own: Task) -> Task:  # noqa: A001  (always called as own.open)
    """The target's own task."""
    return own
