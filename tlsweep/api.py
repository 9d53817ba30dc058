"""A whole sweep from Python: ``tlsweep.sweep(model=..., target=...)``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep.cli import conf_folder, job
from tlsweep.errors import Fault, Refusal
from tlsweep.terms import ImageSpec
from tlsweep.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGE = ImageSpec(3, 224, IMAGENET_MEAN, IMAGENET_STD, 256)


def sweep(
    model: str | nn.Module,
    target: str | Path | Dataset[Any],
    *overrides: str,
    image: ImageSpec = IMAGE,
    **settings: Any,
) -> Verdict:
    """Answer how much of ``model`` to keep for ``target``; what ``python -m tlsweep -m`` does.

    model: ``glyphs``, a name of torchvision's (its published weights, or ``source__checkpoint=``
    a file), or a network, whose last layer is left out; image: the preprocessing that a network
    of your own wants. target: ``digits`` or another target by name, a folder of class folders, or a
    torch Dataset of (image, class index), (image, list of 0 and 1: labels) or (image, float or list
    of floats: numbers). overrides: as on the command line (``"sweep.minutes=5"``); settings: the
    same as keywords, with two underscores for a dot (``sweep__minutes=5``). Trials run in this
    process; with ``sweep__n_jobs="auto"`` in others, for which the program needs its
    ``if __name__ == "__main__":``.

    Returns the verdict; files and runs are left in ``output_dir``. Raises Refusal for what cannot
    be carried out, before anything trains.

    Example::

        verdict = tlsweep.sweep("glyphs", "digits", sweep__stages=["survey"])
        print(verdict.sentence)
        verdict.to_dataframe()
    """
    given = [*overrides, *(f"{k.replace('__', '.')}={_text(v)}" for k, v in settings.items())]
    asked = [*_source(model, image, given), *_target(target), *_workers(given)]
    _refuse_apart([*asked, *given])
    answer = _multirun([*asked, *given])
    assert isinstance(answer, Verdict)
    return answer


def _source(model: str | nn.Module, image: ImageSpec, given: list[str]) -> list[str]:
    from tlsweep.jobs.line import quoted

    if not isinstance(model, str):
        from tlsweep.source import held

        return ["source=held", f"source.key={quoted(held.hold(model, image))}"]
    if model == "glyphs":
        return ["source=glyphs"]
    has_weights = any(o.startswith(("source.checkpoint=", "source.weights=")) for o in given)
    weights = [] if has_weights else ["source.weights=DEFAULT"]
    return ["source=torchvision", f"source.model={model}", *weights]


def _target(target: str | Path | Dataset[Any]) -> list[str]:
    from tlsweep.jobs.line import quoted
    from tlsweep.registry import names

    if isinstance(target, str) and target in names("target"):
        return [f"target={target}"]
    if isinstance(target, str | Path):
        return ["target=image_folder", f"target.root={quoted(str(target))}"]
    from tlsweep.target import held

    return ["target=held", f"target.key={quoted(held.hold(target))}"]


def _workers(given: list[str]) -> list[str]:
    """This process runs the trials itself, unless others are asked for.

    They would begin the program anew, which not every program is written for.
    """
    return [] if any(_says_who(o) for o in given) else ["sweep.n_jobs=1"]


def _says_who(override: str) -> bool:
    return override.lstrip("+").startswith(("sweep.n_jobs=", "engine=", "engine."))


def _refuse_apart(asked: list[str]) -> None:
    """Raise Refusal where others would need what this program alone holds, or its answer."""
    if any(o.lstrip("+").lower() == "engine.leave=true" for o in asked):
        rule = "tlsweep.sweep returns a verdict, which a sweep that is left to Slurm has not yet"
        raise Refusal(Fault("engine.leave=true from Python", rule, "leave it out, or use -m"))
    if "sweep.n_jobs=1" in asked or not {"source=held", "target=held"} & set(asked):
        return
    rule = "a network or a Dataset of this program is not there in other processes"
    mend = "sweep.n_jobs=1; or source=module source.build=PACKAGE.MODULE:FUNCTION, and a folder"
    raise Refusal(Fault("trials in processes of their own (sweep.n_jobs, engine)", rule, mend))


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return str(value)


def _multirun(overrides: list[str]) -> Any:
    # Hydra has a public way to compose a config in a program, and none to run its sweeper
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    from tlsweep.jobs.line import parted
    from tlsweep.jobs.overrides import refuse_unknown

    line = parted(overrides)
    refuse_unknown(line, conf_folder())
    version.setbase("1.3")
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("tlsweep", create_config_search_path(str(conf_folder())))
    try:
        return hydra.multirun(
            config_name="config",
            task_function=job,
            overrides=list(line.overrides),
            with_log_configuration=False,
        )
    finally:
        GlobalHydra.instance().clear()
