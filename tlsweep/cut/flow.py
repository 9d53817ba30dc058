"""Which values of a Program carry all of the data: its articulations.

A value is one if no edge jumps over it, from a step before it to a step after it. Sizes that can be
read again from the value itself (the batch size), parameters, and what is made of these alone may
jump: a suffix makes them again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from tlsweep.cut.observe import Observation, observe
from tlsweep.cut.program import Program, names_in
from tlsweep.cut.shadow import BATCHES


@dataclass(frozen=True)
class Flow:
    """What is known of each value.

    data: tensors computed from the input; batch: numbers that equal the batch size; portable:
    values that can be made again anywhere from parameters and the batch size; skippable: numbers
    from which nothing but the batch size is read; mutated: data that later steps write into in
    place; articulations: in order, the raw input first.
    """

    data: frozenset[str]
    batch: frozenset[str]
    portable: frozenset[str]
    skippable: frozenset[str]
    mutated: frozenset[str]
    articulations: tuple[str, ...]


def find_flow(
    program: Program, root: nn.Module, example: Tensor, *, count: bool = False
) -> tuple[Flow, Observation]:
    """Run ``program`` at two batch sizes on fake tensors and find its articulations.

    example: one batch; only its shape, dtype and device are looked at. Raises what the model's own
    forward raises.
    """
    sizes = tuple(example.shape[1:])
    first = observe(program, root, (BATCHES[0], *sizes), example, count=count)
    second = observe(program, root, (BATCHES[1], *sizes), example)
    data = _data(program, first)
    batch = frozenset(
        name
        for name, sight in first.sights.items()
        if sight.number == BATCHES[0] and second.sights[name].number == BATCHES[1]
    )
    portable = _portable(program, data, batch, first)
    skippable = _skippable(program, data, batch)
    mutated = frozenset(name for name in data if first.sights[name].mutated)
    flow = Flow(data, batch, portable, skippable, mutated, ())
    free = _not_jumped_over(program, flow)
    found = [
        name
        for name in (program.input, *(step.name for step in program.steps))
        if name == program.input
        or (name in free and name in data and _carries(name, first, second))
    ]
    return replace(flow, articulations=tuple(found)), first


def _data(program: Program, seen: Observation) -> frozenset[str]:
    data = {program.input}
    for step in program.steps:
        if seen.sights[step.name].holds_tensor and step.reads & data:
            data.add(step.name)
    return frozenset(data)


def _portable(
    program: Program, data: frozenset[str], batch: frozenset[str], seen: Observation
) -> frozenset[str]:
    portable = set(batch)
    for step in program.steps:
        stored = step.op in ("get_attr", "constant")
        made = step.name not in data and step.reads <= portable
        # made again, a value would lack what is later written into it
        if stored or (made and not seen.sights[step.name].mutated):
            portable.add(step.name)
    return frozenset(portable)


def _skippable(program: Program, data: frozenset[str], batch: frozenset[str]) -> frozenset[str]:
    readers: dict[str, list[str]] = {}
    for step in program.steps:
        for name in step.reads:
            readers.setdefault(name, []).append(step.name)
    skippable = set(batch)
    for step in reversed(program.steps):
        users = readers.get(step.name, [])
        if step.name not in data and users and all(user in skippable for user in users):
            skippable.add(step.name)
    return frozenset(skippable)


def _not_jumped_over(program: Program, flow: Flow) -> set[str]:
    place = {step.name: i for i, step in enumerate(program.steps, start=1)}
    place[program.input] = 0
    farthest = [0] * (len(program.steps) + 1)  # per value: its last reader that must have it
    for step in program.steps:
        if step.name in flow.skippable:
            continue
        for name in step.reads - flow.portable:
            farthest[place[name]] = place[step.name]
    free, reach, returned = set(), 0, names_in(program.output) - flow.portable
    for name, i in sorted(place.items(), key=lambda item: item[1]):
        alone = returned == {name}  # the model's own output
        if reach <= i and (farthest[i] > i or alone):
            free.add(name)
        # what is returned is read after the last step: no value behind it carries all
        reach = max(reach, len(program.steps) + 1 if name in returned else farthest[i])
    return free


def _carries(name: str, first: Observation, second: Observation) -> bool:
    """Whether a value is a floating-point tensor, batch first."""
    a, b = first.sights[name], second.sights[name]
    if a.shape is None or b.shape is None or not a.is_float or not a.shape:
        return False
    return a.shape[0] == first.batch and b.shape[0] == second.batch and a.shape[1:] == b.shape[1:]
