"""Cut points between the layers of a list: exact, and what rides along reaches every part."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from tlsweep.cut import CutPoints, block_layers, folded, layered, prefix_costs, section, split
from tlsweep.errors import Refusal

LAYERS, LENGTH = 3, 12
IDS = torch.randint(1, 50, (4, LENGTH), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(LENGTH) < torch.tensor([[12], [7], [3], [1]])


def stem(part: Any, ids_bt: Tensor, side: Any) -> Tensor:
    z: Tensor = part.embeddings(ids_bt)
    return z


def layer(one: Any, z_btd: Tensor, side: Any) -> Tensor:
    z: Tensor = one(z_btd, side["mask"][:, None, None] if side else None)
    return z


def twice(part: Any, z_btd: Tensor, side: Any) -> Tensor:
    return 2 * z_btd


@pytest.fixture(scope="module")
def bert() -> nn.Module:
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=50, num_hidden_layers=LAYERS, **sizes)
        return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module")
def cuts(bert: nn.Module) -> CutPoints:
    return found(bert)


def found(model: nn.Module, **more: Any) -> CutPoints:
    usual: dict[str, Any] = {"layers": "encoder.layer", "stem_uses": ["embeddings"], "stem": stem}
    return layered(model, IDS, **{"layer": layer, **usual, **more})


def test_each_layer_ends_in_a_cut_point_of_its_name(cuts: CutPoints) -> None:
    layers = [f"encoder.layer.{i}" for i in range(LAYERS)]
    assert cuts.names == ("input", "embeddings", *layers)
    assert [cut.shape for cut in cuts] == [(LENGTH,), *[(LENGTH, 8)] * (LAYERS + 1)]
    assert cuts.resolve("all").index == LAYERS + 1
    assert cuts[1].channel_dim == 2


@torch.no_grad()
def test_parts_in_a_row_answer_what_the_model_answers(bert: nn.Module, cuts: CutPoints) -> None:
    side = {"mask": MASK}
    whole = section(bert, cuts, 0, None)(IDS, side)
    answer = bert(IDS, attention_mask=MASK.long()).last_hidden_state
    assert torch.allclose(whole, answer, atol=1e-6)
    for cut in range(len(cuts)):
        low, high = section(bert, cuts, 0, cut), section(bert, cuts, cut, None)
        assert torch.equal(high(low(IDS, side), side), whole), cut
    prefix, suffix = split(bert, cuts.resolve("embeddings"))
    assert torch.equal(suffix(prefix(IDS, side), side), whole)


@torch.no_grad()
def test_what_the_mask_leaves_out_changes_nothing_of_what_is_there(
    bert: nn.Module, cuts: CutPoints
) -> None:
    model = section(bert, cuts, 0, None)
    other = torch.where(MASK, IDS, 49)
    assert not torch.equal(other, IDS)  # the premise
    one, two = (model(ids, {"mask": MASK})[MASK] for ids in (IDS, other))
    assert torch.equal(one, two)


def test_parts_share_the_models_parameters_under_their_names(
    bert: nn.Module, cuts: CutPoints
) -> None:
    whole = dict(bert.named_parameters())
    blocks = [section(bert, cuts, i, i + 1) for i in range(cuts.n_blocks)]
    held = {name: p for block in blocks for name, p in block.named_parameters()}
    assert held.keys() == whole.keys()
    assert all(held[name] is whole[name] for name in whole)
    assert len(block_layers(bert, cuts)[1].shapes) == 6  # four of attention, two above it


def test_costs_are_those_of_the_whole_model(bert: nn.Module, cuts: CutPoints) -> None:
    costs = prefix_costs(bert, cuts, IDS)
    assert costs[0] == type(costs[0])(0, 0, LENGTH * 4)
    assert costs[-1].parameters == sum(p.numel() for p in bert.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        section(bert, cuts, 0, None)(IDS[:1])
    assert costs[-1].flops == counter.get_total_flops() > 0
    assert [cost.activation_bytes for cost in costs[1:]] == [LENGTH * 8 * 4] * (LAYERS + 1)


@torch.no_grad()
def test_the_end_belongs_to_the_last_layer(bert: nn.Module, cuts: CutPoints) -> None:
    with_end = found(bert, end=twice)
    for cut in range(1, len(cuts)):
        plain = section(bert, cuts, 0, cut)(IDS)
        times = 2 if cut == cuts.n_blocks else 1
        assert torch.equal(section(bert, with_end, 0, cut)(IDS), times * plain), cut


@torch.no_grad()
def test_what_all_layers_use_is_in_every_part_above_the_stem(bert: nn.Module) -> None:
    def shifted(one: Any, z_btd: Tensor, side: Any, part: Any) -> Tensor:
        return layer(one, z_btd, side) + part.embeddings.LayerNorm.bias + 1

    cuts, shared = found(bert, layer=shifted, layer_uses=["embeddings.LayerNorm"]), "LayerNorm.bias"
    whole = section(bert, cuts, 0, None)(IDS)
    for cut in range(1, len(cuts) - 1):
        above = section(bert, cuts, cut, None)
        assert torch.equal(above(section(bert, cuts, 0, cut)(IDS)), whole), cut
        held = dict(above.named_parameters())[f"embeddings.{shared}"]
        assert held is dict(bert.named_parameters())[f"embeddings.{shared}"]
    assert prefix_costs(bert, cuts, IDS)[-1].parameters == sum(p.numel() for p in bert.parameters())


@torch.no_grad()
def test_a_layer_that_is_run_through_again_ends_in_a_cut_point_each_time(bert: nn.Module) -> None:
    cuts = found(bert, runs=5)
    names = [name.removeprefix("encoder.layer.") for name in cuts.names[2:]]
    assert names == ["0.times_1", "0.times_2", "1.times_3", "1.times_4", "2"]
    z = section(bert, cuts, 0, 1)(IDS)
    for block in (0, 0, 1):
        z = layer(bert.get_submodule(f"encoder.layer.{block}"), z, {})
    assert torch.equal(section(bert, cuts, 0, 4)(IDS), z)


def test_cut_points_and_parts_can_be_pickled(bert: nn.Module, cuts: CutPoints) -> None:
    again = pickle.loads(pickle.dumps(cuts))
    assert again.names == cuts.names
    part = pickle.loads(pickle.dumps(section(bert, cuts, 0, 2)))
    with torch.no_grad():
        assert torch.equal(part(IDS), section(bert, again, 0, 2)(IDS))


def test_nothing_that_rides_along_is_folded_away() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.Embedding(50, 8)
            blocks = [nn.Sequential(nn.Conv1d(8, 8, 1), nn.BatchNorm1d(8)) for _ in range(2)]
            self.layer = nn.ModuleList(blocks)

    def one(block: Any, z_btd: Tensor, side: Any) -> Tensor:
        z: Tensor = block(z_btd.mT).mT * (side["mask"][..., None] if side else 1)
        return z

    model = Normed().eval()
    cuts = layered(model, IDS, layers="layer", stem=stem, layer=one, stem_uses=["embeddings"])
    part, side = section(model, cuts, 0, 2), {"mask": MASK}
    with torch.no_grad():
        assert torch.equal(folded(part)(IDS, side), part(IDS, side))
        assert not folded(part)(IDS, side)[~MASK].any()


def test_a_list_that_is_not_there_is_refused_with_those_that_are(bert: nn.Module) -> None:
    with pytest.raises(Refusal, match=r"no layers at encoder\.layers(.|\n)*encoder\.layer'"):
        found(bert, layers="encoder.layers")


def test_a_stem_that_fails_is_refused_by_its_error(bert: nn.Module) -> None:
    def broken(part: Any, ids_bt: Tensor, side: Any) -> Tensor:
        raise ValueError("no such thing")

    with pytest.raises(Refusal, match=r"BertModel on an input(.|\n)*no such thing"):
        found(bert, stem=broken)
