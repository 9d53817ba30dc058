"""A survey finds at once what each frozen plan finds alone, and its findings guide the search."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.heads.head import standardisation
from tlsweep.heads.ridge import fit_ridge
from tlsweep.question import Question
from tlsweep.survey import surveyor
from tlsweep.survey.rows import Findings
from tlsweep.task import Classes
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve
from tlsweep.trial.probe import fit_probe

Make = Callable[..., Settings]
TASK = Classes(10)
STOP = 0.02  # how far heads may be apart that stop as near to the optimum as is asked


def silent(done: int, total: int, text: str) -> None:
    assert 0 <= done <= total, text


def found(
    asked: Settings, question: Question | None = None, say: surveyor.Say = silent
) -> tuple[Findings, surveyor.Outcomes]:
    inputs = resolve(asked, question).inputs
    return surveyor.survey(inputs, asked.sweep.survey, asked.sweep.minutes, say)


def alone(settings: Make, question: Question, *overrides: str, split: Split) -> np.ndarray:
    """Logits of one plan that is trained as a single trial."""
    _, logits = fit_probe(resolve(settings(*overrides), question), [split])
    return np.asarray(logits[split])


def test_there_is_a_row_for_every_head_and_an_outcome_for_every_fold(settings: Make) -> None:
    asked = settings(
        "sweep.survey.fit_shares=[0.5]", "sweep.survey.seeds=2", "sweep.survey.penalties=[0.1,1]"
    )
    findings, outcomes = found(asked)
    question = question_of(asked)
    cuts, parts = len(question.cuts), question.partition
    assert len(findings.rows) == cuts * 2 * (1 + 2) * 2  # penalties, subsets, source and random
    # four of five folds of 60 images
    assert {(row.fit_size, row.seed) for row in findings.rows} == {(48, 0), (24, 0), (24, 1)}
    places = {(w, i) for w in ("source", "random") for i in range(cuts)}
    assert set(outcomes) == places
    assert {(point.weights, point.index) for point in findings.frozen} == places
    for outcome in outcomes.values():
        assert [len(z) for z in outcome.held_out.values()] == [len(f) for f in parts.folds]
        assert outcome.report is None
    y = question.target.labels[parts.held_out]
    for point in findings.frozen:
        z = np.concatenate(list(outcomes[point.weights, point.index].held_out.values()))
        assert point.score == pytest.approx(TASK.example_scores(z, y).mean())
        assert point.loss == pytest.approx(TASK.losses(z, y).mean())


@pytest.mark.parametrize("probe", ["logistic", pytest.param("ridge", marks=pytest.mark.slow)])
def test_each_fold_answers_as_its_plan_trained_alone_with_that_fold_held_out(
    settings: Make, probe: str
) -> None:
    """With one of the penalties, and its own for every fold."""
    penalties = (0.01, 1.0)
    given = f"sweep.survey.penalties={list(penalties)}".replace(" ", "")
    asked = settings(f"train.probe={probe}", given)
    question = question_of(asked)
    _, outcomes = found(asked)
    for index in (0, 2, len(question.cuts) - 1):
        for weights, plan in (("source", "truncate"), ("random", "random_features")):
            for fold, z in outcomes[weights, index].held_out.items():
                by_penalty = [
                    alone(
                        settings, question, f"plan={plan}", f"plan.keep={index}", f"fold={fold}",
                        f"train.probe={probe}", f"train.probe_penalty={penalty}",
                        split=Split.SELECT,
                    )
                    for penalty in penalties
                ]  # fmt: skip
                apart = [float(np.abs(z - mine).max()) for mine in by_penalty]
                # heads that are fitted together stop elsewhere, as near to the optimum
                assert min(apart) <= STOP * max(1.0, float(np.abs(z).max())), apart


def test_with_one_penalty_a_row_scores_as_the_single_trials_of_all_folds(settings: Make) -> None:
    asked = settings("sweep.survey.penalties=[0.1]", "sweep.survey.random=false")
    question = question_of(asked)
    findings, _ = found(asked)
    (row,) = [r for r in findings.rows if r.index == 3]
    z = [
        alone(settings, question, "plan.keep=3", f"fold={k}", "train.probe_penalty=0.1",
              split=Split.SELECT)
        for k in range(5)
    ]  # fmt: skip
    y = question.target.labels[question.partition.held_out]
    assert row.score == pytest.approx(TASK.example_scores(np.concatenate(z), y).mean(), abs=1 / 60)
    assert row.loss == pytest.approx(TASK.losses(np.concatenate(z), y).mean(), rel=STOP)


def test_the_penalty_of_a_fold_does_not_depend_on_what_its_own_labels_say_of_the_heads(
    settings: Make,
) -> None:
    """Whatever answers are right in fold k, the same head is taken for it."""
    penalties = (0.001, 0.1, 10.0)
    asked = settings("sweep.survey.penalties=[0.001,0.1,10.0]")
    question = question_of(asked)
    inputs, chosen = resolve(asked).inputs, asked.sweep.survey
    folds = surveyor.folds_of(inputs, chosen)
    draw = np.random.default_rng(0)
    y = question.target.labels[question.partition.held_out]
    logits = draw.normal(size=(len(penalties), len(y), 10)).astype(np.float32)
    ends = np.cumsum([len(fold.held_out) for fold in folds])[:-1]

    def taken(labels: np.ndarray) -> list[int]:
        """Which penalty's answers each fold was given."""
        target = copy.copy(question.target)
        target.labels = labels
        answered = [
            surveyor.Answered(torch.from_numpy(part), None, 0)
            for part in np.split(logits, ends, axis=1)
        ]
        mine = replace(question, target=target)
        _, _, outcome = surveyor.gathered(
            replace(inputs, question=mine), chosen, folds, "source", 3, answered
        )
        return [
            next(p for p in range(3) if np.array_equal(answered[k].logits_hnk[p].numpy(), z))
            for k, z in outcome.held_out.items()
        ]

    first = taken(question.target.labels)
    changes = 0
    for k, fold in enumerate(question.partition.folds):
        for head in range(3):
            labels = question.target.labels.copy()
            # in this fold this head is always right, and the others hardly ever
            labels[fold] = np.split(logits, ends, axis=1)[k][head].argmax(1)
            now = taken(labels)
            assert now[k] == first[k]
            changes += now != first
    assert changes > 0  # other folds do listen to it


def test_a_penalty_at_the_end_of_what_was_tried_is_marked(settings: Make) -> None:
    findings, _ = found(settings("sweep.survey.penalties=[1e-3]", "sweep.survey.random=false"))
    assert all(point.edge for point in findings.frozen)
    wide = settings("sweep.survey.penalties=[1e-6,1e-2,1e4]", "sweep.survey.random=false")
    findings, _ = found(wide)
    for point in findings.frozen:
        assert point.edge == (point.regularisation != 1e-2)
    assert not all(point.edge for point in findings.frozen)


def test_the_report_split_is_not_read(settings: Make) -> None:
    asked = settings()
    question = question_of(asked)
    nowhere = replace(question.partition, report=np.array([10**9]))
    blind = replace(question, partition=nowhere)
    with pytest.raises(IndexError):  # the premise: reading it would be seen
        blind.examples(Split.REPORT)
    findings, outcomes = found(asked, blind)
    sighted, others = found(asked)
    assert findings.frozen == sighted.frozen
    for place, outcome in outcomes.items():
        assert all(
            np.array_equal(z, others[place].held_out[k]) for k, z in outcome.held_out.items()
        )


@pytest.mark.parametrize("probe", ["logistic", "ridge"])
def test_refitted_heads_answer_the_report_split_as_plans_trained_on_the_whole_pool(
    settings: Make, probe: str
) -> None:
    asked = settings(f"train.probe={probe}")
    question = question_of(asked)
    penalties = {0: 1.0, 3: 0.1, 5: 0.01}
    inputs = resolve(asked).inputs
    refits = surveyor.answers(inputs, surveyor.refit(inputs, penalties))
    assert set(refits) == set(penalties)
    for index, penalty in penalties.items():
        whole = alone(
            settings, question, f"plan.keep={index}", "fold=null", f"train.probe={probe}",
            f"train.probe_penalty={penalty}", split=Split.REPORT,
        )  # fmt: skip
        assert refits[index].shape == (len(question.partition.report), 10)
        apart = float(np.abs(refits[index] - whole).max())
        assert apart <= STOP * max(1.0, float(np.abs(whole).max()))


@pytest.mark.parametrize("probe", ["logistic", "ridge"])
def test_ridge_tells_what_it_gets_right_of_images_left_out(settings: Make, probe: str) -> None:
    asked = settings(
        f"train.probe={probe}", "sweep.survey.random=false", "sweep.survey.fit_shares=[0.5]",
        "sweep.survey.penalties=[1e-4,1]", "sweep.survey.seeds=1",
    )  # fmt: skip
    rows = found(asked)[0].rows
    if probe == "logistic":
        assert {row.left_out for row in rows} == {None}
        return
    row = next(r for r in rows if r.index == 2 and r.fit_size == 48 and r.regularisation == 1)
    shares = []
    for fold in range(5):
        of_fold = asked.model_copy(update={"fold": fold})
        (z,), y = resolve(of_fold).inputs.fitted([2])
        mean, scale = standardisation([z])
        standard, right = ((z - mean) * scale).float(), 0
        for i in range(48):
            others = torch.arange(48) != i
            path = fit_ridge(
                standard[others], torch.nn.functional.one_hot(y[others], 10).float(), [1.0]
            )
            right += int(path.heads.predictions(standard[i : i + 1])[0, 0] == y[i])
        shares.append(right / 48)
    # the penalty counts by example: 47 in place of 48 of them make it a little larger
    assert row.left_out == pytest.approx(np.mean(shares), abs=1 / 48 + 1e-9)


def test_of_several_views_none_counts_as_left_out(settings: Make) -> None:
    """The other views of its image stay in: what is told would be no score on unseen images."""
    views = ("train.augment=views", "train.views=2", "train.probe=ridge")
    rows = found(settings(*views, "sweep.survey.random=false"))[0].rows
    assert {row.left_out for row in rows} == {None}


def test_a_survey_says_what_it_is_about_to_store_and_heads_draw_no_common_random_numbers(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("tlsweep.extract.activations.screen.say", said.append)
    monkeypatch.setattr("tlsweep.extract.activations.TOLD", 1)
    found(settings("sweep.survey.random=false"))
    assert len(said) == 1
    assert re.fullmatch(
        r"  storing \d+\.\d [kM]B: .* on digits, pool split, \d+ cut points", said[0]
    )
    random = torch.get_rng_state()
    for _ in range(4):
        found(settings("sweep.survey.random=false"))
        assert torch.equal(random, torch.get_rng_state())
    assert len(said) == 1  # all of it was there


def test_transferability_scores_stand_beside_every_cut_point(settings: Make) -> None:
    findings, _ = found(settings("sweep.survey.random=false"))
    assert [t["index"] for t in findings.transfer] == sorted(findings.curve())
    assert all(isinstance(t["log_me"], float) for t in findings.transfer)
    assert findings.transfer[0]["cka_below"] is None
    assert findings.transfer[-1]["leep"] < 0  # the source has a classifier
    assert findings.transfer[-1]["frechet"] is None  # and no images of its own at hand


def test_a_second_survey_passes_no_image_through_the_source(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = found(settings())
    monkeypatch.setattr(
        "tlsweep.extract.activations.run_pass", lambda *_, **__: pytest.fail("computed again")
    )
    second, _ = found(settings())
    assert second.rows == first.rows
    assert second.frozen == first.frozen


def test_cut_points_of_the_same_features_are_fitted_once_and_reported_twice(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings("sweep.survey.random=false")
    fitted: list[int] = []
    fit_heads = surveyor.probe.fit_heads
    monkeypatch.setattr(
        surveyor.probe, "fit_heads", lambda *job: fitted.append(len(job[0])) or fit_heads(*job)
    )
    findings, outcomes = found(asked)
    last = max(findings.curve())  # the source's own pooling, of what the block below gives
    assert sum(fitted) == 5 * last  # folds, of last + 1 cut points
    below, above = ([r for r in findings.rows if r.index == i] for i in (last - 1, last))
    assert [replace(r, cut=above[0].cut, index=last) for r in below] == above
    for fold, z in outcomes["source", last].held_out.items():
        assert np.array_equal(outcomes["source", last - 1].held_out[fold], z)
    assert findings.transfer[-1]["cka_below"] == pytest.approx(1)


def test_an_error_in_a_worker_ends_the_survey(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()

    def failing(*_: object) -> None:
        raise RuntimeError("no heads today")

    monkeypatch.setattr(surveyor.probe, "fit_heads", failing)
    with pytest.raises(RuntimeError, match="no heads today"):
        found(settings())
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_without_a_store_the_survey_finds_the_same(settings: Make, tmp_path: Path) -> None:
    computed, _ = found(settings("features.budget_gb=0"))
    assert not list(tmp_path.rglob("data.bin"))
    stored, _ = found(settings())
    assert list(tmp_path.rglob("data.bin"))
    assert computed.rows == stored.rows


def test_minutes_that_cannot_hold_the_passes_are_refused_as_soon_as_that_is_seen(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveyor, "PATIENCE", 0.0)
    seen: list[int] = []
    asked = settings("sweep.minutes=1e-6")
    with pytest.raises(Refusal, match=r"sweep.minutes=1e-06(.|\n)*60 of 60 images"):
        found(asked, say=lambda done, *_: seen.append(done))
    assert seen == [60]
    enough = settings("sweep.minutes=1000")
    assert found(enough)[0].frozen


def test_views_are_passes_too_and_only_the_first_one_is_watched(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveyor, "PATIENCE", 0.0)
    clock = iter([0.0, 6.0, 60.0])
    monkeypatch.setattr(surveyor.time, "monotonic", lambda: next(clock))
    watched = surveyor.within_minutes(lambda *_: None, 0.2, 2, "images")
    watched(10, 10)  # 6 s, twice: just within
    watched(1, 10)  # of the second view
