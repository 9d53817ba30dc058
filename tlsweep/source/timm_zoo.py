"""The source "timm": any classification model of timm, with its own preprocessing."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.section import LocalDir, Place, SourceSettings, Whole
from tlsweep.source.base import Progress, Source, private_rng
from tlsweep.source.checkpoint import check_file
from tlsweep.source.hub import quiet_hub
from tlsweep.source.trunk import read_trunk
from tlsweep.terms import ImageSpec, Interpolation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.cut import CutPoints, Level

_HUB, _FOLDER = "hf-hub:", "local-dir:"  # as timm spells them
_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class Settings(SourceSettings):
    """conf/source/timm.yaml."""

    name: Literal["timm"]
    model: LocalDir
    checkpoint: Place | None
    part: str | None
    image_size: Annotated[Whole, Field(ge=8, le=4096)] | None

    @property
    def title(self) -> str:
        """The source's name in file names and records: the model's."""
        return self.model.rpartition(":")[2].rpartition("/")[2]


class TimmSource(Source):
    """One model of timm.

    n_classes: what its own classifier tells apart, 0 without one; class_names: their names, as far
    as timm knows them.
    """

    def __init__(
        self,
        model: str,
        spec: ImageSpec,
        trained_on: str,
        n_classes: int,
        options: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        licence: str,
        said: tuple[str, ...],
        class_names: tuple[str, ...] = (),
    ) -> None:
        self.n_classes, self.licence, self.said = n_classes, licence, said
        self.class_names = class_names
        self._model, self._options = model, dict(options)
        # a folder may be moved
        known = _label(model) if model.startswith(_FOLDER) else model
        super().__init__(known, spec, trained_on, f"timm {known} {n_classes}", weights)

    def _build(self) -> nn.Module:
        return build(self._model, self.n_classes, self._options)


def build(model: str, n_classes: int | None, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A model of timm with random weights from the global generator.

    n_classes: None for what its published weights have; options: what else its class is told.
    """
    import timm

    given: dict[str, Any] = {} if n_classes is None else {"num_classes": n_classes}
    if model.startswith(_HUB):  # what was downloaded once
        model = f"{_FOLDER}{_config_file(model).parent}"
    built: nn.Module = timm.create_model(model, pretrained=False, **given, **(options or {}))
    return built


def check(
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Raise one Refusal with every fault of these options; downloads and reads no weights."""
    _refuse_unknown(model)
    faults = [] if checkpoint is not None else _weights_faults(model)
    if checkpoint is not None:
        try:
            check_file(checkpoint)
        except Refusal as refusal:
            faults += refusal.faults
    faults += _size_faults(model, image_size)
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called with its module)
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> TimmSource:
    """A model of timm with its published weights or those of a checkpoint.

    model: a name that timm lists, with or without the tag of its weights (``resnet18.a1_in1k``),
    ``hf-hub:OWNER/NAME``, or ``local-dir:FOLDER`` with what the hub has of it; checkpoint: a file
    of the same architecture, with any number of classes or none; part: which set of weights of the
    file, where it holds several; image_size: side of the square input in pixels, default the
    weights' own. Raises Refusal for every fault of these, for a download that is not possible, and
    for a file that does not fit.
    """
    check(model=model, checkpoint=checkpoint, part=part, image_size=image_size)
    options = told(model, image_size)
    said: tuple[str, ...] = ()
    own = None if checkpoint is not None else _weights_in(model)
    if own is not None:
        n_classes, weights, said = _read(model, own, options, part)
        trained_on = f"weights in the folder {_label(model)}"
    elif checkpoint is None:
        pretrained = _published(model, options, progress)
        n_classes, weights = _classes(pretrained), dict(pretrained.state_dict())
        trained_on = f"published weights {_config(model)['tag']}"
    else:
        n_classes, weights, said = _read(model, Path(checkpoint), options, part)
        trained_on = f"checkpoint {Path(checkpoint).name}"
        said = (*said, f"images are prepared as for timm's {_config(model)['tag']}")
    licence = str(_config(model).get("license") or "unknown")
    spec = spec_of(model, image_size)
    # a file may be of other classes
    names = class_names(model, n_classes) if checkpoint is None else ()
    return TimmSource(model, spec, trained_on, n_classes, options, weights, licence, said, names)


def architecture(
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    image_size: int | None = None,
) -> tuple[nn.Module, Tensor]:
    """The model with random weights, and zeros [2, C, size, size] to feed it.

    Raises Refusal for an unknown model or a size that it does not take.
    """
    import torch

    _refuse_unknown(model)
    if faults := _size_faults(model, image_size):
        raise Refusal(*faults)
    spec = spec_of(model, image_size)
    built = build(model, None, told(model, image_size))
    return built, torch.zeros(2, spec.channels, spec.size, spec.size)


def dissect(model: nn.Module, example: Tensor, level: Level = "block") -> CutPoints:
    """The cut points of a model, which knows whether it has a classifier."""
    from tlsweep.cut import cut_points

    return cut_points(model, example, level=level, classifier=_classes(model) > 0)


def spec_of(model: str, image_size: int | None = None) -> ImageSpec:
    """The preprocessing of a model's weights, equal to timm's transforms for evaluation.

    image_size: another one, with the resize scaled along.
    """
    from timm.data.config import resolve_data_config

    resolve: Any = resolve_data_config
    found = resolve({}, pretrained_cfg=_config(model), verbose=False)
    channels, native, _ = found["input_size"]
    size = native if image_size is None else image_size
    interpolation = cast(Interpolation, found["interpolation"])
    return ImageSpec(
        channels=channels,
        size=size,
        mean=tuple(found["mean"][:channels]),
        std=tuple(found["std"][:channels]),
        resize=max(size, math.floor(size / found["crop_pct"])),
        interpolation=interpolation,
        squash=found["crop_mode"] == "squash",
    )


def spec(
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    image_size: int | None = None,
) -> ImageSpec:
    """The preprocessing that a model's images are given."""
    return spec_of(model, image_size)


def carry(
    folder: Path,
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    image_size: int | None = None,
) -> dict[str, str]:
    """The config of a model that timm does not list itself, into ``folder``."""
    if not model.startswith((_HUB, _FOLDER)):
        return {}
    shutil.copyfile(_config_file(model), folder / _CONFIG)
    return {"model": f"{_FOLDER}."}


# ---------------------------------------------------------------------- what timm knows
def _refuse_unknown(model: str) -> None:
    try:
        import timm
    except ImportError as error:
        rule = "models of timm need the package timm"
        raise Refusal(Fault("source=timm", rule, "pip install 'tlsweep[timm]'")) from error
    if model.startswith((_HUB, _FOLDER)):
        _config(model)
        return
    if not timm.is_model(model):
        rule = (
            "a model of timm is one that timm.list_models() names, hf-hub:OWNER/NAME, or"
            " local-dir:FOLDER"
        )
        near = nearest(model, timm.list_models()) or "resnet18"
        raise Refusal(Fault(f"source.model={model}", rule, f"source.model={near}"))
    name, _, tag = model.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        rule = f"tags of {name}'s published weights: {', '.join(tags) or 'none'}"
        mend = f"source.model={name}" + (f".{nearest(tag, tags) or tags[0]}" if tags else "")
        raise Refusal(Fault(f"source.model={model}", rule, mend))


def _weights_faults(model: str) -> list[Fault]:
    """That a model without a checkpoint has no weights, as far as that is known here."""
    import timm

    if model.startswith(_FOLDER) and _weights_in(model) is None:
        rule = f"a folder of a model holds its weights: {' or '.join(_WEIGHTS)}"
        mend = "download them into it, or source.checkpoint=FILE"
        return [Fault(f"source.model={model}", rule, mend)]
    if not model.startswith((_HUB, _FOLDER)) and not timm.is_model_pretrained(model):
        rule = f"timm publishes no weights of {model}: a source needs some"
        return [Fault(f"source.model={model}", rule, "source.checkpoint=FILE")]
    return []


def _label(model: str) -> str:
    """What a model is called; a folder by its own name."""
    return Path(model.removeprefix(_FOLDER)).name if model.startswith(_FOLDER) else model


def _weights_in(model: str) -> Path | None:
    """The weights that lie in a model's folder; None without any, or without a folder."""
    if not model.startswith(_FOLDER):
        return None
    there = (Path(model.removeprefix(_FOLDER)) / name for name in _WEIGHTS)
    return next((file for file in there if file.is_file()), None)


@lru_cache(maxsize=8)  # the hub is asked once
def _config_file(model: str) -> Path:
    """The config of a model in a folder or on the hub. Raises Refusal where it cannot be had."""
    from huggingface_hub import hf_hub_download

    if model.startswith(_FOLDER):
        return Path(model.removeprefix(_FOLDER)) / _CONFIG
    name, _, revision = model.removeprefix(_HUB).partition("@")
    try:
        with quiet_hub():
            return Path(hf_hub_download(name, _CONFIG, revision=revision or None))
    except Exception as error:  # the hub's and the network's errors are of many kinds
        lines = str(error).strip().splitlines()
        value = f"source.model={model} ({lines[0][:160] if lines else type(error).__name__})"
        rule = "a model is in the hub's cache, or can be downloaded"
        where = f"https://huggingface.co/{name}"
        mend = (
            f"download {_CONFIG} and {_WEIGHTS[0]} from {where} into a folder, and"
            " source.model=local-dir:FOLDER"
        )
        raise Refusal(Fault(value, rule, mend)) from error


def _written(model: str) -> dict[str, Any]:
    """What the config of a folder or of the hub says. Raises Refusal for one of no model."""
    import timm
    from timm.models import _hub

    file = _config_file(model)
    try:
        config, name, _ = _hub.load_model_config_from_path(file.parent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        rule = f"a model of timm has a {_CONFIG}, with its architecture"
        value = f"source.model={model} ({type(error).__name__}: {error})"
        raise Refusal(Fault(value, rule, "the folder that timm's save_for_hf writes")) from error
    if not timm.is_model(name):
        rule = f"its architecture is one that timm.list_models() names, not {name}"
        mend = "a version of timm that has it (pip install -U timm)"
        raise Refusal(Fault(f"source.model={model}", rule, mend))
    return {**config, "tag": name}


def _config(model: str) -> dict[str, Any]:
    """What timm knows of a model's weights; of one in a folder or on the hub, what lies there."""
    import timm

    if model.startswith((_HUB, _FOLDER)):
        return _written(model)
    known: Any = timm.get_pretrained_cfg(model)
    tag = f"{model.partition('.')[0]}.{known.tag}" if known.tag else model
    return {**known.to_dict(), "tag": tag}


def told(model: str, image_size: int | None) -> dict[str, Any]:
    """What a model's class is told: the size, where its weights are laid out for one."""
    fixed = image_size is not None and bool(_config(model).get("fixed_input_size"))
    return {"img_size": image_size} if fixed else {}


def _size_faults(model: str, image_size: int | None) -> list[Fault]:
    """Whether the architecture takes images of that size, found by a run without numbers."""
    import torch

    if image_size is None:
        return []
    spec = spec_of(model)
    try:
        with private_rng(0), torch.device("meta"), torch.no_grad():
            shell = build(model, None, told(model, image_size)).eval()
            shell(torch.zeros(2, spec.channels, image_size, image_size))
    except Exception as error:  # each architecture refuses a size in its own way
        rule = f"{model} takes images of that size ({type(error).__name__}: {error})"
        mend = f"source.image_size={spec.size}, the size that the weights were trained at"
        return [Fault(f"source.image_size={image_size}", rule, mend)]
    return []


def class_names(model: str, n_classes: int) -> tuple[str, ...]:
    """What the classes of a model's published weights are called; none where timm does not say."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    names = _config(model).get("label_names")
    if not names and (subset := infer_imagenet_subset({"num_classes": n_classes})):
        info = ImageNetInfo(subset)
        # the first of its names, as torchvision calls it
        names = [info.index_to_description(i).split(",")[0] for i in range(n_classes)]
    return tuple(map(str, names)) if names and len(names) == n_classes else ()


def _classes(model: nn.Module) -> int:
    return int(getattr(model, "num_classes", 0) or 0)


def _published(model: str, options: Mapping[str, Any], progress: Progress | None) -> nn.Module:
    """The model with its published weights: from timm's cache, or downloaded."""
    import timm

    if progress is not None:
        progress(0, 1, f"weights of {model}")
    try:
        with private_rng(0), quiet_hub():
            built: nn.Module = timm.create_model(model, pretrained=True, **options)
    except Exception as error:  # the hub's and the network's errors are of many kinds
        hub = _config(model).get("hf_hub_id") or _config(model).get("url") or model
        lines = str(error).strip().splitlines()
        raise Refusal(
            Fault(
                f"source.model={model} (no weights: {lines[0][:160] if lines else error})",
                f"its weights are in the hub's cache, or can be downloaded from {hub}",
                "download model.safetensors from there, and source.checkpoint=FILE",
            )
        ) from error
    if progress is not None:
        progress(1, 1, f"weights of {model}")
    return built


def _read(
    model: str, path: Path, options: Mapping[str, Any], part: str | None
) -> tuple[int, dict[str, Tensor], tuple[str, ...]]:
    """The number of classes of a file (0 without a classifier), its weights, what was left out."""
    import torch

    def shell(n: int) -> dict[str, Tensor]:
        with private_rng(0), torch.device("meta"):
            return build(model, n, options).state_dict()

    def built(n: int) -> dict[str, Tensor]:
        with private_rng(0):
            return build(model, n, options).state_dict()

    n_classes, weights, found = read_trunk(path, f"timm's {model}", shell, built, part=part)
    return n_classes, weights, found.said(path)
