"""The classifiers that models of transformers have of their own, above their last layer."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tlsweep.cut import Classified
from tlsweep.cut.layered import Run, Side
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from tlsweep.terms import InputSpec

_NAMELESS = re.compile(r"LABEL_\d+")  # what transformers writes where nobody says a name


@dataclass(frozen=True)
class Classes:
    """What a classifier tells apart; why_none: where that is nothing, or not known."""

    names: tuple[str, ...] = ()
    why_none: str = ""


@dataclass(frozen=True)
class Own:
    """The classifier of one architecture.

    kind: the class of transformers that has it; run: what it does with its parts, and with what the
    last layer makes; uses: its parts, of that class or of its trunk.
    """

    kind: str
    run: Run
    uses: tuple[str, ...] = ("classifier",)

    def build(self, config: Any) -> Classified:
        """The model with random weights from the global generator."""
        import transformers

        return self.parted(getattr(transformers, self.kind)(copy.deepcopy(config)))

    def parted(self, whole: Any) -> Classified:
        """The model of that class, as its trunk and the parts of its classifier."""
        trunk: Any = whole.base_model
        own: Any = nn.Module()
        for name in self.uses:
            own.add_module(name, getattr(whole if hasattr(whole, name) else trunk, name))
        if "pooler" in self.uses and hasattr(trunk, "pooler"):
            trunk.pooler = None  # the classifier alone has it
        own.registers = getattr(whole.config, "num_register_tokens", 0)
        return Classified(trunk, own, self.run)

    def lost(self, whole: Any, info: dict[str, Any]) -> Classes | None:
        """That a file of weights lacks some of the classifier's, None where it does not.

        info: what transformers says of its loading; what is lacked is taken out of it.
        """
        theirs = tuple(f"{name}." for name in self.uses if hasattr(whole, name))
        theirs += tuple(f"{whole.base_model_prefix}.{name}." for name in self.uses)
        lacking = [name for name in info["missing_keys"] if name.startswith(theirs)]
        unlike = [one for one in info["mismatched_keys"] if one[0].startswith(theirs)]
        info["missing_keys"] = set(info["missing_keys"]) - set(lacking)
        info["mismatched_keys"] = [one for one in info["mismatched_keys"] if one not in unlike]
        if not lacking and not unlike:
            return None
        return Classes(why_none="its file of weights does not hold the classifier of config.json")


def classes_of(config: Any, spec: InputSpec) -> Classes:
    """The classes of a model with this config and this preprocessing."""
    if (own := OWN.get(config.model_type)) is None:
        return Classes(why_none=_OTHERS[config.model_type])
    kinds = getattr(config, "architectures", None) or ["no architecture"]
    if own.kind not in kinds:
        return Classes(why_none=f"its config.json is of {kinds[0]}, and not of {own.kind}")
    if config.num_labels < 2 or config.problem_type == "regression":
        return Classes(why_none="its classifier gives numbers")
    names = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    if all(_NAMELESS.fullmatch(name) for name in names):
        return Classes(why_none=f"in its config.json they are {names[0]} to {names[-1]}")
    if own.run is scored and _ends_in_filling(config, spec):
        return Classes(why_none="it reads the last token before the filling, which ends all texts")
    return Classes(names)


def _ends_in_filling(config: Any, spec: InputSpec) -> bool:
    """Whether the last token of a text is one that transformers takes for filling."""
    if isinstance(spec, ImageSpec) or spec.encode is None:
        return False
    ids_bt, mask_bt = spec.encode(["a"])
    ids_t = ids_bt[0][mask_bt[0]].tolist()
    return bool(ids_t) and ids_t[-1] == config.pad_token_id


# ---------------------------------------------------------------------- of texts
def of_pooler(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """Of BERT and DeBERTa: a pooler, which takes the class token."""
    z: Tensor = part.classifier(part.dropout(part.pooler(z_btd)))
    return z


def of_albert(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The same, with what BERT's pooler does written out."""
    pooled_bd = part.pooler_activation(part.pooler(z_btd[:, 0]))
    z: Tensor = part.classifier(part.dropout(pooled_bd))
    return z


def of_tokens(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """Of RoBERTa and ELECTRA: a classifier that takes the class token itself."""
    z: Tensor = part.classifier(z_btd)
    return z


def of_distilbert(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """A layer more, on the class token."""
    z: Tensor = part.classifier(part.dropout(functional.relu(part.pre_classifier(z_btd[:, 0]))))
    return z


def of_modernbert(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The class token, or the mean of all that are there, as the config says."""
    if part.head.config.classifier_pooling == "cls":
        pooled_bd = z_btd[:, 0]
    else:
        mask_bt = side.get("mask")
        if mask_bt is None:
            mask_bt = torch.ones(z_btd.shape[:2], dtype=torch.bool, device=z_btd.device)
        there_bt = mask_bt.long()
        pooled_bd = (z_btd * there_bt[..., None]).sum(1) / there_bt.sum(1, keepdim=True)
    z: Tensor = part.classifier(part.drop(part.head(pooled_bd)))
    return z


def scored(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """Of decoders: the last token that is there. All are scored, as transformers does it."""
    score_btc: Tensor = part.score(z_btd)
    mask_bt = side.get("mask")
    if mask_bt is None:
        return score_btc[:, -1]
    place_t = torch.arange(mask_bt.shape[1], device=mask_bt.device)
    # shape[0] and not len(), which an exported program would take for a number that stays
    rows_b = torch.arange(z_btd.shape[0], device=z_btd.device)
    return score_btc[rows_b, (mask_bt * place_t).amax(1)]


# ---------------------------------------------------------------------- of images
def of_class_token(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """Of ViT and DeiT."""
    z: Tensor = part.classifier(z_btd[:, 0])
    return z


def of_dinov2(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The class token, and the mean of the patches, without the registers between them."""
    patches_bd = z_btd[:, 1 + part.registers :].mean(1)
    z: Tensor = part.classifier(torch.cat([z_btd[:, 0], patches_bd], dim=1))
    return z


def of_beit(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """What its pooler makes: of the patches, or of the class token."""
    z: Tensor = part.classifier(part.pooler(z_btd))
    return z


def of_swin(part: Any, z_btd: Tensor, side: Side) -> Tensor:
    """The mean of all tokens."""
    z: Tensor = part.classifier(part.pooler(z_btd.transpose(1, 2)).flatten(1))
    return z


def of_convnext(part: Any, z_bchw: Tensor, side: Side) -> Tensor:
    """The mean of the maps, in one scale."""
    z: Tensor = part.classifier(part.layernorm(z_bchw.mean([-2, -1])))
    return z


# ---------------------------------------------------------------------- the tables
_BERT = ("pooler", "dropout", "classifier")
_SWIN = ("pooler", "classifier")
OWN: Mapping[str, Own] = {
    "bert": Own("BertForSequenceClassification", of_pooler, _BERT),
    "roberta": Own("RobertaForSequenceClassification", of_tokens),
    "xlm-roberta": Own("XLMRobertaForSequenceClassification", of_tokens),
    "camembert": Own("CamembertForSequenceClassification", of_tokens),
    "distilbert": Own(
        "DistilBertForSequenceClassification",
        of_distilbert,
        ("pre_classifier", "dropout", "classifier"),
    ),
    "electra": Own("ElectraForSequenceClassification", of_tokens),
    "albert": Own(
        "AlbertForSequenceClassification", of_albert, ("pooler", "pooler_activation", *_BERT[1:])
    ),
    "deberta": Own("DebertaForSequenceClassification", of_pooler, _BERT),
    "deberta-v2": Own("DebertaV2ForSequenceClassification", of_pooler, _BERT),
    "modernbert": Own(
        "ModernBertForSequenceClassification", of_modernbert, ("head", "drop", "classifier")
    ),
    "gpt2": Own("GPT2ForSequenceClassification", scored, ("score",)),
    "llama": Own("LlamaForSequenceClassification", scored, ("score",)),
    "mistral": Own("MistralForSequenceClassification", scored, ("score",)),
    "qwen2": Own("Qwen2ForSequenceClassification", scored, ("score",)),
    "qwen3": Own("Qwen3ForSequenceClassification", scored, ("score",)),
    "vit": Own("ViTForImageClassification", of_class_token),
    "deit": Own("DeiTForImageClassification", of_class_token),
    "dinov2": Own("Dinov2ForImageClassification", of_dinov2),
    "dinov2_with_registers": Own("Dinov2WithRegistersForImageClassification", of_dinov2),
    "beit": Own("BeitForImageClassification", of_beit, _SWIN),
    "swin": Own("SwinForImageClassification", of_swin, _SWIN),
    "convnext": Own("ConvNextForImageClassification", of_convnext, ("layernorm", "classifier")),
}
_T5 = "a classifier of T5 reads its decoder, which is no part of the source"
_SIGLIP = "a classifier of SigLIP stands beside a model of texts, which is no part of the source"
_OTHERS = {"t5": _T5, "mt5": _T5, "siglip": _SIGLIP, "siglip_vision_model": _SIGLIP}
