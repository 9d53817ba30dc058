"""What ``target.shift`` asks for is opened before anything trains, or refused with the mend."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlsweep.errors import Refusal
from tlsweep.stages.session import Session
from tlsweep.stages.shifted_sets import ShiftedSet, answers_to, open_shifted
from tlsweep.survey.surveyor import refit
from tlsweep.target import open_target
from tlsweep.target.corrupt import SEVERITIES, Corrupted
from tlsweep.target.images import ImageTarget

MakeSession = Callable[..., Session]


def folder(root: Path, classes: dict[str, int], start: int = 0) -> Path:
    """A folder of class folders with so many 16 x 16 images each, all unlike one another."""
    rng = np.random.default_rng(start)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            coarse = rng.integers(0, 256, (4, 4), dtype=np.uint8)
            pixels = np.kron(coarse, np.ones((4, 4), np.uint8))
            Image.fromarray(pixels).save(root / name / f"{k}.png")
    return root


def test_corruptions_are_of_the_report_split_five_kinds_at_three_severities(
    session: MakeSession,
) -> None:
    s = session("target.shift=corruptions")
    found = open_shifted(s)
    assert [one.name for one in found] == list(SEVERITIES)
    for one in found:
        assert list(one.versions) == [f"{one.name} {n}" for n in (1, 2, 3)]
        assert all(isinstance(target, Corrupted) for target in one.versions.values())
        assert one.rows.tolist() == s.question.partition.report.tolist()
    assert open_shifted(session()) == []


def test_a_folder_of_others_has_the_classes_of_the_target_by_their_names(
    session: MakeSession, tmp_path: Path
) -> None:
    root = folder(tmp_path / "own", {"ant": 30, "bee": 30, "wasp": 30})
    other = folder(tmp_path / "elsewhere", {"bee": 2, "wasp": 3}, start=1)
    own = ("target=image_folder", f"target.root={root}", "target.fit_size=null")
    (found,) = open_shifted(session(*own, f"target.shift={other}"))
    assert found.name == "elsewhere"
    assert list(found.versions) == ["elsewhere"]
    assert found.target.labels[found.rows].tolist() == [1, 1, 2, 2, 2]


def test_answers_are_the_same_however_many_batches_pass_at_a_time(session: MakeSession) -> None:
    s = session()
    inputs, rows = s.inputs(s.sources[0]), s.question.partition.report[:41]
    heads = refit(inputs, {0: 0.1, 3: 0.1})
    few, all_ = (answers_to(s.question.target, rows, inputs, heads, n) for n in (1, 99))
    assert few.keys() == all_.keys() == {0, 3}
    for index, logits in all_.items():
        assert len(logits) == 41 > 2 * inputs.train.batch_size
        # a matrix product of other numbers of rows rounds otherwise on some processors
        assert np.allclose(few[index], logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grouped", [True, False])
def test_halves_share_no_copies_and_no_group(grouped: bool) -> None:
    digits = open_target("digits")
    assert isinstance(digits, ImageTarget)
    rows = np.arange(200)
    target, everywhere = Corrupted(digits, "noise", 1), np.arange(len(digits.labels))
    target.like = everywhere - (everywhere % 10 == 9) * 4  # 9 is a copy of 5, 19 of 15
    target.groups = [f"group {i // 7}" for i in everywhere] if grouped else None
    chooses = ShiftedSet("noise", {"noise 1": target}, rows).chooses()
    assert 60 <= chooses.sum() <= 140
    assert not set(target.like[rows][chooses]) & set(target.like[rows][~chooses])
    if grouped:
        assert not set(rows[chooses] // 7) & set(rows[~chooses] // 7)


def test_what_is_learned_from_is_left_out_and_said_and_names_are_kept_apart(
    session: MakeSession, tmp_path: Path
) -> None:
    root = folder(tmp_path / "own", {"ant": 40, "bee": 40})
    s = session(
        "target=image_folder", f"target.root={root}", "target.fit_size=null",
        f"target.shift=[{tmp_path / 'a/photos'},{tmp_path / 'b/photos'}]",
    )  # fmt: skip
    pool = s.question.partition.pool
    for place, count in (("a", 5), ("b", 3)):
        own = folder(tmp_path / place / "photos", {"ant": 6, "bee": 6}, start=ord(place))
        for i in pool[:count]:
            file = root / s.question.target.called(int(i))
            shutil.copy(file, own / file.parent.name / f"copy {i}.png")
    first, second = open_shifted(s)
    assert [first.name, second.name] == ["photos (1)", "photos (2)"]
    assert (len(first.rows), len(second.rows)) == (12, 12)
    assert first.said[-1] == "photos: 5 examples are learned from, and left out here"
    assert second.said[-1] == "photos: 3 examples are learned from, and left out here"
    with pytest.raises(Refusal) as caught:
        open_shifted(session(
            "target=image_folder", f"target.root={root}", "target.fit_size=null",
            f"target.shift={_pool_alone(root, s, tmp_path)}",
        ))  # fmt: skip
    assert caught.value.faults[0].value.endswith("pool: all are in the pool")


def _pool_alone(root: Path, s: Session, place: Path) -> Path:
    """A folder of the pool's images."""
    for i in s.question.partition.pool:
        file = root / s.question.target.called(int(i))
        own = place / "pool" / file.parent.name
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, own / file.name)
    return place / "pool"


def test_what_cannot_be_scored_is_refused_before_anything_trains_all_at_once(
    session: MakeSession, tmp_path: Path
) -> None:
    root = folder(tmp_path / "own", {"ant": 30, "bee": 30})
    other = folder(tmp_path / "elsewhere", {"ants": 2, "bee": 3}, start=1)
    own = ("target=image_folder", f"target.root={root}", "target.fit_size=null")
    shifts = f"target.shift=[{other},{root},{tmp_path / 'none'}]"
    with pytest.raises(Refusal) as caught:
        open_shifted(session(*own, shifts))
    unknown, itself, missing = caught.value.faults
    assert unknown.value == f"target.shift={other}: classes ants"
    assert unknown.mend == "rename them as these are called: ants as ant?"
    assert itself.value == f"target.shift={root}"
    assert itself.rule == "other examples than those of target.root"
    assert missing.value.startswith(f"target.shift={tmp_path / 'none'}: ")


def test_a_target_without_files_of_ones_own_is_refused_another_place(
    session: MakeSession, tmp_path: Path
) -> None:
    with pytest.raises(Refusal) as caught:
        open_shifted(session(f"target.shift={tmp_path}"))
    (fault,) = caught.value.faults
    assert fault.rule == "target=digits is not read from files of one's own"
    assert fault.mend == "target.shift=corruptions, or leave it out"
