"""Splitting: the parts are the model, bit for bit, and share what it is made of."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import networks
import pytest
import torch
from small_torchvision import SMALL
from torch import Tensor, nn

from tlsweep.cut import CutPoints, Level, cut_points, section, split
from tlsweep.errors import Refusal

ZOO = [
    ("resnet18", 64, {}),
    ("mobilenet_v2", 64, {}),
    ("squeezenet1_0", 64, {}),
    ("googlenet", 64, {"init_weights": False}),
    *((name, size, {}) for name, (_, size) in SMALL.items()),
    pytest.param("densenet121", 64, {}, marks=pytest.mark.slow),
    pytest.param("vit_b_16", 32, {"image_size": 32}, marks=pytest.mark.slow),
    pytest.param("swin_t", 64, {}, marks=pytest.mark.slow),
]


def build_zoo(name: str, options: dict[str, object]) -> nn.Module:
    from torchvision.models import get_model

    torch.manual_seed(0)
    model = SMALL[name][0]() if name in SMALL else get_model(name, weights=None, **options)
    return networks.unlike_fresh(model)


def build(kind: type[nn.Module]) -> tuple[nn.Module, CutPoints, Tensor]:
    torch.manual_seed(0)
    model = networks.unlike_fresh(kind())
    return model, cut_points(model, torch.empty(2, 3, 16, 12)), torch.randn(3, 3, 16, 12)


def chain(model: nn.Module, cuts: CutPoints) -> nn.Sequential:
    """The model as single-block sections and its classifier."""
    blocks = [section(model, cuts, i, i + 1) for i in range(cuts.n_blocks)]
    return nn.Sequential(*blocks, section(model, cuts, cuts.n_blocks, None))


@pytest.mark.parametrize(("name", "size", "options"), ZOO)
@torch.no_grad()
def test_suffix_of_prefix_is_the_model_bit_for_bit_at_another_batch_size(
    name: str, size: int, options: dict[str, object]
) -> None:
    model = build_zoo(name, options)
    cuts = cut_points(model, torch.empty(2, 3, size, size))
    x = torch.randn(3, 3, size, size)
    expected = model(x)
    assert expected.std() > 0
    for cut in cuts:
        prefix, suffix = split(model, cut)
        z = prefix(x)
        assert z.shape == (3, *cut.shape)
        assert torch.equal(suffix(z), expected), cut.name
    assert torch.equal(chain(model, cuts)(x), expected)


@pytest.mark.parametrize("level", ["block", "fine"])
@pytest.mark.parametrize("kind", networks.TRAPS)
@torch.no_grad()
def test_traps_are_exact_and_the_input_is_not_written_to(
    kind: type[nn.Module], level: Level
) -> None:
    model, _, x = build(kind)
    cuts = cut_points(model, torch.empty(2, 3, 16, 12), level=level)
    expected = model(x.clone())
    for cut in cuts:
        prefix, suffix = split(model, cut)
        kept = x.clone()
        z = prefix(kept)
        assert torch.equal(kept, x), cut.name
        before = z.clone()
        assert torch.equal(suffix(z), expected), cut.name
        assert torch.equal(z, before), cut.name


@pytest.mark.parametrize("kind", networks.TRAPS)
def test_gradients_through_a_chain_of_sections_are_the_models_own(kind: type[nn.Module]) -> None:
    model, cuts, x = build(kind)
    model(x.clone()).square().sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    chain(model, cuts)(x).square().sum().backward()
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys()
    for name, grad in expected.items():
        torch.testing.assert_close(got[name], grad, msg=name)


@pytest.mark.parametrize("kind", [networks.Small, networks.Buffers, networks.LateBatchSize])
def test_parts_hold_the_models_own_parameters_under_their_own_names(kind: type[nn.Module]) -> None:
    model, cuts, _ = build(kind)
    own = dict(model.named_parameters())
    names = set(model.state_dict())
    for cut in cuts:
        parts = split(model, cut)
        assert all(own[n] is p for part in parts for n, p in part.named_parameters())
        assert set(parts[0].state_dict()) | set(parts[1].state_dict()) == names


def test_a_section_holds_only_what_it_uses() -> None:
    model, cuts, _ = build(networks.Small)
    part = section(model, cuts, 1, 2)
    assert {name.rpartition(".")[0] for name in part.state_dict()} == {
        "blocks.0.conv",
        "blocks.0.norm",
    }


def test_cut_points_of_one_instance_serve_another() -> None:
    model, cuts, x = build(networks.Buffers)
    for other in (copy.deepcopy(model), networks.Buffers().eval()):
        with torch.no_grad():
            other.scale.mul_(3.0)
        parts = chain(other, cuts)
        assert torch.equal(parts(x), other(x))
        assert {id(p) for p in parts.parameters()} == {id(p) for p in other.parameters()}


def test_another_architecture_is_refused() -> None:
    _, cuts, _ = build(networks.Small)
    with pytest.raises(Refusal, match="cut points serve the architecture"):
        section(networks.Tied(), cuts, 0, 1)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("kind", [networks.FunctionalDropout, networks.BranchesOnMode])
def test_training_mode_is_live_in_a_section_and_in_its_copies(
    kind: type[nn.Module], copied: bool
) -> None:
    model, cuts, x = build(kind)
    parts = copy.deepcopy(chain(model, cuts)) if copied else chain(model, cuts)
    for training in (True, False, True):
        model.train(training)
        parts.train(training)
        torch.manual_seed(3)
        expected = model(x)
        torch.manual_seed(3)
        assert torch.equal(parts(x), expected)
    assert not torch.equal(parts.eval()(x), parts.train()(x))


def test_one_section_in_eval_mode_leaves_the_batch_statistics_of_that_section_alone() -> None:
    model, cuts, x = build(networks.Small)
    parts = chain(model, cuts).train()
    parts[1].eval()
    before = copy.deepcopy(model.state_dict())
    parts(x)
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert any(name.startswith("blocks.1.norm") for name in changed)
    assert not any(name.startswith("blocks.0") for name in changed)


@pytest.mark.parametrize("kind", networks.TRAPS)
def test_sections_survive_pickling_and_copying(kind: type[nn.Module]) -> None:
    model, cuts, x = build(kind)
    parts = chain(model, cuts)
    expected = parts(x)
    for again in (pickle.loads(pickle.dumps(parts)), copy.deepcopy(parts)):
        assert torch.equal(again(x), expected)
        assert list(again.state_dict()) == list(parts.state_dict())
        assert not {id(p) for p in again.parameters()} & {id(p) for p in model.parameters()}


def test_constants_follow_a_section_to_another_dtype() -> None:
    model, cuts, x = build(networks.Buffers)
    parts = copy.deepcopy(chain(model, cuts)).double()
    assert all(buffer.dtype == torch.float64 for buffer in parts.buffers())
    torch.testing.assert_close(parts(x.double()).float(), model(x))


def test_auxiliary_heads_do_not_disturb_the_main_path_in_training() -> None:
    model = build_zoo("googlenet", {"init_weights": False, "dropout": 0.0, "dropout_aux": 0.0})
    cuts = cut_points(model, torch.empty(2, 3, 64, 64))
    x = torch.randn(2, 3, 64, 64)
    model.train()
    parts = copy.deepcopy(chain(model, cuts))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    assert torch.equal(parts.train()(x), model.eval()(x)) is False
    model.train()
    model.aux1, model.aux2, model.aux_logits = None, None, False
    assert torch.equal(parts(x), model(x))


def test_a_section_of_nothing_gives_back_its_input() -> None:
    model, cuts, x = build(networks.Small)
    assert section(model, cuts, 2, 2)(x) is x


def test_a_section_cannot_end_below_its_start() -> None:
    model, cuts, _ = build(networks.Small)
    with pytest.raises(ValueError, match=r"from blocks\.1 up cannot end at stem"):
        section(model, cuts, 3, 1)


def test_parts_of_a_model_that_asks_for_sizes_take_its_examples_shape_alone() -> None:
    model, cuts, x = build(networks.AsksForSizes)
    prefix, suffix = split(model, cuts.resolve("blocks.0"))
    assert torch.equal(suffix(prefix(x)), model(x))
    with pytest.raises(ValueError, match=r"the shape that they were found with, \(3, 16, 12\)"):
        prefix(torch.rand(2, 3, 16, 16))


def test_numbers_of_a_vocabulary_are_cut_bit_for_bit() -> None:
    model, ids = networks.Recurrent().eval(), torch.randint(0, 30, (5, 7))
    for cut in cut_points(model, torch.zeros(2, 7, dtype=torch.int64)):
        prefix, suffix = split(model, cut)
        assert torch.equal(suffix(prefix(ids)), model(ids)), cut.name


def test_split_takes_names_when_it_gets_an_example() -> None:
    model, _, x = build(networks.Small)
    prefix, suffix = split(model, "blocks.0", example=x)
    assert torch.equal(suffix(prefix(x)), model(x))
    with pytest.raises(TypeError, match="example"):
        split(model, "blocks.0")
    with pytest.raises(Refusal, match=r"mend: cut=blocks\.0"):
        split(model, "block.0", example=x)


class _Returning(nn.Module):
    """Two blocks and a classifier; ``made`` says what is returned of their outputs."""

    def __init__(self, made: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.classifier = nn.Linear(4, 2)
        self.made = made

    def forward(self, x_bchw: Tensor) -> Any:
        low = self.low(x_bchw)
        high = self.high(low)
        return self.made(self.classifier(high.mean((2, 3))), high, low)


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda y, high, low: (y, None), ("input", "low", "high", "pooled")),
        (lambda y, high, low: {"logits": y}, ("input", "low", "high", "pooled")),
        (lambda y, high, low: OrderedDict(out=y, high=high), ("input", "low", "high")),
        (lambda y, high, low: [y, low], ("input", "low")),
    ],
    ids=["a tuple", "a dict", "a block beside it", "a lower block beside it"],
)
def test_what_is_returned_beside_the_answer_is_never_cut_off(
    made: Callable[..., Any], names: tuple[str, ...]
) -> None:
    model, x = _Returning(made).eval(), torch.rand(3, 3, 16, 16)
    cuts = cut_points(model, x)
    assert cuts.names == names
    for cut in cuts:
        prefix, suffix = split(model, cut)
        again, whole = suffix(prefix(x)), model(x)
        # torch.fx makes a plain dict of an OrderedDict
        assert isinstance(again, dict if isinstance(whole, dict) else type(whole))
        for one, other in zip(_returned(again), _returned(whole), strict=True):
            assert one is other or torch.equal(one, other)


def _returned(answer: Any) -> list[Any]:
    """What a model returns: the parts of a structure, in their order."""
    parts = answer.values() if isinstance(answer, dict) else answer
    return [answer] if isinstance(answer, Tensor) else [*parts]
