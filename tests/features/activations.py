"""Keys, rows and entries for the tests of the activation store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlsweep.features import Key, Spec, Store, rows_digest


class Told(list[str]):
    """Everything that was said."""

    def __call__(self, text: str) -> None:
        self.append(text)


def key(cut: str = "block3", dtype: torch.dtype = torch.float32, **changed: Any) -> Key:
    fields = {
        "source": "5f1d",
        "spec": {"size": 32},
        "target": "77aa",
        "rows": rows_digest([3, 1, 2]),
        "pooling": "none",
        "view": 0,
    }
    return Key.of(cut=cut, dtype=dtype, **{**fields, **changed})


def rows(n: int = 10, width: int = 4, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=draw).to(dtype)


def spec_of(name: Key, z: Tensor) -> Spec:
    return Spec(name, tuple(z.shape), z.dtype)


def put(store: Store, name: Key, z: Tensor, chunks: Sequence[int] = (4,)) -> Path:
    """Store rows, some at a time, as ``chunks`` says; returns the entry's folder."""
    with store.writing([spec_of(name, z)]) as writers:
        for part in torch.split(z, list(chunks) if sum(chunks) == len(z) else chunks[0]):
            writers[name].append(part)
    return store.folder / name.digest


def found(store: Store, name: Key) -> Tensor:
    stored = store.find(name)
    assert stored is not None
    return stored.tensor()


def visible(folder: Path) -> list[str]:
    """Names of the entries in a store's folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def hidden(folder: Path) -> list[str]:
    """Names of what is left over in a store's folder."""
    return sorted(p.name for p in folder.iterdir() if p.name[0] == "." and p.name != ".locks")
