"""Whether a model ends in a classifier of its own, which a plan does not keep."""

from __future__ import annotations

from typing import Any

from torch import nn

from tlsweep.cut.flow import Flow
from tlsweep.cut.observe import Observation
from tlsweep.cut.program import Step, attribute
from tlsweep.cut.trace import Trace
from tlsweep.cut.work import Work, kind_of_work

_PROBABILITIES = {"softmax", "logsoftmax", "softmax2d", "sigmoid", "logsigmoid"}
_ACTIVATIONS = {name.lower() for name in nn.modules.activation.__all__} - _PROBABILITIES


def has_classifier(model: nn.Module, fine: Trace, flow: Flow, seen: Observation) -> bool:
    """Whether the last work of a forward pass is a classifier's.

    fine: a trace of all operations. A classifier is a linear layer that all of the data goes
    through, and after which there is no norm and no activation but for probabilities; or a 1 x 1
    convolution whose maps are averaged. Also what could not be looked into is taken for one.
    """
    steps = fine.program.steps
    kinds = [kind_of_work(step, model, seen.sights[step.name]) for step in steps]
    places = [i for i, kind in enumerate(kinds) if kind is Work.MAIN]
    if not places:
        return False
    last, after = steps[places[-1]], steps[places[-1] + 1 :]
    module = attribute(model, last.target) if last.op == "call_module" else None
    if last.op == "call_module" and last.target in fine.opaque:
        return True
    made = {last.name, *(step.name for step in after)}
    if any(step.reads & flow.data - made for step in after):  # a way around it, as in a block
        return False
    names = [_name(step, model) for step in after]
    if any("norm" in name for name in names):
        return False
    if isinstance(module, nn.Conv2d):
        pooled = any("pool" in name or "mean" in name for name in names)
        return pooled and set(module.kernel_size) == {1}
    linear = isinstance(module, nn.Linear) or "linear" in _name(last, model)
    return linear and not _ACTIVATIONS & set(names)


def _name(step: Step, model: nn.Module) -> str:
    target: Any = step.target
    if step.op == "call_module":
        target = type(attribute(model, step.target))
    return str(getattr(target, "__name__", target)).lower().replace("_", "")
