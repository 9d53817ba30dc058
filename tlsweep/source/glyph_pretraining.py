"""How the embedded source gets its weights: a short, seeded training run on printed letters."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlsweep.glyphs.images import LETTERS, Warp, draw_sheets, render
from tlsweep.source.base import Progress, private_rng
from tlsweep.source.glyph_network import GlyphNetwork

CODE_VERSION = (
    1  # raise it with any change of this file or glyph_images.py that changes the numbers
)


@dataclass(frozen=True)
class Recipe:
    """Everything that the pre-training run can be asked to do differently.

    steps: optimiser steps; batch_size: images a step, every one a new rendering; learning_rate:
    peak of a one-cycle schedule (Smith 2018); holdout: unseen renderings that accuracy is
    measured on.
    """

    steps: int = 350
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    holdout: int = 2000
    seed: int = 0
    warp: Warp = field(default_factory=Warp)


@dataclass(frozen=True)
class Pretrained:
    """Weights, their accuracy on unseen renderings (0..1), and the wall-clock seconds they took."""

    weights: dict[str, Tensor]
    accuracy: float
    seconds: float


def pretrain(recipe: Recipe, progress: Progress | None = None) -> Pretrained:
    """Train the glyph network by ``recipe``. Leaves the global random state as it was."""
    began = time.perf_counter()
    # A caller may stand inside no_grad or inference_mode; training must work there too.
    with torch.inference_mode(False), torch.enable_grad():
        sheets = draw_sheets()
        with private_rng(recipe.seed):
            model = GlyphNetwork(len(LETTERS))
        # channels_last halves the step time of small convolutions on CPUs.
        model = model.to(memory_format=torch.channels_last)
        _train(model, sheets, recipe, progress)
        accuracy = _accuracy(model, sheets, recipe)
    weights = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    return Pretrained(weights, accuracy, time.perf_counter() - began)


def _train(model: nn.Module, sheets: Tensor, recipe: Recipe, progress: Progress | None) -> None:
    generator = torch.Generator().manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.learning_rate, total_steps=recipe.steps
    )
    model.train()
    for step in range(1, recipe.steps + 1):
        x_bchw, letters = render(sheets, recipe.batch_size, recipe.warp, generator)
        x_bchw = x_bchw.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(x_bchw), letters)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, recipe.steps, "pre-training on printed letters (once)")


def _accuracy(model: nn.Module, sheets: Tensor, recipe: Recipe) -> float:
    # Another stream than training's, so that no held-out rendering was trained on.
    generator = torch.Generator().manual_seed(recipe.seed + 2**32)
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, recipe.holdout, 500):
            n = min(500, recipe.holdout - start)
            x_bchw, letters = render(sheets, n, recipe.warp, generator)
            right += int((model(x_bchw).argmax(dim=1) == letters).sum())
    return right / recipe.holdout
