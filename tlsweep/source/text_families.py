"""How the models of texts of transformers are taken apart: before, in and after their layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tlsweep.cut import CutPoints, layered
from tlsweep.cut.layered import Layer, Run, Side
from tlsweep.heads.head import LAST

CLASS = (0,)  # the class token, which stands first


@dataclass(frozen=True)
class Family:
    """Models of one architecture.

    model: the class without a head; inside: the part of it that is the source, where not all is;
    the others: of ``tlsweep.cut.layered``. A model may lack some of what these use.
    """

    model: str
    layers: str
    stem: Run
    stem_uses: tuple[str, ...]
    layer: Layer
    layer_uses: tuple[str, ...] = ()
    end: Run | None = None
    end_uses: tuple[str, ...] = ()
    tokens: tuple[int, ...] | None = CLASS
    pooler: bool = False
    inside: str | None = None

    def build(self, config: Any) -> nn.Module:
        """The model with random weights from the global generator."""
        import transformers

        whole: nn.Module = getattr(transformers, self.model)(config, **self.options)
        return self.trunk(whole)

    @property
    def options(self) -> dict[str, Any]:
        """What the class is told beside the config."""
        return {"add_pooling_layer": False} if self.pooler else {}

    def trunk(self, whole: nn.Module) -> nn.Module:
        """What the source is of a model of that class."""
        return whole if self.inside is None else whole.get_submodule(self.inside)


def dissect(model: nn.Module, example: Tensor) -> CutPoints:
    """Cut points after the embeddings and after each layer."""
    config: Any = model.config
    family = FAMILIES[config.model_type]
    tokens = family.tokens
    if getattr(config, "classifier_pooling", None) == "mean":
        tokens = None
    return layered(
        model,
        example,
        layers=family.layers,
        stem=family.stem,
        stem_uses=_there(model, family.stem_uses),
        layer=family.layer,
        layer_uses=_there(model, family.layer_uses),
        end=family.end,
        end_uses=family.end_uses,
        runs=config.num_hidden_layers if config.model_type == "albert" else None,
        tokens=tokens,
    )


def why_not(config: Any) -> str | None:
    """Why a model is not taken, though its family is; None if it is."""
    if getattr(config, "quantization_config", None) is not None:
        return "weights are numbers of floating point; these are quantised"
    if getattr(config, "is_decoder", False) and FAMILIES[config.model_type].tokens == CLASS:
        return "an encoder's tokens see each other (is_decoder is false)"
    if getattr(config, "conv_kernel_size", 0):
        return "DeBERTa is cut between its layers; this one has a convolution beside the first"
    rope: Any = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(inner for inner in rope.values() if isinstance(inner, Mapping))]
    if any(kind.get("rope_type") in ("dynamic", "longrope") for kind in kinds):
        return "positions do not depend on the longest text of a batch (rope_type)"
    return None


def _there(model: nn.Module, paths: tuple[str, ...]) -> tuple[str, ...]:
    names = {name for name, _ in model.named_modules()}
    return tuple(path for path in paths if path in names)


# ---------------------------------------------------------------------- what tokens see
def _seen(
    z_btd: Tensor, side: Side, *, causal: bool = False, window: int | None = None
) -> Tensor | None:
    """What is added to attention: 0 where a token sees another, else the least number.

    Of [batch or 1, 1, tokens or 1, tokens]. window: how far a token sees, itself counted where it
    sees only what stands before it. None where each sees each.
    """
    mask_bt = side.get("mask")
    seen = None if mask_bt is None else mask_bt[:, None, None]
    if causal or window is not None:
        place_t = torch.arange(z_btd.shape[1], device=z_btd.device)
        back_tt = place_t[:, None] - place_t
        near_tt = back_tt >= 0 if causal else back_tt == back_tt
        if window is not None:
            near_tt = near_tt & (back_tt < window if causal else back_tt.abs() <= window)
        seen = near_tt[None, None] if seen is None else seen & near_tt
    if seen is None:
        return None
    nothing = torch.zeros((), dtype=z_btd.dtype, device=z_btd.device)
    return torch.where(seen, nothing, torch.finfo(z_btd.dtype).min)


def _places(z_btd: Tensor) -> Tensor:
    return torch.arange(z_btd.shape[1], device=z_btd.device)[None]


# ---------------------------------------------------------------------- encoders
def bert_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Of BERT and its kin: the embeddings know their places and their only segment."""
    z: Tensor = part.embeddings(ids_bt)
    return z


def electra_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Embeddings, brought to the width of the layers where theirs is another."""
    z = bert_stem(part, ids_bt, side)
    return part.embeddings_project(z) if hasattr(part, "embeddings_project") else z


def albert_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Embeddings, brought to the width of the layers."""
    z: Tensor = part.encoder.embedding_hidden_mapping_in(part.embeddings(ids_bt))
    return z


def bert_layer(one: Any, z_btd: Tensor, side: Side) -> Tensor:
    """Every token sees every other that is there."""
    z: Tensor = one(z_btd, _seen(z_btd, side))
    return z


def deberta_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Embeddings, zero where no token is."""
    z: Tensor = part.embeddings(input_ids=ids_bt, mask=side.get("mask"))
    return z


def deberta_layer(one: Any, z_btd: Tensor, side: Side, part: Any = None) -> Tensor:
    """Attention to what tokens are, and to how far they are apart, by a table of all layers."""
    place_t = _places(z_btd)[0]
    return _disentangled(one, z_btd, side, part, (place_t[:, None] - place_t)[None])


def deberta_v2_layer(one: Any, z_btd: Tensor, side: Side, part: Any = None) -> Tensor:
    """The same, with far distances in buckets, which the layer makes itself."""
    return _disentangled(one, z_btd, side, part, None)


def _disentangled(
    one: Any, z_btd: Tensor, side: Side, part: Any, apart_1tt: Tensor | None
) -> Tensor:
    mask_bt = side.get("mask")
    if mask_bt is None:
        mask_bt = torch.ones(z_btd.shape[:2], dtype=torch.bool, device=z_btd.device)
    seen_b1tt = mask_bt[:, None, None] & mask_bt[:, None, :, None]
    table = None
    if part is not None:
        rows, norm = part.encoder.rel_embeddings, getattr(part.encoder, "LayerNorm", None)
        # looked up: what counts FLOPs does not take a parameter for what a module is given
        table = rows(torch.arange(rows.num_embeddings, device=z_btd.device))
        table = table if norm is None else norm(table)
    z: Tensor = one(z_btd, seen_b1tt, relative_pos=apart_1tt, rel_embeddings=table)[0]
    return z


def modernbert_layer(one: Any, z_btd: Tensor, side: Side, part: Any) -> Tensor:
    """Of two kinds: every token sees all, or those near it."""
    near = one.attention_type == "sliding_attention"
    z: Tensor = one(
        z_btd,
        attention_mask=_seen(z_btd, side, window=one.config.sliding_window if near else None),
        position_embeddings=part.rotary_emb(z_btd, _places(z_btd), one.attention_type),
    )
    return z


def modernbert_end(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The last norm."""
    z: Tensor = part.final_norm(z_btd)
    return z


def t5_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Embeddings alone: T5 knows no places, only distances."""
    z: Tensor = part.dropout(part.embed_tokens(ids_bt))
    return z


def t5_layer(one: Any, z_btd: Tensor, side: Side, part: Any) -> Tensor:
    """Attention is pulled by distances, and the first layer's table of these serves all."""
    attention, place_t = one.layer[0].SelfAttention, _places(z_btd)[0]
    bucket_tt = attention._relative_position_bucket(
        place_t - place_t[:, None],
        bidirectional=True,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    bias_1htt = part.get_submodule(T5_TABLE)(bucket_tt).permute(2, 0, 1)[None]
    z: Tensor = one(z_btd, attention_mask=_seen(z_btd, side), position_bias=bias_1htt)[0]
    return z


def t5_end(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The last norm."""
    z: Tensor = part.dropout(part.final_layer_norm(z_btd))
    return z


# ---------------------------------------------------------------------- decoders
def gpt2_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Embeddings of tokens and of their places."""
    z: Tensor = part.drop(part.wte(ids_bt) + part.wpe(_places(ids_bt)))
    return z


def gpt2_layer(one: Any, z_btd: Tensor, side: Side) -> Tensor:
    """A token sees those before it."""
    z: Tensor = one(z_btd, attention_mask=_seen(z_btd, side, causal=True))
    return z


def gpt2_end(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The last norm."""
    z: Tensor = part.ln_f(z_btd)
    return z


def llama_stem(part: Any, ids_bt: Tensor, side: Side) -> Tensor:
    """Embeddings alone: places are told in each layer."""
    z: Tensor = part.embed_tokens(ids_bt)
    return z


def llama_layer(one: Any, z_btd: Tensor, side: Side, part: Any) -> Tensor:
    """A token sees those before it."""
    return _rotary_layer(one, z_btd, side, part, None)


def mistral_layer(one: Any, z_btd: Tensor, side: Side, part: Any) -> Tensor:
    """A token sees those shortly before it."""
    return _rotary_layer(one, z_btd, side, part, one.self_attn.config.sliding_window)


def qwen_layer(one: Any, z_btd: Tensor, side: Side, part: Any) -> Tensor:
    """Of two kinds: a token sees those before it, or those shortly before it."""
    return _rotary_layer(one, z_btd, side, part, one.self_attn.sliding_window)


def _rotary_layer(one: Any, z_btd: Tensor, side: Side, part: Any, window: int | None) -> Tensor:
    z: Tensor = one(
        z_btd,
        attention_mask=_seen(z_btd, side, causal=True, window=window),
        position_embeddings=part.rotary_emb(z_btd, _places(z_btd)),
    )
    return z


def llama_end(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The last norm."""
    z: Tensor = part.norm(z_btd)
    return z


# ---------------------------------------------------------------------- the table
T5_TABLE = "block.0.layer.0.SelfAttention.relative_attention_bias"
_BERT = Family("BertModel", "encoder.layer", bert_stem, ("embeddings",), bert_layer, pooler=True)
_DEBERTA = Family(
    "DebertaModel",
    "encoder.layer",
    deberta_stem,
    ("embeddings",),
    deberta_layer,
    ("encoder.rel_embeddings", "encoder.LayerNorm"),
)
_LLAMA = Family(
    "LlamaModel",
    "layers",
    llama_stem,
    ("embed_tokens",),
    llama_layer,
    ("rotary_emb",),
    llama_end,
    ("norm",),
    LAST,
)
_T5 = Family(
    "T5EncoderModel",
    "block",
    t5_stem,
    ("embed_tokens", "dropout"),
    t5_layer,
    (T5_TABLE,),
    t5_end,
    ("final_layer_norm", "dropout"),
    None,
    inside="encoder",
)
FAMILIES: Mapping[str, Family] = {
    "bert": _BERT,
    "roberta": replace(_BERT, model="RobertaModel"),
    "xlm-roberta": replace(_BERT, model="XLMRobertaModel"),
    "camembert": replace(_BERT, model="CamembertModel"),
    "distilbert": replace(_BERT, model="DistilBertModel", layers="transformer.layer", pooler=False),
    "electra": replace(
        _BERT,
        model="ElectraModel",
        stem=electra_stem,
        stem_uses=("embeddings", "embeddings_project"),
        pooler=False,
    ),
    "albert": replace(
        _BERT,
        model="AlbertModel",
        layers="encoder.albert_layer_groups",
        stem=albert_stem,
        stem_uses=("embeddings", "encoder.embedding_hidden_mapping_in"),
    ),
    "deberta": _DEBERTA,
    "deberta-v2": replace(_DEBERTA, model="DebertaV2Model", layer=deberta_v2_layer),
    "modernbert": Family(
        "ModernBertModel",
        "layers",
        bert_stem,
        ("embeddings",),
        modernbert_layer,
        ("rotary_emb",),
        modernbert_end,
        ("final_norm",),
    ),
    "gpt2": Family(
        "GPT2Model",
        "h",
        gpt2_stem,
        ("wte", "wpe", "drop"),
        gpt2_layer,
        (),
        gpt2_end,
        ("ln_f",),
        LAST,
    ),
    "llama": _LLAMA,
    "mistral": replace(_LLAMA, model="MistralModel", layer=mistral_layer),
    "qwen2": replace(_LLAMA, model="Qwen2Model", layer=qwen_layer),
    "qwen3": replace(_LLAMA, model="Qwen3Model", layer=qwen_layer),
    "t5": _T5,
    "mt5": replace(_T5, model="MT5EncoderModel"),
}
