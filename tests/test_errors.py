"""Errors and interrupts reach whoever waits for them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tlsweep.errors import interrupts_heard


class Dying:
    """Does something when it is taken apart, where Python drops what is raised."""

    def __init__(self, last: Callable[[], None]) -> None:
        self.last = last

    def __del__(self) -> None:
        self.last()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def die_and_wait(said: list[str]) -> None:
    Dying(interrupt)
    said.append("it was dropped")
    time.sleep(20)
    said.append("nobody heard it")


def test_an_interrupt_that_python_drops_is_heard_a_moment_later() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # side by side, tests ignore it
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), interrupts_heard():
        die_and_wait(said)
    assert said == ["it was dropped"]


def test_what_else_python_drops_is_told_as_ever_and_the_hook_is_put_back() -> None:
    told: list[str] = []
    before = sys.unraisablehook

    def usual(dropped: Any) -> None:
        told.append(str(dropped.exc_value))

    sys.unraisablehook = usual

    def breaks() -> None:
        raise ValueError("lost")

    try:
        with interrupts_heard():
            Dying(breaks)
        assert sys.unraisablehook is usual
    finally:
        sys.unraisablehook = before
    assert told == ["lost"]
