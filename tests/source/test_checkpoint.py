"""Weights are read from what people have, and every fault of a file is named."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tlsweep.errors import Refusal
from tlsweep.source.checkpoint import fit_weights, read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": weights, "optimizer": {"lr": 0.1}},
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: {f"model.{key}": value for key, value in weights.items()},
        lambda weights: {"state_dict": {f"module.model.{k}": v for k, v in weights.items()}},
    ],
    ids=["plain", "state_dict", "model", "module.", "model.", "all"],
)
def test_wrappers_and_prefixes_come_off(
    tmp_path: Path, suffix: str, wrap: Callable[[dict[str, Tensor]], object]
) -> None:
    torch.save(wrap(WEIGHTS), tmp_path / f"w{suffix}")
    assert equal(read_weights(tmp_path / f"w{suffix}"), WEIGHTS)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    assert equal(read_weights(tmp_path / "w.safetensors"), WEIGHTS)


def test_a_prefix_that_not_all_names_have_stays(tmp_path: Path) -> None:
    torch.save({"model.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt")) == {"model.a", "b"}


class Evil:
    """Runs code when unpickled in the usual way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(Refusal, match=r"save\(model\.state_dict"):
        read_weights(tmp_path / "w.pt")
    torch.save({"w": Evil(tmp_path / "ran")}, tmp_path / "zipped.pt")
    with pytest.raises(Refusal, match="weights alone"):
        read_weights(tmp_path / "zipped.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(Refusal, match="again"):
        read_weights(path)


def test_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_text("<html>404 not found</html>")
    with pytest.raises(Refusal) as caught:
        read_weights(tmp_path / "w.pt")
    assert caught.value.faults[0].value == f"source.checkpoint={tmp_path / 'w.pt'}"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"epoch": 3, "lr": 0.1}, "not tensors here: epoch, lr"),
        ({}, "empty"),
        ([torch.ones(1)], "this is a list"),
        (torch.ones(1), "this is a Tensor"),
        ({"w": torch.tensor([1.0, float("nan")])}, "NaN or infinite here: w"),
    ],
)
def test_what_is_not_weights_is_refused(tmp_path: Path, content: object, word: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(Refusal, match=word):
        read_weights(tmp_path / "w.pt")


def test_a_missing_file_is_refused_with_the_nearest_name_beside_it(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "resnet18-mine.pt")
    with pytest.raises(Refusal) as caught:
        read_weights(tmp_path / "resnet18-mien.pt")
    assert caught.value.faults[0].mend == f"source.checkpoint={tmp_path / 'resnet18-mine.pt'}"


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(Refusal, match=r"ends in \.pt, \.pth, \.ckpt, \.safetensors"):
        read_weights(tmp_path / "w.h5")


def test_missing_unexpected_and_misshapen_names_come_in_one_refusal() -> None:
    expected = {f"layer.{i}": torch.zeros(2) for i in range(20)}
    given = {key: value for key, value in expected.items() if key not in ("layer.0", "layer.1")}
    given |= {"layer.2": torch.zeros(3), "other": torch.zeros(1)}
    with pytest.raises(Refusal) as caught:
        fit_weights(given, expected, "w.pt", "the model")
    missing, unexpected, misshapen = (fault.rule for fault in caught.value.faults)
    assert "2 missing: layer.0, layer.1" in missing
    assert "1 unexpected: other" in unexpected
    assert "1 do not: layer.2 [3] instead of [2]" in misshapen


def test_long_lists_of_names_are_cut_and_counted() -> None:
    expected = {f"layer.{i}": torch.zeros(2) for i in range(20)}
    with pytest.raises(Refusal, match=r"20 missing: layer\.0, layer\.1, layer\.2, and 17 more"):
        fit_weights({"x": torch.zeros(1)}, expected, "w.pt", "the model")


@pytest.mark.parametrize(
    ("change", "explanation"),
    [
        (lambda w: {f"other.{key}": value for key, value in w.items()}, "another architecture"),
        (lambda w: {key: torch.cat([v, v]) for key, v in w.items()}, "another width or size"),
        (lambda w: {key: v for key, v in w.items() if "9" not in key}, "without their classifier"),
        (lambda w: w | {"aux": torch.zeros(1)}, "with extra parts"),
    ],
)
def test_the_likely_reason_is_named(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], explanation: str
) -> None:
    expected = {f"layer.{i}": torch.zeros(2) for i in range(10)}
    with pytest.raises(Refusal) as caught:
        fit_weights(change(dict(expected)), expected, "w.pt", "the model")
    assert all(explanation in fault.mend for fault in caught.value.faults)


def test_batch_counters_that_old_files_lack_are_filled_in() -> None:
    expected = {"norm.weight": torch.zeros(2), "norm.num_batches_tracked": torch.tensor(0)}
    fitted = fit_weights({"norm.weight": torch.ones(2)}, expected, "w.pt", "the model")
    assert list(fitted) == list(expected)


def test_half_precision_weights_take_the_dtype_of_the_model() -> None:
    fitted = fit_weights({"w": torch.ones(2).half()}, {"w": torch.zeros(2)}, "w.pt", "the model")
    assert fitted["w"].dtype is torch.float32
