"""The source "module": a network that code of the user's own builds, with weights from a file.

The code is named by the user, on each command line that needs it: a config and a recorded run name
none. What was named is kept in the environment, where the processes of a sweep find it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tlsweep.errors import Fault, Refusal
from tlsweep.section import Number, Place, Positive, SourceSettings, Whole
from tlsweep.source.base import Progress, Source, private_rng
from tlsweep.source.checkpoint import check_file
from tlsweep.source.trunk import find_weights, fit_weights
from tlsweep.terms import NAMED_CODE, ImageSpec, Interpolation

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Channel = Annotated[Number, Field(gt=0)]


class Settings(SourceSettings):
    """conf/source/module.yaml."""

    name: Literal["module"]
    build: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    checkpoint: Place | None
    part: str | None
    image_size: Annotated[Whole, Field(ge=8, le=4096)]
    channels: Literal[1, 3]
    mean: tuple[Number, ...] | None
    std: tuple[Channel, ...] | None
    resize: Positive | None
    interpolation: Interpolation

    @property
    def title(self) -> str:
        """The source's name in file names and records: that of the function."""
        return self.build.rpartition(":")[2]


class ModuleSource(Source):
    """A network that a function builds. build: ``package.module:function``."""

    def __init__(
        self,
        build: str,
        spec: ImageSpec,
        trained_on: str,
        weights: dict[str, Tensor],
        said: tuple[str, ...],
    ) -> None:
        self.build, self.said = build, said
        super().__init__(build.rpartition(":")[2], spec, trained_on, f"module {build}", weights)

    def _build(self) -> nn.Module:
        return _built(self.build)


def check(
    *,
    build: str,
    image_size: int,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    channels: int = 3,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: int | None = None,
    interpolation: Interpolation = "bilinear",
    progress: Progress | None = None,
) -> None:
    """Raise one Refusal with every fault of these options; builds nothing, reads no weights."""
    faults: list[Fault] = []
    if checkpoint is None:
        rule = "a source needs weights"
        mend = "source.checkpoint=FILE, or python -m tlsweep pretrain, which trains some"
        faults.append(Fault(f"source.build={build} without weights", rule, mend))
    else:
        faults += _faults(lambda: check_file(checkpoint))
    faults += _faults(lambda: _function(build))
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            rule = f"{key} has a number for each of {channels} channels"
            mend = f"source.{key}=[{','.join(['0.5'] * channels)}]"
            faults.append(Fault(f"source.{key}={list(values)}", rule, mend))
    if resize is not None and resize < image_size:
        rule = "an image is resized to the size of its centre crop, or to more"
        faults.append(Fault(f"source.resize={resize}", rule, f"source.resize={image_size}"))
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called with its module)
    *,
    build: str,
    image_size: int,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    channels: int = 3,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: int | None = None,
    interpolation: Interpolation = "bilinear",
    progress: Progress | None = None,
) -> ModuleSource:
    """The network that ``build`` makes, with the weights of ``checkpoint``.

    build: ``package.module:function``, installed code; the function takes nothing and returns a
    ``torch.nn.Module`` that takes one batch of images, with random weights from torch's global
    generator; part: which set of weights of the file; the others: of ``ImageSpec``, mean and std
    of ImageNet by default. Raises Refusal for every fault of these, where the code was not named on
    the command line, and for a file that does not fit.
    """
    check(
        build=build, checkpoint=checkpoint, image_size=image_size, channels=channels,
        mean=mean, std=std, resize=resize,
    )  # fmt: skip
    assert checkpoint is not None  # or it is refused
    with private_rng(0):
        expected = _built(build).state_dict()
    found = find_weights(checkpoint, expected, (), part)
    image = _spec(channels, image_size, mean, std, resize, interpolation)
    fits = all(n in found.weights and found.weights[n].shape == expected[n].shape for n in expected)
    head = frozenset[str]() if fits else _of_the_classifier(build, image)
    weights = fit_weights(found.weights, expected, checkpoint, build, head)
    said = list(found.said(checkpoint))
    if mean is None or std is None:
        said.append("images are normalised with the mean and the deviation of ImageNet's")
    trained_on = f"checkpoint {Path(checkpoint).name}"
    return ModuleSource(build, image, trained_on, weights, tuple(said))


def architecture(
    *,
    build: str,
    image_size: int,
    channels: int = 3,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> tuple[nn.Module, Tensor]:
    """The network with random weights, and zeros [2, C, size, size] to feed it.

    Raises Refusal where the code was not named on the command line, or builds no network.
    """
    import torch

    return _built(build), torch.zeros(2, channels, image_size, image_size)


def spec(
    *,
    build: str,
    image_size: int,
    channels: int = 3,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> ImageSpec:
    """The preprocessing that the network's images are given."""
    return _spec(channels, image_size, mean, std, resize, interpolation)


def _spec(
    channels: int,
    size: int,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    resize: int | None,
    interpolation: Interpolation,
) -> ImageSpec:
    usual = IMAGENET if channels == 3 else ((sum(IMAGENET[0]) / 3,), (sum(IMAGENET[1]) / 3,))
    return ImageSpec(
        channels=channels,
        size=size,
        mean=tuple(mean or usual[0]),
        std=tuple(std or usual[1]),
        resize=resize or size,
        interpolation=interpolation,
    )


def _of_the_classifier(build: str, image: ImageSpec) -> frozenset[str]:
    """Names of the weights that only what is above the last cut point has: never needed."""
    import torch

    from tlsweep.cut import cut_points, section

    model = _built(build)
    try:
        cuts = cut_points(model, torch.zeros(2, image.channels, image.size, image.size))
    except Refusal:  # told where the cut points are asked for
        return frozenset()
    above = section(model, cuts, cuts.n_blocks, None).state_dict()
    return frozenset(above) - frozenset(section(model, cuts, 0, cuts.n_blocks).state_dict())


def _faults(look: Callable[[], object]) -> list[Fault]:
    try:
        look()
    except Refusal as refusal:
        return list(refusal.faults)
    return []


# ---------------------------------------------------------------------- the user's code
def _function(build: str) -> Callable[[], Any]:
    """The function that ``build`` names. Raises Refusal where it may not be run, or is not there.

    Nothing of it is imported before the user's own command line has named it.
    """
    value = f"source.build={build}"
    if build not in os.environ.get(NAMED_CODE, "").split(","):
        rule = "code is named on the command line that runs it; no config and no record names any"
        raise Refusal(Fault(value, rule, f"{value} on this command line, or {NAMED_CODE}={build}"))
    module, _, name = build.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may fail in any way when it is imported
        rule = f"source.build names a function of installed code ({type(error).__name__}: {error})"
        raise Refusal(Fault(value, rule, "source.build=PACKAGE.MODULE:FUNCTION")) from error
    if not callable(found):
        rule = f"source.build names a function; {name} is a {type(found).__name__}"
        raise Refusal(Fault(value, rule, "source.build=PACKAGE.MODULE:FUNCTION"))
    function: Callable[[], Any] = found
    return function


def _built(build: str) -> nn.Module:
    from torch import nn

    made = _function(build)()
    if not isinstance(made, nn.Module):
        rule = f"the function returns a torch.nn.Module; this one, a {type(made).__name__}"
        raise Refusal(Fault(f"source.build={build}", rule, "return the network, without arguments"))
    return made
