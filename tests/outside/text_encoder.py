"""A source of another package: a text encoder, here small and with weights that nobody trained."""

from typing import Any, Literal

from tlsweep.section import SourceSettings
from tlsweep.source import Source
from tlsweep.source.base import private_rng
from tlsweep.terms import TokenSpec


class Settings(SourceSettings):
    name: Literal["text_encoder"]
    layers: int


class Encoder(Source):
    def _build(self) -> Any:
        return architecture(layers=int(self.name.split()[1]))[0]


def check(*, layers: int, progress: Any = None) -> None: ...
def open(*, layers: int, progress: Any = None) -> Encoder:
    with private_rng(0):
        weights = architecture(layers=layers)[0].state_dict()
    return Encoder(f"bert {layers}", spec(layers=layers), "nothing", f"bert {layers}", weights)


def architecture(*, layers: int) -> Any:
    from torch import zeros
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    config = BertConfig(vocab_size=256, num_hidden_layers=layers, **sizes)
    return BertModel(config, add_pooling_layer=False), zeros(2, 64, dtype=int)


def spec(*, layers: int) -> TokenSpec:
    return TokenSpec("bytes", vocabulary=256, length=64, encode=encode)


def encode(texts: Any) -> Any:
    from torch import tensor

    ids = tensor([list(text.encode()[:64].ljust(64, b"\0")) for text in texts])
    return ids, ids != 0


def dissect(model: Any, example: Any) -> Any:
    from tlsweep.cut import layered

    return layered(
        model, example, layers="encoder.layer", stem=stem, stem_uses=["embeddings"], layer=layer
    )


def stem(part: Any, ids_bt: Any, side: Any) -> Any:
    return part.embeddings(ids_bt)


def layer(one: Any, z_btd: Any, side: Any) -> Any:
    mask_b11t = side["mask"][:, None, None] if side else None
    return one(z_btd, mask_b11t)
