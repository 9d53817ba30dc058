"""Replicates run on other folds with other seeds, and what was not measured is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.errors import TlsweepError
from tlsweep.facts import Facts
from tlsweep.question import Question
from tlsweep.stages.budget import FOLDS
from tlsweep.stages.confirm import item_of, race, replicates, shortfalls, tried
from tlsweep.stages.contenders import Contender
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.queue import Job
from tlsweep.study.storage import default_url
from tlsweep.task.outcome import Outcome, write
from tlsweep.trial import outcomes_folder, question_of, study_folder

Make = Callable[..., Settings]
MakeFacts = Callable[..., Facts]
NAMES = "sweep.confirm.controls=[finetune,scratch]"


class Trainings:
    """A launcher whose trainings are right on a known share of what their fold holds out.

    share: by the plan in the overrides; broken: overrides of trainings that fail.
    """

    def __init__(self, question: Question, settings: Settings, ledger: Ledger) -> None:
        self.question, self.settings, self.ledger = question, settings, ledger
        self.share: dict[str, float] = {}
        self.broken: list[set[str]] = []
        self.ran: list[tuple[str, int, int]] = []

    def run(self, items: Sequence[Item]) -> None:
        self.ledger.run_list(items, Batches(lambda jobs: [self._train(job) for job in jobs]))

    def _train(self, job: Job) -> Ended:
        given = dict(o.split("=", 1) for o in job.overrides)
        plan, fold, seed = given["plan"], int(given["fold"]), int(given["seed"])
        self.ran.append((plan, fold, seed))
        if any(wanted <= set(job.overrides) for wanted in self.broken):
            return Ended(error=OSError("disk full"))
        logits = answers(self.question, fold, self.share.get(plan, 0.5))
        name = f"{plan}-{fold}-{seed}.npz"
        write(
            outcomes_folder(study_folder(self.settings)) / name,
            Outcome({fold: logits}),
            self.question.task,
        )
        TrialHandle(self.ledger.storage, self.ledger.name, job.number).note({"outcome": name})
        return Ended(0.5)


def answers(question: Question, fold: int, share: float) -> np.ndarray:
    """Logits that are right on the first ``share`` of a fold's examples."""
    y = question.target.labels[question.partition.folds[fold]]
    said = np.where(np.arange(len(y)) < round(share * len(y)), y, (y + 1) % 10)
    return (5 * np.eye(10)[said]).astype(np.float32)


@pytest.fixture
def asked(settings: Make) -> Settings:
    return settings(NAMES, "sweep.confirm.seeds=3", "seed=4")


@pytest.fixture
def question(asked: Settings) -> Question:
    return question_of(asked)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    sampling = Sampling({"name": "random"}, 0)
    return Ledger(default_url(tmp_path), "s.confirm", sampling).open(resume=True)


@pytest.fixture
def trainings(question: Question, asked: Settings, ledger: Ledger) -> Trainings:
    return Trainings(question, asked, ledger)


@pytest.fixture
def plans(facts: MakeFacts) -> list[Contender]:
    tuned = facts("truncate_tuned", keep=4, freeze=0)
    return [
        Contender(tuned, ("plan=truncate_tuned", "plan.keep=4"), seconds=2.0),
        Contender(facts("finetune", keep=8, freeze=0), ("plan=finetune",), ("finetune",),
                  seconds=4.0),
        Contender(facts("scratch", keep=0, regrow=8), ("plan=scratch",), ("scratch",),
                  candidate=False, seconds=4.0),
    ]  # fmt: skip


def always(alive: Sequence[Contender], done: int) -> Sequence[Contender]:
    return alive


# ------------------------------------------------------------------ which replicates
def test_replicates_leave_out_the_fold_and_the_seed_of_the_search(
    question: Question, asked: Settings
) -> None:
    assert replicates(question, asked) == [(1, 5), (2, 6), (3, 7), (4, 8)]


def test_with_one_holdout_replicates_are_other_seeds_on_it(settings: Make) -> None:
    asked = settings("target.folds=1", "sweep.confirm.seeds=3", "seed=4")
    assert replicates(question_of(asked), asked) == [(0, 5), (0, 6), (0, 7)]


def test_plans_that_may_win_are_trained_on_every_other_fold_once(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.share = dict.fromkeys(("truncate_tuned", "finetune", "scratch"), 0.75)
    for _ in range(2):  # sessions
        said = race(plans, ledger, question, asked, trainings.run, always)
        assert said == []
    wanted = replicates(question, asked)
    for plan in ("truncate_tuned", "finetune", "scratch"):
        assert [(k, seed) for name, k, seed in trainings.ran if name == plan] == wanted
    assert shortfalls(plans, ledger, asked) == []


def test_what_the_survey_answered_is_not_trained_again(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger, facts: MakeFacts
) -> None:
    outcome = Outcome({k: answers(question, k, 0.5) for k in range(5)})
    frozen = Contender(facts(keep=3), ("plan=truncate",), outcome=outcome)
    assert race([frozen], ledger, question, asked, trainings.run, always) == []
    assert trainings.ran == []


# ------------------------------------------------------------------ racing
def test_a_plan_that_can_no_longer_win_is_trained_on_no_further_fold(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.share = {"truncate_tuned": 1.0, "finetune": 0.0, "scratch": 0.0}
    race(plans, ledger, question, asked, trainings.run, always)
    folds = {name: [k for plan, k, _ in trainings.ran if plan == name] for name in trainings.share}
    assert folds == {
        # a control that keeps nothing of the source is measured to the end
        "truncate_tuned": [1, 2, 3, 4], "finetune": [1, 2], "scratch": [1, 2, 3, 4],
    }  # fmt: skip
    dropped = tried(plans[1], ledger, question, asked)
    assert dropped is not None  # what it showed before it was dropped is kept
    assert dropped.evidence.fold_r.tolist() == [1, 2]
    assert shortfalls(plans, ledger, asked) == []


def test_it_may_be_dropped_against_a_frozen_plan_too(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender], facts: MakeFacts,
) -> None:  # fmt: skip
    best = Contender(facts(keep=3), ("plan=truncate",),
                     outcome=Outcome({k: answers(question, k, 1.0) for k in range(5)}))  # fmt: skip
    trainings.share = {"truncate_tuned": 0.0}
    race([best, plans[0]], ledger, question, asked, trainings.run, always)
    assert [k for _, k, _ in trainings.ran] == [1, 2]


def test_the_race_ends_where_there_is_no_time_and_says_so(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    heard: list[tuple[int, int]] = []

    def until_two(alive: Sequence[Contender], done: int) -> Sequence[Contender]:
        heard.append((len(alive), done))
        return alive if done < FOLDS else []

    said = race(plans, ledger, question, asked, trainings.run, until_two)
    assert said == ["sweep.minutes ended the confirming after 2 of 4 folds"]
    assert heard == [(3, 0), (3, 1), (3, 2)]
    assert {k for _, k, _ in trainings.ran} == {1, 2}
    shown = tried(plans[0], ledger, question, asked)
    assert shown is not None
    assert shown.evidence.fold_r.tolist() == [1, 2]


# ------------------------------------------------------------------ what was shown
def test_a_control_for_which_there_is_no_time_leaves_the_race_and_the_others_go_on(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.share = dict.fromkeys(("truncate_tuned", "finetune", "scratch"), 0.75)

    def without_scratch(alive: Sequence[Contender], done: int) -> Sequence[Contender]:
        return alive if done < 3 else [c for c in alive if c.facts.name != "scratch"]

    said = race(plans, ledger, question, asked, trainings.run, without_scratch)
    assert said == ["sweep.minutes ended the confirming of scratch after 3 of 4 folds"]
    folds = {name: [k for plan, k, _ in trainings.ran if plan == name] for name in trainings.share}
    assert folds == {
        "truncate_tuned": [1, 2, 3, 4], "finetune": [1, 2, 3, 4], "scratch": [1, 2, 3],
    }  # fmt: skip


def test_a_plans_scores_stand_where_its_fold_was_held_out_and_nowhere_else(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.share = {"truncate_tuned": 0.75}
    race(plans[:1], ledger, question, asked, trainings.run, always)
    shown = tried(plans[0], ledger, question, asked)
    assert shown is not None
    parts, y = question.partition, question.target.labels
    seen = shown.evidence
    assert seen.scores_rn.shape == seen.losses_rn.shape == (4, len(parts.held_out))
    for row, fold in enumerate(seen.fold_r):
        own, labels = np.isin(parts.held_out, parts.folds[fold]), y[parts.folds[fold]]
        z = answers(question, int(fold), 0.75)
        assert np.array_equal(seen.scores_rn[row, own], question.task.example_scores(z, labels))
        assert np.array_equal(seen.losses_rn[row, own], question.task.losses(z, labels))
        assert np.isnan(seen.scores_rn[row, ~own]).all()
        assert np.isnan(seen.losses_rn[row, ~own]).all()
    assert float(np.nanmean(seen.scores_rn)) == pytest.approx(0.75, abs=0.1)
    assert (shown.controls, shown.evidence.control) == ((), False)


def test_a_frozen_plan_has_a_replicate_for_every_fold(
    question: Question, asked: Settings, ledger: Ledger, facts: MakeFacts
) -> None:
    outcome = Outcome({k: answers(question, k, 0.5) for k in range(5)})
    contender = Contender(facts(keep=0), ("plan=truncate",), ("raw_pixels",), False, outcome)
    shown = tried(contender, ledger, question, asked)
    assert shown is not None
    assert shown.evidence.fold_r.tolist() == [0, 1, 2, 3, 4]
    assert (shown.controls, shown.evidence.control) == (("raw_pixels",), True)
    assert np.isfinite(shown.evidence.scores_rn).sum() == len(question.partition.held_out)


def test_with_one_holdout_every_seed_scores_all_of_it(
    settings: Make, ledger: Ledger, plans: list[Contender]
) -> None:
    asked = settings("target.folds=1", "sweep.confirm.seeds=3")
    question = question_of(asked)
    trainings = Trainings(question, asked, ledger)
    race(plans[:1], ledger, question, asked, trainings.run, always)
    shown = tried(plans[0], ledger, question, asked)
    assert shown is not None
    assert shown.evidence.fold_r.tolist() == [0, 0, 0]
    assert np.isfinite(shown.evidence.scores_rn).all()


def test_an_outcome_that_is_gone_is_named(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    race(plans[:1], ledger, question, asked, trainings.run, always)
    (outcomes_folder(study_folder(asked)) / "truncate_tuned-2-6.npz").unlink()
    with pytest.raises(TlsweepError, match=r"truncate_tuned-2-6\.npz"):
        tried(plans[0], ledger, question, asked)


# ------------------------------------------------------------------ what was not
def test_failed_replicates_are_counted_with_their_reason_and_the_others_count(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.broken = [{"plan=finetune", "seed=6"}]
    race(plans, ledger, question, asked, trainings.run, always)
    assert shortfalls(plans, ledger, asked) == [
        "finetune: 1 of 4 replicates failed: OSError: disk full"
    ]
    shown = tried(plans[1], ledger, question, asked)
    assert shown is not None
    assert shown.evidence.fold_r.tolist() == [1, 3, 4]


def test_a_plan_of_which_all_replicates_fail_is_dropped_and_said(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.broken = [{"plan=truncate_tuned"}]
    race(plans, ledger, question, asked, trainings.run, always)
    assert [k for name, k, _ in trainings.ran if name == "truncate_tuned"] == [1, 2]
    assert tried(plans[0], ledger, question, asked) is None
    assert shortfalls(plans, ledger, asked) == [
        "truncate_tuned up to block4: 2 of 2 replicates failed: OSError: disk full"
    ]


def test_where_nothing_could_be_trained_the_race_ends_without_a_table(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger,
    plans: list[Contender],
) -> None:  # fmt: skip
    trainings.broken = [{"plan=truncate_tuned"}, {"plan=finetune"}]
    assert race(plans, ledger, question, asked, trainings.run, always) == []
    assert all(tried(c, ledger, question, asked) is None for c in plans[:2])


def test_a_control_that_has_no_plan_is_named(
    question: Question, asked: Settings, ledger: Ledger, plans: list[Contender]
) -> None:
    assert shortfalls(plans[:1], ledger, asked) == [
        "finetune: no plan of it was tried", "scratch: no plan of it was tried",
    ]  # fmt: skip
    told = ["scratch: sweep.minutes=1 has no room for the trainings that it needs"]
    assert shortfalls(plans[:1], ledger, asked, told) == ["finetune: no plan of it was tried"]


def test_failures_of_one_plan_are_not_told_of_another_that_begins_alike(
    trainings: Trainings, question: Question, asked: Settings, ledger: Ledger, facts: MakeFacts
) -> None:
    plain = Contender(facts("finetune", keep=8, freeze=0), ("plan=finetune",), ("finetune",))
    other = Contender(facts("scratch", keep=0, regrow=8), ("plan=finetune", "train.lr=100"),
                      ("scratch",))  # fmt: skip
    trainings.broken = [{"train.lr=100"}]
    race([plain, other], ledger, question, asked, trainings.run, always)
    assert shortfalls([plain, other], ledger, asked) == [
        "scratch: 2 of 2 replicates failed: OSError: disk full"
    ]
    assert item_of(plain, 1, 5).overrides == ("plan=finetune", "fold=1", "seed=5")
