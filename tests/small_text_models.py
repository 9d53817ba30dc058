"""Small models of texts that nobody trained, in folders as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tlsweep.source.base import private_rng

WORDS = ("good", "bad", "the", "a", "day", "rain", "sun")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LENGTH = 12
LAYERS = 3

# of weights so large that whatever a layer is told is seen in its numbers
_LARGE = {"initializer_range": 0.5}
_WIDTHS = {**_LARGE, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": LAYERS}
_SIZES = {**_WIDTHS, "intermediate_size": 24, "max_position_embeddings": 32, "vocab_size": 16}
_PAD = {"pad_token_id": 0}
_ROTARY = {**_SIZES, **_PAD, "num_key_value_heads": 1, "bos_token_id": 2, "eos_token_id": 3}
_DEBERTA = {**_SIZES, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
_T5 = {
    "vocab_size": 16,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_heads": 2,
    "num_layers": LAYERS,
    "initializer_factor": 5.0,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _SIZES,
    "roberta": {**_SIZES, "pad_token_id": 1},
    "xlm-roberta": {**_SIZES, "pad_token_id": 1},
    "camembert": {**_SIZES, "pad_token_id": 1},
    "distilbert": {
        "vocab_size": 16,
        **_LARGE,
        "dim": 16,
        "n_heads": 2,
        "n_layers": LAYERS,
        "hidden_dim": 24,
        "max_position_embeddings": 32,
    },
    "electra": {**_SIZES, "embedding_size": 8},
    "albert": {**_SIZES, "embedding_size": 8},
    "deberta": {**_DEBERTA, "max_relative_positions": 16},
    "deberta-v2": {
        **_DEBERTA,
        "position_buckets": 4,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "modernbert": {
        **_SIZES,
        **_PAD,
        "local_attention": 4,
        "global_attn_every_n_layers": 2,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "gpt2": {
        "vocab_size": 16,
        **_LARGE,
        "n_embd": 16,
        "n_head": 2,
        "n_layer": LAYERS,
        "n_positions": 32,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "llama": _ROTARY,
    "mistral": {**_ROTARY, "sliding_window": 3},
    "qwen2": {
        **_ROTARY,
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 1,
    },
    "qwen3": {**_ROTARY, "head_dim": 8},
    "t5": _T5,
    "mt5": _T5,
}
"""A small configuration of every family, by its name."""


def tokenizer(cls: bool = True) -> Any:
    """Words to tokens; cls: whether a class token, an end and a filling are among them."""
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    own = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    more = {"unk_token": "[UNK]"}
    if cls:
        own.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        more |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own, **more)


def write(folder: Path, family: str, seed: int = 0, kind: str = "AutoModel", **more: Any) -> Path:
    """A folder with config, weights and tokenizer of a small model. kind: the model's class."""
    config = transformers.AutoConfig.for_model(family, **{**CONFIGS[family], **more})
    with private_rng(seed):
        model = getattr(transformers, kind).from_config(config)
    model.save_pretrained(folder)
    tokenizer(cls=family not in ("gpt2", "llama")).save_pretrained(folder)
    return folder
