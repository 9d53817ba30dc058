"""``python -m tlsweep export``: every format asked for, checked, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import Made

import tlsweep
from tlsweep.commands import export
from tlsweep.errors import Refusal


def test_several_formats_are_written_beside_each_other_and_their_check_is_told(
    probe_folder: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    export.run([f"model={probe_folder.folder}", "format=onnx,torch_export"], Path())
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.pt2"}
    assert capsys.readouterr().out.count("checked at 1 and 3 images") == 2


def test_the_output_may_be_the_model_folder_which_stays_a_whole_one(
    tuned_folder: Made, tmp_path: Path
) -> None:
    file = tuned_folder.folder / "model.onnx"
    export.run([f"model={tuned_folder.folder}", "format=onnx", f"output={file}"], Path())
    assert file.is_file()
    tlsweep.load_model(tuned_folder.folder)
    file.unlink()


BAD = {
    "no model": (("format=onnx",), "export without model="),
    "not a model": (("model=none", "format=onnx"), "a model folder is one that a sweep wrote"),
    "no format": (("model=M",), "export without format="),
    "unknown format": (("model=M", "format=onxx"), "mend: format=onnx"),
    "unknown key": (("model=M", "format=onnx", "ouput=x"), "mend: output=x"),
    "one file for two": (("model=M", "format=onnx,torch_export", "output=file"), "output=FOLDER"),
    "no such folder": (("model=M", "format=onnx", "output=no/x.onnx"), "the folder exists"),
    "the model's own file": (("model=M", "format=torch_export", "output=M"), "own files"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_done_is_refused(
    arguments: tuple[str, ...],
    said: str,
    probe_folder: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "M").symlink_to(probe_folder.folder)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(Refusal) as refusal:
        export.run(arguments, Path())
    assert said in str(refusal.value)
    assert (tmp_path / "file").read_text() == "kept"
    tlsweep.load_model(probe_folder.folder)
