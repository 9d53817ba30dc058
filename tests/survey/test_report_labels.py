"""Whatever the labels of the report split are, the same is fitted and chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tlsweep.config.settings import Settings
from tlsweep.survey import surveyor
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve, train_plan
from tlsweep.trial.probe import fitted_head

Make = Callable[..., Settings]
KINDS = ("classes", "labels", "numbers")


def asked(settings: Make, kind: str, report: int, *more: str) -> Settings:
    return settings(
        "target=told", f"target.asks={kind}", f"target.report={report}", "target.fit_size=70",
        "sweep.survey.random=false", "sweep.survey.penalties=[0.01,1]",
        "sweep.survey.fit_shares=[0.5]", "sweep.survey.seeds=1", *more,
    )  # fmt: skip


def found(asked: Settings) -> tuple[Any, dict[str, Any]]:
    """What a survey finds, and the head of a frozen plan; the report split's labels."""
    question = question_of(asked)
    trial = resolve(asked, question)
    findings, outcomes = surveyor.survey(
        trial.inputs, asked.sweep.survey, None, lambda done, total, text: None
    )
    told = dataclasses.asdict(dataclasses.replace(findings, seconds=0.0))
    answers = {place: outcome.held_out for place, outcome in outcomes.items()}
    head = fitted_head(trial, trial.plan).state_dict()
    parts = question.partition
    rows = [parts.pool, parts.report, *parts.folds]
    labels = question.target.labels[parts.report]
    return labels, {"told": told, "answers": answers, "head": head, "rows": rows}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_the_report_split_change_nothing_that_a_survey_finds_or_a_head_is(
    settings: Make, beside: None, kind: str
) -> None:
    first, own = found(asked(settings, kind, 0))
    for report in (1, 2):
        labels, other = found(asked(settings, kind, report))
        assert not np.array_equal(labels, first)
        assert all(map(np.array_equal, own["rows"], other["rows"]))
        assert other["told"] == own["told"]
        for place, answers in own["answers"].items():
            again = other["answers"][place]
            assert all(np.array_equal(z, again[k]) for k, z in answers.items())
        assert all(torch.equal(t, other["head"][name]) for name, t in own["head"].items())


@pytest.mark.parametrize("kind", KINDS)
def test_they_change_nothing_that_is_trained(settings: Make, beside: None, kind: str) -> None:
    plan = ("plan=last_layers", "plan.freeze=50%", "train.head_init=random", "train.lr=1e-4")

    def trained(report: int) -> Any:
        return train_plan(resolve(asked(settings, kind, report, *plan)), None)

    own, other = trained(0), trained(1)
    assert np.array_equal(own.logits[Split.SELECT], other.logits[Split.SELECT])
    assert own.history == other.history
