"""Weights are read from what people have, and every fault of a file is named."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tlsweep.errors import Refusal
from tlsweep.source.trunk import Found, find_weights, fit_weights


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


BIG = {f"layer{i}.weight": torch.full((2,), float(i)) for i in range(10)}
HEAD = {"fc.weight": torch.ones(3, 2), "fc.bias": torch.zeros(3)}
WHOLE = {**BIG, **HEAD}


def under(prefix: str, weights: dict[str, Tensor] = WHOLE) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in weights.items()}


def find(file: Path, part: str | None = None) -> Found:
    return find_weights(file, WHOLE, HEAD.keys(), part)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.pth.tar", "w.bin", "weights"])
@pytest.mark.parametrize(
    ("wrap", "left_out"),
    [
        (lambda w: w, 0),
        (lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"lr": torch.ones(1)}}, 0),
        (lambda w: {"model": w, "args": argparse.Namespace(lr=0.1)}, 0),
        (lambda w: {"state_dict": under("module.model.", w), "best_acc1": np.float64(0.7)}, 0),
        (lambda w: {"state_dict": under("net.", w) | {"loss.weight": torch.ones(3)}}, 1),
        (lambda w: under("backbone.", w) | {"metric.total": torch.ones(1)}, 1),
        (lambda w: under("module.", w) | {"n_averaged": torch.tensor(5)}, 0),
        (lambda w: {"meta": {"time": "now"}, "state_dict": under("resnet.", w)}, 0),
        (
            lambda w: {
                "hyper_parameters": {"a": np.arange(3)},
                "state_dict": under("_orig_mod.", w),
            },
            0,
        ),
    ],
    ids=["plain", "state_dict", "Namespace", "scalar", "Lightning", "metric", "SWA", "mm", "array"],
)
def test_the_trunk_is_found_wherever_it_lies(
    tmp_path: Path, name: str, wrap: Callable[[dict[str, Tensor]], object], left_out: int
) -> None:
    torch.save(wrap(WHOLE), tmp_path / name)
    found = find(tmp_path / name)
    assert equal(found.weights, WHOLE)
    assert len(found.left_out) == left_out


def test_safetensors_and_an_index_of_several_are_read(tmp_path: Path) -> None:
    save_file(WHOLE, tmp_path / "w.safetensors")
    assert equal(find(tmp_path / "w.safetensors").weights, WHOLE)
    first, second = dict(list(WHOLE.items())[:5]), dict(list(WHOLE.items())[5:])
    save_file(first, tmp_path / "model-1.safetensors")
    save_file(second, tmp_path / "model-2.safetensors")
    shards = {
        **dict.fromkeys(first, "model-1.safetensors"),
        **dict.fromkeys(second, "model-2.safetensors"),
    }
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert equal(find(tmp_path / "model.safetensors.index.json").weights, WHOLE)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"student": under("module.backbone."), "teacher": under("backbone.")},
         ("student.module.backbone", "teacher.backbone")),
        ({"state_dict": under("module.encoder_q.") | under("module.encoder_k.")},
         ("state_dict.module.encoder_q", "state_dict.module.encoder_k")),
        ({"state_dict": WHOLE, "state_dict_ema": WHOLE}, ("state_dict", "state_dict_ema")),
    ],
    ids=["DINO", "MoCo", "EMA"],
)  # fmt: skip
def test_which_of_several_sets_of_weights_is_asked_for(
    tmp_path: Path, content: object, parts: tuple[str, str]
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(Refusal, match="one set of weights is taken") as refused:
        find(tmp_path / "w.pt")
    (fault,) = refused.value.faults
    assert ", ".join(parts) in fault.rule
    assert fault.mend == f"source.part={parts[1]}"
    for part in parts:
        assert equal(find(tmp_path / "w.pt", part).weights, WHOLE)
    with pytest.raises(Refusal, match="one set of weights is taken"):
        find(tmp_path / "w.pt", "other")


def test_a_replaced_or_absent_classifier_is_no_fault_and_what_is_left_out_is_said(
    tmp_path: Path,
) -> None:
    file = tmp_path / "w.pt"
    torch.save(BIG | {"fc.1.weight": torch.ones(7, 2), "fc.1.bias": torch.ones(7)}, file)
    found = find(file)
    assert found.said(file) == ("2 tensors of w.pt are left out: fc.1.weight, fc.1.bias",)
    fitted = fit_weights(found.weights, WHOLE, file, "the model", HEAD.keys())
    assert equal(fitted, WHOLE)
    torch.save(BIG, file)
    assert find(file).said(file) == ()


class Evil:
    """Runs code when unpickled in the usual way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(Refusal, match=r"save\(model\.state_dict"):
        find(tmp_path / "w.pt")
    torch.save({"w": Evil(tmp_path / "ran")}, tmp_path / "zipped.pt")
    with pytest.raises(Refusal, match="weights alone"):
        find(tmp_path / "zipped.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(WHOLE, path)
    else:
        save_file(WHOLE, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(Refusal, match="again"):
        find(path)


def test_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_text("<html>404 not found</html>")
    with pytest.raises(Refusal) as caught:
        find(tmp_path / "w.pt")
    assert caught.value.faults[0].value == f"source.checkpoint={tmp_path / 'w.pt'}"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"epoch": 3, "lr": 0.1}, "this one holds epoch, lr"),
        ({}, "this one holds nothing"),
        ([torch.ones(1)], "this is a list"),
        (torch.ones(1), "this is a Tensor"),
        ({"layer0.weight": torch.tensor([1.0, float("nan")])}, "NaN or infinite here: layer0"),
        ({"other": torch.ones(1)}, "none of its 10 names"),
    ],
)
def test_what_is_not_weights_is_refused(tmp_path: Path, content: object, word: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(Refusal, match=word):
        find(tmp_path / "w.pt")


def test_a_missing_file_is_refused_with_the_nearest_name_beside_it(tmp_path: Path) -> None:
    torch.save(WHOLE, tmp_path / "resnet18-mine.pt")
    with pytest.raises(Refusal) as caught:
        find(tmp_path / "resnet18-mien.pt")
    assert caught.value.faults[0].mend == f"source.checkpoint={tmp_path / 'resnet18-mine.pt'}"


def test_torchscript_and_a_whole_pickled_model_are_refused_by_name(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    torch.jit.script(Net()).save(str(tmp_path / "w.pt"))
    with pytest.raises(Refusal, match="this one is TorchScript"):
        find(tmp_path / "w.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(Refusal, match=r"is not run \(here torch\.nn\.modules\.linear\.Linear\)"):
        find(tmp_path / "model.pt")


def test_missing_and_misshapen_names_come_as_one_fault(tmp_path: Path) -> None:
    given = {
        name: value
        for name, value in WHOLE.items()
        if name not in ("layer0.weight", "layer1.weight")
    }
    torch.save({**given, "layer2.weight": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(Refusal) as caught:
        fit_weights(find(tmp_path / "w.pt").weights, WHOLE, "w.pt", "the model", HEAD.keys())
    (fault,) = caught.value.faults
    assert "2 of 12 missing: layer0.weight, layer1.weight" in fault.rule
    assert "1 of another shape: layer2.weight [3] for [2]" in fault.rule


def test_long_lists_of_names_are_cut_and_counted() -> None:
    with pytest.raises(
        Refusal, match=r"9 of 10 missing: layer1.weight, layer2.weight, layer3.weight, and 6"
    ):
        fit_weights({"layer0.weight": BIG["layer0.weight"]}, BIG, "w.pt", "the model")


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ({"layer0.weight": torch.zeros(2)}, "another architecture"),
        ({name: torch.cat([v, v]) for name, v in BIG.items()}, "another width or size"),
    ],
)
def test_the_likely_reason_is_named(given: dict[str, Tensor], mend: str) -> None:
    with pytest.raises(Refusal, match=mend):
        fit_weights(given, BIG, "w.pt", "the model")


def test_positions_of_another_resolution_are_mended_by_the_size() -> None:
    expected = {"pos_embed": torch.zeros(1, 10, 4)}
    with pytest.raises(Refusal, match=r"mend: source\.image_size=SIZE"):
        fit_weights({"pos_embed": torch.zeros(1, 26, 4)}, expected, "w.pt", "the model")


def test_batch_counters_that_old_files_lack_are_filled_in() -> None:
    expected = {"norm.weight": torch.zeros(2), "norm.num_batches_tracked": torch.tensor(0)}
    fitted = fit_weights({"norm.weight": torch.ones(2)}, expected, "w.pt", "the model")
    assert list(fitted) == list(expected)


def test_half_precision_weights_take_the_dtype_of_the_model() -> None:
    fitted = fit_weights({"w": torch.ones(2).half()}, {"w": torch.zeros(2)}, "w.pt", "the model")
    assert fitted["w"].dtype is torch.float32
