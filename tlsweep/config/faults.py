"""What a config gets wrong, each fault with its value, its rule and its mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep import registry
from tlsweep.config.sections import STAGES_RULE
from tlsweep.config.settings import flatten
from tlsweep.errors import Fault, nearest, unknown_name
from tlsweep.train.settings import PARTS_RULE, SGD_RULE


def told(errors: Sequence[Mapping[str, Any]], plain: dict[str, Any]) -> list[Fault]:
    """What pydantic found, each said once."""
    # a list whose entries are refused counts as empty, too
    broken = {tuple(e["loc"][:-1]) for e in errors}
    # the marker "???" breaks the rule of its field as well
    return [
        _fault(dict(e), plain)
        for e in errors
        if e["input"] != "???" and not (e["type"] == "too_short" and e["loc"] in broken)
    ]


def _fault(entry: dict[str, Any], plain: dict[Any, Any]) -> Fault:
    loc = list(entry["loc"])
    key = ".".join(str(part) for part in loc)
    value, kind, context = entry["input"], entry["type"], entry.get("ctx", {})
    value = str(value).lower() if isinstance(value, bool) else value  # as it was written
    if kind == "extra_forbidden":
        return _unknown_key(key, loc, plain)
    if kind == "missing":
        return Fault(f"{key} is missing", "every key of conf/ has a value", f"+{key}=VALUE")
    if kind in ("literal_error", "enum"):
        return _unknown_choice(key, entry)
    if kind == "value_error":
        rule = str(context.get("error"))
        keys, mend = _RULES.get(rule, ((key,), f"correct {key}"))
        given = dict(flatten(plain))
        return Fault(
            " ".join(f"{k}={given[k]}" for k in keys if k in given).replace("'", "") or key,
            rule,
            mend,
        )
    rule = (
        entry["msg"]
        .replace("Input should be", "the value is")
        .replace("String should", "it should")
    )
    return Fault(
        f"{key}={value}", rule, f"{key}={_nearest_allowed(context) or _SHAPES.get(kind, 'VALUE')}"
    )


_SHAPES = {
    "float_parsing": "NUMBER",
    "int_parsing": "NUMBER",
    "int_from_float": "WHOLE NUMBER",
    "bool_parsing": "true",
    "auto": "auto",
    "time": "1:00:00",
    "options": '["--account=NAME"]',
    "decay": "auto",
    "settle": "auto",
    "number": "NUMBER",
    "phases": "[none,BLOCK..BLOCK,all]",
    "place": "PATH",
    "folder": "DIR",
    "taken": "NAME, another one",
    "string_pattern_mismatch": "NAME, of letters, digits, dots, dashes and underscores",
}


def _unknown_key(key: str, loc: list[Any], plain: dict[Any, Any]) -> Fault:
    if found := of_another_variant(key, f"{key}=VALUE"):
        return found
    node: Any = plain
    for part in loc[:-1]:
        node = node[part]
    known = [f"{'.'.join(map(str, [*loc[:-1], name]))}" for name in node if name != loc[-1]]
    fault = unknown_name("key", key, "", known)
    guess = nearest(str(loc[-1]), [str(name) for name in node if name != loc[-1]])
    mend = f"{'.'.join(map(str, [*loc[:-1], guess]))}=VALUE" if guess else None
    return Fault(f"unknown key {key}", fault.rule, mend or "leave it out, or write one of those")


def of_another_variant(key: str, given: str) -> Fault | None:
    """The fault for a key that the chosen variant of its group lacks; None if they all do.

    given: the override, for the mend.
    """
    group, _, name = key.partition(".")
    having = _having(group, name)
    if not having:
        return None
    known = ", ".join(one for several in having for one in several)
    rule = f"{key} is a setting of {group}={known}"
    return Fault(f"unknown key {key}", rule, f"{group}={having[-1][0]} {given}")


def has_key(key: str) -> bool:
    """Whether some variant of a group has a setting, by its key with the group."""
    group, _, name = key.partition(".")
    return bool(_having(group, name))


def _having(group: str, key: str) -> list[tuple[str, ...]]:
    """The variants of a group that have a setting, by their names."""
    return next((registry.having(kind, key) for kind in registry.KINDS if kind == group), [])


def _unknown_choice(key: str, entry: dict[str, Any]) -> Fault:
    context = entry.get("ctx", {})
    text = str(context.get("expected"))
    names = [part.strip().strip("'\"") for part in text.replace(" or ", ", ").split(",")]
    value = entry["input"]
    *above, kind = key.split(".")
    if not kind.isdigit():
        return unknown_name(kind, key, str(value), names)
    # an entry of a list: "controls.0" is a control, and the list is written whole
    whole = ".".join(above)
    fault = unknown_name(above[-1].removesuffix("s"), whole, str(value), names)
    guess = nearest(str(value), names) or names[0]
    return Fault(fault.value, fault.rule, f"{whole}=[{guess}], or others of that list")


# rules of several keys: which ones, and what keeps them
_RULES = {
    "several devices train one plan with train.strategy=ddp": (
        ("train.devices", "train.strategy"),
        "train.devices=2 train.strategy=ddp",
    ),
    "train.batch_size is a multiple of train.devices": (
        ("train.batch_size", "train.devices"),
        "train.devices=2 train.strategy=ddp train.batch_size=32",
    ),
    PARTS_RULE: (
        ("train.batch_size", "train.devices", "train.accumulate"),
        "train.batch_size=32 train.accumulate=2",
    ),
    SGD_RULE: (("train.optimizer", "train.weight_decay"), "train.weight_decay=auto"),
    STAGES_RULE: (("sweep.stages",), "sweep.stages=[survey], or another of those"),
    "augmentation crops or mirrors": (
        ("train.augment", "train.crop", "train.flip"),
        "train.crop=0.7, or train.flip=true, or train.augment=none",
    ),
}


def _nearest_allowed(context: Mapping[str, Any]) -> str | None:
    for bound in ("ge", "le"):
        if bound in context:
            least = context[bound]
            return str(int(least) if least == int(least) else least)
    if "gt" in context:
        return f"a number above {context['gt']:g}"
    if "lt" in context:
        return f"a number below {context['lt']:g}"
    return None
