"""A whole sweep from Python answers for networks and data that the program itself holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

import tlsweep
from tlsweep.errors import Refusal
from tlsweep.source import held as held_source
from tlsweep.source import open_source
from tlsweep.target import held as held_target
from tlsweep.terms import ImageSpec
from tlsweep.verdict import Verdict

IMAGE = ImageSpec(1, 16, (0.5,), (0.25,), 16)


class Digits(Dataset[Any]):
    """Scikit-learn's digits as a Dataset of the user's own, in one of three spellings."""

    def __init__(self, spelling: str, n: int = 200) -> None:
        self.spelling, self.bunch, self.n = spelling, load_digits(), n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Any, int]:
        ink = self.bunch.images[i] / 16
        made = {
            "tensor": lambda: torch.from_numpy(ink).float()[None],
            "array": lambda: np.round(255 * ink).astype(np.uint8),
            "normalised": lambda: torch.from_numpy(ink * 4 - 2).float()[None],
        }
        return made[self.spelling](), int(self.bunch.target[i])


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 10),
    )  # fmt: skip


def test_a_network_and_a_dataset_of_the_users_own_get_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path))
    verdict = tlsweep.sweep(
        network(), Digits("tensor"), "record=none", image=IMAGE,
        sweep__stages=["survey"], output_dir=str(tmp_path / "out"), study="own",
    )  # fmt: skip
    assert isinstance(verdict, Verdict)
    assert verdict.recommended.n_blocks >= 3
    assert verdict.report_images == 60
    frame = verdict.to_dataframe()
    assert len(frame) == len(verdict.plans)
    assert frame["recommended"].sum() == 1
    assert list(frame["out_of_fold"]) == sorted(frame["out_of_fold"], reverse=True)
    assert verdict.recommended.keep_name in verdict._repr_html_()
    assert (tmp_path / "out" / "own" / "verdict.json").exists()


@pytest.mark.parametrize("spelling", ["tensor", "array"])
def test_the_spellings_of_an_image_mean_the_same_pixels(spelling: str) -> None:
    target = held_target.open(key=held_target.hold(Digits(spelling)))
    seen = target.pixels(np.arange(5), ImageSpec(1, 8, (0.0,), (1.0,), 8))
    expected = np.round(255 * load_digits().images[:5] / 16)
    assert np.array_equal(seen[:, 0].numpy(), expected)


def test_images_that_are_normalised_already_are_refused() -> None:
    with pytest.raises(Refusal, match="not normalised"):
        held_target.hold(Digits("normalised"))


def test_a_network_is_copied_as_it_was_given() -> None:
    given = network()
    key = held_source.hold(given, IMAGE)
    x = torch.rand(2, 1, 16, 16)
    before = given.eval()(x)
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.zero_()
    assert torch.equal(open_source("held", key=key).model()(x), before)


@pytest.mark.parametrize("part", ["source", "target"])
def test_a_key_that_this_process_has_not_made_is_refused(part: str) -> None:
    module = {"source": held_source, "target": held_target}[part]
    with pytest.raises(Refusal, match=f"{part}=held"):
        module.check(key="somebody-elses")


def test_a_wrong_key_is_refused_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"unknown key sweep\.minute"):
        tlsweep.sweep("glyphs", "digits", sweep__minute=5, output_dir=str(tmp_path))


@pytest.mark.parametrize("who", ["sweep.n_jobs=2", "engine=joined"])
def test_what_a_program_holds_is_refused_to_other_processes(tmp_path: Path, who: str) -> None:
    with pytest.raises(Refusal, match="is not there in other processes"):
        tlsweep.sweep(network(), Digits("tensor"), who, output_dir=str(tmp_path), image=IMAGE)
