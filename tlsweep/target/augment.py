"""Random views of images that are already decoded: the same view for the same draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """A random crop, brought back to full size, and a random mirror.

    crop: the smallest share of the area that a crop keeps, 1 for no crop (Szegedy et al. 2015,
    with their aspect ratios of 3/4 to 4/3); flip: whether left and right are exchanged in half of
    the images; draw: what the random numbers come from, with the index of the image and nothing
    else, so that a view does not depend on the batch it is read in.
    """

    crop: float
    flip: bool
    draw: tuple[int, ...]

    def __call__(self, u8_bchw: Tensor, ids: NDArray[np.int64]) -> Tensor:
        """Views of images uint8 [B, C, size, size] with these indices. Leaves torch's generator."""
        import torch

        with torch.random.fork_rng(devices=[]):
            return torch.stack([self._one(x, int(i)) for x, i in zip(u8_bchw, ids, strict=True)])

    def _one(self, u8_chw: Tensor, index: int) -> Tensor:
        import torch

        # the CPU's generator alone: torch.manual_seed would reseed every accelerator as well
        seed = np.random.SeedSequence([*self.draw, index]).generate_state(1, np.uint64)[0]
        torch.default_generator.manual_seed(int(seed))
        for step in self._steps(u8_chw.shape[-1]):
            u8_chw = step(u8_chw)
        return u8_chw

    def _steps(self, size: int) -> list[Callable[[Tensor], Tensor]]:
        from torchvision.transforms import v2

        crops = [v2.RandomResizedCrop(size, (self.crop, 1.0))] if self.crop < 1 else []
        return [*crops, *([v2.RandomHorizontalFlip()] if self.flip else [])]
