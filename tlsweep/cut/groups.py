"""From articulations to cut points: which of them share one, and what it is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from tlsweep.cut.flow import Flow
from tlsweep.cut.observe import Observation
from tlsweep.cut.program import Program, Step
from tlsweep.cut.trace import Trace, has_own_forward
from tlsweep.cut.work import Work, kind_of_work


@dataclass
class Segment:
    """The steps after one articulation up to and with the next; ``end`` is None after the last."""

    end: str | None
    steps: list[Step]
    main: list[Step]
    pools: bool


@dataclass
class Group:
    """Successive segments that share one cut point, which lies at the last of ``ends``."""

    ends: list[str]
    main: list[Step] = field(default_factory=list)
    pools: bool = False


def segments(program: Program, root: nn.Module, flow: Flow, seen: Observation) -> list[Segment]:
    """The steps of ``program`` between its articulations, from the input up."""
    ends: list[str | None] = [*flow.articulations[1:], None]
    found, pending = [], list(program.steps)
    before = flow.articulations[0]
    for end in ends:
        n = len(pending)
        if end is not None:
            n = next(i for i, step in enumerate(pending, start=1) if step.name == end)
        steps, pending = pending[:n], pending[n:]
        kinds = [kind_of_work(step, root, seen.sights[step.name]) for step in steps]
        main = [step for step, kind in zip(steps, kinds, strict=True) if kind is Work.MAIN]
        flat = end is not None and _rank(seen, before) > 2 and _rank(seen, end) == 2
        found.append(Segment(end, steps, main, not main and (flat or Work.POOL in kinds)))
        before = end if end is not None else before
    return found


def _rank(seen: Observation, name: str) -> int:
    shape = seen.sights[name].shape
    return len(shape) if shape is not None else 0


def below_classifier(found: list[Segment]) -> list[Segment]:
    """All segments before the last one that does main work: that one is the classifier."""
    last = max((i for i, segment in enumerate(found) if segment.main), default=0)
    return found[:last]


def merge(found: Iterable[Segment]) -> list[Group]:
    """Light segments join the group before; those before any work belong to the first block."""
    groups: list[Group] = []
    for segment in found:
        assert segment.end is not None
        opens = bool(segment.main) or (segment.pools and not (groups and groups[-1].pools))
        if opens:
            groups.append(Group([segment.end], list(segment.main), segment.pools))
        elif groups:
            groups[-1].ends.append(segment.end)
    return groups


def names(groups: list[Group], traced: Trace, model: nn.Module) -> list[tuple[str, ...]]:
    """For every group its name, then its aliases: paths of what ends there."""
    closing = _closing(traced)
    taken = Counter({"input": 1})
    main_paths = [_path(step, traced) for group in groups for step in group.main]
    primary = []
    for group in groups:
        name = "pooled" if group.pools else _name(group, closing, main_paths, traced, model)
        taken[name] += 1
        primary.append(name if taken[name] == 1 else f"{name}:{taken[name]}")
    reserved = {*primary, "input", "none", "all"}
    named = []
    for name, group in zip(primary, groups, strict=True):
        candidates = [path for end in reversed(group.ends) for path in closing.get(end, [])]
        # inner names of one operation say nothing that the name does not
        kept = dict.fromkeys(
            shown(path) for path in candidates if _is_container(model, path) or group.pools
        )
        named.append((name, *(alias for alias in kept if alias not in reserved)))
    return named


def fine_names(ends: Iterable[str], traced: Trace) -> list[tuple[str, ...]]:
    """For every articulation its name, then its aliases: paths of what ends there."""
    closing = _closing(traced)
    steps = {step.name: step for step in traced.program.steps}
    ends = list(ends)
    taken = Counter({"input": 1})
    primary = []
    for end in ends:
        name = shown(_path(steps[end], traced))
        taken[name] += 1
        primary.append(name if taken[name] == 1 else f"{name}:{taken[name]}")
    reserved = {*primary, "input", "none", "all"}
    return [
        (name, *(a for a in map(shown, closing.get(end, [])) if a not in reserved))
        for name, end in zip(primary, ends, strict=True)
    ]


def shown(path: str) -> str:
    """The path as a cut point's name; ``3.1`` would be read as an index or a fraction."""
    return f"seq.{path}" if path.replace(".", "").isdigit() else path


def _closing(traced: Trace) -> dict[str, list[str]]:
    # a module that is called twice ends at two places, and names neither
    times = Counter(call.path for call in traced.calls)
    closing: dict[str, list[str]] = {}
    for call in traced.calls:
        if times[call.path] == 1:
            closing.setdefault(call.output, []).append(call.path)
    return closing


def _name(
    group: Group,
    closing: dict[str, list[str]],
    main_paths: list[str],
    traced: Trace,
    model: nn.Module,
) -> str:
    step = group.main[-1]
    path = _path(step, traced)
    if step.op == "call_module" and has_own_forward(model.get_submodule(path)):
        return shown(path)
    # a convolution with its norm is called after the container that holds nothing else
    own = Counter(_path(main, traced) for main in group.main)
    for end in group.ends:
        for container in reversed(closing.get(end, [])):
            inside = Counter(p for p in main_paths if p.startswith(container + "."))
            if path.startswith(container + ".") and not inside - own:
                return shown(container)
    return shown(path)


def _path(step: Step, traced: Trace) -> str:
    if step.op == "call_module":
        return str(step.target)
    where = traced.owner.get(step.name, "")
    what = str(getattr(step.target, "__name__", step.target)).strip("_")
    return f"{where}.{what}" if where else what


def _is_container(model: nn.Module, path: str) -> bool:
    return any(True for _ in model.get_submodule(path).children())
