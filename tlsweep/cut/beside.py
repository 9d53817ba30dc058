"""Layers in a list, beside which something else goes up: a mask, a condition, places.

At the end of such a layer no one tensor carries all, but the layers are a row all the same, and
what lies below each is a prefix. A skip connection is no such thing: there the row itself goes two
ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tlsweep.cut.recording import Called, Recording, storage
from tlsweep.cut.trace import has_own_forward

Times = Sequence[Mapping[str, Sequence[Called]]]
"""Of each run the calls of every module, by its path."""


def rows_beside(
    modules: Mapping[str, nn.Module], runs: Sequence[Recording], times: Times
) -> set[str]:
    """Paths of the layers of such lists; of lists inside of lists the outermost."""
    rows = _lists(modules, times)
    members = {path for row in rows for path in row}
    return {
        path
        for row in rows
        if not any(
            member != path and path.startswith(f"{member}.") for path in row for member in members
        )
        for path in row
        if all(_is_end(run, calls, row, path) for run, calls in zip(runs, times, strict=True))
    }


def _lists(modules: Mapping[str, nn.Module], times: Times) -> list[list[str]]:
    """The layers of each list, of one class and called once each, in their order."""
    rows: dict[tuple[str, type[nn.Module]], list[str]] = {}
    for path, module in modules.items():
        above, _, _ = path.rpartition(".")
        listed = path and isinstance(modules[above], nn.ModuleList | nn.Sequential)
        works = has_own_forward(module) and any(True for _ in module.parameters())
        if listed and works and all(len(calls.get(path, ())) == 1 for calls in times):
            rows.setdefault((above, type(module)), []).append(path)
    return [row for row in rows.values() if len(row) > 1]


def _is_end(
    run: Recording, calls: Mapping[str, Sequence[Called]], row: Sequence[str], path: str
) -> bool:
    """Whether what goes up beside a layer's output was made before the row, and is not of it."""
    call, within = calls[path][0], [calls[one][0] for one in row]
    if not run.is_features(call.tensor):
        return False
    own = {storage(t) for one in within for t in (_first(one), one.tensor) if t is not None}
    around = [run.calls[i] for i in call.inside if run.calls[i].path]
    own |= {storage(t) for one in around if (t := _first(one)) is not None}
    begin = min(one.start for one in within)
    others = run.read_later(call.tensor, call.end)
    return all(run.made[other] < begin and other not in own for other in others)


def _first(call: Called) -> Tensor | None:
    return call.given[0] if call.given else None
