"""``python -m tlsweep cache``: what is kept on disk to be quick, checked and taken away.

That is activations and, where no other folder for these is named, decoded images.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.errors import Fault, Refusal, nearest, unknown_name
from tlsweep.features import Kept, Store, open_store, size_text
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config
from tlsweep.target.decoded import clear_decoded, decoded_files, decoded_folder

ACTIONS = ("list", "verify", "prune", "clear")
FORMATS = ("table", "json")
_BUDGET = "budget_gb"


def run(arguments: Sequence[str], conf: Path) -> None:
    """List the entries of the store, after doing to them what ``action=`` says.

    ``action``, ``format`` and, with action=prune, ``budget_gb`` are this command's own; others are
    keys of the config: features.cache_dir, features.budget_gb. Raises Refusal for what is unknown.
    """
    own = {"action": "list", "format": "table", _BUDGET: ""}
    rest = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in own and equals:
            own[key] = value
        else:
            rest.append(argument)
    _refuse(own, rest)
    if own[_BUDGET]:
        rest.append(f"features.{_BUDGET}={own[_BUDGET]}")
    chosen = read(compose_config(rest, conf)).features
    store = open_store(
        budget_gb=chosen.budget_gb, cache_dir=chosen.cache_dir, say=_teller(own["format"])
    )
    whole = chosen.cache_dir is None  # another folder has activations and nothing else
    try:
        done = _act(store, own["action"], whole)
        _print(store, done, own["format"], _decoded() if whole else None)
    except OSError as error:
        raise Refusal(
            Fault(
                f"features.cache_dir: {error.filename or store.folder} ({error.strerror})",
                "the folder of stored activations can be read and written",
                "features.cache_dir=FOLDER, or change the permissions of that one",
            )
        ) from error


def _refuse(own: dict[str, str], rest: Sequence[str]) -> None:
    known = (("action", ACTIONS), ("format", FORMATS))
    faults = [unknown_name(k, k, own[k], names) for k, names in known if own[k] not in names]
    if own[_BUDGET] and own["action"] != "prune" and own["action"] in ACTIONS:
        given = f"{_BUDGET}={own[_BUDGET]}"
        rule = f"{_BUDGET} says how much action=prune leaves"
        faults.append(Fault(f"{given} with action={own['action']}", rule, f"action=prune {given}"))
    line = parted(rest)
    keys = [argument.partition("=")[0] for argument in line.overrides]
    mine = ("features", "experiment", "hydra.searchpath")  # a user's own configs may set those
    faults += [_unknown(key, list(own)) for key in keys if not key.startswith(mine)]
    if faults:
        raise Refusal(*faults)
    refuse_others(line, "cache", ("features",))


def _unknown(key: str, own: list[str]) -> Fault:
    known = [*own, "features.budget_gb", "features.cache_dir"]
    near = nearest(key, known)
    mend = f"{near}=VALUE" if near else "leave it out, or write one of those"
    return Fault(f"unknown key {key}", unknown_name("key", key, "", known).rule, mend)


def _teller(form: str) -> Callable[[str], None]:
    if form == "json":  # other programs read the output
        return lambda text: print(text, file=sys.stderr)  # noqa: T201
    return screen.console.print


def _act(store: Store, action: str, everything: bool) -> dict[str, Any]:
    """What was done, for the last lines and JSON. everything: decoded images are cleared, too."""
    if action == "verify":
        digests = [entry.digest for entry in store.entries()]
        whole = [digest for digest in digests if store.check(digest)]
        return {"verified": len(whole), "damaged": sorted({*digests} - {*whole})}
    if action in ("prune", "clear"):
        gone = store.clear() if action == "clear" else store.prune(store.budget_bytes)
        if everything and action == "clear":
            clear_decoded()
        return {"evicted": [entry.digest for entry in gone]}
    return {}


def _decoded() -> dict[str, Any]:
    """What decoded images take."""
    sizes = [size for _, size in decoded_files()]
    return {"folder": str(decoded_folder()), "files": len(sizes), "bytes": sum(sizes)}


def _print(store: Store, done: dict[str, Any], form: str, decoded: dict[str, Any] | None) -> None:
    entries = list(reversed(store.entries()))
    held = sum(entry.nbytes for entry in entries)
    if form == "json":
        found = {
            "folder": str(store.folder),
            "budget_bytes": store.budget_bytes,
            "bytes": held,
            **done,
            "decoded": decoded,
            "entries": [_facts(entry) for entry in entries],
        }
        print(json.dumps(found, indent=2))  # noqa: T201 - plain, for other programs
        return
    from tlsweep.report.table import cache_table

    lines = [
        f"{_counted(len(entries))}, {size_text(held)}; features.{_BUDGET} allows"
        f" {size_text(store.budget_bytes)}",
        *_done_lines(done),
        f"folder {store.folder}",
        *_decoded_lines(decoded),
    ]
    screen.console.print(cache_table(_rows(entries), "\n".join(lines)))


def _decoded_lines(decoded: dict[str, Any] | None) -> list[str]:
    if not decoded or not decoded["files"]:
        return []
    n, size = decoded["files"], size_text(decoded["bytes"])
    what = f"{n} file{'s' * (n != 1)} of decoded images, {size}; target.disk_gb limits them"
    return [what, f"folder {decoded['folder']}"]


def _done_lines(done: dict[str, Any]) -> list[str]:
    if "evicted" in done:
        return [f"{_counted(len(done['evicted']))} evicted; what is in use stays"]
    if "verified" in done:
        n = len(done["damaged"])
        return [f"{_counted(done['verified'])} whole, {n} damaged{' and dropped' if n else ''}"]
    return []


def _counted(n: int) -> str:
    return f"{n} entry" if n == 1 else f"{n} entries"


def _facts(entry: Kept) -> dict[str, Any]:
    meta = entry.meta
    found = {"digest": entry.digest, "bytes": entry.nbytes, "used": _time(entry.used)}
    if meta is None:
        return {**found, "damaged": True}
    return {
        **found,
        "made": meta.made,
        "shape": list(meta.shape),
        "dtype": meta.dtype,
        "about": dict(meta.about),
        "key": meta.key.fields,
    }


def _rows(entries: Sequence[Kept]) -> list[dict[str, str]]:
    """A line for all that one source made of one split, the most recently used first."""
    groups: dict[tuple[str, ...], list[Kept]] = {}
    for entry in entries:
        groups.setdefault(_origin(entry), []).append(entry)
    return [
        {
            "source": source,
            "target": target,
            "images": images,
            "cut points": _span([e.meta.key.fields["cut"] for e in group if e.meta]),
            "size": size_text(sum(e.nbytes for e in group)),
            "last used": _time(max(e.used for e in group)),
        }
        for (source, target, images), group in groups.items()
    ]


def _origin(entry: Kept) -> tuple[str, str, str]:
    meta = entry.meta
    if meta is None:
        return "damaged", "", ""
    named = {**meta.key.fields, **meta.about}
    split = meta.about.get("split", "")
    images = split if "holds" in named else f"{meta.shape[0]:,} {split}".strip()
    return str(named["source"]), str(named["target"]), images


def _span(cuts: Sequence[str]) -> str:
    distinct = sorted(set(cuts))  # of one there may be several views
    return distinct[0] if len(distinct) == 1 else str(len(distinct))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
