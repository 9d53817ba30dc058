"""Model folders as a sweep leaves them: made from a real source, real images, trained heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tlsweep.config.settings import Settings
from tlsweep.model import write_model
from tlsweep.question import Question
from tlsweep.schedule.constant import constant
from tlsweep.terms import Split
from tlsweep.train.feed import Fed
from tlsweep.train.fit import fit
from tlsweep.train.network import PlanNetwork
from tlsweep.trial import resolve
from tlsweep.trial.probe import fit_heads, standardised

Make = Callable[..., Settings]
ABOUT = {"report": {"accuracy": 0.9, "interval": [0.86, 0.94]}, "seeds": [3, 4, 5], "epochs": 1}


@dataclass(frozen=True)
class Made:
    """A folder, and what was written into it."""

    folder: Path
    question: Question
    network: PlanNetwork

    @property
    def x(self) -> torch.Tensor:
        """Images of the report split, as the network is scored on them."""
        x: torch.Tensor = self.question.examples(Split.REPORT).batch(range(9))[0]
        return x

    @property
    def logits(self) -> torch.Tensor:
        """What the network that was written makes of them."""
        with torch.no_grad():
            logits: torch.Tensor = self.network.eval()(self.x)
        return logits


def photographs(root: Path, each: int = 30) -> Path:
    """Colour images of several sizes: one class is red above, the other one blue."""
    draw = np.random.default_rng(0)
    for channel, name in ((0, "red ant"), (2, "bee=blue")):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = draw.integers(0, 160, (40 + i, 70 - i, 3), dtype=np.uint8)
            pixels[:20, :, channel] += 90
            Image.fromarray(pixels).save(root / name / f"{i:02}.jpg", quality=95)
    return root


def trained(settings: Settings, study: Path) -> Made:
    """A plan with trained blocks, trained for its epochs."""
    trial = resolve(settings)
    question, plan = trial.question, trial.plan
    network = question.network(plan, settings.train, settings.seed)
    images = question.examples(Split.FIT)
    fed = Fed(images, images, 0)
    fit(
        network,
        constant(plan),
        lambda boundary, epoch: fed,
        settings.train,
        kept=plan.learned,
        seed=settings.seed,
        task=question.task,
    )
    network.merge()
    return Made(write_model(study, trial, network, ABOUT), question, network)


def probe(settings: Settings, study: Path) -> Made:
    """An all-frozen plan with a linear head at its optimum."""
    trial = resolve(settings)
    question, plan = trial.question, trial.plan
    ((z_fit,), y) = trial.inputs.fitted([plan.regrow])
    network = question.network(plan, settings.train, settings.seed)
    network.thaw(plan.trained)
    head = network.head
    head.calibrate([z_fit])
    (heads,) = fit_heads([standardised(head, z_fit)], y, question.task, settings.train, [0.01])
    with torch.no_grad():
        head.classify.weight.copy_(heads.weight[0].T)
        head.classify.bias.copy_(heads.bias[0])
    return Made(write_model(study, trial, network, ABOUT), question, network)
