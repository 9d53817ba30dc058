"""The model in other formats answers as the model does, or is not written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from folders import Made
from torch import Tensor, nn

import tlsweep
from tlsweep.errors import Refusal
from tlsweep.heads.head import Head, Pooling
from tlsweep.model import NotExported, TakenModel, export_all, export_model
from tlsweep.train.network import PlanNetwork

TOLERANCE = 1e-4  # as export states it


@pytest.mark.parametrize("kind", ["tuned_folder", "probe_folder"])
def test_onnx_takes_any_number_of_images_and_gives_the_models_logits(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made: Made = request.getfixturevalue(kind)
    file = tmp_path / "model.onnx"
    assert export_model(tlsweep.load_model(made.folder), "onnx", file) <= TOLERANCE
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": made.x.numpy()})
    assert np.allclose(found, made.logits.numpy(), atol=TOLERANCE * float(made.logits.abs().max()))
    notes = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(notes["model.json"])["output_names"] == ["bee=blue", "red ant"]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]  # no part, no data beside


def test_the_exported_program_of_the_folder_gives_the_models_logits(tuned_folder: Made) -> None:
    program = torch.export.load(tuned_folder.folder / "model.pt2").module()
    for n in (1, 3, 9):
        with torch.no_grad():
            off = (program(tuned_folder.x[:n]) - tuned_folder.logits[:n]).abs().max()
        assert off <= TOLERANCE * float(tuned_folder.logits.abs().max())


class _Branches(nn.Module):
    """Whose forward depends on the values it sees: no format can hold it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if bool(x.sum() > 0) else x


class _Bessel(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def _with(block: nn.Module, made: Made) -> TakenModel:
    shape = tuple(made.x.shape[1:])
    network = PlanNetwork([block], Head(shape, Pooling(1, 2), 2, kind="linear"))
    return TakenModel(network, tlsweep.load_model(made.folder).card)


def test_a_format_that_the_model_does_not_allow_keeps_no_other_from_being_written(
    probe_folder: Made, tmp_path: Path
) -> None:
    files = {"onnx": tmp_path / "m.onnx", "torch_export": tmp_path / "m.pt2"}
    written, refused = export_all(_with(_Bessel(), probe_folder), files)
    assert written.keys() == {"torch_export"}
    assert "bessel" in refused["onnx"]
    assert [file.name for file in tmp_path.iterdir()] == ["m.pt2"]


@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_a_model_that_branches_on_values_is_not_exported(
    form: str, probe_folder: Made, tmp_path: Path
) -> None:
    with pytest.raises(NotExported):
        export_model(_with(_Branches(), probe_folder), form, tmp_path / "m")
    assert not list(tmp_path.iterdir())


class _OtherWhenExported(nn.Module):
    """Answers otherwise once it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (1.0 if torch.compiler.is_exporting() else 0.0)


def test_an_export_that_answers_otherwise_is_not_kept(probe_folder: Made, tmp_path: Path) -> None:
    with pytest.raises(NotExported, match="logits would be off by"):
        export_model(_with(_OtherWhenExported(), probe_folder), "torch_export", tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


class _NoNumberWhenExported(nn.Module):
    """Answers what is no number once it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (float("nan") if torch.compiler.is_exporting() else 1.0)


def test_an_export_that_answers_no_number_is_not_kept(probe_folder: Made, tmp_path: Path) -> None:
    model = _with(_NoNumberWhenExported(), probe_folder)
    with pytest.raises(NotExported, match="logits would be off by nan"):
        export_model(model, "torch_export", tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_packages_onnx_is_refused_with_the_command_that_installs_them(
    probe_folder: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    with pytest.raises(Refusal, match=r"pip install 'tlsweep\[export\]'"):
        export_model(tlsweep.load_model(probe_folder.folder), "onnx", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
