"""What every target offers.

Loads no torch before examples are asked for, so that refusals are fast.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.task import Classes, Task, Truth
from tlsweep.terms import InputSpec, Split

if TYPE_CHECKING:
    from tlsweep.target.augment import Augmentation
    from tlsweep.target.dataset import TargetDataset

Progress = Callable[[int, int, str], None]
"""Called with (done, total, message) during long work, on the thread that asked for it."""


class Target(ABC):
    """Labelled examples, and the splits that came with them.

    reads: the kind of what a source wants to see that it can be brought to; progress: told of long
    work on its examples, where somebody shows it; things: what its
    examples are called, all together; name: what the report calls it; task: what is asked of each
    example; output_names: of its classes, labels or numbers;
    labels: what is true of each example, as the task has it (classes int64 [n], labels bool [n, m],
    numbers float64 [n, m]); given: indices of the splits that the data came with (train as FIT, val
    as SELECT, test as REPORT), often none; fingerprint: hex digest of all examples and labels;
    contents: a digest of each example, so that equal ones are known, None where no two are; said:
    what was taken for granted of the data, a sentence each; groups: the name of each example's
    group, of which splits part none, None where each stands for itself; same_as, like: for each
    example the first one of the same content, and the first that it is the same as or a near copy
    of, which splits part as little. Not shared between threads.
    """

    reads: ClassVar[type[InputSpec]]
    things: ClassVar[str]
    progress: Progress | None = None
    said: tuple[str, ...] = ()
    groups: Sequence[str] | None = None

    def __init__(
        self,
        name: str,
        output_names: tuple[str, ...],
        labels: Truth,
        fingerprint: str,
        given: Mapping[Split, NDArray[np.int64]] | None = None,
        contents: Sequence[bytes | str] | None = None,
        task: Task | None = None,
    ) -> None:
        self.name = name
        self.task = (Classes(len(output_names)) if task is None else task).of(self.things)
        self.output_names = output_names
        self.labels = labels
        self.given = dict(given or {})
        self.fingerprint = _with_parts(fingerprint, self.given)
        self.contents = contents
        self.same_as = self.like = _first_with_content(contents, len(labels))

    def asked(self, task: Task, name: str) -> Self:
        """The same examples, of which another task asks something else.

        name: of the task, with its settings: it is part of the fingerprint.
        """
        other = copy.copy(self)
        other.task, other.labels = task.of(self.things), task.truth(self.labels)
        other.fingerprint = hashlib.sha256(f"{self.fingerprint} {name}".encode()).hexdigest()[:16]
        return other

    def called(self, index: int) -> str:
        """What people call the example at ``index``."""
        return f"example {index}"

    @property
    def strata(self) -> NDArray[np.int64]:
        """The group of each example that splits share out evenly: int64 [n].

        A report split that the data gives has groups of its own: no label of it moves another.
        """
        # val alone is quoted, too
        named = (self.given.get(split, ()) for split in (Split.REPORT, Split.SELECT))
        quoted = np.isin(np.arange(len(self.labels)), next(filter(len, named), ()))
        found = np.empty(len(self.labels), dtype=np.int64)
        for part in (quoted, ~quoted):
            if part.any():
                found[part] = self.task.strata(self.labels[part])
        return found

    def truth_of(self, index: int) -> str:
        """What is true of the example at ``index``, in words."""
        return self.task.spelled(self.labels[index], self.output_names)

    @abstractmethod
    def dataset(
        self, indices: ArrayLike, spec: Any, augmentation: Augmentation | None = None
    ) -> TargetDataset:
        """The examples at ``indices``, in that order, as a source wants to see them.

        spec: of the kind that ``reads`` says; augmentation: the view of each that is asked for,
        None for the example as it is. Raises IndexError for an index that is not there.
        """

    def places(self, indices: ArrayLike) -> NDArray[np.int64]:
        """The indices as int64. Raises IndexError for one that is not there."""
        ids = np.asarray(indices, dtype=np.int64)
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(self.labels):
            raise IndexError(f"indices {ids.min()}..{ids.max()} of {len(self.labels)} examples")
        return ids


def _first_with_content(contents: Sequence[bytes | str] | None, n: int) -> NDArray[np.int64]:
    """For each example the index of the first one with the same content: int64 [n]."""
    if contents is None:
        return np.arange(n, dtype=np.int64)
    first: dict[bytes | str, int] = {}
    return np.array([first.setdefault(c, i) for i, c in enumerate(contents)], dtype=np.int64)


def _with_parts(fingerprint: str, given: Mapping[Split, NDArray[np.int64]]) -> str:
    """A fingerprint that also tells which examples are in which given split."""
    if not given:
        return fingerprint
    digest = hashlib.sha256(fingerprint.encode())
    for split, rows in sorted(given.items()):
        digest.update(split.encode() + np.asarray(rows, np.int64).tobytes())
    return digest.hexdigest()[:16]
