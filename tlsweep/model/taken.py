"""A model that was taken home: images or texts in, probabilities or numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tlsweep.errors import Fault, Refusal
from tlsweep.heads.head import NOTHING
from tlsweep.model.card import Card, TokenPreprocessing
from tlsweep.source import input_spec
from tlsweep.target.batch import Side
from tlsweep.target.dataset import normalise
from tlsweep.target.decode import fit_image, read_image, why_not
from tlsweep.target.zipped import AnyPath, Inside
from tlsweep.terms import TokenSpec
from tlsweep.train.network import PlanNetwork

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 64  # images that go through the network at a time


class TakenModel(nn.Module):
    """The network of a model folder, with what it needs to be used. In eval mode.

    network: the blocks and the head; card: everything that model.json says.
    """

    def __init__(self, network: PlanNetwork, card: Card) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.eval()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The classes, labels or numbers, in the order of the outputs."""
        return self.card.output_names

    @property
    def about(self) -> dict[str, Any]:
        """What the sweep says of it: score, interval, seeds, epochs."""
        return self.card.about

    def forward(self, x: Tensor, side: Side = NOTHING) -> Tensor:
        """Images [batch, channels, size, size] as ``prepare`` gives them, to outputs.

        Of a model of texts: tokens, and with them ``{"mask": mask}``, as ``encode`` gives them.
        """
        outputs: Tensor = self.network(x, side)
        return outputs

    def prepare(self, image: AnyPath | str | Image) -> Tensor:
        """An image as the network sees it, as the study prepared its own: float32 [C, size, size].

        image: a file, which may lie in a zip, or what Pillow has opened.

        Raises what Pillow raises for a file that cannot be decoded.
        """
        card = self.card.image
        spec, how, levels = card.image, card.resampling, card.levels
        if isinstance(image, Path | Inside | str):
            file = Path(image) if isinstance(image, str) else image
            pixels = read_image(file, spec, how, levels)
        else:
            pixels = fit_image(image, spec, how, levels)
        return normalise(torch.from_numpy(np.ascontiguousarray(pixels))[None], spec)[0]

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Texts as the network sees them: tokens int64 [n, length], and which are there, bool.

        Raises Refusal where the source's tokenizer is another one than the model was trained with.
        """
        return self._tokens.encode(list(texts))

    @torch.no_grad()
    def predict(self, images: Sequence[Path | str | Image]) -> Tensor:
        """What it answers of image files, of opened images, or of texts: float32 [n, outputs].

        Probabilities of classes (they add up to 1) or of labels (each by itself), or numbers in
        their own unit. Raises Refusal with every file that cannot be decoded, and for texts where
        the source's tokenizer is another one than the model was trained with.
        """
        found = [torch.empty(0, len(self.output_names))]
        for start in range(0, len(images), BATCH):
            found.append(self.answers(*self._batch(images[start : start + BATCH])))
        return torch.cat(found)

    @torch.no_grad()
    def answers(self, x: Tensor, side: Side = NOTHING) -> Tensor:
        """A prepared batch, as ``forward`` takes it, to what ``predict`` gives, on the CPU."""
        there = next(self.parameters()).device
        side = {name: tensor.to(there) for name, tensor in side.items()}
        outputs: Tensor = self(x.to(there), side).cpu()
        kind = self.card.target.kind
        if kind == "numbers":
            return outputs
        return outputs.softmax(1) if kind == "classes" else outputs.sigmoid()

    def _batch(self, images: Sequence[Path | str | Image]) -> tuple[Tensor, Side]:
        if isinstance(self.card.preprocessing, TokenPreprocessing):
            x, mask = self.encode([str(text) for text in images])
            return x, {"mask": mask}
        prepared, faults = [], []
        for image in images:
            try:
                prepared.append(self.prepare(image))
            except Exception as error:  # Pillow's decoders raise many kinds: see target/look.py
                rule, mend = "every image can be decoded", "save it again, or leave it out"
                faults.append(Fault(f"{image} ({why_not(error)})", rule, mend))
        if faults:
            raise Refusal(*faults)
        return torch.stack(prepared), NOTHING

    @cached_property
    def _tokens(self) -> TokenSpec:
        """The source's tokenizer, opened anew."""
        card = self.card.tokens
        spec = input_spec(self.card.source.name, **self.card.source.options)
        wanted = (card.tokenizer, card.length)
        if not isinstance(spec, TokenSpec) or (spec.tokenizer, spec.length) != wanted:
            rule = f"a model of texts is given the tokens that it was trained on: {card.in_words}"
            mend = "the package and the files of the source as they were then"
            raise Refusal(Fault(f"source={self.card.source.name}", rule, mend))
        return spec
