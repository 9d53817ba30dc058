"""Regions of blocks, as users write them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from tlsweep.cut import CutPoints, block_layers, cut_points, matrices, region, section
from tlsweep.errors import Refusal


def cuts_of(name: str, size: int = 64) -> tuple[nn.Module, CutPoints]:
    options = {"image_size": size} if name.startswith("vit") else {}
    model = get_model(name, weights=None, **options).eval()
    return model, cut_points(model, torch.zeros(2, 3, size, size))


@pytest.fixture(scope="module")
def resnet() -> CutPoints:
    return cuts_of("resnet18")[1]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("layer2.1", ["layer2.1"]),
        ("layer1", ["layer1.0", "layer1.1"]),  # a stage
        ("layer1.1..layer2.0", ["layer1.1", "layer2.0"]),
        ("layer1..layer2", ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]),
        ("layer1.1 .. layer2", ["layer1.1", "layer2.0", "layer2.1"]),
        (1, ["conv1"]),
        ("2..3", ["maxpool", "layer1.0"]),
        (("layer3", 1, "layer4.0"), ["conv1", "layer3.0", "layer3.1", "layer4.0"]),
    ],
)
def test_a_region_is_the_blocks_that_its_text_names(
    resnet: CutPoints, written: str | int | tuple[str | int, ...], names: list[str]
) -> None:
    found = region(resnet, written, "plan.tune")
    assert [resnet.names[i + 1] for i in found] == names


def test_the_end_of_a_blocks_name_is_enough_where_no_other_ends_so() -> None:
    cuts = cuts_of("vit_b_16")[1]
    found = region(cuts, "encoder_layer_3..encoder_layer_5", "plan.tune")
    assert [cuts.names[i + 1].rpartition("_")[2] for i in found] == ["3", "4", "5"]


def test_all_is_every_block(resnet: CutPoints) -> None:
    assert region(resnet, "all", "plan.adapt") == list(range(resnet.n_blocks))


@pytest.mark.parametrize(
    ("written", "rule", "mend"),
    [
        ("layer2..layer1", "from a block to one above it", "plan.tune=layer1..layer2"),
        ("0", "counted from 1 to", "plan.tune="),
        ("-1", "counted from 1 to", "plan.tune="),
        ("99", "counted from 1 to", "plan.tune="),
        ("layr2.1", "a block is one of", "plan.tune=layer2.1"),
        ("input", "a block is one of", "plan.tune="),
        ("layer1..", "a block is one of", "plan.tune="),
        ("none", "a block is one of", "plan.tune="),
    ],
)
def test_what_names_no_block_is_refused_with_rule_and_mend(
    resnet: CutPoints, written: str, rule: str, mend: str
) -> None:
    with pytest.raises(Refusal) as caught:
        region(resnet, written, "plan.tune")
    (fault,) = caught.value.faults
    assert rule in fault.rule
    assert fault.mend.startswith(mend)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_16", "shufflenet_v2_x0_5"])
def test_every_layer_with_parameters_is_counted_once_as_one_that_fits_or_as_another(
    name: str,
) -> None:
    model, cuts = cuts_of(name)
    for i, found in enumerate(block_layers(model, cuts)):
        block = section(model, cuts, i, i + 1)
        own = [m for m in block.modules() if list(m.parameters(recurse=False))]
        assert len(found.shapes) + found.others == len(own)
        grouped = [m for m in own if getattr(m, "groups", 1) > 1]
        assert not {id(m) for m, _ in matrices(block)} & {id(m) for m in grouped}
        weights = [getattr(m, weight) for m, weight in matrices(block)]
        assert found.shapes == tuple((len(w), w[0].numel()) for w in weights)
