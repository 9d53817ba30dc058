"""Components by name, each a module that is imported when its name is asked for.

A component of another package is found through an entry point of the group ``tlsweep.KIND`` (KIND:
source, target, task, schedule, record or engine), whose value is its module; its YAML lies beside
that module, in ``conf/KIND/``. A module has ``Settings`` (a section of the config) and the
functions that its kind asks for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.section import Section

Kind = Literal["source", "target", "task", "schedule", "record", "engine", "head"]
KINDS: tuple[Kind, ...] = ("source", "target", "task", "schedule", "record", "engine")
"""The kinds with a group of the config; a head has no settings, and train.head names it."""
_OWN: Mapping[Kind, Mapping[str, str]] = {
    "source": {
        "glyphs": "tlsweep.source.glyphs",
        "module": "tlsweep.source.module",
        "timm": "tlsweep.source.timm_zoo",
        "transformers": "tlsweep.source.transformers_zoo",
        "word_vectors": "tlsweep.source.word_vectors",
        "torchvision": "tlsweep.source.zoo",  # of those with a setting, the last is suggested
        "held": "tlsweep.source.held",
    },
    "target": {
        "digits": "tlsweep.target.digits",
        "mnist": "tlsweep.target.downloaded",
        "fashion_mnist": "tlsweep.target.downloaded",
        "cifar10": "tlsweep.target.downloaded",
        "cifar100": "tlsweep.target.downloaded",
        "torchvision": "tlsweep.target.vision_sets",
        "hf": "tlsweep.target.hub_sets",
        "image_folder": "tlsweep.target.image_folder",
        "manifest": "tlsweep.target.manifest",
        "text": "tlsweep.target.text",
        "arrays": "tlsweep.target.npz",
        "glyph_angle": "tlsweep.target.glyphs",
        "glyph_attributes": "tlsweep.target.glyphs",
        "held": "tlsweep.target.held",
    },
    "task": {"own": "tlsweep.task.own"},
    "schedule": {
        "constant": "tlsweep.schedule.constant",
        "two_phase": "tlsweep.schedule.two_phase",
        "gradual": "tlsweep.schedule.gradual",
        "phases": "tlsweep.schedule.phases",
    },
    "record": {"mlflow": "tlsweep.record.to_mlflow", "none": "tlsweep.record.none"},
    "engine": {
        "local": "tlsweep.engine.local",
        "slurm": "tlsweep.engine.slurm",
        "joined": "tlsweep.engine.joined",
    },
    "head": {
        "linear": "tlsweep.heads.linear",
        "mlp": "tlsweep.heads.mlp",
        "attention": "tlsweep.heads.attention",
        "conv": "tlsweep.heads.conv",
        "lstm": "tlsweep.heads.lstm",
        "source": "tlsweep.heads.source",
    },
}
INSIDE = ("held",)  # handed over from Python, not written by people


@functools.cache
def others(kind: Kind) -> dict[str, str]:
    """Components of other packages: name to module."""
    return {entry.name: entry.module for entry in entry_points(group=f"tlsweep.{kind}")}


def _modules(kind: Kind) -> dict[str, str]:
    return {**others(kind), **_OWN[kind]}  # a name of ours is ours


def names(kind: Kind) -> tuple[str, ...]:
    """The names that people may write, ours first."""
    return tuple(name for name in {**_OWN[kind], **others(kind)} if name not in INSIDE)


def component(kind: Kind, name: str) -> ModuleType:
    """The module of a component.

    Raises Refusal for an unknown name, and for a module of another package that cannot be imported.
    """
    modules = _modules(kind)
    if name not in modules:
        raise Refusal(unknown_name(kind, kind, name, names(kind)))
    try:
        return importlib.import_module(modules[name])
    except Exception as error:
        if name in _OWN[kind]:
            raise
        # another package can fail in any way it likes
        reason = f"{type(error).__name__}: {error}"
        rule = f"the module {modules[name]}, which an installed package names, can be imported"
        raise Refusal(Fault(f"{kind}={name}: {reason}", rule, "mend that package")) from error


def section(kind: Kind, name: str) -> type[Section]:
    """The settings of a component. Raises Refusal as ``component`` does, and without any."""
    module = component(kind, name)
    found = getattr(module, "Settings", None)
    if isinstance(found, type) and issubclass(found, Section):
        return found
    rule = f"a {kind} has Settings, a class of tlsweep.section.{kind.capitalize()}Settings"
    raise Refusal(Fault(f"{kind}={name}: {module.__name__} has none", rule, "add them there"))


def having(kind: Kind, key: str) -> list[tuple[str, ...]]:
    """The names of the components that have a setting, those of one module together."""
    found: dict[str, list[str]] = {}
    for name in names(kind):
        with suppress(Refusal):  # a package that is broken says so where it is asked for
            if key in section(kind, name).model_fields:
                found.setdefault(_modules(kind)[name], []).append(name)
    return [tuple(together) for together in found.values()]


def conf_folders() -> tuple[Path, ...]:
    """The folders with the YAML of other packages' components.

    The modules themselves are not run, at most the packages that they lie in.
    """
    modules = dict.fromkeys(module for kind in KINDS for module in others(kind).values())
    folders = []
    for module in modules:
        try:
            spec = importlib.util.find_spec(module)
        except Exception:  # a package that is not there, or broken, says so where it is asked for
            continue
        if spec is not None and spec.origin is not None:
            folders.append(Path(spec.origin).parent / "conf")
    return tuple(folder for folder in dict.fromkeys(folders) if folder.is_dir())
