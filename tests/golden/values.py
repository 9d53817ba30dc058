"""The values of a finished run that may not change: scores, intervals, the answer, the predictions.

Seconds, run ids and paths are left out. A value has a name, so that what differs can be named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Values = dict[str, Any]
LEFT_OUT = {"seconds", "asked"}
RECORD = "artifacts"  # the record's copies of the same files, in folders named by chance
GRID = re.compile(r"grid-[0-9a-f]{8}")  # its digest is of all settings, new ones too
CLOSE = 1e-6  # of two numbers, relative to the larger one or to 1


def values_of(output: Path) -> Values:
    """Every value below a folder of outputs, by name."""
    found: Values = {}
    for file in sorted(output.rglob("*.json")):
        if file.name in ("verdict.json", "survey.json") and RECORD not in file.parts:
            name = str(file.relative_to(output))
            found |= {f"{name} {key}": v for key, v in _leaves(json.loads(file.read_text()))}
    for file in sorted(output.rglob("outcomes/*.npz")):
        with np.load(file) as arrays:
            for key in sorted(set(arrays) - {"task"}):
                name = GRID.sub("grid", str(file.relative_to(output)))
                found[f"{name} {key}"] = np.array(arrays[key])
    return found


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key not in LEFT_OUT:
                yield from _leaves(value, f"{name}.{key}" if name else key)
    elif isinstance(tree, list):
        yield f"{name} (how many)", len(tree)
        for place, value in enumerate(tree):
            yield from _leaves(value, f"{name}[{place}]")
    else:
        yield name, tree


def differences(old: Values, new: Values) -> list[str]:
    """A line for each value that only one of them has, or that differs."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            lines.append(f"{name}: gone, was {_short(old[name])}")
        elif name not in old:
            lines.append(f"{name}: new, {_short(new[name])}")
        elif not _alike(old[name], new[name]):
            lines.append(f"{name}: {_short(old[name])} became {_short(new[name])}")
    return lines


def _alike(old: Any, new: Any) -> bool:
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        same = old.shape == new.shape and bool((old.argmax(-1) == new.argmax(-1)).all())
        return same and np.allclose(old, new, rtol=CLOSE, atol=CLOSE)
    if isinstance(old, bool | str) or old is None or not isinstance(new, int | float):
        return bool(old == new)
    return math.isclose(old, new, rel_tol=CLOSE, abs_tol=CLOSE)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {np.array2string(value.ravel()[:3], precision=6)}..."
    return repr(value)
