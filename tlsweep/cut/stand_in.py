"""A model's stand-in: what runs in its place, so that nothing of a look at it stays in it."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def stand_in(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of ``model`` that shares its tensors, and nothing else.

    What a forward keeps in its module (a cache of what it made once) stays in the copy. A model
    that cannot be copied stands for itself, and is as it was afterwards.
    """
    tensors = {id(t): t for module in model.modules() for t in _tensors(module)}
    try:
        copied = copy.deepcopy(model, dict[int, Any](tensors))
    except Exception:  # a user's module may hold what no copy is made of: a lock, an open file
        with _restored(model):
            yield model
        return
    yield copied


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    held = (module.__dict__, module._parameters, module._buffers)
    return (value for some in held for value in some.values() if isinstance(value, Tensor))


@contextlib.contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    kept = [(m.__dict__, dict(m.__dict__)) for m in model.modules()]
    inside = [(v, copy.copy(v)) for _, was in kept for v in was.values() if type(v) in _CONTAINERS]
    try:
        yield
    finally:
        for now, was in kept:
            now.clear()
            now.update(was)
        for container, before in inside:
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(before)


_CONTAINERS = (dict, list, set)


@contextlib.contextmanager
def undisturbed(root: nn.Module) -> Iterator[nn.Module]:
    """A stand-in in eval mode, with gradients, without fused attention, whose FLOPs do not count.

    Everything is as before afterwards: switches and random numbers. What torch logs of a failure on
    fake tensors, traceback and all, before it raises it, is not shown.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with (
            stand_in(root) as copied,
            silent("torch._subclasses.fake_tensor"),
            torch.random.fork_rng(devices=[]),
            torch.enable_grad(),
        ):
            modes = {module: module.training for module in copied.modules()}
            try:
                yield copied.eval()
            finally:
                for module, mode in modes.items():
                    module.training = mode
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextlib.contextmanager
def silent(logger: str) -> Iterator[None]:
    """Inside, nothing that this logger is told is shown."""
    log = logging.getLogger(logger)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
