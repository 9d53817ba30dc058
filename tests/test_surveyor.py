"""A survey finds at once what each frozen plan finds alone, and its findings guide the search."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tlsweep import inputs, surveyor
from tlsweep.config import Settings
from tlsweep.probe import fit_probe, standardised
from tlsweep.question import open_question
from tlsweep.survey.ridge import fit_ridge, one_hot
from tlsweep.survey.rows import Findings
from tlsweep.terms import Split

Make = Callable[..., Settings]


def silent(done: int, total: int, text: str) -> None:
    assert 0 <= done <= total, text


def found(settings: Settings) -> tuple[Findings, surveyor.Hits]:
    return surveyor.survey(open_question(settings), settings, silent)


def test_there_is_a_row_for_every_head(settings: Make) -> None:
    asked = settings("sweep.survey.fit_shares=[0.5]", "sweep.survey.seeds=2")
    findings, hits = found(asked)
    cuts = len(open_question(asked).cuts)
    assert len(findings.rows) == cuts * 4 * (1 + 2) * 2  # penalties, subsets, source and random
    assert {row.fit_size for row in findings.rows} == {60, 30}
    assert {(row.fit_size, row.seed) for row in findings.rows} == {(60, 0), (30, 0), (30, 1)}
    assert set(hits) == {(w, i) for w in ("source", "random") for i in range(cuts)}
    for weights in ("source", "random"):
        for index, row in findings.best(weights).items():
            assert row.score == pytest.approx(float(np.mean(hits[weights, index])))


@pytest.mark.parametrize("probe", ["logistic", "ridge"])
def test_the_best_head_of_a_cut_point_scores_as_its_plan_alone(settings: Make, probe: str) -> None:
    findings, hits = found(settings(f"train.probe={probe}"))
    for index in (0, 2, max(findings.best())):
        for weights, plan in (("source", "truncate"), ("random", "random_features")):
            row = findings.best(weights)[index]
            alone = settings(
                f"plan={plan}", f"plan.keep={index}", f"train.probe={probe}",
                f"train.probe_penalty={row.regularisation}",
            )  # fmt: skip
            question = open_question(alone)
            plan_ = question.plan(alone.plan)
            metrics, predicted = fit_probe(question, plan_, alone, [Split.SELECT])
            right = predicted[Split.SELECT] == question.target.labels[question.partition.select]
            # heads that are fitted together stop elsewhere within the same distance of the optimum
            assert np.mean(right != hits[weights, index]) <= 0.03
            assert metrics["select_accuracy"] == pytest.approx(row.score, abs=0.02)


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
    question = open_question(asked)
    row = next(r for r in rows if r.index == 2 and r.fit_size == 60 and r.regularisation == 1)
    z, y = inputs.fitted(question, asked, range(len(question.cuts)))
    head = question.head(surveyor._truncated(question, 2), asked.train, 0)
    head.calibrate([z[2]])
    standard, right = standardised(head, z[2]), 0
    for i in range(60):
        others = torch.arange(60) != i
        path = fit_ridge(standard[others], one_hot(y[others], 10), [1.0])
        right += int(path.heads.predictions(standard[i : i + 1])[0, 0] == y[i])
    # the penalty counts by example: 59 in place of 60 of them make it a little larger
    assert row.left_out == pytest.approx(right / 60, abs=1 / 60 + 1e-9)


def test_of_several_views_none_counts_as_left_out(settings: Make) -> None:
    """The other views of its image stay in: what is told would be no score on unseen images."""
    views = ("train.augment=views", "train.views=2", "train.probe=ridge")
    rows = found(settings(*views, "sweep.survey.random=false"))[0].rows
    assert {row.left_out for row in rows} == {None}


def test_a_survey_says_what_it_is_about_to_store_and_heads_draw_no_common_random_numbers(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("tlsweep.inputs.screen.say", said.append)
    monkeypatch.setattr("tlsweep.inputs.TOLD", 1)
    found(settings("sweep.survey.random=false"))
    assert len(said) == 2
    assert re.fullmatch(
        r"  storing \d+\.\d [kM]B: .* on digits, fit split, \d+ cut points", said[0]
    )
    random = torch.get_rng_state()
    for _ in range(4):
        found(settings("sweep.survey.random=false"))
        assert torch.equal(random, torch.get_rng_state())
    assert len(said) == 2  # all of it was there


def test_transferability_scores_stand_beside_every_cut_point(settings: Make) -> None:
    findings, _ = found(settings("sweep.survey.random=false"))
    assert [t["index"] for t in findings.transfer] == sorted(findings.best())
    assert all(isinstance(t["log_me"], float) for t in findings.transfer)
    assert findings.transfer[0]["cka_below"] is None
    assert findings.transfer[-1]["leep"] < 0  # the source has a classifier
    assert findings.transfer[-1]["frechet"] is None  # and no images of its own at hand


def test_a_second_survey_passes_no_image_through_the_source(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = found(settings())
    monkeypatch.setattr("tlsweep.inputs._pass", lambda *_, **__: pytest.fail("computed again"))
    second, _ = found(settings())
    assert second.rows == first.rows


def test_cut_points_of_the_same_features_are_fitted_once_and_reported_twice(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings("sweep.survey.random=false")
    fitted: list[int] = []
    fit_heads = surveyor.probe.fit_heads
    monkeypatch.setattr(
        surveyor.probe, "fit_heads", lambda *job: fitted.append(len(job[0])) or fit_heads(*job)
    )
    findings, hits = found(asked)
    last = max(findings.best())  # the source's own pooling, of what the block below gives
    assert sum(fitted) == last  # of last + 1 cut points
    below, above = ([r for r in findings.rows if r.index == i] for i in (last - 1, last))
    assert [replace(r, cut=above[0].cut, index=last) for r in below] == above
    assert np.array_equal(hits["source", last - 1], hits["source", last])
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


def test_without_a_store_the_survey_finds_the_same(settings: Make, tmp_path: Path) -> None:
    computed, _ = found(settings("features.budget_gb=0"))
    assert not list(tmp_path.rglob("data.bin"))
    stored, _ = found(settings())
    assert list(tmp_path.rglob("data.bin"))
    assert computed.rows == stored.rows
