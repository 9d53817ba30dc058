"""Lightning behaves as tlsweep's own loops would."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
import torch
from conftest_train import Pairs, settings

from tlsweep.engine.group import run_in_group
from tlsweep.errors import TrialFailure
from tlsweep.extract.one_pass import one_pass


def test_ctrl_c_in_a_pass_is_a_keyboard_interrupt_and_the_next_one_counts_too() -> None:
    """Lightning itself ends the process with code 1, and ignores further signals."""

    class Interrupting(torch.nn.Module):
        def forward(self, x: torch.Tensor, side: object) -> list[torch.Tensor]:
            os.kill(os.getpid(), signal.SIGINT)
            return [x]

    signal.signal(signal.SIGINT, signal.default_int_handler)  # side by side, tests ignore it
    images = Pairs(torch.rand(4, 1, 8, 8), torch.zeros(4))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            one_pass(Interrupting(), images, settings(), lambda *_: None)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_python_drops_ends_a_pass_too() -> None:
    """It drops one that is raised while an object is being taken apart."""
    passed: list[int] = []

    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    class Interrupting(torch.nn.Module):
        def forward(self, x: torch.Tensor, side: object) -> list[torch.Tensor]:
            passed.append(len(x))
            if len(passed) == 1:
                Dying()
            else:
                time.sleep(20)  # a long pass
            return [x]

    signal.signal(signal.SIGINT, signal.default_int_handler)  # side by side, tests ignore it
    images = Pairs(torch.rand(200, 1, 8, 8), torch.zeros(200))
    with pytest.raises(KeyboardInterrupt):
        one_pass(Interrupting(), images, settings(), lambda *_: None)  # type: ignore[arg-type]
    assert len(passed) <= 2  # of four batches
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_pass_writes_no_output_twice_and_leaves_torch_as_it_was() -> None:
    guard: Any = torch.utils.deterministic
    seen: list[tuple[bool, bool]] = []

    class Looking(torch.nn.Module):
        def forward(self, x: torch.Tensor, side: object) -> list[torch.Tensor]:
            switches = torch.are_deterministic_algorithms_enabled(), guard.fill_uninitialized_memory
            seen.append(switches)
            return [x]

    images = Pairs(torch.rand(4, 1, 8, 8), torch.zeros(4))
    one_pass(Looking(), images, settings(), lambda *_: None)  # type: ignore[arg-type]
    assert seen == [(True, False)]
    assert guard.fill_uninitialized_memory


def fail_late(tell: object) -> str:
    """Rank 0 ends at once; rank 1 breaks down after it."""
    import time

    if os.environ["RANK"] == "1":
        time.sleep(0.5)
        raise TrialFailure("the other half is lost")
    return "half"


def test_a_rank_that_fails_late_is_not_hidden_by_one_that_ended() -> None:
    with pytest.raises(TrialFailure, match="the other half is lost"):
        run_in_group(2, fail_late, on_message=lambda message: None)
