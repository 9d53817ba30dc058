"""What is quoted is trained on the whole pool, with seeds that chose nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.extract.activations import Activations
from tlsweep.facts import Facts
from tlsweep.question import Question
from tlsweep.stages import final
from tlsweep.stages.confirm import item_of, replicates
from tlsweep.stages.contenders import Contender
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.storage import default_url
from tlsweep.survey.rows import Findings, Frozen
from tlsweep.survey.surveyor import answers, refit
from tlsweep.task.outcome import Outcome, write
from tlsweep.terms import Split
from tlsweep.trial import outcomes_folder, question_of, resolve, study_folder, train_plan

Make = Callable[..., Settings]
MakeFacts = Callable[..., Facts]


@pytest.fixture
def asked(settings: Make) -> Settings:
    return settings("sweep.confirm.seeds=3", "seed=4")


@pytest.fixture
def question(asked: Settings) -> Question:
    return question_of(asked)


@pytest.fixture
def open_ledger(tmp_path: Path) -> Callable[[str], Ledger]:
    sampling = Sampling({"name": "random"}, 0)
    return lambda name: Ledger(default_url(tmp_path), name, sampling).open(resume=True)


@pytest.fixture
def tuned(facts: MakeFacts) -> Contender:
    return Contender(facts("finetune", keep=8, freeze=0), ("plan=finetune",), ("finetune",))


def test_there_is_a_training_for_each_seed_none_of_which_chose(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], tuned: Contender
) -> None:
    items = final.items(tuned, open_ledger("s.confirm"), question, asked)
    seeds = {o for item in items for o in item.overrides if o.startswith("seed=")}
    assert len(items) == len(seeds) == 3
    assert not seeds & {f"seed={seed}" for _, seed in replicates(question, asked)}
    assert "seed=4" not in seeds
    assert all(item.overrides[:2] == ("plan=finetune", "fold=null") for item in items)


def test_a_plan_that_no_seed_changes_is_trained_once(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], facts: MakeFacts
) -> None:
    frozen = Contender(facts(keep=3), ("plan=truncate",))
    assert len(final.items(frozen, open_ledger("s.confirm"), question, asked)) == 1


def test_other_draws_have_splits_and_seeds_of_their_own(
    settings: Make, question: Question, open_ledger: Callable[[str], Ledger], tuned: Contender
) -> None:
    asked = settings("sweep.confirm.splits=3", "target.split_seed=7", "seed=4")
    confirmed = open_ledger("s.confirm")
    items = final.on_draws(tuned, confirmed, question, asked)
    splits = [o for item in items for o in item.overrides if o.startswith("target.split_seed=")]
    assert splits == [f"target.split_seed={seed}" for seed in (8, 9, 10)]
    own = {o for item in items for o in item.overrides if o.startswith("seed=")}
    quoted = final.items(tuned, confirmed, question, asked)
    assert len(own) == 3
    assert not own & {o for item in quoted for o in item.overrides}


@pytest.mark.parametrize(("epochs", "median"), [([4, 9, 5, 6], 6), ([3, 7], 5), ([8], 8)])
def test_it_takes_the_median_of_the_epochs_that_its_folds_took(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], tuned: Contender,
    epochs: list[int], median: int,
) -> None:  # fmt: skip
    confirmed = open_ledger("s.confirm")
    for (fold, seed), taken in zip(replicates(question, asked), epochs, strict=False):
        confirmed.add_finished(item_of(tuned, fold, seed), 0.5, {"epochs": taken})
    for item in final.items(tuned, confirmed, question, asked):
        assert f"train.epochs={median}" in item.overrides


def test_only_what_heads_cannot_answer_is_trained(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], facts: MakeFacts,
    tuned: Contender,
) -> None:  # fmt: skip
    surveyed = Contender(facts(keep=3), ("plan=truncate",), outcome=Outcome())
    random = Contender(facts("random_features", keep=3, random=True), ("plan=random_features",),
                       ("random_features",), outcome=Outcome())  # fmt: skip
    ran: list[Item] = []
    confirmed, ledger = open_ledger("s.confirm"), open_ledger("s.final")
    final.train([surveyed, random, tuned], confirmed, ledger, question, asked, ran.extend)
    # seed by seed: where time runs out each plan has as many
    assert [item.overrides[0] for item in ran] == ["plan=random_features", "plan=finetune"] * 3


def test_where_time_runs_out_every_plan_has_the_same_number_of_seeds(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], tuned: Contender,
) -> None:  # fmt: skip
    ran: list[Item] = []
    confirmed, ledger = open_ledger("s.confirm"), open_ledger("s.final")

    def asked_whether(alive: Sequence[Contender]) -> Sequence[Contender]:
        return alive if len(ran) < 2 else []

    said = final.train([tuned], confirmed, ledger, question, asked, ran.extend, asked_whether)
    assert len(ran) == 2
    assert said == ["sweep.minutes ended the final trainings after 2 of 3 seeds"]
    # what is there already takes no time, so a finished study is not told that it ended
    for item in final.items(tuned, confirmed, question, asked):
        ledger.add_finished(item, 0.5, {})
    again = final.train([tuned], confirmed, ledger, question, asked, ran.extend, lambda _: [])
    assert again == []


def test_logits_of_the_seeds_that_ended_well_are_stacked_in_their_order(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], tuned: Contender
) -> None:
    confirmed, ledger = open_ledger("s.confirm"), open_ledger("s.final")

    def logits() -> Any:
        return final.report_logits(tuned, {}, confirmed, ledger, question, asked)

    assert logits() is None
    items, n = final.items(tuned, confirmed, question, asked), len(question.partition.report)
    for i in (2, 0):  # the second one failed
        write(
            outcomes_folder(study_folder(asked)) / f"{i}.npz",
            Outcome({}, np.full((n, 10), i)),
            question.task,
        )
        ledger.add_finished(items[i], 0.5, {"outcome": f"{i}.npz"})
    ledger.run_list([items[1]], Batches(lambda jobs: [Ended(error=OSError("full")) for _ in jobs]))
    found = logits()
    assert found.shape == (2, n, 10)
    assert found[:, 0, 0].tolist() == [0, 2]


def test_frozen_plans_are_refitted_to_the_pool_each_with_its_own_penalty(
    asked: Settings, question: Question, open_ledger: Callable[[str], Ledger], settings: Make,
    facts: MakeFacts,
) -> None:  # fmt: skip
    points = {2: 1.0, 4: 0.01}
    frozen = tuple(
        Frozen(question.cuts[i].name, i, weights, "logistic", penalty, 0.5, 1.0, False)
        for i, penalty in points.items()
        for weights in ("source", "random")
    )
    inputs = Activations(question, asked.train, asked.features, asked.seed)
    refits = answers(inputs, refit(inputs, Findings((), frozen, (), 1.0).penalties()))
    assert set(refits) == {2, 4}
    for index, penalty in points.items():
        contender = Contender(facts(keep=index), ("plan=truncate",), outcome=Outcome())
        none, other = open_ledger("s.confirm"), open_ledger("s.final")
        found = final.report_logits(contender, refits, none, other, question, asked)
        assert found is not None
        assert found.shape[0] == 1
        one = settings("plan=truncate", f"plan.keep={index}", f"train.probe_penalty={penalty}",
                       "fold=null", "stage=final")  # fmt: skip
        alone = train_plan(resolve(one), None).logits[Split.REPORT]
        apart = np.abs(found[0] - alone).max()
        assert apart <= 0.02 * max(1.0, float(np.abs(alone).max()))
