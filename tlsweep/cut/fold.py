"""BatchNorm folded into the convolution before it: the same function with less to compute.

In eval mode BatchNorm is a scale and a shift of each channel, and a convolution can carry both.
Outputs move by rounding alone: by at most ``TOLERANCE`` of their largest value in float32.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tlsweep.cut.called import CalledPart
from tlsweep.cut.layered import LayeredPart
from tlsweep.cut.program import Program, Step, names_in
from tlsweep.cut.trace import trace

# Of the largest output. Measured: at most 2.7e-6 on 76 untrained models of torchvision, 2.0e-5 on
# MobileNetV2 with its ImageNet weights.
TOLERANCE = 5e-5
_NORM_OF: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
}


def folded(part: nn.Module, *, trains: bool = False) -> nn.Module:
    """``part`` with BatchNorm folded where it follows a convolution directly, in eval mode.

    part: a section, or any module that takes one tensor. Modules inside blocks that are kept whole
    are folded too. trains: fold anew in each pass, so that both are trained as they would be where
    BatchNorm keeps its statistics; the result has the modes of ``part``.
    A pair is left as it is if anything besides the BatchNorm reads the convolution's output, if
    either is called twice or has hooks, or if its surroundings cannot be traced. ``part`` itself is
    left as it was; what is not folded is shared with it, and ``part`` is returned where there is
    nothing to fold.
    """
    # what rides along through layers, and what is passed over in calls, a trace would not see
    own_way = isinstance(part, LayeredPart | CalledPart)
    if own_way or not any(type(module) in _NORM_OF.values() for module in part.modules()):
        return part
    try:
        program = trace(part).program
    except Exception:  # a forward can fail under tracing in any way it likes: it is run as it is
        return part
    pairs = list(_pairs(part, program))
    if not pairs:
        return part
    # the tensors themselves, in modules of its own
    mine = {id(t): t for t in (*part.parameters(), *part.buffers())}
    quick = copy.deepcopy(part, dict[int, object](mine))
    for conv, norm in pairs:
        both = part.get_submodule(conv), part.get_submodule(norm)
        _put(quick, conv, _Trained(*both) if trains else _fused(*both))
        _put(quick, norm, nn.Identity())
    return quick if trains else quick.eval()


def _pairs(part: nn.Module, program: Program) -> Iterator[tuple[str, str]]:
    """Paths of the convolutions and of the norms that can be folded into them."""
    readers = Counter(name for step in program.steps for name in step.reads)
    readers.update(names_in(program.output))
    made = {step.name: step for step in program.steps}
    alone = _used_once(part, program)
    for step in program.steps:
        conv = _read_by_it_alone(step, made, readers)
        if conv is None or not {conv.target, step.target} <= alone:
            continue
        if _fit(part.get_submodule(conv.target), part.get_submodule(step.target)):
            yield conv.target, step.target


def _read_by_it_alone(step: Step, made: dict[str, Step], readers: Counter[str]) -> Step | None:
    """The module call whose value ``step``, a module call too, reads, and nothing else does."""
    if step.op != "call_module" or len(step.args) != 1 or len(step.reads) != 1:
        return None
    (name,) = step.reads
    before = made.get(name)
    lone = before is not None and before.op == "call_module" and readers[name] == 1
    return before if lone else None


def _used_once(part: nn.Module, program: Program) -> set[str]:
    """Paths of modules that are called once, by one name, and whose tensors nobody else reads."""
    calls = Counter(step.target for step in program.steps if step.op == "call_module")
    read = {str(s.target).rpartition(".")[0] for s in program.steps if s.op == "get_attr"}
    paths = Counter(id(module) for _, module in part.named_modules(remove_duplicate=False))
    return {
        path
        for path, n in calls.items()
        if n == 1 and path not in read and paths[id(part.get_submodule(path))] == 1
    }


def _fit(conv: nn.Module, norm: nn.Module) -> bool:
    if type(norm) is not _NORM_OF.get(type(conv)):
        return False
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (conv, norm))
    return not hooked and isinstance(norm.running_mean, Tensor)


@torch.no_grad()
def _fused(conv: Any, norm: Any) -> nn.Module:
    quick: Any = copy.copy(conv)
    quick._parameters = dict(conv._parameters)
    with torch.inference_mode(False):
        # in double precision: one rounding, of the result
        old = (conv.weight, conv.bias, norm.running_mean, norm.running_var)
        double: list[Any] = [
            None if t is None else t.double() for t in (*old, norm.weight, norm.bias)
        ]
        w, b, mean, variance, scale, shift = double
        weight, bias = fuse_conv_bn_weights(w, b, mean, variance, norm.eps, scale, shift)
        quick.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
        quick.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    fused: nn.Module = quick
    return fused


class _Trained(nn.Module):
    """A convolution that carries the BatchNorm behind it; gradients reach the tensors of both."""

    def __init__(self, conv: Any, norm: Any) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution and then the BatchNorm in eval mode."""
        conv, norm = self.conv, self.norm
        scale_c = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale_c = scale_c * norm.weight
        shift_c = -norm.running_mean * scale_c
        if conv.bias is not None:
            shift_c = shift_c + conv.bias * scale_c
        if norm.bias is not None:
            shift_c = shift_c + norm.bias
        weight = conv.weight * scale_c.reshape(-1, *[1] * (conv.weight.ndim - 1))
        # padding of every mode is the convolution's own affair
        out: Tensor = conv._conv_forward(x, weight, shift_c)
        return out


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    above, _, name = path.rpartition(".")
    setattr(root.get_submodule(above), name, module)
