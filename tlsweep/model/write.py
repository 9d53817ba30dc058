"""The model to take home, written whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors

from tlsweep.model.build import build
from tlsweep.model.card import (
    LAYOUT,
    PROGRAM,
    SNIPPET,
    SOURCE,
    WEIGHTS,
    Block,
    Card,
    HeadCard,
    PlanCard,
    Preprocessing,
    SourceCard,
    TargetCard,
    TokenPreprocessing,
    at,
    file_digest,
    write_card,
)
from tlsweep.model.export import NotExported, export_model
from tlsweep.model.read import load_weights
from tlsweep.model.snippet import snippet
from tlsweep.model.taken import TakenModel
from tlsweep.section import SourceSettings
from tlsweep.source import carry_files
from tlsweep.target import ImageTarget, Target
from tlsweep.terms import ImageSpec, InputSpec, Levels, Resampling
from tlsweep.train.network import PlanNetwork
from tlsweep.trial.resolved import Resolved

MODEL = "model"  # name of the folder in the study's own


def write_model(
    study: Path, trial: Resolved, network: PlanNetwork, about: Mapping[str, Any]
) -> Path:
    """Write a trained network to ``study``/model, in place of what is there; returns that folder.

    trial: that trained it; network: as it was trained, on any device; it is left as it is. about:
    JSON values that the sweep says of it (score, interval, seeds, epochs). What is written was read
    again: the weights fit the architecture that the folder names, and the exported program gives
    the same answers.
    """
    folder, built = study / MODEL, study / f".{MODEL}.{uuid.uuid4().hex}"
    for left in study.glob(f".{MODEL}.*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    built.mkdir(parents=True)
    try:
        card = _card(trial, network, about, built)
        safetensors.save_model(network, str(built / WEIGHTS))
        here = at(card, built)
        again = build(here)
        load_weights(again, built)
        failed = _not_exported(TakenModel(again, here), built)
        (built / SNIPPET).write_text(snippet(card, program=(built / PROGRAM).exists()))
        # safetensors writes what only its owner may read: a study's folder may be a group's
        shutil.copymode(built / SNIPPET, built / WEIGHTS)
        whole = sorted(file for file in built.rglob("*") if file.is_file())
        files = {file.relative_to(built).as_posix(): file_digest(file) for file in whole}
        card = card.model_copy(update={"not_exported": failed, "files": files})
        write_card(built, card)
        _put(built, folder)
    finally:
        shutil.rmtree(built, ignore_errors=True)
    return folder


def _not_exported(model: TakenModel, folder: Path) -> dict[str, str]:
    """Write the exported program beside the weights, or say why there is none, by its format."""
    try:
        export_model(model, "torch_export", folder / PROGRAM)
    except NotExported as error:
        return {"torch_export": str(error)}
    return {}


def _put(built: Path, folder: Path) -> None:
    old = folder.with_name(f"{built.name}.old")
    if folder.exists():
        folder.rename(old)
    built.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _card(trial: Resolved, network: PlanNetwork, about: Mapping[str, Any], folder: Path) -> Card:
    """What model.json says; what the source's architecture is read from goes into ``folder``."""
    question, plan, head = trial.question, trial.plan, network.head
    source, target, opened = question.source, question.target, question.opening.source
    options, carried = _carried(opened, folder)
    libraries = {name: metadata.version(name) for name in ("tlsweep", "torchvision", "pillow")}
    return Card(
        layout=LAYOUT,
        versions={**libraries, "torch": str(torch.__version__)},
        plan=_plan(trial, network),
        source=SourceCard(
            name=opened.name,
            options=options,
            carried=carried,
            model=source.name,
            trained_on=source.trained_on,
            fingerprint=source.fingerprint,
            licence=source.licence,
        ),
        target=_target(target),
        preprocessing=_preprocessing(source.spec, target),
        head=HeadCard(
            kind=head.kind,
            shape=question.cuts[plan.regrow].shape,
            sizes=head.sizes,
            **asdict(head.pooling),
        ),
        output_names=target.output_names,
        precision=trial.train.precision,
        about=dict(about),
        not_exported={},
        files={},
    )


def _target(target: Target) -> TargetCard:
    task = target.task
    unit = task.metrics[0].unit.after.strip() if task.kind == "numbers" else ""
    return TargetCard(name=target.name, fingerprint=target.fingerprint, kind=task.kind, unit=unit)


def _plan(trial: Resolved, network: PlanNetwork) -> PlanCard:
    names, plan = trial.question.cuts.names[1:], trial.plan
    return PlanCard(
        name=trial.name,
        random_weights=plan.random_weights,
        frozen=network.boundary,
        blocks=tuple(Block(name=n, state=s) for n, s in zip(names, plan.states, strict=True)),
    )


def _carried(source: SourceSettings, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What describes the architecture, and of it what files in ``folder`` do, on any machine."""
    options = source.model_dump(exclude={"name", "cache_dir"}, exclude_none=True)
    if "checkpoint" in options:
        options["checkpoint"] = Path(options["checkpoint"]).name
    inside = folder / SOURCE
    inside.mkdir()
    carried = carry_files(source.name, inside, **options)
    if not carried:
        inside.rmdir()
    for option in carried:  # the path on this machine says nothing on another
        options[option] = Path(options[option]).name
    return options, carried


def _preprocessing(spec: InputSpec, target: Target) -> Preprocessing | TokenPreprocessing:
    if isinstance(spec, ImageSpec):
        assert isinstance(target, ImageTarget)  # a question is of one kind
        return _of_images(spec, target.resampling, target.levels)
    words = f"tokens of {spec.tokenizer}, cut or filled up to {spec.length}"
    return TokenPreprocessing(
        in_words=words, tokenizer=spec.tokenizer, vocabulary=spec.vocabulary, length=spec.length
    )


def _of_images(image: ImageSpec, resampling: Resampling, levels: Levels | None) -> Preprocessing:
    colour = "grey" if image.channels == 1 else "RGB"
    how = {
        "pillow": f"Pillow's {image.interpolation.upper()}",
        "torch": f"torch's interpolate, {image.interpolation}, antialias=True, rounded to whole"
        " levels",
    }
    side = "both sides" if image.squash else "the shorter side"
    wide = "" if levels is None else f" (of more: {levels[0]:g} to {levels[1]:g} become 0 to 255)"
    words = (
        f"turned upright (EXIF), transparent parts on white, {colour}, 8 bits a channel{wide};"
        f" {side} resized to {image.resize} pixels ({how[resampling]});"
        f" the centre {image.size} x {image.size} cropped; divided by 255;"
        " less mean, divided by std, a channel each"
    )
    return Preprocessing(in_words=words, resampling=resampling, levels=levels, **asdict(image))
