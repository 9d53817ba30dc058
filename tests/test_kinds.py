"""Targets of labels and of numbers go the way that classes go: survey, trial, verdict, model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.report.answered import answered
from tlsweep.survey import surveyor
from tlsweep.survey.rows import Findings
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve, train_plan
from tlsweep.trial.probe import fit_probe, probe_kind

Make = Callable[..., Settings]
KINDS = {"glyph_angle": "ridge", "glyph_attributes": "logistic"}


def silent(done: int, total: int, text: str) -> None:
    assert 0 <= done <= total, text


def survey(asked: Settings) -> tuple[Findings, surveyor.Outcomes]:
    return surveyor.survey(resolve(asked).inputs, asked.sweep.survey, None, silent)


@pytest.mark.parametrize("target", KINDS)
def test_a_survey_answers_each_fold_as_the_plan_trained_alone(settings: Make, target: str) -> None:
    asked = settings(f"target={target}", "sweep.survey.penalties=[0.1]")
    question = question_of(asked)
    assert probe_kind(question.task, asked.train) == KINDS[target]
    findings, outcomes = survey(asked)
    task, y = question.task, question.target.labels
    assert {row.head for row in findings.rows} == {KINDS[target]}
    for point in findings.frozen:
        held_out = outcomes[point.weights, point.index].held_out
        z = np.concatenate(list(held_out.values()))
        assert z.shape == (60, task.n_outputs)
        assert point.score == pytest.approx(
            task.example_scores(z, y[question.partition.held_out]).mean()
        )
    for index in (0, 3, len(question.cuts) - 1):
        alone = settings(
            f"target={target}", f"plan.keep={index}", "fold=2", "train.probe_penalty=0.1"
        )
        _, logits = fit_probe(resolve(alone), [Split.SELECT])
        both = outcomes["source", index].held_out[2], logits[Split.SELECT]
        assert np.abs(both[0] - both[1]).max() < 0.02 * max(1.0, np.abs(both[0]).max())


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize(
    "plan",
    [("plan=finetune", "train.batch_norm=batch"), ("plan=scratch",)],  # heads begin at random
)
def test_a_plan_is_trained_and_learns(settings: Make, target: str, plan: tuple[str, ...]) -> None:
    asked = settings(f"target={target}", "target.fit_size=200", "train.epochs=8", *plan)
    question = question_of(asked)
    trained = train_plan(resolve(asked), None)
    measure = question.task.measure
    first, last = trained.history[0], trained.history[-1]
    assert last["fit_loss"] < first["fit_loss"]
    assert last["fit_loss"] < 0.97 * question.task.guess
    y = question.target.labels[question.partition.rows(Split.SELECT, 0)]
    value = question.task.score(trained.logits[Split.SELECT], y)
    assert last[f"select_{measure.name}"] == pytest.approx(value, rel=1e-4)


def test_a_random_head_begins_at_the_mean_of_the_numbers(settings: Make) -> None:
    asked = settings(
        "target=glyph_angle", "plan=finetune", "train.head_init=random", "train.lr=1e-9",
        "train.weight_decay=0", "train.epochs=1",
    )  # fmt: skip
    question = question_of(asked)
    y = question.target.labels[question.partition.rows(Split.SELECT, 0)]
    (z,) = train_plan(resolve(asked), None).logits.values()
    fit = question.target.labels[question.partition.rows(Split.FIT, 0)]
    assert abs(z.mean() - fit.mean()) < fit.std()
    assert question.task.losses(z, y).mean() < 3 * question.task.guess


@pytest.mark.parametrize(("target", "metric"), [("glyph_angle", "r2"), ("digits", "macro_f1"),
                                                ("glyph_attributes", "example_f1")])  # fmt: skip
def test_plans_are_chosen_by_the_metric_that_is_asked_for(
    settings: Make, target: str, metric: str
) -> None:
    asked = settings(f"target={target}", f"target.metric={metric}", "sweep.survey.penalties=[0.1]",
                     "sweep.survey.random=false")  # fmt: skip
    question = question_of(asked)
    assert question.task.measure.name == metric
    findings, outcomes = survey(asked)
    y = question.target.labels[question.partition.held_out]
    for point in findings.frozen[::5]:
        z = np.concatenate(list(outcomes["source", point.index].held_out.values()))
        assert point.score == pytest.approx(question.task.example_scores(z, y).mean())


def test_what_does_not_fit_a_target_is_refused(settings: Make) -> None:
    with pytest.raises(Refusal, match=r"train\.probe=logistic"):
        question_of(settings("target=glyph_angle", "train.probe=logistic"))
    with pytest.raises(Refusal, match=r"target\.metric=accuracy"):
        question_of(settings("target=glyph_angle", "target.metric=accuracy"))


def test_a_page_tells_labels_and_ranges_of_numbers(settings: Make) -> None:
    question = question_of(settings("target=glyph_angle"))
    y = question.target.labels[question.partition.report]
    found = answered(question, (y + np.linspace(0, 9, len(y))[:, None]).astype(np.float32))
    assert len(found.groups) == 5
    assert sum(group.images for group in found.groups) == len(y)
    assert sum(group.labelled for group in found.groups) <= 60
    assert "degrees" in found.worst[0].true
    assert found.worst[0].probability is None
    question = question_of(settings("target=glyph_attributes"))
    y = question.target.labels[question.partition.report]
    said = np.where(y, 2.0, -2.0).astype(np.float32)
    said[:5] *= -1
    found = answered(question, said)
    assert [group.name for group in found.groups] == list(question.target.output_names)
    assert found.wrong == 5
    assert sum("0 said wrongly" in group.told for group in found.groups) < 4
