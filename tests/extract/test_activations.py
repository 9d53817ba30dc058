"""What a trial trains on changes how long it takes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlsweep.config.settings import Settings
from tlsweep.cut import CutPoints, folded, section
from tlsweep.errors import Refusal
from tlsweep.extract import activations
from tlsweep.features import Key
from tlsweep.heads.head import pool
from tlsweep.question import Question
from tlsweep.terms import Split
from tlsweep.train.loading import in_batches
from tlsweep.train.network import channels_last
from tlsweep.trial import question_of, resolve, train_plan
from tlsweep.trial.first_phase import FirstPhase

Make = Callable[..., Settings]
PLANS = {
    "suffix tuned": ("plan=last_layers", "plan.freeze=3"),
    "suffix fresh": ("plan=transfer", "plan.keep=4"),
    "thawed by and by": ("plan=last_layers", "plan.freeze=5", "schedule=gradual"),
    "in two phases": (
        "plan=truncate_tuned",
        "plan.keep=4",
        "schedule=two_phase",
        "schedule.epochs=1",
    ),
    "mlp on frozen blocks": ("plan=truncate", "plan.keep=4", "train.head=mlp"),
    "one region tuned": ("plan=surgical", "plan.tune=stage4"),
    "thawed from the bottom": (
        "plan=last_layers",
        "plan.freeze=5",
        "schedule=gradual",
        "schedule.begin=bottom",
    ),
    "adapted above": (
        "plan=adapters",
        "plan.adapt=stage4",
        "schedule=two_phase",
        "schedule.epochs=1",
    ),
    "a block left out": ("plan=last_layers", "plan.freeze=stage3.5", "plan.drop=stage3.2"),
    "random below": ("plan=transfer", "plan.keep=2", "plan.weights=random"),
}


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        *((name, "32-true", 1e-5) for name in PLANS),
        ("suffix tuned", "bf16-mixed", 0.01),
        *(
            pytest.param(name, "bf16-mixed", 0.01, marks=pytest.mark.slow)
            for name in PLANS
            if name != "suffix tuned"
        ),
    ],
)
def test_a_trial_ends_the_same_with_the_store_and_without(
    settings: Make, tmp_path: Path, name: str, precision: str, tolerance: float
) -> None:
    """Same batches; prefixes see other ones. Stored ones are of 64 images, and bf16 rounds them.

    precision, tolerance of losses and accuracies: as README states them.
    """
    plan = (*PLANS[name], f"train.precision={precision}")
    computed = train_plan(resolve(settings(*plan, "features.budget_gb=0")), None)
    assert not list(tmp_path.rglob("data.bin"))
    stored = train_plan(resolve(settings(*plan)), None)
    assert list(tmp_path.rglob("data.bin"))
    again = train_plan(resolve(settings(*plan)), None)
    assert again.history == stored.history
    for ours, theirs in zip(stored.history, computed.history, strict=True):
        assert ours == pytest.approx(theirs, abs=tolerance)
    same = stored.logits[Split.SELECT].argmax(1) == computed.logits[Split.SELECT].argmax(1)
    assert same.mean() >= 1 - tolerance


@pytest.mark.parametrize("split", [Split.POOL, Split.REPORT])
def test_stored_features_equal_each_cut_points_own_folded_prefix_bit_for_bit(
    settings: Make, split: Split
) -> None:
    asked = settings()
    question = question_of(asked)
    indices = range(len(question.cuts))
    model = question.source.model().to(memory_format=torch.channels_last)
    for index, z_nd in zip(indices, resolve(asked).inputs.pooled(split, indices), strict=True):
        prefix, cut = folded(section(model, question.cuts, 0, index)), question.cuts[index]
        with torch.no_grad():
            alone = [
                pool(prefix(channels_last(x)), question.pooling(index, asked.train))
                for x, _, _ in in_batches(question.examples(split), asked.train)
            ]
        assert torch.equal(torch.cat(alone), z_nd), cut.name


@pytest.mark.parametrize("store", [(), ("features.budget_gb=0",)], ids=["stored", "computed"])
def test_a_fold_is_rows_of_what_the_pool_gives(settings: Make, store: tuple[str, ...]) -> None:
    asked = settings("fold=3", *store)
    question = question_of(asked)
    (whole,) = resolve(asked).inputs.pooled(Split.POOL, [3])
    for split in (Split.FIT, Split.SELECT):
        (z,) = resolve(asked).inputs.pooled(split, [3])
        rows = question.partition.rows(split, 3)
        assert torch.equal(z, whole[np.isin(question.partition.pool, rows)])
        assert resolve(asked).inputs.labels(split).tolist() == question.target.labels[rows].tolist()


@pytest.mark.parametrize(
    "plan",
    [("plan=truncate", "plan.keep=4"), ("plan=last_layers", "plan.freeze=3")],
    ids=["pooled", "whole"],
)
def test_another_fold_takes_no_other_pass_over_the_images(
    settings: Make, monkeypatch: pytest.MonkeyPatch, plan: tuple[str, ...]
) -> None:
    train_plan(resolve(settings(*plan, "fold=0")), None)
    with monkeypatch.context() as patch:
        patch.setattr(
            "tlsweep.extract.activations.run_pass", lambda *_, **__: pytest.fail("computed again")
        )
        found = train_plan(resolve(settings(*plan, "fold=2")), None)
    computed = train_plan(resolve(settings(*plan, "fold=2", "features.budget_gb=0")), None)
    assert np.allclose(found.logits[Split.SELECT], computed.logits[Split.SELECT], atol=1e-3)
    for ours, theirs in zip(found.history, computed.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_another_target_source_or_rule_is_never_answered_from_the_store(settings: Make) -> None:
    def digest(
        *overrides: str, index: int = 3, seed: int | None = None, view: int = activations.PLAIN
    ) -> str:
        variant = activations.Variant(seed, view)
        found = resolve(settings(*overrides)).inputs
        return found.spec(Split.POOL, index, variant, pooling=True).key.digest

    same = digest()
    # the pool is stored: its folds are rows of it
    others = ("train.lr=0.5", "seed=4", "study=other", "fold=2", "target.folds=3")
    assert same == digest(*others)
    others = [
        digest("target.fit_size=61"),
        digest("target.split_seed=1"),
        digest("source.image_size=40"),
        digest("train.pool=1"),
        digest("train.precision=bf16-mixed"),
        digest(index=2),
        digest(seed=0),
        digest(seed=1),
        digest("train.augment=views", view=1),
        digest("train.augment=views", view=2),
        digest("train.augment=views", "train.crop=0.5", view=1),
        digest("train.augment=views", "train.flip=true", view=1),
    ]
    assert len({same, *others}) == 1 + len(others)


@pytest.mark.slow
def test_two_devices_share_a_pass_and_find_the_numbers_of_one(
    settings: Make, tmp_path: Path
) -> None:
    several = ("train.devices=2", "train.strategy=ddp", "train.accelerator=cpu")
    here, there = f"features.cache_dir={tmp_path}/a", f"features.cache_dir={tmp_path}/b"
    asked = settings(here), settings(there, *several), settings("features.budget_gb=0", *several)
    question = question_of(asked[0])
    indices = range(len(question.cuts))
    said: list[tuple[int, int]] = []
    alone, shared, not_stored = (
        resolve(s).inputs.pooled(Split.REPORT, indices, said=lambda *n: said.append(n))
        for s in asked
    )
    assert all(map(torch.equal, alone, shared))
    assert all(map(torch.equal, alone, not_stored))
    assert len(alone[0]) > 2 * 64  # else one device had all of it
    assert said[-1][0] == said[-1][1] == len(alone[0])


def test_half_precision_keeps_features_to_two_hundredths_of_their_spread(settings: Make) -> None:
    """The tolerance that bf16 is stated to have."""
    asked, half = settings(), settings("train.precision=bf16-mixed")
    question = question_of(asked)
    indices = range(len(question.cuts))
    whole = resolve(asked).inputs.pooled(Split.FIT, indices)
    rounded = resolve(half).inputs.pooled(Split.FIT, indices)
    for a, b in zip(whole, rounded, strict=True):
        assert b.dtype == torch.float32
        assert float((a - b).square().mean().sqrt()) < 0.02 * float(a.std())


@pytest.mark.parametrize("changed", [{"tokens": (0,)}, {"channel_dim": 3}])
def test_a_cut_point_that_is_pooled_in_another_way_has_entries_of_its_own(
    settings: Make, changed: dict[str, Any]
) -> None:
    asked = settings()
    question = question_of(asked)
    other = replace(question, cuts=CutPoints([replace(cut, **changed) for cut in question.cuts]))

    def key(asked_of: Question, *, pooling: bool) -> Key:
        return resolve(asked, asked_of).inputs.spec(Split.POOL, 3, pooling=pooling).key

    assert key(question, pooling=True) != key(other, pooling=True)
    assert key(question, pooling=False) == key(other, pooling=False)  # whole activations
    assert FirstPhase(resolve(asked, question)).key != FirstPhase(resolve(asked, other)).key


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(settings: Make) -> None:
    with pytest.raises(Refusal, match="torch finds no GPU here"):
        question_of(settings("train.accelerator=gpu"))


def test_a_damaged_entry_is_computed_again(
    settings: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = settings()
    before = [z.clone() for z in resolve(asked).inputs.pooled(Split.FIT, [2])]
    (data,) = tmp_path.rglob("data.bin")
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    after = resolve(asked).inputs.pooled(Split.FIT, [2])
    assert torch.equal(before[0], after[0])
    assert "damaged" in capsys.readouterr().out
