"""What a run shows on the terminal: stages, progress bars, tables. Uses rich."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tlsweep.errors import masked

# no markup: names, paths and error texts hold brackets of their own
console = Console(highlight=False, markup=False)


class Screen:
    """The bars of one command: one for the stage, one for the trial's epochs.

    Jobs find it through ``current``; a job in another process finds none and shows nothing.
    """

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.stage_task: TaskID | None = None
        self.trial_task: TaskID | None = None
        self.work_task: TaskID | None = None

    def say(self, text: str) -> None:
        """A line that stays above the bars."""
        self.progress.console.print(masked(text))

    def stage(self, text: str, total: int, done: int = 0) -> None:
        """Begin a stage of ``total`` steps."""
        self.clear()
        self.stage_task = self.progress.add_task(text, total=total, completed=done)

    def step(self, done: int, total: int, text: str = "") -> None:
        """Where the stage stands."""
        if self.stage_task is None:
            self.stage(text, total)
        assert self.stage_task is not None
        extra = {"description": text} if text else {}
        self.progress.update(self.stage_task, completed=done, total=total, **extra)  # type: ignore[arg-type]

    def epoch(self, text: str, done: int, total: int) -> None:
        """Where the running trial stands."""
        if self.trial_task is None:
            self.trial_task = self.progress.add_task(text, total=total)
        if done == 1:  # another trial: its own clock
            self.progress.reset(self.trial_task)
        self.progress.update(self.trial_task, description=text, completed=done, total=total)

    def work(self, done: int, total: int, text: str) -> None:
        """Where a piece of work within a stage stands: a bar of its own, until it is done."""
        if self.work_task is None:
            self.work_task = self.progress.add_task(text, total=total)
        self.progress.update(self.work_task, description=text, completed=done, total=total)
        if done >= total:
            self.progress.remove_task(self.work_task)
            self.work_task = None

    def clear(self) -> None:
        """Take the bars away."""
        for task in (self.stage_task, self.trial_task):
            if task is not None:
                self.progress.remove_task(task)
        self.stage_task = self.trial_task = None


def say(text: str) -> None:
    """A line above the bars of the command that runs in this process, or without them."""
    (console.print if _current is None else _current.say)(text)


def work(done: int, total: int, text: str) -> None:
    """Where a piece of work within a stage stands, if this process shows anything."""
    if _current is not None:
        _current.work(done, total, text)


_current: Screen | None = None


@contextlib.contextmanager
def shown() -> Iterator[Screen]:
    """Show bars while the block runs."""
    global _current
    screen = Screen()
    with screen.progress:
        _current = screen
        try:
            yield screen
        finally:
            _current = None


def current() -> Screen | None:
    """The screen of the command that runs in this process, if one is shown."""
    return _current
