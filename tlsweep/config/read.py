"""The only reader of OmegaConf: from a composed config to Settings, and back to YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from tlsweep import registry
from tlsweep.config.faults import told
from tlsweep.config.settings import Settings, flatten
from tlsweep.errors import Fault, Refusal, masked
from tlsweep.section import TYPED_IN, Section


def read(config: DictConfig, typed_in: Path | None = None) -> Settings:
    """The composed config as checked, plain values.

    typed_in: the folder that its relative paths are seen from, by default where we are; in the
    Settings every path is absolute. Raises Refusal with one Fault for every key that is unknown,
    missing or out of its range.
    """
    return checked(_plain(config), typed_in)


def checked(plain: dict[str, Any], typed_in: Path | None = None) -> Settings:
    """A config as plain values, as ``read`` gives it. Raises Refusal as ``read`` does."""
    unset = [
        Fault(f"{key} is not set", "this value has no default", f"{key}=VALUE")
        for key, value in flatten(plain)
        if value == "???"
    ]
    context = {TYPED_IN: typed_in}
    parts, faults = _components(plain, context)
    errors: list[dict[str, Any]] = []
    try:
        settings = Settings.model_validate({**plain, **parts}, context=context)
    except ValidationError as error:
        errors = [dict(e) for e in error.errors() if e["loc"][0] not in faults]
    wrong = [fault for kind in faults for fault in faults[kind]] + told(errors, plain)
    if unset or wrong:
        raise Refusal(*unset, *wrong)
    return settings


def from_yaml(text: str) -> dict[str, Any]:
    """What ``to_yaml`` wrote, as plain values for ``checked``.

    It may have been edited since: it names no code, and ``${...}`` in it is text, since the
    environment of whoever reads it is not its affair. Raises Refusal for what is no such YAML.
    """
    try:
        config = OmegaConf.create(text)
    except Exception as error:  # OmegaConf's, and those of the reader of YAML that it has
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refusal(_no_config(reason)) from error
    if not isinstance(config, DictConfig):
        raise Refusal(_no_config("a list"))
    return _plain(config, resolve=False)


def _no_config(reason: str) -> Fault:
    rule = "a recorded config is YAML of keys and plain values"
    return Fault(f"a recorded config: {reason}", rule, "the config as it was recorded")


def _plain(config: DictConfig, *, resolve: bool = True) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise Refusal(
            Fault(
                f"config key {error.full_key or '?'}: {str(error.msg).splitlines()[0]}",
                "every ${...} in a config leads to a value",
                f"correct {error.full_key or 'that key'}",
            )
        ) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def _components(
    plain: dict[str, Any], context: dict[str, Any]
) -> tuple[dict[str, Section], dict[str, list[Fault]]]:
    """The sections that components define themselves, checked, and the faults of the others."""
    parts: dict[str, Section] = {}
    faults: dict[str, list[Fault]] = {}
    for kind in registry.KINDS:
        given = plain.get(kind)
        if not isinstance(given, dict) or "name" not in given:
            continue  # told with the other keys that are missing
        try:
            settings = registry.section(kind, str(given["name"]))
            parts[kind] = settings.model_validate(given, context=context)
        except ValidationError as error:
            inside = [{**e, "loc": (kind, *e["loc"])} for e in error.errors()]
            faults[kind] = told(inside, plain)
        except Refusal as refusal:
            faults[kind] = list(refusal.faults)
    return parts, faults


def to_yaml(settings: Settings) -> str:
    """Settings as YAML that ``read`` accepts again, but for passwords in URLs, which are masked.

    It goes to records and into the report page, which are made to be shared.
    """
    return masked(OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json"))))
