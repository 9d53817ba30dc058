"""Which modules of a model are its blocks: kept whole, so that no cut point falls inside them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from tlsweep.cut.trace import Call, has_own_forward


def whole_blocks(
    model: nn.Module, calls: Iterable[Call], articulations: Iterable[str]
) -> frozenset[str]:
    """Paths of the blocks of ``model``, from all calls of its modules.

    A block is a module with parameters and a forward of its own, inside which no other such
    module's output carries all of the data: a residual block, an inception, a transformer layer.
    Once one instance is a block, so are all of its class and all at like places (``blocks.3.1`` and
    ``blocks.0.0``): a block without a skip connection, at a change of resolution, is still one.
    """
    modules = dict(model.named_modules())
    user_calls = [call for call in calls if _may_be_block(modules[call.path])]
    carriers = set(articulations)
    seeds = {
        call.path
        for call in user_calls
        if not _carrier_inside(call, user_calls, carriers) and not _is_wrapper(call, user_calls)
    }
    kinds = {type(modules[path]) for path in seeds} - {type(model)}
    shapes = {_pattern(path) for path in seeds}
    own = {call.path for call in user_calls}
    return frozenset(
        path for path in own if type(modules[path]) in kinds or _pattern(path) in shapes
    )


def _may_be_block(module: nn.Module) -> bool:
    # what has no parameters (a window partition, say) rearranges what a block works on
    return has_own_forward(module) and any(True for _ in module.parameters())


def _carrier_inside(call: Call, others: list[Call], carriers: set[str]) -> bool:
    return any(
        other.output in carriers and other.output != call.output
        for other in others
        if _is_inside(other, call)
    )


def _is_wrapper(call: Call, others: list[Call]) -> bool:
    # a stage that happens to hold one block tells nothing about its larger siblings
    return any(other.output == call.output for other in others if _is_inside(other, call))


def _is_inside(inner: Call, outer: Call) -> bool:
    return (
        inner is not outer
        and inner.path != outer.path
        and inner.path.startswith(outer.path + ".")
        and outer.first <= inner.first
        and inner.last <= outer.last
    )


def _pattern(path: str) -> str:
    return re.sub(r"\d+", "*", path)
