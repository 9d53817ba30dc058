"""A head on all cut points at once: chosen out of fold, told beside the plans, and no plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from tlsweep.config.settings import Settings
from tlsweep.survey import surveyor
from tlsweep.survey.all_cuts import FRACTIONS, joined, layers_of, mix, refit_mix
from tlsweep.survey.rows import Findings, Mix
from tlsweep.trial import resolve

Make = Callable[..., Settings]
LITTLE = ("sweep.survey.penalties=[0.1,1.0]", "sweep.survey.random=false")


def found(asked: Settings) -> Findings:
    return surveyor.survey(resolve(asked).inputs, asked.sweep.survey, None, lambda *_: None)[0]


def test_features_of_every_layer_are_standardised_and_have_unit_norm_alike() -> None:
    draw = torch.Generator().manual_seed(0)
    small, large = torch.randn(40, 6, generator=draw), 1000 + 50 * torch.randn(40, 30)
    given, asked = joined([[small[:30]], [large[:30]]], [small[30:], large[30:]])
    assert given.shape == (30, 36)
    assert asked.shape == (10, 36)
    wide = 18**0.5  # 36 features of two layers
    for z in (given, asked):
        for layer in (z[:, :6], z[:, 6:]):
            torch.testing.assert_close(layer.norm(dim=1), torch.full((len(z),), wide))
    plain = (small[30:] - small[:30].mean(0)) / small[:30].std(0, unbiased=False)
    angle = torch.nn.functional.cosine_similarity(asked[:, :6], plain)
    torch.testing.assert_close(angle, torch.ones(10))  # nothing of what is asked was measured


def test_the_input_and_a_layer_that_repeats_the_one_below_are_left_out() -> None:
    z = [torch.zeros(3, 2), torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 4)]
    assert layers_of(z) == [1, 3]


def test_it_is_found_where_it_is_asked_for_and_read_again(settings: Make) -> None:
    assert found(settings(*LITTLE)).mix is None
    asked = settings(*LITTLE, "sweep.survey.all_cuts=true")
    findings = found(asked)
    mixed, inputs = findings.mix, resolve(asked).inputs
    assert mixed is not None
    assert mixed.fraction in FRACTIONS
    assert mixed.features == round(mixed.fraction * mixed.of)
    assert len(mixed.scores) == 60
    assert np.mean(mixed.scores) == pytest.approx(mixed.score)
    assert Findings.from_json(findings.as_json()) == findings
    report = inputs.question.partition.report
    assert refit_mix(inputs, mixed).shape == (len(report), 10)


def given_by(asked: Settings) -> tuple[surveyor.Activations, Sequence[torch.Tensor], torch.Tensor]:
    inputs = resolve(asked).inputs
    z, _, y = surveyor.features_of(inputs, range(len(inputs.question.cuts)))
    return inputs, z, y


def mixed_of(asked: Settings, change: Callable[[torch.Tensor], torch.Tensor]) -> Mix:
    """The mix of a pool, where labels are changed for those who fit."""
    inputs, z, y = given_by(asked)
    folds = [(fold.fit, fold.held_out) for fold in surveyor.folds_of(inputs, asked.sweep.survey)]
    return mix(inputs, (0.1, 1.0), folds, [z], z, change(y))


def test_no_held_out_label_is_looked_at_by_the_head_that_answers_it(settings: Make) -> None:
    """Heads that are fitted to shuffled labels answer no better than chance."""
    asked = settings(*LITTLE, "target.fit_size=100")
    draw = torch.Generator().manual_seed(0)
    shuffled = mixed_of(asked, lambda y: y[torch.randperm(len(y), generator=draw)])
    plain = mixed_of(asked, lambda y: y)
    assert shuffled.score < 0.25
    assert plain.score > 0.5


@pytest.mark.parametrize("target", ["glyph_angle", "glyph_attributes"])
def test_numbers_and_labels_are_mixed_too(settings: Make, target: str) -> None:
    asked = settings(*LITTLE, "sweep.survey.all_cuts=true", f"target={target}")
    mixed = found(asked).mix
    assert mixed is not None
    assert np.isfinite(mixed.scores).all()


def test_its_heads_are_weighted_as_those_of_single_cut_points(settings: Make) -> None:
    """Folds of a pool that is parted evenly hold a little more of one class than of another."""
    plain, weighted = (
        mixed_of(settings(*LITTLE, f"train.class_weights={weights}"), lambda y: y)
        for weights in ("none", "balanced")
    )
    assert weighted.loss != plain.loss
