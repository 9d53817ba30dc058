"""Plans as they are written, in the cut points of a real source; and what they cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tlsweep.config.read_plan import droppable
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.extract.activations import Variant
from tlsweep.question import Question
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve
from tlsweep.trial.probe import fit_probe, fitted_head

Make = Callable[..., Settings]
F, A, T, N, D = "frozen", "adapted", "tuned", "fresh", "dropped"


@pytest.fixture
def question(settings: Make) -> Question:
    """shufflenet_v2_x0_5: its stages 2, 3 and 4 hold 4, 8 and 4 blocks."""
    return question_of(settings())


def states(question: Question, asked: Settings) -> dict[str, str]:
    plan = question.plan(asked.plan)
    return dict(zip(question.cuts.names[1:], map(str, plan.states), strict=True))


def test_a_region_is_tuned_and_the_rest_is_frozen(settings: Make, question: Question) -> None:
    found = states(question, settings("plan=surgical", "plan.tune=stage3"))
    assert set(found.values()) == {F, T}
    assert {name for name, s in found.items() if s == T} == {f"stage3.{i}" for i in range(8)}


def test_adapters_adapt_all_that_is_kept(settings: Make, question: Question) -> None:
    assert set(states(question, settings("plan=adapters")).values()) == {A}
    part = settings("plan=adapters", "plan.freeze=stage2.3", "plan.keep=stage2.3",
                    "plan.regrow=stage3.0")  # fmt: skip
    found = states(question, part)
    assert {found[f"stage2.{i}"] for i in range(4)} == {A}
    assert found["stage3.0"] == N
    assert found["stage3.1"] == D


def test_regions_stand_beside_each_other(settings: Make, question: Question) -> None:
    asked = settings("plan=surgical", "plan.tune=stage4", "plan.adapt=[stage3.1,stage3.2]",
                     "plan.drop=stage3.4..stage3.6")  # fmt: skip
    found = states(question, asked)
    assert [found[f"stage3.{i}"] for i in range(8)] == [F, A, A, F, D, D, D, F]
    assert {found[f"stage4.{i}"] for i in range(4)} == {T}


@pytest.mark.parametrize(
    ("given", "value", "mend"),
    [
        (("plan=finetune", "plan.tune=stage3"), "plan.tune=stage3 with plan=finetune", "surgical"),
        (("plan=truncate", "plan.keep=stage2.3", "plan.tune=stage3"), "plan.keep=stage2.3",
         "plan.tune=conv1..stage2.3"),
        (("plan=surgical", "plan.tune=stage3", "plan.adapt=stage3.2..stage4.1"),
         "plan.tune=stage3 plan.adapt=stage3.2..stage4.1", "leave stage3.2..stage3.7 out"),
        (("plan=finetune", "plan.drop=stage3.0"), "plan.drop=stage3.0: stage3.0 makes", "stage3.1"),
        (("plan=truncate_tuned", "plan.keep=stage3.7", "plan.drop=stage3.6..stage3.7"),
         "plan.drop=stage3.6..stage3.7 with", "plan.keep=stage3.5"),
        (("plan=scratch", "plan.adapt=all"), "plan.adapt=all with plan=scratch", "null"),
        (("plan=random_features", "plan.adapt=all"), "plan.adapt=all with plan=random", "null"),
        (("plan=surgical", "plan.tune=pooled"), "plan.tune=pooled: it has none", "conv1"),
    ],
)  # fmt: skip
def test_a_region_that_cannot_be_is_refused_with_its_mend(
    settings: Make, question: Question, given: tuple[str, ...], value: str, mend: str
) -> None:
    with pytest.raises(Refusal) as caught:
        question.plan(settings(*given).plan)
    (fault,) = caught.value.faults
    assert value in fault.value
    assert mend in fault.mend


def test_every_fault_of_the_regions_is_told_at_once(settings: Make, question: Question) -> None:
    asked = settings("plan=surgical", "plan.tune=stage9", "plan.drop=stage3.9")
    with pytest.raises(Refusal) as caught:
        question.plan(asked.plan)
    assert [f.value for f in caught.value.faults] == ["plan.tune=stage9", "plan.drop=stage3.9"]


def test_glob_names_blocks_and_for_what_is_dropped_those_that_may_be(question: Question) -> None:
    names = question.cuts.names
    assert question.named("plan.keep") == names
    assert question.named("plan.tune") == names[1:]
    assert question.named("plan.drop") == tuple(
        n for i, n in enumerate(names[1:-1]) if droppable(question.cuts, i)
    )
    assert "stage3.1" in question.named("plan.drop")
    assert "stage3.0" not in question.named("plan.drop")


PLANS = {
    "finetune": ("plan=finetune",),
    "last layers": ("plan=last_layers", "plan.freeze=stage3.3"),
    "transfer": ("plan=transfer", "plan.keep=stage3.3"),
    "surgical": ("plan=surgical", "plan.tune=stage3"),
    "adapters": ("plan=adapters", "plan.rank=3"),
    "adapters below": ("plan=adapters", "plan.adapt=stage2"),
    "dropped": ("plan=finetune", "plan.drop=stage3.2..stage3.5"),
    "dropped, frozen": ("plan=feature_extractor", "plan.drop=[stage2.1,stage3.2]"),
    "all at once": ("plan=surgical", "plan.tune=stage4", "plan.adapt=stage2",
                    "plan.drop=stage3.4"),
    "truncated": ("plan=truncate", "plan.keep=stage3.3"),
    "random": ("plan=random_features", "plan.keep=stage3.3"),
}  # fmt: skip


@pytest.mark.parametrize("given", PLANS.values(), ids=list(PLANS))
def test_costs_are_those_of_the_network_that_is_trained(
    settings: Make, question: Question, given: tuple[str, ...]
) -> None:
    asked = settings(*given)
    plan = question.plan(asked.plan)
    network = question.network(plan, asked.train, 0)
    network.thaw(plan.trained)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert question.trained_parameters(plan, asked.train, 0) == trained
    network.merge()
    kept = sum(p.numel() for i in plan.learned for p in network.blocks[i].parameters())
    assert question.kept_parameters(plan) == kept
    x = torch.zeros(1, 3, 32, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for block in network.eval().blocks:
            x = block(x)
    assert question.flops(plan) == counter.get_total_flops()


# ---------------------------------------------------------------------- left out, and stored
def test_features_behind_a_left_out_block_are_those_of_the_network_without_it(
    settings: Make, question: Question
) -> None:
    asked = settings("plan=feature_extractor", "plan.drop=[stage2.1,stage3.2]", "train.pool=1")
    plan = question.plan(asked.plan)
    network = question.network(plan, asked.train, 0).eval()
    network.thaw(())
    x = question.examples(Split.POOL).batch(range(8))[0]
    with torch.no_grad():
        mine = network.activations(x).flatten(1)
    last, inputs = [plan.regrow], resolve(asked).inputs
    (without,) = inputs.pooled(Split.POOL, last, Variant(without=plan.left_out))
    (whole,) = inputs.pooled(Split.POOL, last)
    assert torch.allclose(without[:8], mine, rtol=1e-4, atol=1e-9)
    assert (without - whole)[:8].abs().max() > 0.1 * whole[:8].abs().max()


def test_a_block_left_out_above_a_cut_point_changes_no_key_below_it(
    settings: Make, question: Question
) -> None:
    asked = settings("plan=finetune", "plan.drop=stage3.2")
    plan, below = question.plan(asked.plan), question.cuts.resolve("stage2.3").index
    inputs, without = resolve(asked).inputs, Variant(without=plan.left_out)
    before = inputs.bytes_to_store(below)
    inputs.whole(Split.POOL, below, without)
    assert before > inputs.bytes_to_store(below) == 0
    above = question.cuts.resolve("stage3.3").index
    inputs.whole(Split.POOL, above, without)
    assert inputs.bytes_to_store(above) > 0


def test_a_frozen_plan_with_a_block_left_out_has_the_head_of_its_own_features(
    settings: Make, question: Question
) -> None:
    asked = settings("plan=feature_extractor", "plan.drop=stage3.2", "train.probe_penalty=0.1")
    plan = question.plan(asked.plan)
    _, answers = fit_probe(resolve(asked), [Split.SELECT])
    network = question.network(plan, asked.train, 0)
    network.head = fitted_head(resolve(asked), plan)
    network.thaw(())
    rows = question.examples(Split.SELECT)
    with torch.no_grad():
        mine = network.eval()(rows.batch(range(len(rows)))[0])
    assert torch.allclose(torch.from_numpy(answers[Split.SELECT]), mine, atol=1e-4)
