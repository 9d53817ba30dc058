"""What a question says of its data before anything trains."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Dataset

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.question import Question, refuse_draws
from tlsweep.target import held
from tlsweep.task import Numbers
from tlsweep.terms import Split
from tlsweep.trial import question_of

Make = Callable[..., Settings]


def folder_of_images(root: Path, each: int = 20, seed: int = 0) -> Path:
    draw = np.random.default_rng(seed)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = draw.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


def opened(settings: Make, root: Path, *more: str) -> Question:
    target = ("target=image_folder", f"target.root={root}", "target.fit_size=null")
    return question_of(settings(*target, *more))


def test_nothing_is_said_of_data_without_faults(settings: Make, tmp_path: Path) -> None:
    assert opened(settings, folder_of_images(tmp_path / "images")).said() == []


def test_one_image_under_two_labels_is_named_with_both(settings: Make, tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images")
    shutil.copy(root / "ant" / "03.png", root / "bee" / "copy.png")
    shutil.copy(root / "ant" / "05.png", root / "ant" / "same label.png")
    question = opened(settings, root)
    assert question.said() == [
        "the same image under two labels: bee/copy.png (bee) and ant/03.png (ant)"
    ]
    pool, same_as = question.partition.pool, question.target.same_as
    assert not set(same_as[pool]) & set(same_as[question.partition.report])


def test_of_many_images_under_two_labels_three_are_named(settings: Make, tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images")
    for i in range(5):
        shutil.copy(root / "ant" / f"{i:02d}.png", root / "bee" / f"copy{i}.png")
    (said,) = opened(settings, root).said()
    assert said.count(" and ant/") == 3
    assert said.endswith(", and 2 more")


def test_fewer_folds_are_said_with_the_name_of_the_class(settings: Make, tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images")
    for file in sorted((root / "bee").iterdir())[5:]:
        file.unlink()
    question = opened(settings, root)
    assert question.said() == ["3 folds in place of 5: class bee has 3 images"]


def test_images_are_those_of_the_fold_that_is_asked_for(settings: Make) -> None:
    question = question_of(settings())
    for fold in (0, 3):
        _, _, y = question.examples(Split.SELECT, fold).tensors()
        assert y.tolist() == question.target.labels[question.partition.folds[fold]].tolist()
    assert len(question.examples(Split.FIT, None)) == len(question.partition.pool) == 60


def test_freezing_a_share_of_what_is_kept_rounds_down(settings: Make) -> None:
    """0 is nothing; 75 % of 5 blocks are 3."""
    question = question_of(settings())
    for keep, written, frozen in ((5, "75%", 3), (5, "0%", 0), (8, "50%", 4), (0, "75%", 0)):
        plan = settings(f"plan.keep={keep}", "plan.regrow=8", f"plan.freeze={written}").plan
        assert question.plan(plan).freeze == frozen


def test_other_draws_of_a_pool_that_is_not_drawn_are_refused(
    settings: Make, tmp_path: Path
) -> None:
    for seed, part in enumerate(("train", "test")):
        folder_of_images(tmp_path / part, seed=seed)
    asked = (f"target.root={tmp_path}", "target=image_folder", "sweep.confirm.splits=5")
    given = settings(*asked, "target.fit_size=null")
    with pytest.raises(Refusal, match=r"(?s)sweep.confirm.splits=5.*target.fit_size draw a part"):
        refuse_draws(question_of(given), 5)
    drawn = settings(*asked, "target.fit_size=12")
    refuse_draws(question_of(drawn), 5)


class Counts(Dataset[Any]):
    """Random images with numbers."""

    def __init__(self, numbers: np.ndarray) -> None:
        draw = np.random.default_rng(0)
        self.numbers, self.images = numbers, draw.integers(0, 256, (len(numbers), 8, 8), np.uint8)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> tuple[Any, float]:
        return self.images[i], float(self.numbers[i])


def of_numbers(settings: Make, numbers: np.ndarray, *more: str) -> Question:
    key = held.hold(Counts(numbers))
    return question_of(settings("target=held", f"target.key={key}", *more))


def test_how_much_numbers_vary_is_told_by_the_pool_alone(settings: Make) -> None:
    """However far those of the report split lie away, in the group that they are drawn from."""
    numbers = np.random.default_rng(0).normal(size=120)
    own = of_numbers(settings, numbers)
    pool, report = own.partition.pool, own.partition.report
    highest = np.intersect1d(report, numbers.argsort()[-12:])
    assert len(highest)
    far = numbers.copy()
    far[highest] *= 1e3
    other = of_numbers(settings, far)
    assert np.array_equal(other.partition.pool, pool)
    for task in (own.task, other.task):
        assert isinstance(task, Numbers)
        assert task.spread == pytest.approx(numbers[pool].std())


def test_a_pool_of_numbers_that_are_all_the_same_is_refused(settings: Make) -> None:
    def drawn(seed: int) -> Question:
        more = ("target.fit_size=20", f"target.split_seed={seed}")
        return of_numbers(settings, np.eye(60)[0], *more)

    with pytest.raises(Refusal, match=r"(?s)20 labelled images .* spread 0.*target\.fit_size"):
        [*map(drawn, range(20))]  # one of 60 is not in most pools of 20
