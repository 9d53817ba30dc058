"""Many things at once: counted, named in part, and worked on in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

SHOWN = 5  # names in a refusal
_POOL_FROM = 16  # things; fewer are worked on without starting threads

In = TypeVar("In")
Out = TypeVar("Out")


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first names, and how many more there are."""
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def images(count: int) -> str:
    """So many images, in words."""
    return f"{count} image{'s' if count != 1 else ''}"


def in_threads(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Results in order; in threads where there are many (Pillow decodes outside the GIL)."""
    items = list(items)
    if len(items) < _POOL_FROM:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(function, items)
