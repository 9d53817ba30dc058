"""The model in other formats, each checked against the model before it counts as written."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlsweep.cut import folded
from tlsweep.cut.stand_in import silent
from tlsweep.errors import Fault, Refusal, TlsweepError
from tlsweep.model import inputs, timm_export
from tlsweep.model.card import CARD
from tlsweep.model.taken import TakenModel
from tlsweep.train.network import PlanNetwork

TOLERANCE = 1e-4  # of logits, as a share of the largest one, or of 1
EXTRA: Mapping[str, tuple[tuple[str, ...], str]] = {
    "onnx": (("onnx", "onnxscript", "onnxruntime"), "export"),
    "timm": (("timm",), "timm"),
}
"""What a format takes: packages, and the extra of tlsweep that has them."""
Answer = Callable[..., Tensor]
"""The tensors of ``inputs.Inputs``, one by one, to logits."""


class NotExported(TlsweepError):  # noqa: N818 - what happened, not a fault of the program
    """The model cannot be written in that format; the message says why."""


def export_model(model: TakenModel, form: str, file: Path) -> float:
    """Write ``model`` to ``file``, whole or not at all; returns how far its logits are off.

    form: one of FORMATS. The written file takes any number of normalised images, float32 [batch,
    channels, size, size], or of texts their ids, int64, and their mask, bool [batch, length], and
    gives logits; it is opened again and compared with the model, at one and at three of them.
    Raises Refusal where the extra packages are missing, NotExported where the model does not allow
    the format or answers otherwise in it.
    """
    refuse_missing(form)
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex}{file.suffix}")
    try:
        answer = FORMATS[form][1](model, part)
        off = _largest_difference(model, answer)
        if not off <= TOLERANCE:
            raise NotExported(f"its logits would be off by {off:.1e}; {TOLERANCE:.0e} is allowed")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return off


def export_all(
    model: TakenModel, files: Mapping[str, Path]
) -> tuple[dict[str, float], dict[str, str]]:
    """Write ``model`` in several formats: format to how far it is off, and to why it is not there.

    A format that the model does not allow keeps no other from being written.
    """
    written, refused = {}, {}
    for form, file in files.items():
        try:
            written[form] = export_model(model, form, file)
        except NotExported as error:
            refused[form] = str(error)
    return written, refused


def refuse_missing(form: str) -> None:
    """Raise Refusal if packages that a format needs are not installed."""
    packages, extra = EXTRA.get(form, ((), ""))
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    if missing:
        raise Refusal(
            Fault(
                f"format={form} without {', '.join(missing)}",
                f"to write and check that format takes {', '.join(packages)}",
                f"pip install 'tlsweep[{extra}]'",
            )
        )


def _torch_export(model: TakenModel, file: Path) -> Answer:
    program = _program(model)
    torch.export.save(program, file, extra_files={CARD: _text(model)})
    loaded = torch.export.load(file).module()
    return lambda *given: loaded(*given)


def _onnx(model: TakenModel, file: Path) -> Answer:
    import onnxruntime

    names = inputs.names(model.card)
    try:
        # constants are computed ahead: T5 has a log(0), and what cannot be is left as it is
        folding = silent("onnxscript.optimizer._constant_folding")
        with folding, np.errstate(divide="ignore", invalid="ignore"):
            made: Any = torch.onnx.export(
                _program(model),
                input_names=list(names),
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
        made.model.metadata_props[CARD] = _text(model)
        made.save(file, external_data=False)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except NotExported:
        raise
    except Exception as error:  # exporter and runtime refuse an operation in their own ways
        raise NotExported(_first_line(error)) from error

    def answer(*given: Tensor) -> Tensor:
        fed = {name: x.numpy() for name, x in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, fed)[0])

    return answer


def _timm(model: TakenModel, file: Path) -> Answer:
    if why := timm_export.why_not(model):
        raise NotExported(why)
    try:
        read = timm_export.write(model, file)
    except Exception as error:  # timm and its models refuse in their own ways
        raise NotExported(_first_line(error)) from error
    return lambda x: timm_export.answered(read, x)


FORMATS: dict[str, tuple[str, Callable[[TakenModel, Path], Answer]]] = {
    "torch_export": ("model.pt2", _torch_export),
    "onnx": ("model.onnx", _onnx),
    "timm": ("timm.safetensors", _timm),
}
"""Name of a format to the usual name of its file, and what writes it."""


def _program(model: TakenModel) -> torch.export.ExportedProgram:
    # nothing is trained any more: all blocks can run folded
    network = PlanNetwork([folded(block) for block in model.network.blocks], model.network.head)
    # torch warns that it cannot tell whether weights in another order are whole
    network = copy.deepcopy(network.eval()).to(memory_format=torch.contiguous_format)
    whole, given = inputs.taking_inputs(network, model.card).eval(), inputs.example(model.card)
    batch = {0: torch.export.Dim("batch")}
    try:
        with torch.no_grad(), _untold():
            return torch.export.export(
                whole, given, dynamic_shapes=(batch,) * len(given), strict=False
            )
    except Exception as error:  # a forward can fail under export in any way it likes
        raise NotExported(_first_line(error)) from error


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """Inside, torch is not heard: of a failure it tells, program and all, before it raises it."""
    told = contextlib.redirect_stderr(io.StringIO())
    with silent("torch.fx.experimental.symbolic_shapes"), told, warnings.catch_warnings():
        # an LSTM lists its weights a second time, and these are parameters already
        message = r"The tensor attributes? .*_flat_weights.* assigned during export"
        warnings.filterwarnings("ignore", message=message)
        yield


def _text(model: TakenModel) -> str:
    return json.dumps(model.card.model_dump(mode="json"))


def _largest_difference(model: TakenModel, answer: Answer) -> float:
    """How far logits are off at most; NaN where they are none on one side alone."""
    network, differences = inputs.taking_inputs(model.network, model.card), []
    with torch.no_grad():
        for given in inputs.to_compare(model.card):
            ours = network(*given)
            try:
                theirs = answer(*given)
            except Exception as error:
                raise NotExported(_first_line(error)) from error
            largest = ours.abs().max().clamp_min(1)
            differences.append((ours - theirs).abs().max() / largest)
    return float(torch.stack(differences).max())


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:  # exporters wrap the reason in advice to developers
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no further word'}"
