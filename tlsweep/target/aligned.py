"""Two targets that ask the same: the answers of one in the order of the other."""

from __future__ import annotations

import copy
import hashlib

import numpy as np

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.target.base import Target
from tlsweep.target.images import ImageTarget
from tlsweep.target.several import some


def aligned(target: Target, to: Target, where: str) -> Target:
    """The examples of ``target``, with labels as those of ``to``, whose task they are scored by.

    Classes may lack, and stand in another order; image files of more than 8 bits have the range of
    ``to``, where it has one. where: how ``target`` was asked for. Raises Refusal where the two do
    not ask the same.
    """
    _check(target, to, where)
    other = copy.copy(target)
    place_m = np.array([to.output_names.index(name) for name in target.output_names], np.int64)
    if to.task.kind == "classes":
        other.labels = place_m[target.labels]
    else:
        other.labels = np.empty_like(target.labels)
        other.labels[:, place_m] = target.labels
    if isinstance(other, ImageTarget) and isinstance(to, ImageTarget):
        other.levels = other.levels if to.levels is None else to.levels
        other.forget()  # what was prepared with its own range
    other.output_names, other.task = to.output_names, to.task
    text = f"{target.fingerprint} {to.output_names} {getattr(other, 'levels', None)}"
    other.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    return other


def _check(target: Target, to: Target, where: str) -> None:
    mine, asked = target.task.kind, to.task.kind
    if mine != asked or target.reads is not to.reads:
        rule = f"what is learned is {asked} of {to.things}, and these are scored by it"
        raise Refusal(Fault(f"{where}: {mine} of {target.things}", rule, "files of that kind"))
    if getattr(target, "scaled", False) or getattr(to, "scaled", False):
        rule = (
            "arrays of other types than uint8 are scaled by their own range, which undoes a shift"
        )
        raise Refusal(
            Fault(f"{where}: pixels that are scaled", rule, "save both as uint8, 0 to 255")
        )
    what = {"classes": "classes", "labels": "labels"}.get(asked, "numbers")
    known = to.output_names
    if new := [name for name in target.output_names if name not in known]:
        near = nearest(new[0], known)
        mend = "rename them as these are called" + (f": {new[0]} as {near}?" if near else "")
        raise Refusal(Fault(f"{where}: {what} {some(new)}", f"{what} of it: {some(known)}", mend))
    if asked != "classes" and (lost := [n for n in known if n not in target.output_names]):
        rule = f"each of its examples has all {what}: {some(known)}"
        raise Refusal(Fault(f"{where}: no {some(lost)}", rule, f"add {some(lost)}"))
