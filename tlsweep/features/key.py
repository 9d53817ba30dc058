"""What an entry is kept under: everything that its numbers depend on, and the digest of that."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Key:
    """Everything that determines an entry, made with ``Key.of``.

    text: the fields as canonical JSON, so that keys are equal when, and only when, every field is.
    """

    text: str

    @classmethod
    def of(
        cls,
        *,
        source: str,
        cut: str,
        spec: Any,
        target: str,
        rows: str,
        dtype: torch.dtype,
        pooling: Any,
        view: Any,
        **more: Any,
    ) -> Key:
        """A key of these fields; the versions of the libraries are added to them.

        source, target: fingerprints; cut: name of the cut point; spec: the preprocessing; rows:
        ``rows_digest`` of the images; pooling: the rule, "none" for none; view: which augmented
        view; more: whatever else changes a number (precision, device). Values are what JSON holds,
        or dataclasses of it. Raises TypeError for another value, ValueError for NaN or infinity.
        """
        fields = {
            "source": source,
            "cut": cut,
            "spec": spec,
            "target": target,
            "rows": rows,
            "dtype": dtype_name(dtype),
            "pooling": pooling,
            "view": view,
            **more,
        }
        if "versions" in more:
            raise TypeError("a key's versions are found, not given")
        return cls.from_fields({**fields, "versions": _versions()})

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Key:
        """The key that has exactly these fields, its versions among them."""
        return cls(canonical(fields))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields as JSON gives them back: lists for tuples, a mapping for a dataclass."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the fields, the same in every process."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def rows_digest(indices: ArrayLike) -> str:
    """Hex sha256 of the indices of images, in their order: int64 [n]."""
    ids = np.asarray(indices)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"indices are whole numbers, not {ids.dtype}")
    return hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()


def dtype_name(dtype: torch.dtype) -> str:
    """torch.float32 as ``float32``."""
    return str(dtype).removeprefix("torch.")


def canonical(value: Any) -> str:
    """``value`` as JSON that does not depend on the order of keys: the same text for the same."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # what does not tell two of them apart (a function) is no part of a key
        return {
            f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare
        }
    if isinstance(value, Mapping):
        # JSON writes the key 1 as "1": two mappings would share a digest
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"a key's mappings have text for keys, not {wrong[0]!r}")
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value  # json.dumps refuses what is not its own


@cache
def _versions() -> dict[str, str]:
    """Versions of what changes the numbers; torch with its build, whose kernels differ."""
    import torch

    libraries = {name: metadata.version(name) for name in ("tlsweep", "pillow", "torchvision")}
    return {**libraries, "torch": str(torch.__version__)}
