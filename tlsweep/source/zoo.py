"""The source "torchvision": its classification models, with published weights or a checkpoint."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.section import Place, SourceSettings, Whole
from tlsweep.source.base import Progress, Source, private_rng
from tlsweep.source.checkpoint import check_file
from tlsweep.source.trunk import Found, read_trunk
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchvision.models import WeightsEnum

# Auxiliary heads run in train mode only and would be a second way out of the model; without
# transform_input the two would not see the range that their published weights were trained on.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": True}
_BUILD_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "googlenet": _INCEPTION,
    "inception_v3": _INCEPTION,
}
_AUXILIARY = re.compile(r"^(aux1|aux2|AuxLogits)\.")
_PUBLISHED_HASH = re.compile(r"-([a-f0-9]{8,})\.")


class Settings(SourceSettings):
    """conf/source/torchvision.yaml."""

    name: Literal["torchvision"]
    model: str
    weights: str | None
    checkpoint: Place | None
    part: str | None
    preset: str | None
    image_size: Annotated[Whole, Field(ge=8, le=4096)] | None

    @property
    def title(self) -> str:
        """The source's name in file names and records: the model's."""
        return self.model


class ZooSource(Source):
    """One torchvision classification model.

    n_classes: what its own classifier tells apart; class_names: their names, as far as known.
    """

    def __init__(
        self,
        model: str,
        image: ImageSpec,
        trained_on: str,
        n_classes: int,
        grid: int,
        weights: Mapping[str, Tensor],
        licence: str = "unknown",
        said: tuple[str, ...] = (),
        class_names: tuple[str, ...] = (),
    ) -> None:
        self.n_classes, self.class_names = n_classes, class_names
        self.licence, self.said = licence, said
        self._grid = grid
        super().__init__(model, image, trained_on, f"torchvision {model} {n_classes}", weights)

    def _build(self) -> nn.Module:
        return build(self.name, self.n_classes, self._grid)


def build(model: str, n_classes: int, grid: int) -> nn.Module:
    """Build torchvision's ``model`` with random weights from the global generator.

    grid: the image size in pixels that vision transformers lay out their position weights for;
    other models take no notice of it.
    """
    from torchvision.models import get_model

    options = dict(_BUILD_OPTIONS.get(model, {}))
    if model.startswith("vit_"):
        options["image_size"] = grid
    built: nn.Module = get_model(model, weights=None, num_classes=n_classes, **options)
    return built


def check(
    *,
    model: str,
    weights: str | None = None,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    preset: str | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Raise one Refusal with every fault of these options; downloads and reads no weights."""
    faults: list[Fault] = []
    known = _model_names()
    if model not in known:
        faults.append(unknown_name("torchvision model", "source.model", model, known))
    else:
        bad_names = _weights_faults(model, weights=weights, preset=preset)
        faults += bad_names
        if not bad_names:
            faults += _size_faults(model, preset or weights, checkpoint, image_size)
    if weights is None and checkpoint is None:
        faults.append(
            Fault(
                f"source.model={model} without weights",
                "a source needs weights: source.weights=DEFAULT or source.checkpoint=FILE",
                "source.weights=DEFAULT",
            )
        )
    if checkpoint is not None:
        try:
            check_file(checkpoint)
        except Refusal as refusal:
            faults += refusal.faults
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as zoo.open)
    *,
    model: str,
    weights: str | None = None,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    preset: str | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> ZooSource:
    """Build torchvision's ``model`` with its published weights or those of a checkpoint.

    weights: "DEFAULT" or another name that torchvision gives them; checkpoint: a file of the same
    architecture, with any number of classes, used instead of the published weights where both are
    given, which then say what its classes are called, if it has as many; part: which set of weights
    of the file, where it holds several; preset: the published weights whose preprocessing is taken,
    default that of ``weights``; image_size: side of the square input in pixels, default the
    preset's own. Raises Refusal for every fault of these, for a download that is not possible, and
    for a file that does not fit.
    """
    check(model=model, weights=weights, checkpoint=checkpoint, preset=preset, image_size=image_size)
    published, prepared = _published(model, weights), preset or weights
    image = spec_of(model, prepared, image_size)
    if checkpoint is not None:
        path = Path(checkpoint)
        trained_on, licence = f"checkpoint {path.name}", "unknown"
    else:
        path = _fetch(published, model, progress)
        trained_on = f"ImageNet-1k (published weights {weights})"
        licence = str(published.meta.get("license", "unknown"))  # torchvision states few
    grid = _grid(model, prepared, checkpoint, image_size)
    n_classes, fitted, said = _read_and_fit(model, path, grid, part)
    if preset is None and (checkpoint is not None or image_size is not None):
        said = (*said, _assumed(model, prepared, image))
    # of a file only where it is said to be of published weights
    names = () if weights is None else tuple(published.meta["categories"])
    names = names if len(names) == n_classes else ()
    return ZooSource(model, image, trained_on, n_classes, grid, fitted, licence, said, names)


def architecture(
    *,
    model: str,
    weights: str | None = None,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    preset: str | None = None,
    image_size: int | None = None,
) -> tuple[nn.Module, Tensor]:
    """The model with random weights, and zeros [2, 3, size, size] to feed it.

    Raises Refusal for an unknown model or a size that it does not take.
    """
    import torch

    known = _model_names()
    if model not in known:
        raise Refusal(unknown_name("torchvision model", "source.model", model, known))
    faults = _weights_faults(model, weights=weights, preset=preset)
    faults = faults or _size_faults(model, preset or weights, checkpoint, image_size)
    if faults:
        raise Refusal(*faults)
    prepared = preset or weights
    size = spec_of(model, prepared, image_size).size
    built = build(model, 1000, _grid(model, prepared, checkpoint, image_size))
    return built, torch.zeros(2, 3, size, size)


def spec_of(model: str, weights: str | None = None, image_size: int | None = None) -> ImageSpec:
    """The preprocessing of published weights, equal to torchvision's ``weights.transforms()``.

    weights: their name, None for DEFAULT; image_size: another one, with the resize scaled along.

    Example: ``spec_of("resnet18").resize`` is 256.
    """
    preset = _published(model, weights).transforms
    assert isinstance(preset, partial), "torchvision gives presets as partials"
    transforms = preset()
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    size = crop if image_size is None else image_size
    return ImageSpec(
        channels=3,
        size=size,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        resize=max(size, round(resize * size / crop)),
        interpolation=transforms.interpolation.value,
    )


def spec(
    *,
    model: str,
    weights: str | None = None,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    preset: str | None = None,
    image_size: int | None = None,
) -> ImageSpec:
    """The preprocessing that a model's images are given."""
    return spec_of(model, preset or weights, image_size)


def _model_names() -> list[str]:
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _published(model: str, weights: str | None) -> WeightsEnum:
    from torchvision.models import get_model_weights

    published: WeightsEnum = get_model_weights(model)[weights or "DEFAULT"]
    return published


def _weights_names(model: str) -> list[str]:
    from torchvision.models import get_model_weights

    return ["DEFAULT", *(w.name for w in get_model_weights(model) if w.name != "DEFAULT")]


def _weights_faults(model: str, **given: str | None) -> list[Fault]:
    """Names of published weights that ``model`` has not. given: what was written, by its key."""
    known, what = _weights_names(model), f"name of {model}'s published weights"
    return [
        unknown_name(what, f"source.{key}", name, known)
        for key, name in given.items()
        if name is not None and name not in known
    ]


def _assumed(model: str, prepared: str | None, image: ImageSpec) -> str:
    """Which preprocessing was assumed for weights that do not say it."""
    name = _published(model, prepared).name
    others = [other for other in _weights_names(model)[1:] if other != name]
    mend = f"; another: source.preset={' or '.join(others)}" if others else ""
    return (
        f"images are prepared as for {model}'s {name}: the shorter side resized to"
        f" {image.resize} ({image.interpolation}), the centre {image.size} x {image.size}{mend}"
    )


def _grid(
    model: str, prepared: str | None, checkpoint: str | Path | None, image_size: int | None
) -> int:
    """The size that position weights are laid out for: published ones are what they are."""
    native = spec_of(model, prepared).size
    return image_size if checkpoint is not None and image_size is not None else native


def _size_faults(
    model: str, weights: str | None, checkpoint: str | Path | None, image_size: int | None
) -> list[Fault]:
    """Whether the architecture takes images of that size, found by a run without numbers."""
    import torch

    if image_size is None:
        return []
    native = spec_of(model, weights).size
    mend = f"source.image_size={native}, the size that the weights were trained at"
    if image_size < 1:
        return [Fault(f"source.image_size={image_size}", "a size is at least 1 pixel", mend)]
    try:
        shell = _shell(model, 1000, _grid(model, weights, checkpoint, image_size)).eval()
        with torch.no_grad():
            shell(torch.zeros(2, 3, image_size, image_size, device="meta"))
    except Exception as error:  # each architecture refuses a size in its own way
        rule = f"{model} takes images of that size ({type(error).__name__}: {error})"
        return [Fault(f"source.image_size={image_size}", rule, mend)]
    return []


def _shell(model: str, n_classes: int, grid: int) -> nn.Module:
    """The model without numbers in it: shapes only, and for most models quick to build."""
    import torch

    with private_rng(0):
        try:
            with torch.device("meta"):
                return build(model, n_classes, grid)
        except NotImplementedError:
            # RegNet computes its widths with tensors, and those need numbers.
            return build(model, n_classes, grid).to("meta")


def _fetch(published: WeightsEnum, model: str, progress: Progress | None) -> Path:
    """The file of published weights, downloaded into torch's hub folder if it is not there."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    name = Path(urllib.parse.urlparse(published.url).path).name
    path = folder / name
    if path.is_file():
        return path
    if progress is not None:
        progress(0, 1, f"downloading {name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        expected = _PUBLISHED_HASH.search(name)
        torch.hub.download_url_to_file(
            published.url, str(path), expected.group(1) if expected else None, progress=False
        )
    except (OSError, RuntimeError) as error:  # no network, no rights; a hash that does not match
        raise Refusal(
            Fault(
                f"source.model={model} source.weights={published.name} (no download: {error})",
                f"published weights are in {path}, or can be downloaded from {published.url}",
                f"put {name} into {folder}, or source.checkpoint=FILE",
            )
        ) from error
    if progress is not None:
        progress(1, 1, f"downloaded {name}")
    return path


def _read_and_fit(
    model: str, path: Path, grid: int, part: str | None
) -> tuple[int, dict[str, Tensor], tuple[str, ...]]:
    """The number of classes of a file, its weights, and what was left out of it."""

    def shell(n: int) -> dict[str, Tensor]:
        return _shell(model, n, grid).state_dict()

    def built(n: int) -> dict[str, Tensor]:
        with private_rng(0):
            return build(model, n, grid).state_dict()

    called = f"torchvision's {model}"
    n_classes, fitted, found = read_trunk(path, called, shell, built, part=part, without=1000)
    if model in _BUILD_OPTIONS:  # their auxiliary heads are expected to be left out
        found = Found(found.weights, tuple(n for n in found.left_out if not _AUXILIARY.match(n)))
    return n_classes, fitted, found.said(path)
