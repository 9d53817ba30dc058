"""Hydra's sweep grammar: a space to search, or a grid, from what is written for each key."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep
from hydra.core.override_parser.types import Override as Override
from hydra.errors import HydraException

from tlsweep.errors import Fault, Refusal
from tlsweep.study import space
from tlsweep.study.space import CUT_KEYS, REGION_KEYS, Space, Values

Names = Callable[[str], Sequence[str]]
"""From a key of a plan to the names that it may take: of cut points, or of blocks."""
NamesFor = Callable[[Sequence[str], str], Sequence[str]]
"""The same, from the rest of the overrides and the key."""


def parse(arguments: Sequence[str], parser: OverridesParser) -> list[Override]:
    """Hydra's own reading of the arguments. Raises Refusal with every one that it cannot read."""
    parsed, faults = [], []
    for argument in arguments:
        try:
            # not parse_override: that one leaves out the config loader, which glob() asks
            parsed += parser.parse_overrides([argument])
        except HydraException as error:
            reason = str(error).splitlines()[0]
            faults.append(
                Fault(f"{argument}: {reason}", "overrides are written key=value", "quote the value")
            )
    if faults:
        raise Refusal(*faults)
    return parsed


def build(overrides: Sequence[Override], names: Names) -> Space:
    """The space that overrides span; those that do not sweep are held fixed.

    names: called where a key of a plan ranges over ``glob(...)``, for the names of the source's cut
    points or blocks. Ranges exclude their end, as in Hydra. Raises Refusal for an empty range.
    """
    searched: dict[str, Values] = {}
    fixed = []
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            searched[key] = _distribution(override, names)
        else:
            fixed.append(f"{key}={override.get_value_element_as_str()}")
    return Space(searched, tuple(fixed))


def grid(overrides: Sequence[Override], names: NamesFor) -> list[list[str]]:
    """Every combination of the listed values, as Hydra's basic sweeper orders them.

    names: called where a key of a plan ranges over ``glob(...)`` with the rest of the combination,
    which may say whose cut points are meant.
    Raises Refusal for an interval, which has no list of values.
    """
    # glob() stands for itself until the rest of its combination is known
    lists: list[Sequence[str | Override]] = [
        [o] if _asks_source(o) else _listed(o) for o in overrides
    ]
    combinations = []
    for combination in itertools.product(*lists):
        rest = [o for o in combination if isinstance(o, str)]
        spelt = [
            [o] if isinstance(o, str) else _written(o, values(o, partial(names, rest)))
            for o in combination
        ]
        combinations += [list(written) for written in itertools.product(*spelt)]
    return combinations


def _asks_source(override: Override) -> bool:
    return isinstance(override.value(), Glob) and override.key_or_group in (*CUT_KEYS, *REGION_KEYS)


def _listed(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if isinstance(override.value(), IntervalSweep):
        raise Refusal(
            Fault(
                override.input_line or key,
                "a grid needs lists; an interval has no list of values",
                f"name a sampler beside it: sweep=tpe {override.input_line}",
            )
        )
    return _written(override, _discrete(override))


def _discrete(override: Override) -> list[str]:
    """The values of a list or a range, as texts. Raises Refusal where there is none."""
    value = override.value()
    if isinstance(value, RangeSweep):
        _refuse_empty(override, value)
    return list(override.sweep_string_iterator())


def _refuse_empty(override: Override, sweep: RangeSweep) -> list[Any]:
    """The steps of a range. Raises Refusal where there is none."""
    steps = list(sweep.range()) if sweep.step else []
    if not steps:
        empty = "a range is not empty (its end is excluded)"
        rule = empty if sweep.step else "a range has a step other than 0"
        mend = f"{override.key_or_group}=range(0,4)"
        raise Refusal(Fault(str(override.input_line), rule, mend))
    return steps


def _written(override: Override, listed: Iterable[str]) -> list[str]:
    return [f"{override.get_key_element()}={value}" for value in listed]


def values(override: Override, names: Names) -> Iterator[str]:
    """The listed values of a discrete sweep, as texts."""
    value: Any = override.value()
    if _asks_source(override):
        known = names(override.key_or_group)
        matching = [name for name in known if _matches(value, name)]
        if not matching:
            raise Refusal(_matches_nothing(override, known))
        return iter(matching)
    return iter(_discrete(override))


def _matches_nothing(override: Override, known: Sequence[str]) -> Fault:
    key = override.key_or_group
    what = "cut point" if key in CUT_KEYS else "block that may be there"
    return Fault(
        str(override.input_line),
        f"the pattern matches a {what}: {', '.join(known) or 'there is none'}",
        f"{key}=glob(*)" if known else f"{key}=null",
    )


def _matches(glob: Glob, name: str) -> bool:
    included = any(fnmatch.fnmatchcase(name, pattern) for pattern in glob.include)
    return included and not any(fnmatch.fnmatchcase(name, pattern) for pattern in glob.exclude)


def _distribution(override: Override, names: Names) -> Values:
    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        if low is None or high is None or low > high or (log and low <= 0):
            raise Refusal(
                Fault(
                    str(override.input_line),
                    "an interval goes from low to high, and above 0 where tagged log",
                    f"{override.key_or_group}=interval(1e-4,1e-2)",
                )
            )
        return space.between(low, high, log=log)  # int(interval(1, 5)) has whole ends
    if isinstance(value, RangeSweep):
        ladder = _ladder(override, value)
        if ladder is not None:
            return ladder
    return space.listed(list(values(override, names)))


def _ladder(override: Override, sweep: RangeSweep) -> Values | None:
    steps = _refuse_empty(override, sweep)
    if all(isinstance(s, int) for s in steps):
        return space.steps(int(min(steps)), int(max(steps)), abs(int(sweep.step)))
    # in decimals: 0.5 - 3 * 0.1 is 0.19999999999999998, from which 0.1 does not lead to 0.5
    first, step = Decimal(str(sweep.start)), Decimal(str(sweep.step))
    ends = sorted((first, first + (len(steps) - 1) * step))
    return space.steps(float(ends[0]), float(ends[1]), float(abs(step)))


def first_values(listed: Sequence[Override]) -> list[str]:
    """The first value of each list; none for those whose values only a source can tell."""
    return [
        f"{o.get_key_element()}={_discrete(o)[0]}"
        for o in listed
        if not isinstance(o.value(), IntervalSweep | Glob)
    ]


def not_given(searched: Sequence[Override], plain: Sequence[str]) -> list[Override]:
    """The space without the keys that the command line gives a single value."""
    given = {line.split("=", 1)[0].lstrip("+~") for line in plain}
    return [o for o in searched if o.key_or_group not in given]
