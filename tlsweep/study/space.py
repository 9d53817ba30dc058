"""The search space of a study: which values it may try for which key, as Optuna draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

CUT_KEYS = ("plan.freeze", "plan.keep", "plan.regrow")
REGION_KEYS = ("plan.tune", "plan.adapt", "plan.drop")
Values = BaseDistribution
"""What may be tried for one key."""


def listed(choices: Sequence[Any]) -> Values:
    """One of these: texts, numbers, booleans, None."""
    return CategoricalDistribution(list(choices))


def between(low: float, high: float, *, log: bool) -> Values:
    """A number from low to high, both included; a whole one where both ends are ``int``."""
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def steps(low: float, high: float, step: float) -> Values:
    """low, low + step, ... high; whole numbers where all three are ``int``."""
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        return IntDistribution(low, high, step=step)
    return FloatDistribution(float(low), float(high), step=float(step))


@dataclass(frozen=True)
class Space:
    """``searched``: key to distribution; ``fixed``: overrides that hold in every trial."""

    searched: Mapping[str, Values] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()

    def fingerprint(self) -> dict[str, str]:
        """The space as text that two sessions can compare."""
        return {key: distribution_to_json(d) for key, d in sorted(self.searched.items())}

    def narrowed(self, key: str, choices: Sequence[str]) -> Space:
        """The space with only these of a key's listed values, in the order they had."""
        d = self.searched[key]
        assert isinstance(d, CategoricalDistribution)
        kept = CategoricalDistribution([value for value in d.choices if value in choices])
        return replace(self, searched={**self.searched, key: kept})

    def listed(self, key: str) -> Sequence[Any]:
        """The listed values of a key; none where it has a range, or is not searched."""
        d = self.searched.get(key)
        return d.choices if isinstance(d, CategoricalDistribution) else ()

    def ends(self, key: str) -> tuple[float, float] | None:
        """The two ends of a key's range; None where it has no range, or is not searched."""
        d = self.searched.get(key)
        return (d.low, d.high) if isinstance(d, FloatDistribution | IntDistribution) else None

    def values(self, key: str) -> Sequence[Any]:
        """All that a key may be; none where that is a range without steps."""
        d = self.searched[key]
        if isinstance(d, IntDistribution) and not d.log:
            return range(d.low, d.high + 1, d.step)
        if isinstance(d, FloatDistribution) and d.step is not None:
            # in decimals: 0.1 + 2 * 0.1 is 0.30000000000000004, which lies beyond a high of 0.3
            low, high, step = (Decimal(str(number)) for number in (d.low, d.high, d.step))
            return [float(low + n * step) for n in range(int((high - low) / step) + 1)]
        return self.listed(key)

    def samples(self) -> list[str]:
        """An override for every listed value, and for the lower end of every range."""
        found = []
        for key, d in self.searched.items():
            values = d.choices if isinstance(d, CategoricalDistribution) else [getattr(d, "low", 0)]
            found += [f"{key}={_text(value)}" for value in values]
        return found

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The Hydra overrides of one point of the space."""
        return [*self.fixed, *(f"{key}={_text(value)}" for key, value in params.items())]

    def draw(self, trial: Any) -> list[str]:
        """The overrides of a point that the sampler draws. trial: an Optuna trial under way."""
        return self.overrides(suggest(trial, self.searched))


@dataclass(frozen=True)
class Spaces:
    """A space for each of several sources: a trial draws a source, then a point of its space.

    What blocks are called differs from source to source: each has its own parameters for that.
    spaces: by what the source is called; chosen: the overrides that choose it, alike.
    """

    spaces: Mapping[str, Space]
    chosen: Mapping[str, Sequence[str]]

    def fingerprint(self) -> dict[str, str]:
        """The spaces as text that two sessions can compare."""
        return {
            f"{key} of {name}": text
            for name, space in self.spaces.items()
            for key, text in space.fingerprint().items()
        }

    def draw(self, trial: Any) -> list[str]:
        """The overrides of a source and a point that the sampler draws."""
        source = trial.suggest_categorical(SOURCE, list(self.spaces))
        space = self.spaces[source]
        names = {_of_source(key, source): key for key in space.searched}
        params = suggest(trial, {name: space.searched[key] for name, key in names.items()})
        point = space.overrides({names[name]: value for name, value in params.items()})
        return [*self.chosen[source], *point]

    def parameters(self, source: str, point: Mapping[str, Any]) -> dict[str, Any]:
        """What a point of a source's space is to the sampler."""
        return {SOURCE: source, **{_of_source(key, source): v for key, v in point.items()}}


SOURCE = "source"  # the parameter that a trial of several sources draws first


def _of_source(key: str, source: str) -> str:
    return f"{key} of {source}" if key in (*CUT_KEYS, *REGION_KEYS) else key


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return repr(value) if isinstance(value, float) else str(value)


def suggest(trial: Any, searched: Mapping[str, Values]) -> dict[str, Any]:
    """One value a key, from the sampler (or from what was enqueued for this trial).

    trial: an Optuna trial that is under way.
    """
    params: dict[str, Any] = {}
    for key, d in searched.items():
        if isinstance(d, FloatDistribution):
            params[key] = trial.suggest_float(key, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, IntDistribution):
            params[key] = trial.suggest_int(key, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, CategoricalDistribution):
            params[key] = trial.suggest_categorical(key, d.choices)
    return params


def typed(cut_names: Sequence[str], plan_names: Sequence[str]) -> dict[str, Values]:
    """What the overrides of a wanted trial are to Optuna: the same choices in every study."""
    cuts = CategoricalDistribution([*cut_names, "none", "all"])
    rates = FloatDistribution(0.0, 1e6)
    whole = IntDistribution(0, 2**31 - 1)
    return {
        "plan": CategoricalDistribution(sorted(plan_names)),
        **dict.fromkeys(CUT_KEYS, cuts),
        "plan.freeze": CategoricalDistribution([*cuts.choices, "0%", "25%", "50%", "75%"]),
        **dict.fromkeys(REGION_KEYS, cuts),
        **dict.fromkeys(("train.lr", "train.lr_ratio", "train.probe_penalty"), rates),
        **dict.fromkeys(("train.epochs", "seed", "fold"), whole),
    }


def parameters(overrides: Sequence[str], known: Mapping[str, Values]) -> dict[str, Any]:
    """Those of a trial's overrides that are parameters, numbers as numbers.

    What the distribution of its key does not hold (``fold=null``, a cut point written as an index)
    stays with the overrides alone.
    """
    found: dict[str, Any] = {}
    for override in overrides:
        key, _, text = override.partition("=")
        distribution = known.get(key)
        if isinstance(distribution, CategoricalDistribution):
            if text in distribution.choices:
                found[key] = text
        elif distribution is not None:
            with suppress(ValueError):
                number = int(text) if isinstance(distribution, IntDistribution) else float(text)
                # Optuna would draw another value in place of one that is out of range
                if distribution._contains(number):
                    found[key] = number
    return found
