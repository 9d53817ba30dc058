"""Models that torch.fx cannot trace: cut between calls of their modules, where that is exact."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
import untraceable
from torch import Tensor, nn

from tlsweep.cut import CutPoints, block_layers, block_of, cut_points, prefix_costs, section, split
from tlsweep.errors import Refusal
from tlsweep.extract.taps import Taps

LAYERS = ("layers.0", "layers.1", "layers.2")
ALL = ("input", "stem", *LAYERS, "pooled")
FOUND = {
    "Branches": ALL,
    "Loops": ALL,
    "CallsAsOften": ("input", "stem", "layers.1", "layers.2", "pooled"),
    "Checkpoints": ALL,
    "CheckpointsAll": ALL,
    "OwnGradient": ALL,
    "Jumps": ("input", "stem", "layers.2", "pooled"),
    "DecidesEarly": ALL,
    "OwnTable": ALL,
    "Conditions": ("input", *LAYERS, "pooled"),
    "TellsPlaces": ALL,
    "InPlace": ALL,
    "Attends": ("input", "patch", "blocks.0", "blocks.1", "blocks.2", "pooled"),
}
# names of the cut points at which no part can start
PREFIX_ONLY = {
    "CheckpointsAll": LAYERS[:2],
    "DecidesEarly": ALL[1:4],
    "OwnTable": ALL[1:4],
    "Conditions": LAYERS[:2],
}


def made(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = getattr(untraceable, name)()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.linspace(-1, 1, untraceable.WIDTH)
    return model.eval()


def found(model: nn.Module) -> CutPoints:
    return cut_points(model, torch.zeros(2, 3, 16, 16))


def inputs(n: int = 4) -> Iterator[Tensor]:
    x = torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    yield from (x, x.abs(), -x.abs())


@pytest.mark.parametrize("name", FOUND)
def test_it_is_cut_where_one_tensor_carries_all_and_both_parts_are_exact(name: str) -> None:
    model = made(name)
    cuts = found(model)
    assert (cuts.names, cuts.way) == (FOUND[name], "calls")
    wanted = PREFIX_ONLY.get(name, ())
    assert tuple(cut.name for cut in cuts if not cut.starts) == wanted
    with torch.no_grad():
        for x in inputs():
            answer = model(x.clone())
            for cut in (cut for cut in cuts if cut.name not in wanted):
                prefix, suffix = split(model, cut)
                z = prefix(x.clone())
                assert z.shape == (4, *cut.shape)
                kept = z.clone()
                assert torch.equal(suffix(z), answer), cut.name
                assert torch.equal(z, kept)  # a part does not write to its input


@pytest.mark.parametrize("name", PREFIX_ONLY)
def test_where_only_the_prefix_is_right_it_gives_what_the_module_gives_and_no_part_starts(
    name: str,
) -> None:
    model, seen = made(name), dict[str, Tensor]()
    cuts = found(model)
    for only in PREFIX_ONLY[name]:
        module = model.get_submodule(only)
        module.register_forward_hook(lambda *a, key=only: seen.update({key: a[2].clone()}))
    for x in inputs():
        with torch.no_grad():
            model(x.clone())
            taken = dict(seen)
            for only in PREFIX_ONLY[name]:
                assert torch.equal(section(model, cuts, 0, cuts.resolve(only))(x), taken[only])
    cut = cuts.resolve(PREFIX_ONLY[name][0])
    for start in (lambda: split(model, cut), lambda: section(model, cuts, cut, cuts.n_blocks)):
        with pytest.raises(Refusal) as refused:
            start()
        (fault,) = refused.value.faults
        assert fault.value == f"a part of the model that starts at {cut.name}"
        assert "good for its prefix only" in fault.rule
        assert fault.mend == f'section(model, cuts, 0, cuts.resolve("{cut.name}")), the prefix'


@pytest.mark.parametrize("name", FOUND)
@torch.no_grad()
def test_parts_in_a_row_and_taps_in_one_pass_give_what_each_prefix_gives(name: str) -> None:
    model = made(name)
    cuts = found(model)
    model = model.to(memory_format=torch.channels_last)  # as taps run
    taps = Taps(model, cuts, range(len(cuts)), None)
    for x in inputs(2):
        x = x.contiguous(memory_format=torch.channels_last)
        for cut, tapped in zip(cuts, taps(x.clone()), strict=True):
            assert torch.equal(section(model, cuts, 0, cut)(x.clone()), tapped), cut.name


@pytest.mark.parametrize("name", FOUND)
def test_the_blocks_hold_the_models_own_parameters_by_its_names_and_no_others(name: str) -> None:
    model = made(name)
    cuts = found(model)
    whole, held = dict(model.named_parameters()), {}
    for i in range(cuts.n_blocks):
        held |= dict(block_of(model, cuts, i, cuts.n_blocks).named_parameters())
    assert all(held[key] is whole[key] for key in held)
    unused = {"shift"} if name not in ("Branches", "OwnGradient", "OwnTable") else set()
    assert set(whole) - set(held) - {"head.weight", "head.bias"} <= unused
    assert not {"head.weight", "head.bias"} & set(held)
    above = section(model, cuts, cuts.above(0), None)
    assert set(above.state_dict()) <= set(model.state_dict())
    if cuts.above(0).name == "stem":
        assert not [key for key in above.state_dict() if key.startswith("stem")]


@pytest.mark.parametrize("name", FOUND)
def test_gradients_through_a_part_are_those_of_the_model(name: str) -> None:
    model, own = made(name), made(name)
    cuts, x = found(model), next(inputs())
    own(x.clone()).square().sum().backward()
    z = x.clone()
    for i in range(cuts.n_blocks):
        z = block_of(model, cuts, i, cuts.n_blocks)(z)
    section(model, cuts, cuts.n_blocks, None)(z).square().sum().backward()
    for (key, ours), theirs in zip(model.named_parameters(), own.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), key
        if ours.grad is not None and theirs.grad is not None:
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6), key


@pytest.mark.parametrize("name", ["Checkpoints", "CheckpointsAll"])
def test_what_is_frozen_stays_while_what_lies_above_is_trained(name: str) -> None:
    model = made(name)
    cuts, x = found(model), next(inputs())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    above = section(model, cuts, 1, None).train()
    with torch.no_grad():
        z = section(model, cuts, 0, 1)(x)
    torch.optim.SGD(above.parameters(), 0.1).zero_grad()
    above(z).square().sum().backward()
    torch.optim.SGD(above.parameters(), 0.1).step()
    after = model.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert not [key for key in moved if key.startswith("stem")]
    assert {f"layers.{i}.conv.weight" for i in range(3)} <= moved
    assert "layers.1.norm.running_mean" in moved


@pytest.mark.parametrize("name", FOUND)
def test_nothing_of_a_look_stays_in_the_model(name: str) -> None:
    model = made(name).train()
    model.get_submodule("norm").eval()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    kept = {path: set(module.__dict__) for path, module in model.named_modules()}
    cuts = found(model)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [m.training for m in model.modules()].count(False) == 1
    start = cuts.above(0)
    section(model.eval(), cuts, start, None)(torch.zeros(2, *start.shape))
    for path, module in model.named_modules():
        assert set(module.__dict__) == kept[path]
        assert not any(hooks for key, hooks in module.__dict__.items() if key.endswith("_hooks"))


@pytest.mark.parametrize("name", ["Branches", "Conditions"])
@torch.no_grad()
def test_every_single_tensor_that_carries_all_is_a_cut_point_where_that_is_asked(name: str) -> None:
    model, x = made(name), next(inputs())
    cuts = cut_points(model, torch.zeros(2, 3, 16, 16), level="fine")
    assert cuts.names == (*FOUND[name][:-1], "norm", "before.head")
    answer = model(x.clone())
    for cut in (cut for cut in cuts if cut.starts):
        prefix, suffix = split(model, cut)
        assert torch.equal(suffix(prefix(x.clone())), answer), cut.name


def test_costs_are_those_of_one_run_and_of_the_parameters_below() -> None:
    model = made("Attends")
    costs = prefix_costs(model, found(model), torch.zeros(2, 3, 16, 16))
    patch, places = 3 * 16 * 16 + 16, (1 + 17) * 16
    layer = sum(p.numel() for p in model.get_submodule("blocks.0").parameters())
    assert [cost.parameters for cost in costs] == [
        0,
        patch,
        patch + places + layer,
        patch + places + 2 * layer,
        patch + places + 3 * layer + 32,
        patch + places + 3 * layer + 32,
    ]
    assert costs[1].flops == 2 * 16 * 3 * 16 * 16
    assert costs[2].flops - costs[1].flops == costs[3].flops - costs[2].flops > 0


def test_a_class_token_is_found_and_channels_are() -> None:
    cuts = found(made("Attends"))
    assert [cut.tokens for cut in cuts] == [None, None, (0,), (0,), (0,), None]
    assert [cut.channel_dim for cut in cuts] == [1, 1, 2, 2, 2, 1]


def test_places_at_which_no_part_can_start_are_said_by_name() -> None:
    said = found(made("DecidesEarly")).said
    assert said[1:] == (
        "cut points of DecidesEarly that are good for their prefix only: 3 (stem, layers.0,"
        " layers.1); what follows needs more than what ends there, so a head may stand on it, and"
        " nothing else may start there",
    )
    assert "cut between calls of its modules, where that was seen to be exact" in said[0]
    assert found(made("Jumps")).said[1:] == ()  # another tensor is read there: no such place


def test_cut_points_and_parts_can_be_pickled_and_copied() -> None:
    model, x = made("Branches"), next(inputs())
    cuts = found(model)
    again = pickle.loads(pickle.dumps(cuts))
    part = section(model, again, 1, 3)
    with torch.no_grad():
        z = section(model, cuts, 0, 1)(x)
        wanted = section(model, cuts, 1, 3)(z)
        assert torch.equal(part(z), wanted)
        assert torch.equal(pickle.loads(pickle.dumps(part))(z), wanted)
        other = copy.deepcopy(part)
        assert torch.equal(other(z), wanted)
        next(other.parameters()).zero_()
        assert torch.equal(part(z), wanted)


def test_a_wrapper_around_such_a_model_is_cut_inside_it() -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made("Branches")

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            return y

    inside = [f"inner.{name}" for name in ALL[1:-1]]
    assert found(Wrapper().eval()).names == ("input", *inside, "pooled")


@torch.no_grad()
def test_parts_in_a_row_are_exported_where_nothing_is_branched_on() -> None:
    model, x = made("Refuses"), next(inputs(3))
    cuts = found(model)
    row = nn.Sequential(*(section(model, cuts, i, i + 1) for i in range(cuts.n_blocks)))
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(row.eval(), (x[:2],), dynamic_shapes=shapes, strict=False)
    assert torch.allclose(program.module()(x), section(model, cuts, 0, len(cuts) - 1)(x), atol=1e-6)


@pytest.mark.parametrize("name", ["Branches", "Conditions"])
def test_the_layers_of_a_block_are_those_that_it_uses_and_no_others(name: str) -> None:
    model = made(name)
    cuts = found(model)
    shapes = [[(8, 72)]] * 3 + [[]]  # three layers with a convolution each, and the pooling
    first = [[(8, 27)]] if name == "Branches" else []  # the stem
    wanted = [*first, *shapes]
    if name == "Conditions":  # its first block holds the stem and the condition
        wanted[0] = [(8, 27), (8, 3), (8, 72)]
    assert [sorted(b.shapes) for b in block_layers(model, cuts)] == [sorted(w) for w in wanted]
