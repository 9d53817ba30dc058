"""Which dimension of a cut point's tensor counts channels (features), and which count places."""

from __future__ import annotations

from torch import Tensor, nn

from tlsweep.cut.observe import Observation, observe
from tlsweep.cut.program import Program

_GROW = (160, 96)  # pixels by which height and width grow: by different amounts at any stride


def at_another_size(program: Program, model: nn.Module, example: Tensor) -> Observation | None:
    """A fake run at a larger, not square input; None where the model takes its own size only."""
    batch, channels, *sizes = example.shape
    if not sizes:
        return None
    grown = [size + more(i) for i, size in enumerate(sizes)]
    try:
        return observe(program, model, (batch, channels, *grown), example)
    except Exception:  # it is the model's own forward that refuses, each in its own way
        return None


def more(i: int) -> int:
    """By how many pixels side ``i`` grows."""
    return _GROW[i % 2]


def channel_dim(name: str, place: int, seen: Observation, other: Observation | None) -> int:
    """The channel dimension of a value, batch counted as 0.

    First the one dimension that stays as it is when the input grows; else that of the next
    parametric module that reads a tensor of this shape; else that of the last which wrote one.
    """
    shape = seen.sights[name].shape
    assert shape is not None
    if len(shape) <= 2:
        return len(shape) - 1
    by_custom = 1 if len(shape) == 4 else len(shape) - 1
    return _static(name, seen, other) or _from_modules(shape, place, seen) or by_custom


def _static(name: str, seen: Observation, other: Observation | None) -> int | None:
    if other is None or name not in other.sights:
        return None
    a, b = seen.sights[name].shape, other.sights[name].shape
    if a is None or b is None or len(a) != len(b):
        return None
    same = [dim for dim in range(1, len(a)) if a[dim] == b[dim]]
    return same[0] if len(same) == 1 else None


def _from_modules(shape: tuple[int, ...], place: int, seen: Observation) -> int | None:
    reader = next((r for r in seen.readings if r.step > place and r.shape_in == shape), None)
    if reader is not None:
        return reader.dim_from % len(shape)
    writers = [r for r in seen.readings if r.step <= place and r.shape_out == shape]
    return writers[-1].dim_from % len(shape) if writers else None
