"""Samplers and pruners by name. A config names one of these; it never names code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna import pruners, samplers

from tlsweep.errors import Fault, Refusal, nearest, unknown_name

SAMPLERS: dict[str, Callable[..., samplers.BaseSampler]] = {
    "tpe": samplers.TPESampler,
    "random": samplers.RandomSampler,
    "gp": samplers.GPSampler,
    "qmc": samplers.QMCSampler,
}
# under another app; the points of a grid are queued, and its sampler is never asked
OTHER_SAMPLERS = {**SAMPLERS, "nsgaii": samplers.NSGAIISampler, "grid": samplers.RandomSampler}
PRUNERS: dict[str, Callable[..., pruners.BasePruner]] = {
    "median": pruners.MedianPruner,
    "percentile": pruners.PercentilePruner,
    "hyperband": pruners.HyperbandPruner,
    "threshold": pruners.ThresholdPruner,
    "none": pruners.NopPruner,
}


def sampler(
    settings: Mapping[str, Any],
    seed: int,
    where: str = "sweep.sampler",
    known: Mapping[str, Callable[..., samplers.BaseSampler]] = SAMPLERS,
) -> samplers.BaseSampler:
    """The sampler ``settings["name"]`` with the other entries as its options.

    where: the config key that ``settings`` stand at; known: by name.
    Raises Refusal for an unknown name or option.
    """
    options = dict(settings)
    if options.get("name") == "tpe":
        # trials of the fixed list have no parameters; ``group`` lets TPE model the others' jointly
        options = {"multivariate": True, "group": True, **options}
    made: samplers.BaseSampler = _make(where, known, options, seed=seed)
    return made


def pruner(settings: Mapping[str, Any], where: str = "sweep.pruner") -> pruners.BasePruner:
    """The pruner ``settings["name"]`` with the other entries as its options.

    where: the config key that ``settings`` stand at. Raises Refusal for an unknown name or option.
    """
    made: pruners.BasePruner = _make(where, PRUNERS, dict(settings))
    return made


def _make(
    where: str, known: Mapping[str, Callable[..., Any]], options: dict[str, Any], **extra: Any
) -> Any:
    name = str(options.pop("name", ""))
    if name not in known:
        raise Refusal(unknown_name(where.rsplit(".", 1)[-1], f"{where}.name", name, known))
    accepted = set(inspect.signature(known[name]).parameters)
    # options of another one are what is left of the config's default when only the name is changed
    others = {p for make in known.values() for p in inspect.signature(make).parameters} - accepted
    options = {option: value for option, value in options.items() if option not in others}
    unknown = [option for option in options if option not in accepted]
    if unknown:
        raise Refusal(*(_unknown_option(where, name, o, sorted(accepted)) for o in unknown))
    try:
        return known[name](**{**{k: v for k, v in extra.items() if k in accepted}, **options})
    except (TypeError, ValueError, ImportError) as error:
        raise Refusal(
            Fault(
                f"{where}={name} {options}: {error}", "Optuna accepts the options", "correct them"
            )
        ) from error


def _unknown_option(where: str, name: str, option: str, accepted: list[str]) -> Fault:
    guess = nearest(option, accepted)
    return Fault(
        f"{where}.{option}",
        f"an option of {name} is one of: {', '.join(accepted)}",
        f"{where}.{guess}=VALUE" if guess else f"leave {where}.{option} out",
    )


def silence_experimental() -> None:
    """Options that Optuna marks experimental are used on purpose; it warns at each use."""
    import warnings

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
