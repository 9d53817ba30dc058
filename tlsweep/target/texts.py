"""A target of texts, which a source's own tokenizer makes tokens of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.target.base import Target
from tlsweep.task import Classes, Task, Truth
from tlsweep.terms import Split, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.target.augment import Augmentation
    from tlsweep.target.dataset import TextDataset

SHOWN = 200  # characters of a text in lists and reports


class TextTarget(Target):
    """Labelled texts in memory. Their tokens are made once for every tokenizer."""

    reads, things = TokenSpec, "texts"

    def __init__(
        self,
        name: str,
        output_names: tuple[str, ...],
        texts: Sequence[str],
        labels: Truth,
        given: Mapping[Split, NDArray[np.int64]] | None = None,
        task: Task | None = None,
        groups: tuple[str, ...] | None = None,
    ) -> None:
        task = Classes(len(output_names)) if task is None else task
        labels = np.ascontiguousarray(task.truth(labels))
        contents = [hashlib.sha256(text.encode()).digest() for text in texts]
        digest = hashlib.sha256(f"{output_names} {len(contents)}".encode())
        digest.update(b"".join(contents))
        digest.update(labels.tobytes())
        if groups is not None:
            digest.update("\n".join(groups).encode())
        super().__init__(name, output_names, labels, digest.hexdigest()[:16], given, contents, task)
        self.texts, self.groups = tuple(texts), groups
        self._tokens: dict[TokenSpec, tuple[Tensor, Tensor]] = {}
        self._cut: dict[TokenSpec, int] = {}
        self._unknown: dict[TokenSpec, tuple[int, int]] = {}

    def called(self, index: int) -> str:
        """The text's number and how it begins."""
        text = " ".join(self.texts[index].split())
        return f"text {index}: {text if len(text) <= SHOWN else text[: SHOWN - 3] + '...'}"

    def cut(self, spec: TokenSpec) -> str | None:
        """A sentence on the texts that ``spec`` cuts; None for none, or where nobody knows."""
        if spec.lengths is None:
            return None
        if spec not in self._cut:
            self._cut[spec] = sum(length > spec.length for length in spec.lengths(self.texts))
        if not (n := self._cut[spec]):
            return None
        are = "is" if n == 1 else "are"
        return f"{n} of {len(self.texts)} texts {are} longer than {spec.length} tokens: cut"

    def unknown(self, spec: TokenSpec) -> str | None:
        """A sentence on the words that ``spec`` does not know; None for none."""
        if spec.unknown is None:
            return None
        if spec not in self._unknown:
            self._unknown[spec] = spec.unknown(self.texts)
        n, all_ = self._unknown[spec]
        if not n:
            return None
        return f"{n:,} of {all_:,} words ({n / all_:.1%}) are not known to the source: left out"

    def dataset(
        self, indices: ArrayLike, spec: TokenSpec, augmentation: Augmentation | None = None
    ) -> TextDataset:
        """The texts at ``indices`` as the tokens that ``spec`` makes of them."""
        from tlsweep.target.dataset import TextDataset

        if augmentation is not None:
            raise ValueError("texts have no augmented views")
        ids = self.places(indices)
        if spec not in self._tokens:
            self._tokens[spec] = spec.encode(self.texts)
        return TextDataset(self, ids, *self._tokens[spec])
