"""A cut point at which no part can start: a head stands on it, and nothing else starts there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from prefix_only import NAMES, Asked

from tlsweep.config.settings import Settings
from tlsweep.cut.table import rows
from tlsweep.errors import Refusal
from tlsweep.heads.head import pool, standardisation
from tlsweep.survey.surveyor import survey
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve, train_plan
from tlsweep.trial.probe import fit_heads

ONLY = NAMES[1:3]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path, monkeypatch)


def test_the_table_and_a_sentence_say_which_cut_points_are_for_a_prefix_only(asked: Asked) -> None:
    question = question_of(asked())
    assert (question.cuts.names, question.cuts.way) == (NAMES, "calls")
    table = rows(question.cuts, question.costs)
    assert tuple(row["name"] for row in table if row["prefix_only"]) == ONLY
    told = "cut points of Conditioned that are good for their prefix only: 2 (layers.0, layers.1);"
    assert [said for said in question.said() if said.startswith(told)]


def hooked(asked: Settings) -> dict[str, torch.Tensor]:
    """What the two layers' modules give of the pool, pooled as heads pool it."""
    question, seen = question_of(asked), dict[str, torch.Tensor]()
    model = question.source.model().to(memory_format=torch.channels_last)
    for name in ONLY:
        module = model.get_submodule(name)
        module.register_forward_hook(lambda *a, key=name: seen.update({key: a[2]}))
    images = question.examples(Split.POOL, None)
    x = images.batch(range(len(images)))[0].contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        model(x)
    return {
        name: pool(seen[name], question.pooling(NAMES.index(name), asked.train)) for name in ONLY
    }


def test_a_survey_answers_it_as_heads_answer_what_a_hook_takes_there(asked: Asked) -> None:
    settings = asked("sweep.survey.penalties=[0.01]", "sweep.survey.random=false")
    trial = resolve(settings)
    question, parts = trial.question, trial.question.partition
    findings, outcomes = survey(trial.inputs, settings.sweep.survey, None, lambda *_: None)
    y = trial.inputs.labels(Split.POOL)
    for name, z in hooked(settings).items():
        index, right = NAMES.index(name), list[np.ndarray]()
        for k in range(len(parts.folds)):
            fit, held_out = (
                torch.from_numpy(parts.places(s, k)) for s in (Split.FIT, Split.SELECT)
            )
            mean, scale = (t.to(z.dtype) for t in standardisation([z[fit]]))
            sets = [(z[fit] - mean) * scale]
            (heads,) = fit_heads(sets, y[fit], question.task, settings.train, [0.01])
            logits = heads.logits((z[held_out] - mean) * scale)[0].numpy()
            assert np.allclose(outcomes["source", index].held_out[k], logits, atol=1e-3)
            right.append(logits.argmax(1) == y[held_out].numpy())
        (point,) = (one for one in findings.frozen if one.index == index)
        assert point.score == pytest.approx(np.concatenate(right).mean())


def test_features_taken_in_one_pass_are_those_that_a_hook_takes_bit_for_bit(asked: Asked) -> None:
    settings = asked()
    indices = range(len(NAMES))
    found = resolve(settings).inputs.pooled(Split.POOL, indices)
    for name, z in hooked(settings).items():
        assert torch.equal(found[NAMES.index(name)], z)


@pytest.mark.parametrize(
    "plan",
    [
        ("plan=truncate", "plan.keep=layers.1", "train.head=mlp"),
        ("plan=random_features", "plan.keep=layers.1", "train.head=mlp"),
        ("plan=truncate_tuned", "plan.keep=layers.0"),
        ("plan=finetune", "schedule=gradual", "schedule.epochs=1", "train.epochs=4"),
        ("plan=last_layers", "plan.freeze=layers.2"),
        ("plan=truncate_tuned", "plan.keep=layers.1", "schedule=two_phase", "schedule.epochs=1"),
    ],
    ids=lambda plan: " ".join(plan[:2]),
)
def test_plans_that_start_no_part_there_train_the_same_from_stored_activations_and_anew(
    asked: Asked, plan: tuple[str, ...]
) -> None:
    stored, anew = (
        train_plan(resolve(asked(*plan, f"features.budget_gb={size}")), None) for size in (1, 0)
    )
    for ours, theirs in zip(stored.history, anew.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert np.allclose(stored.logits[Split.SELECT], anew.logits[Split.SELECT], atol=1e-4)


def test_below_it_all_is_trained_as_one_and_nothing_above_is_there(asked: Asked) -> None:
    settings = asked("plan=truncate_tuned", "plan.keep=layers.1")
    question = question_of(settings)
    plan = question.plan(settings.plan)
    network = question.network(plan, settings.train, 0)
    held = [name for name, _ in network.blocks.named_parameters()]
    layers = ("stem", "condition", "layers.0.conv", "layers.1.conv")
    assert sorted(held) == sorted(f"0.{n}.{kind}" for n in layers for kind in ("weight", "bias"))
    blocks = sum(p.numel() for p in network.blocks.parameters())
    assert question.kept_parameters(plan) == blocks == question.costs[2].parameters
    x = question.examples(Split.POOL, None).batch(range(4))[0]
    seen: list[torch.Tensor] = []
    model = question.source.model().to(memory_format=torch.channels_last)
    model.get_submodule("layers.1").register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        model(x.contiguous(memory_format=torch.channels_last))
        network.thaw(())
        assert torch.equal(network.eval().activations(x), seen[0])


@pytest.mark.parametrize(
    ("plan", "value", "mend"),
    [
        (
            ("plan=last_layers", "plan.freeze=layers.0"),
            "plan=last_layers: layers.0 is frozen and layers.1 is tuned",
            "a plan that changes at input or layers.2, or plan=truncate plan.keep=layers.0",
        ),
        (
            ("plan=transfer", "plan.keep=2"),
            "plan=transfer: layers.1 is frozen and layers.2 is fresh",
            "a plan that changes at input or layers.2, or plan=truncate plan.keep=layers.1",
        ),
        (
            ("plan=surgical", "plan.tune=layers.0"),
            "plan=surgical: layers.0 is tuned and layers.1 is frozen",
            "a plan that changes at input or layers.2, or plan=truncate plan.keep=layers.0",
        ),
        (
            ("plan=finetune", "plan.drop=layers.2"),
            "plan=finetune: layers.1 is tuned and layers.2 is dropped",
            "a plan that changes at input or layers.2, or plan=truncate plan.keep=layers.1",
        ),
        (
            ("plan=finetune", "schedule=phases", "schedule.phases=[layers.2,all]"),
            "schedule=phases: a phase thaws layers.2 without layers.1",
            "schedule.phases with layers.0..layers.2 in one phase",
        ),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else None,
)
def test_a_plan_that_starts_a_part_there_is_refused_and_the_nearest_starts_are_named(
    asked: Asked, plan: tuple[str, ...], value: str, mend: str
) -> None:
    with pytest.raises(Refusal) as refused:
        resolve(asked(*plan))
    (fault,) = refused.value.faults
    assert (fault.value, fault.mend) == (value, mend)
    assert "is good for its prefix only" in fault.rule


def test_a_search_never_draws_it_and_a_grid_may(asked: Asked) -> None:
    question = question_of(asked())
    starts = tuple(name for name in NAMES if name not in ONLY)
    assert question.named("plan.keep") == NAMES
    for key in ("plan.keep", "plan.freeze", "plan.regrow"):
        assert question.searched(key) == starts
    for key in ("plan.tune", "plan.drop"):
        assert not {"layers.0", "layers.1", "layers.2"} & {*question.named(key)}


def test_a_share_of_the_kept_blocks_ends_below_it_and_an_index_means_what_it_meant(
    asked: Asked,
) -> None:
    question = question_of(asked())
    shares = [question.plan(asked("plan=last_layers", f"plan.freeze={s}%").plan) for s in (50, 75)]
    assert [plan.freeze for plan in shares] == [0, 3]  # of five blocks two, and three
    assert question.plan(asked("plan=truncate", "plan.keep=2").plan).states[:3] == (
        "frozen", "frozen", "dropped",
    )  # fmt: skip
    assert question.cuts.resolve(0.5).name == "layers.2"


def test_a_gradual_schedule_thaws_what_is_one_part_at_once(asked: Asked) -> None:
    top, bottom = (
        resolve(asked("plan=finetune", "schedule=gradual", f"schedule.begin={end}")).freezing
        for end in ("top", "bottom")
    )
    assert top.thawed == (frozenset(), frozenset({3, 4}), frozenset(range(5)))
    assert bottom.thawed == (frozenset(), frozenset({0}), frozenset(range(5)))
