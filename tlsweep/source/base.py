"""What every source offers. Loads no torch before a model is asked for: refusals are fast."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tlsweep.terms import ImageSpec, InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[int, int, str], None]
"""Called with (done, total, message) during long work, on the thread that asked for it."""


class Source(ABC):
    """A source model: an architecture, its weights, and the preprocessing it was trained with.

    name: what the report calls it ("glyphs", "resnet18"); spec: the preprocessing every target is
    brought to; fingerprint: hex digest of architecture and weights, the same in every process (it
    does not cover ``spec``); trained_on: one phrase for the report; licence: of the weights, as
    far as whoever published them states it; said: what was assumed of it, a sentence each;
    class_names: what its own classifier tells apart, in the order of its outputs, none where that
    is not known; no_classes: why there are none, where there is a reason to tell.
    """

    name: str
    spec: InputSpec
    fingerprint: str
    trained_on: str
    licence: str = "unknown"
    said: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    no_classes: str = ""

    def __init__(
        self,
        name: str,
        spec: InputSpec,
        trained_on: str,
        architecture: str,
        weights: Mapping[str, Tensor],
    ) -> None:
        self.name = name
        self.spec = spec
        self.trained_on = trained_on
        self.fingerprint = fingerprint(architecture, weights)
        self._weights = dict(weights)

    @abstractmethod
    def _build(self) -> nn.Module:
        """A new instance of the architecture, initialised from torch's global CPU generator."""

    def model(self) -> nn.Module:
        """A new instance with the source's weights and its own classifier, in eval mode.

        Shares no storage with other instances. Leaves the global random state as it was.
        """
        with private_rng(0):
            model = self._build()
        # Numbers of this version are already in the layout of the built model (checkpoint.py), so
        # its own metadata is right; without it a module that migrates old layouts would refuse.
        versions = getattr(model.state_dict(), "_metadata", None)
        weights = _with_versions(self._weights, versions)
        model.load_state_dict(weights, strict=True)
        return model.eval()

    def fresh(self, seed: int) -> nn.Module:
        """The same architecture with random weights drawn from ``seed`` alone, in eval mode.

        Leaves the global random state as it was.
        """
        with private_rng(seed):
            return self._build().eval()

    def sample(self, n: int, seed: int) -> Tensor | None:
        """``n`` images like those it was trained on: normalised [n, C, H, W]; None if none."""
        return None

    def example(self) -> Tensor:
        """Zeros of the shape a batch of two has: float32 [2, C, H, W], or tokens int64 [2, T]."""
        import torch

        if isinstance(self.spec, ImageSpec):
            return torch.zeros(2, self.spec.channels, self.spec.size, self.spec.size)
        return torch.zeros(2, self.spec.length, dtype=torch.int64)


def _with_versions(weights: Mapping[str, Tensor], versions: object) -> OrderedDict[str, Tensor]:
    ordered: OrderedDict[str, Tensor] = OrderedDict(weights)
    if versions is not None:
        ordered._metadata = versions  # type: ignore[attr-defined]  # where torch keeps it
    return ordered


@contextmanager
def private_rng(seed: int) -> Iterator[None]:
    """Inside, torch's global CPU generator is seeded with ``seed``; afterwards it is as before.

    Only the CPU generator is touched: models are built on the CPU, and torch.manual_seed would
    reseed every accelerator as well.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def fingerprint(architecture: str, weights: Mapping[str, Tensor]) -> str:
    """Hex digest (16 characters of a sha256) of an architecture's name and its weights' content."""
    import torch

    digest = hashlib.sha256(architecture.encode())
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
