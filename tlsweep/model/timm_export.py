"""A taken model as timm reads it: a state dict of its own names, the head as its classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlsweep.model.card import CARD
from tlsweep.model.taken import TakenModel

CONFIG = "timm"  # the key of the file's metadata


def why_not(model: TakenModel) -> str | None:
    """Why timm cannot hold a model; None where it can."""
    card, plan = model.card, model.card.plan.plan
    if card.source.name != "timm":
        return f"it is a model of source={card.source.name}; timm builds its own"
    if plan.regrow != plan.n_blocks or plan.left_out:
        return "timm builds whole models; this one is cut: plan.keep=all and no plan.drop"
    if card.head.kind != "linear":
        return f"a model of timm ends in one linear layer; this head is train.head={card.head.kind}"
    if card.head.grid != 1 and len(card.head.shape) == 3:
        return (
            f"a model of timm pools all places into one; this head has train.pool={card.head.grid}"
        )
    return None


def state_of(model: TakenModel, into: nn.Module) -> dict[str, Tensor]:
    """The state dict of ``into``, timm's model with as many classes, with the numbers of ``model``.

    Raises ValueError where they do not make one.
    """
    classifier: Any = into
    for name in str(getattr(into, "pretrained_cfg", {}).get("classifier") or "").split("."):
        classifier = getattr(classifier, name, None)
    head: Any = model.network.head
    if not isinstance(classifier, nn.Linear) or classifier.bias is None:
        raise ValueError("timm's own classifier of this model is no linear layer with a bias")
    if classifier.in_features != head.classify.in_features:
        wants, has = classifier.in_features, head.classify.in_features
        raise ValueError(f"timm's classifier is given {wants} features, and this head has {has}")
    path = str(into.pretrained_cfg["classifier"])  # type: ignore[index]
    found = {}
    for block in model.network.blocks:
        found.update(block.state_dict())
    found[f"{path}.weight"], found[f"{path}.bias"] = _unscaled(head)
    wanted = into.state_dict()
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"{len(missing)} tensors of timm's model are not kept: {missing[0]}, ...")
    return {name: found[name].detach().contiguous().clone() for name in wanted}


def _unscaled(head: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of the linear layer that does what the head does, its scaling with it."""
    weight, bias = head.classify.weight.double(), head.classify.bias.double()
    weight = weight * head.scale.double()
    bias = bias - weight @ head.mean.double()
    if head.scaled:
        weight, bias = weight * head.spread.double()[:, None], bias * head.spread.double()
        bias = bias + head.middle.double()
    return weight.float(), bias.float()


def write(model: TakenModel, file: Path) -> nn.Module:
    """Write the file, and read it as timm does. Raises ValueError as ``state_of``."""
    import timm
    from safetensors.torch import save_file

    from tlsweep.source.timm_zoo import told

    name, options = _named(model), told(**_options(model))
    n = len(model.output_names)
    into = timm.create_model(name, pretrained=False, num_classes=n, **options)
    image = model.card.image.image
    config = {
        "architecture": name,
        "num_classes": n,
        "label_names": list(model.output_names),
        "input_size": [image.channels, image.size, image.size],
        "mean": list(image.mean),
        "std": list(image.std),
        "interpolation": image.interpolation,
        "crop_pct": image.size / image.resize,
        "crop_mode": "squash" if image.squash else "center",
    }
    text = json.dumps(model.card.model_dump(mode="json"))
    save_file(state_of(model, into), file, {CONFIG: json.dumps(config), CARD: text})
    again: nn.Module = timm.create_model(name, num_classes=n, checkpoint_path=str(file), **options)
    return again.eval()


def answered(read: nn.Module, x: Tensor) -> Tensor:
    """What timm's model answers."""
    with torch.no_grad():
        found: Tensor = read(x)
    return found


def _named(model: TakenModel) -> str:
    return str(model.card.source.options["model"])


def _options(model: TakenModel) -> dict[str, Any]:
    options = model.card.source.options
    return {"model": options["model"], "image_size": options.get("image_size")}
