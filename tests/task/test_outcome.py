"""An outcome is read as it was written or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlsweep.errors import TlsweepError
from tlsweep.task import Classes, Labels, Numbers, Task
from tlsweep.task.outcome import Outcome, read, write

TASK = Classes(4)


def logits(n: int, seed: int = 0, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (n, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(),
        Outcome({3: logits(5)}),
        Outcome({}, logits(7)),
        Outcome({k: logits(5 + k, k) for k in range(12)}, logits(9)),
    ],
    ids=["nothing", "one fold", "report alone", "twelve folds and report"],
)
def test_what_is_read_is_what_was_written(outcome: Outcome, tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "a.npz"
    write(file, outcome, TASK)
    found = read(file, TASK)
    assert list(found.held_out) == list(outcome.held_out)  # folds in their order: 2 before 10
    for fold, z in outcome.held_out.items():
        assert np.array_equal(found.held_out[fold], z)
        assert found.held_out[fold].dtype == np.float32
    assert (found.report is None) == (outcome.report is None)
    assert outcome.report is None or np.array_equal(found.report, outcome.report)
    assert [p.name for p in file.parent.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("left", [0, 1, 40, -30, -1], ids="{} bytes".format)
def test_a_file_that_is_cut_off_is_named_with_what_to_do(left: int, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    write(file, Outcome({0: logits(50)}, logits(50)), TASK)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(TlsweepError, match="ask anew under another name") as caught:
        read(file, TASK)
    assert str(file) in str(caught.value)


def test_a_file_whose_bytes_were_changed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    write(file, Outcome({0: logits(500)}), TASK)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(TlsweepError, match=r"a\.npz"):
        read(file, TASK)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    for content in (b"hello", b"PK\x03\x04 and no more"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(TlsweepError, match=r"a\.npz"):
            read(tmp_path / "a.npz", TASK)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsweepError, match=r"b\.npz"):
        read(tmp_path / "b.npz", TASK)


@pytest.mark.parametrize("other", [Labels(4), Numbers(4, spread=1.0), Classes(5)])
def test_answers_to_another_task_are_refused_with_both(other: Task, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    write(file, Outcome({0: logits(5)}), TASK)
    asked = f"holds 4 outputs of classes, and {other.n_outputs} outputs of {other.kind} are asked"
    with pytest.raises(TlsweepError, match=rf"a\.npz {asked} .*study=NAME"):
        read(file, other)


def test_answers_that_do_not_say_of_what_task_they_are_are_refused(tmp_path: Path) -> None:
    """An earlier version wrote them, and its studies are refused by name as well."""
    np.savez(tmp_path / "a.npz", fold0=logits(5))
    with pytest.raises(TlsweepError, match=r"a\.npz holds outputs of no task .*study=NAME"):
        read(tmp_path / "a.npz", TASK)


def test_answers_with_another_number_of_outputs_than_they_say_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", Outcome({0: logits(5), 1: logits(5)[:, :3]}), TASK)
    with pytest.raises(TlsweepError, match=r"shapes \[\(3,\), \(4,\)\], and 4 outputs of classes"):
        read(tmp_path / "a.npz", TASK)
