"""What an exported program is given: prepared images, or the tokens of texts and their mask."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tlsweep.model.card import Card, Preprocessing, TokenPreprocessing
from tlsweep.train.network import PlanNetwork

Inputs = tuple[Tensor, ...]
"""Normalised images [batch, C, size, size]; of texts ids and mask, [batch, length] both."""
TEXTS = "texts"
SIZES = (1, 3)  # of the batches that a written file is compared at


class OfTexts(nn.Module):
    """A network of texts that is given the mask as a second tensor: a program takes no mapping."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens int64 [batch, length] and which of them are there, bool, to logits."""
        logits: Tensor = self.network(ids, {"mask": mask})
        return logits


def taking_inputs(network: PlanNetwork, card: Card) -> nn.Module:
    """The network, given the tensors of ``Inputs`` one by one."""
    return OfTexts(network) if isinstance(card.preprocessing, TokenPreprocessing) else network


def names(card: Card) -> tuple[str, ...]:
    """What the inputs are called."""
    return ("ids", "mask") if isinstance(card.preprocessing, TokenPreprocessing) else ("images",)


def examples(card: Card) -> str:
    """What one row of a batch is, in the plural."""
    return TEXTS if isinstance(card.preprocessing, TokenPreprocessing) else "images"


def example(card: Card) -> Inputs:
    """Two rows: a batch of 1 would stay 1."""
    how = card.preprocessing
    if isinstance(how, TokenPreprocessing):
        ids_bt = torch.zeros(2, how.length, dtype=torch.int64)
        return ids_bt, torch.ones_like(ids_bt, dtype=torch.bool)
    return (torch.zeros(2, how.channels, how.size, how.size),)


def to_compare(card: Card) -> Iterator[Inputs]:
    """Random and edge inputs, at each of ``SIZES``."""
    how, generator = card.preprocessing, torch.Generator().manual_seed(0)
    for n in SIZES:
        if isinstance(how, TokenPreprocessing):
            yield from _texts(how, n, generator)
        else:
            yield from _images(how, n, generator)


def _images(how: Preprocessing, n: int, generator: torch.Generator) -> Iterator[Inputs]:
    """Noise, black, white."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (how.mean, how.std))
    shape = (n, how.channels, how.size, how.size)
    noise = torch.rand(shape, generator=generator)
    for x in (noise, torch.zeros(shape), torch.ones(shape)):
        yield ((x - mean) / std,)


def _texts(how: TokenPreprocessing, n: int, generator: torch.Generator) -> Iterator[Inputs]:
    """Random tokens: as many as fit, half of them, one, none; and with words left out between."""
    shape, place_t = (n, how.length), torch.arange(how.length)
    lengths = torch.tensor([how.length, how.length // 2, 1, 0])
    masks = [place_t < lengths.roll(-i)[:n, None] for i in range(len(lengths))]
    for mask_bt in (*masks, torch.rand(shape, generator=generator) < 0.5):
        yield torch.randint(how.vocabulary, shape, generator=generator), mask_bt


def how_made(card: Card, folder: str) -> str:
    """How the inputs of a model of texts are made, in words. folder: where the model lies."""
    shape = f"[batch, {card.tokens.length}]"
    said = (
        f"ids: int64 {shape}; mask: bool {shape}. Both are made by"
        f" tlsweep.load_model({folder!r}).encode(TEXTS); the tokenizer is not in the file"
    )
    if without := _without_us(card):
        said = f"{said}. Without tlsweep: {without} (more: python -m tlsweep help model)"
    return said


def _without_us(card: Card) -> str:
    """How tokens are made by others; nothing of a source that they do not know."""
    if card.source.name == "transformers":
        return (
            f"AutoTokenizer.from_pretrained({str(card.source.options['model'])!r})(TEXTS,"
            f' padding="max_length", padding_side="right", truncation=True,'
            f" max_length={card.tokens.length}) gives input_ids, and attention_mask, which as bool"
            " is the mask"
        )
    if card.source.name == "word_vectors":
        return (
            "ids are the places of words in the table, the first one's is 1; 0 fills up and is a"
            " word that is not known; mask is ids > 0"
        )
    return ""
