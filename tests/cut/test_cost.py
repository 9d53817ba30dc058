"""Costs: one fake run counts what running every prefix by itself would count."""

from __future__ import annotations

import copy
import itertools
import json

import networks
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tlsweep.cut import cut_points, prefix_costs, rows, split


def flops_of(part: nn.Module, x: torch.Tensor) -> int:
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            part(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet18", {}), ("vit_b_16", {"image_size": 64}), ("squeezenet1_0", {})],
)
def test_costs_equal_a_count_of_every_prefix_by_itself(name: str, options: dict[str, int]) -> None:
    from torchvision.models import get_model

    model = get_model(name, weights=None, **options).eval()
    example = torch.zeros(2, 3, 64, 64)
    cuts = cut_points(model, example)
    costs = prefix_costs(model, cuts, example)
    assert len(costs) == len(cuts)
    for cut, cost in zip(cuts, costs, strict=True):
        prefix, _ = split(model, cut)
        assert cost.parameters == sum(p.numel() for p in prefix.parameters()), cut.name
        assert cost.flops == flops_of(prefix, example[:1]), cut.name
        assert cost.activation_bytes == prefix(example[:1]).numel() * 4, cut.name


def test_the_raw_input_costs_nothing_to_compute() -> None:
    model, example = networks.Small(), torch.zeros(2, 3, 16, 12)
    first = prefix_costs(model, cut_points(model, example), example)[0]
    assert (first.parameters, first.flops, first.activation_bytes) == (0, 0, 3 * 16 * 12 * 4)


@pytest.mark.parametrize("kind", networks.TRAPS)
def test_costs_never_fall_from_one_cut_point_to_the_next(kind: type[nn.Module]) -> None:
    model, example = kind(), torch.zeros(2, 3, 16, 12)
    costs = prefix_costs(model, cut_points(model, example), example)
    for below, above in itertools.pairwise(costs):
        assert below.parameters <= above.parameters
        assert below.flops <= above.flops


def test_parameters_that_are_used_twice_are_counted_once() -> None:
    model, example = networks.Tied(), torch.zeros(2, 3, 16, 12)
    cuts = cut_points(model, example)
    costs = prefix_costs(model, cuts, example)
    assert costs[cuts.resolve("block:2").index].parameters == costs[2].parameters


def test_flops_are_counted_in_frozen_models_and_without_gradients() -> None:
    from torchvision.models import vit_b_16

    model, example = vit_b_16(image_size=32).eval(), torch.zeros(2, 3, 32, 32)
    cuts = cut_points(model, example)
    expected = prefix_costs(model, cuts, example)
    model.requires_grad_(False)
    with torch.no_grad():
        assert prefix_costs(model, cuts, example) == expected


def test_counting_leaves_the_model_as_it_was() -> None:
    model, example = networks.Small().train(), torch.zeros(2, 3, 16, 12)
    before = copy.deepcopy(model.state_dict())
    prefix_costs(model, cut_points(model, example), example)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_table_has_a_row_of_json_values_for_every_cut_point() -> None:
    model, example = networks.Small(), torch.zeros(2, 3, 16, 12)
    cuts = cut_points(model, example)
    table = rows(cuts, prefix_costs(model, cuts, example))
    assert json.loads(json.dumps(table)) == table
    assert table[1] == {
        "index": 1,
        "name": "stem",
        "aliases": [],
        "shape": [4, 14, 10],
        "parameters": 3 * 4 * 9 + 4 + 8,
        "flops": 2 * 3 * 9 * 4 * 14 * 10,
        "activation_bytes": 4 * 14 * 10 * 4,
        "way": "fx",
        "prefix_only": False,
    }
