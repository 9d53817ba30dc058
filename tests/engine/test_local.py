"""How many workers the engine "local" has, and how many threads each of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import pytest
import torch

from tlsweep.engine import local


def settings(workers: Literal["auto"] | int, devices: int = 1) -> local.Settings:
    return local.Settings(name="local", workers=workers, devices=devices)


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: float, gpus: int) -> None:
    memory = SimpleNamespace(total=int(gigabytes * 2**30))
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda pid: range(cores))
    monkeypatch.setattr(local.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "workers"),
    [(8, 64, 8), (8, 8, 4), (2, 24, 2), (64, 15.5, 7), (64, 256, 8), (4, 1, 1)],
)
def test_auto_is_a_worker_a_core_as_far_as_the_machines_memory_goes(
    monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: float, workers: int
) -> None:
    machine(monkeypatch, cores, gigabytes, gpus=0)
    found = settings("auto")
    assert found.abreast == workers
    threads = found.threads_each
    assert threads is None if workers == 1 else threads == max(1, cores // workers)


@pytest.mark.parametrize(
    ("gpus", "devices", "workers"), [(1, 1, 1), (4, 1, 4), (4, 2, 2), (2, 4, 1)]
)
def test_auto_is_a_worker_for_as_many_gpus_as_a_trial_takes(
    monkeypatch: pytest.MonkeyPatch, gpus: int, devices: int, workers: int
) -> None:
    machine(monkeypatch, 64, 256, gpus)
    assert settings("auto", devices).abreast == workers


def test_processes_that_train_one_plan_together_share_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, 8, 64, gpus=0)
    assert settings("auto", 4).abreast == 2


def test_a_number_is_taken_at_its_word_and_one_trial_has_what_torch_takes() -> None:
    assert settings(5).abreast == 5
    assert (settings(1).abreast, settings(1).threads_each) == (1, None)
