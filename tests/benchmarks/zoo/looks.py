"""What is looked at in one model: cut points, exactness, a survey, a tuned step, an export."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from models import Subject
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tlsweep.cut import CutPoints, block_of, folded, section
from tlsweep.cut.stand_in import silent
from tlsweep.errors import Refusal
from tlsweep.extract.taps import Taps
from tlsweep.heads.head import Head, Pooling
from tlsweep.heads.ridge import fit_ridge
from tlsweep.model.inputs import OfTexts
from tlsweep.train.network import PlanNetwork

IMAGES, CLASSES = 6, 3
COLUMNS = ("size", "way", "cuts", "exact", "survey", "tuned", "export", "s", "why not")
TOLERANCE = 1e-4  # as an export states it


@dataclass
class Look:
    """One model, at one size."""

    model: nn.Module
    example: Tensor
    cuts: CutPoints

    @property
    def of_texts(self) -> bool:
        """Whether it takes tokens."""
        return not self.example.is_floating_point()

    def inputs(self, n: int) -> Tensor:
        """So many random examples."""
        generator = torch.Generator().manual_seed(1)
        shape = (n, *self.example.shape[1:])
        if not self.of_texts:
            return torch.randn(shape, generator=generator)
        return torch.randint(4, 11, shape, generator=generator)

    def exported(self, n: int) -> tuple[Tensor, ...]:
        """The same as an exported program takes them: texts with their mask, of other lengths."""
        x = self.inputs(n)
        if not self.of_texts:
            return (x,)
        return x, torch.arange(x.shape[1]) < torch.arange(x.shape[1], 0, -4)[:n, None]

    def rule(self, index: int) -> Pooling:
        """How a head pools a cut point."""
        cut, bag = self.cuts[index], index == 0 and self.of_texts
        return Pooling(cut.channel_dim, 1, cut.tokens, 16 if bag else None)


def look(subject: Subject) -> dict[str, str]:
    """A row of the table, by its columns."""
    began, row, reasons = time.monotonic(), dict.fromkeys(COLUMNS, "-"), []
    try:
        found = _opened(subject)
    except Exception as error:  # a model fails in any way it likes: that is the row
        row["why not"] = _reason(error)
        return row
    side = found.example.shape[-1]
    row |= {"size": str(side), "way": found.cuts.way, "cuts": str(len(found.cuts) - 1)}
    looks: dict[str, Callable[[Look], str]] = {
        "exact": exact, "survey": survey, "tuned": tuned, "export": export
    }  # fmt: skip
    for name, one in looks.items():
        try:
            row[name] = one(found)
        except Exception as error:  # likewise
            row[name] = "no"
            reasons.append(f"{name}: {_reason(error)}")
    row["s"] = f"{time.monotonic() - began:.1f}"
    row["why not"] = "; ".join(reasons) or "-"
    del found
    gc.collect()
    return row


def _opened(subject: Subject) -> Look:
    for size in subject.fed[:-1]:
        try:
            return _at(subject, size)
        except Exception:  # it takes another size
            gc.collect()
    return _at(subject, subject.fed[-1])


def _at(subject: Subject, size: int | None) -> Look:
    model, example = subject.build(size)
    model.eval()
    return Look(model, example, subject.cut(model, example))


def exact(found: Look) -> str:
    """Whether the rest of the model makes of each cut point what the model answers, bit for bit."""
    model, cuts, x, off = found.model, found.cuts, found.inputs(2), []
    with torch.no_grad():
        z, wanted = x.clone(), _tensors(section(model, cuts, 0, None)(x.clone()))
        if found.cuts.way != "layers":
            wanted = _tensors(model(x.clone()))
        for i in range(len(cuts)):
            if not cuts[i].starts:
                continue
            z = z if i == 0 else section(model, cuts, cuts.below(i - 1), i)(z)
            answer = _tensors(section(model, cuts, i, None)(z.clone()))
            if not all(torch.equal(a, b) for a, b in zip(answer, wanted, strict=False)):
                off.append(cuts[i].name)
    if off:
        raise ValueError(f"not at {', '.join(off[:3])} ({len(off)})")
    return f"{sum(cut.starts for cut in cuts)} of {len(cuts)}"


def survey(found: Look) -> str:
    """One pass over all cut points, and a ridge head on each: how many gave finite numbers."""
    cuts, x = found.cuts, found.inputs(IMAGES)
    rules = [found.rule(i) for i in range(len(cuts))]
    taken = Taps(copy.deepcopy(found.model), cuts, range(len(cuts)), rules)(x)
    t_nm = torch.eye(CLASSES)[torch.arange(IMAGES) % CLASSES]
    for cut, z in zip(cuts, taken, strict=True):
        head = fit_ridge(z, t_nm, [1.0]).heads
        if not bool(head.weight.isfinite().all()):
            raise ValueError(f"a head at {cut.name} is not finite")
    return "yes"


def tuned(found: Look) -> str:
    """One step of training of the upper half: frozen blocks stay, tuned ones move."""
    network = _network(copy.deepcopy(found.model), found)
    half = max(1, len(network.blocks) // 2) if len(network.blocks) > 1 else 0
    half = found.cuts.below(half).index
    network.thaw(range(half, len(network.blocks)))
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    loss = nn.functional.cross_entropy(network(found.inputs(4)), torch.arange(4) % CLASSES)
    loss.backward()  # type: ignore[no-untyped-call]
    step.step()
    shared = {id(p) for block in network.blocks[:half] for p in block.parameters()}
    moved = set()
    for name, value in network.state_dict().items():
        if name.startswith("blocks.") and not torch.equal(value, before[name]):
            moved.add(int(name.split(".")[1]))
    if low := sorted(block for block in moved if block < half):
        raise ValueError(f"frozen blocks moved: {low}")
    own = [p for block in network.blocks[half:] for p in block.parameters() if id(p) not in shared]
    if own and not moved:
        raise ValueError("no tuned block moved")
    return "yes"


def export(found: Look) -> str:
    """The whole model under a head, exported and read back: the same answers."""
    plain = _network(copy.deepcopy(found.model), found)
    plain = PlanNetwork([folded(block) for block in plain.blocks], plain.head)
    plain = plain.eval().to(memory_format=torch.contiguous_format)
    network = OfTexts(plain).eval() if found.of_texts else plain
    given = found.exported(2)
    held = io.BytesIO()
    told = contextlib.redirect_stderr(io.StringIO())  # torch shows the program of a failure
    with torch.no_grad(), silent("torch.fx.experimental.symbolic_shapes"), told:
        shapes = ({0: torch.export.Dim("batch")},) * len(given)
        program = torch.export.export(network, given, dynamic_shapes=shapes, strict=False)
        torch.export.save(program, held)
        held.seek(0)
        again, x = torch.export.load(held).module(), found.exported(3)
        ours, theirs = network(*x), again(*x)
    off = float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1))
    if not off <= TOLERANCE:
        raise ValueError(f"off by {off:.1e}")
    return "yes"


def _network(model: nn.Module, found: Look) -> PlanNetwork:
    cuts, last = found.cuts, len(found.cuts) - 1
    head = Head(cuts[last].shape, found.rule(last), CLASSES, kind="linear")
    return PlanNetwork([block_of(model, cuts, i, last) for i in range(last)], head)


def _tensors(answer: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]


def _reason(error: Exception) -> str:
    if isinstance(error, Refusal):
        fault = error.faults[0]
        text = f"refused: {fault.value}"
    else:
        lines = str(error).strip().splitlines()
        text = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return text.replace("|", "/")[:120]
