"""The tokenizer of a model of transformers: loaded, named by what it does, and made to fill up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsweep.terms import TokenSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Texts to tokens. own: of transformers; length: that texts are cut, or filled up, to."""

    own: Any
    length: int

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens int64 [n, length], filled up on the right, and which of them are tokens."""
        import torch

        ids_bt = torch.full((len(texts), self.length), self._filling)
        mask_bt = torch.zeros(len(texts), self.length, dtype=torch.bool)
        if not texts:
            return ids_bt, mask_bt
        cut = {"truncation": True, "max_length": self.length, "padding": False}
        for i, ids in enumerate(self._ids(texts, **cut)):
            ids_bt[i, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
            mask_bt[i, : len(ids)] = True
        return ids_bt, mask_bt

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, whole."""
        return [len(ids) for ids in self._ids(texts, truncation=False)] if texts else []

    def _ids(self, texts: Sequence[str], **how: Any) -> list[list[int]]:
        # verbose: it would tell of every text that is longer than the model takes
        found: list[list[int]] = self.own(list(texts), verbose=False, **how)["input_ids"]
        return found

    @property
    def _filling(self) -> int:
        """The token that fills up: any will do where the model has none, for it is masked."""
        return 0 if self.own.pad_token_id is None else int(self.own.pad_token_id)

    def spec(self) -> TokenSpec:
        """As targets are told it."""
        name = f"{type(self.own).__name__} {digest(self.own)}"
        return TokenSpec(name, len(self.own), self.length, encode=self, lengths=self.lengths)


def digest(tokenizer: Any) -> str:
    """Hex digest of everything that decides which tokens a text becomes."""
    inside = getattr(tokenizer, "backend_tokenizer", None)
    rules: dict[str, Any] = json.loads(inside.to_str()) if inside is not None else {}
    # where texts are cut and filled up is told in each call, and stays in it afterwards
    rules = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    content = [rules, tokenizer.get_vocab(), special, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
