"""How many workers the engine "local" has, and how many threads each of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import pytest

from tlsweep.engine import local


def settings(workers: Literal["auto"] | int) -> local.Settings:
    return local.Settings(name="local", workers=workers)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "workers"),
    [(8, 64, 8), (8, 8, 4), (2, 24, 2), (64, 15.5, 7), (4, 1, 1)],
)
def test_auto_is_a_worker_a_core_as_far_as_the_machines_memory_goes(
    monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: float, workers: int
) -> None:
    memory = SimpleNamespace(total=int(gigabytes * 2**30))
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda pid: range(cores))
    monkeypatch.setattr(local.psutil, "virtual_memory", lambda: memory)
    found = settings("auto")
    assert found.abreast == workers
    threads = found.threads_each
    assert threads is None if workers == 1 else threads == max(1, cores // workers)


def test_a_number_is_taken_at_its_word_and_one_trial_has_what_torch_takes() -> None:
    assert settings(5).abreast == 5
    assert (settings(1).abreast, settings(1).threads_each) == (1, None)
