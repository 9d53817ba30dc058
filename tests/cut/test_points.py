"""Cut points: how many are found, what they are called, how they are looked up."""

from __future__ import annotations

import copy
import pickle

import networks
import pytest
import torch
from torch import nn
from torchvision.models import get_model

from tlsweep.cut import CutPoints, cut_points, prefix_costs
from tlsweep.errors import Refusal

EXAMPLE = torch.empty(2, 3, 16, 12)


def zoo_cuts(name: str, size: int, **options: object) -> CutPoints:
    from torchvision.models import get_model

    return cut_points(get_model(name, weights=None, **options), torch.empty(1, 3, size, size))


@pytest.fixture(scope="module")
def resnet() -> CutPoints:
    return zoo_cuts("resnet18", 64)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet50", 19),
        pytest.param("densenet121", 10, marks=pytest.mark.slow),
        pytest.param("swin_t", 17, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", 23, marks=pytest.mark.slow),
        ("squeezenet1_0", 12),
        ("mobilenet_v2", 20),
        ("alexnet", 11),
    ],
)
def test_torchvision_models_have_the_blocks_of_their_papers(name: str, blocks: int) -> None:
    assert zoo_cuts(name, 96).n_blocks == blocks


def test_a_vision_transformer_has_its_patches_its_layers_and_its_pooled_token() -> None:
    cuts = zoo_cuts("vit_b_16", 32, image_size=32)
    assert cuts.names[:2] == ("input", "conv_proj")
    assert cuts.names[2:14] == tuple(f"encoder.layers.encoder_layer_{i}" for i in range(12))
    assert cuts.names[14:] == ("pooled",)
    assert cuts.resolve("encoder").index == 13


def test_resnet18_has_eleven_blocks_in_order(resnet: CutPoints) -> None:
    layers = [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    assert resnet.names == ("input", "conv1", "maxpool", *layers, "pooled")
    assert resnet.n_blocks == 11
    assert [cut.index for cut in resnet] == list(range(12))


def test_shapes_are_per_example(resnet: CutPoints) -> None:
    assert resnet[0].shape == (3, 64, 64)
    assert resnet.resolve("layer2").shape == (128, 8, 8)
    assert resnet.resolve("pooled").shape == (512,)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("layer3.0", "layer3.0"),
        ("layer3", "layer3.1"),
        ("avgpool", "pooled"),
        ("all", "pooled"),
        ("none", "input"),
        ("5", "layer2.0"),
        (5, "layer2.0"),
        (0, "input"),
        ("11", "pooled"),
        ("0.5", "layer2.1"),  # 5.5 blocks: halves go up
        (0.5, "layer2.1"),
        ("0.0", "input"),
        (1.0, "pooled"),
        ("1", "conv1"),
    ],
)
def test_a_cut_point_is_a_name_an_alias_an_index_or_a_fraction(
    resnet: CutPoints, text: str | int | float, name: str
) -> None:
    assert resnet.resolve(text).name == name


@pytest.mark.slow
def test_the_end_of_a_name_is_enough_where_no_other_ends_so() -> None:
    vit = zoo_cuts("vit_b_16", 32, image_size=32)
    assert vit.resolve("encoder_layer_3").name == "encoder.layers.encoder_layer_3"
    assert zoo_cuts("mobilenet_v2", 32).resolve("3").index == 3  # not features.3
    with pytest.raises(Refusal):
        vit.resolve("layer_3")  # the end of a word is no end of a name


def test_an_unknown_name_is_refused_with_the_nearest_one(resnet: CutPoints) -> None:
    with pytest.raises(Refusal) as caught:
        resnet.resolve("layr3.0", where="plan.freeze")
    (fault,) = caught.value.faults
    assert fault.value == "plan.freeze=layr3.0"
    assert fault.mend == "plan.freeze=layer3.0"
    assert "a cut point is one of: input, none, conv1, maxpool, layer1.0" in fault.rule


@pytest.mark.parametrize(
    ("text", "mend"),
    [("12", "=11"), (-1, "=0"), ("1.5", "=1.0"), (-0.1, "=0.0"), ("inf", "=1.0"), ("nan", "=")],
)
def test_indices_and_fractions_out_of_range_are_refused_with_the_nearest(
    resnet: CutPoints, text: str | int | float, mend: str
) -> None:
    with pytest.raises(Refusal, match=f"mend: plan.keep{mend}"):
        resnet.resolve(text)


@pytest.mark.parametrize("text", [True, "", "layer"])
def test_what_is_no_cut_point_is_refused(resnet: CutPoints, text: str | bool) -> None:
    with pytest.raises(Refusal):
        resnet.resolve(text)


def test_a_glob_matches_names_and_aliases(resnet: CutPoints) -> None:
    assert [cut.name for cut in resnet.match("layer?")] == [f"layer{i}.1" for i in range(1, 5)]
    assert [cut.name for cut in resnet.match("layer2.*")] == ["layer2.0", "layer2.1"]
    assert len(resnet.match("*")) == len(resnet)
    assert resnet.match("features") == []


@pytest.mark.slow
def test_every_name_and_alias_resolves_to_its_own_cut_point(resnet: CutPoints) -> None:
    for cuts in (resnet, zoo_cuts("mobilenet_v2", 32), zoo_cuts("swin_t", 32)):
        for cut in cuts:
            assert all(cuts.resolve(name) is cut for name in cut.all_names)


def test_paths_that_are_numbers_are_not_taken_for_indices() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3)))
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)])
    cuts = cut_points(model, EXAMPLE)
    assert cuts.names == ("input", "seq.0", "seq.1", "pooled")
    assert cuts.resolve("0").name == "input"
    assert cuts.resolve("seq.0").index == 1


def test_the_fine_level_has_every_articulation_and_the_same_ends() -> None:
    model = networks.Small()
    fine, block = cut_points(model, EXAMPLE, level="fine"), cut_points(model, EXAMPLE)
    assert fine.names == (
        *("input", "stem.0", "stem.1", "stem.2", "blocks.0.add", "blocks.0.relu"),
        *("blocks.1.add", "blocks.1.relu", "pool", "flatten"),
    )
    for name in ("none", "stem", "blocks.0", "blocks", "all"):
        assert fine.resolve(name).shape == block.resolve(name).shape


def test_a_block_used_twice_has_two_cut_points() -> None:
    assert cut_points(networks.Tied(), EXAMPLE).names == (
        *("input", "first", "block", "block:2", "pooled"),
    )


def test_sizes_that_travel_are_the_examples_and_hide_no_cut_point() -> None:
    assert cut_points(networks.HeightCrosses(), EXAMPLE).names == (
        "input",
        "first",
        "second",
        "pooled",
    )
    cuts = cut_points(networks.AsksForSizes(), EXAMPLE)
    assert cuts.names == ("input", "patches", "blocks.0", "blocks.1", "pooled")
    assert [cut.shape for cut in cuts[1:]] == [(12, 8), (12, 8), (12, 8), (8,)]


def test_an_unused_part_of_a_tuple_hides_no_cut_point() -> None:
    cuts = cut_points(networks.Recurrent(), torch.zeros(2, 7, dtype=torch.int64))
    assert cuts.names == ("input", "words", "low", "high", "pooled")


@pytest.mark.parametrize("kind", [networks.Caches, networks.CachesBehindALock])
@pytest.mark.parametrize("used", [False, True])
def test_what_a_forward_keeps_is_as_it_was(kind: type[networks.Caches], used: bool) -> None:
    model, x = kind().eval(), torch.rand(2, 3, 16, 12)
    if used:
        model(x)
    before = {name: dict(inner) for name, inner in model.cache.items()}
    attributes, calls = set(model.__dict__), model.calls
    cuts = cut_points(model, EXAMPLE)
    prefix_costs(model, cuts, EXAMPLE)
    assert set(model.__dict__) == attributes
    assert model.calls == calls
    assert {name: dict(inner) for name, inner in model.cache.items()} == before
    assert torch.equal(model(x), kind.forward(model, x))
    assert isinstance(model.cache["cpu"]["twice"], torch.Tensor)


HEADLESS = {
    "resnet18": (lambda m: setattr(m, "fc", nn.Identity()), 11, (512,)),
    "mobilenet_v2": (lambda m: setattr(m, "classifier", nn.Identity()), 20, (1280,)),
    "vgg11": (lambda m: setattr(m, "classifier", nn.Identity()), 14, (25088,)),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "resnet18" else pytest.mark.slow) for n in HEADLESS],
)
def test_a_model_without_its_classifier_keeps_its_last_block(name: str) -> None:
    change, blocks, shape = HEADLESS[name]
    model = get_model(name, weights=None).eval()
    whole = cut_points(model, torch.empty(2, 3, 64, 64))
    change(model)
    cuts = cut_points(model, torch.empty(2, 3, 64, 64))
    assert cuts.names == whole.names[: len(cuts)]
    assert (cuts.n_blocks, cuts[-1].shape) == (blocks, shape)
    said = cut_points(model, torch.empty(2, 3, 64, 64), classifier=False)
    assert said.names == cuts.names
    assert cut_points(model, torch.empty(2, 3, 64, 64), classifier=True).n_blocks < blocks


def test_layers_in_a_row_without_a_classifier_are_all_there() -> None:
    layers = list(get_model("resnet18", weights=None).children())
    assert cut_points(nn.Sequential(*layers[:-1]), torch.empty(2, 3, 64, 64)).n_blocks == 11
    assert cut_points(nn.Sequential(*layers[:-2]), torch.empty(2, 3, 64, 64)).n_blocks == 10


def test_a_module_that_cannot_be_traced_is_a_block() -> None:
    assert "odd" in cut_points(networks.HoldsUntraceable(), EXAMPLE).names


@pytest.mark.parametrize(
    ("name", "size", "options", "channels_last"),
    [
        ("resnet18", 64, {}, []),
        ("swin_t", 64, {}, [f"features.{i}" for i in range(7)]),
        ("vit_b_16", 32, {"image_size": 32}, ["conv_proj", "encoder"]),
    ],
)
def test_the_channel_dimension_is_found_in_either_layout(
    name: str, size: int, options: dict[str, int], channels_last: list[str]
) -> None:
    cuts = zoo_cuts(name, size, **options)
    last = {cuts.resolve(alias).index for alias in channels_last}
    for cut in cuts:
        if cut.index in last:
            assert cut.channel_dim == len(cut.shape)
        if not channels_last or cut.index == 0:
            assert cut.channel_dim == 1


def test_finding_leaves_the_model_and_the_random_numbers_as_they_were() -> None:
    model = networks.Buffers().train()
    model.second.eval()
    before, attributes = copy.deepcopy(model.state_dict()), set(model.__dict__)
    random = torch.get_rng_state()
    cut_points(model, EXAMPLE)
    assert model.training
    assert not model.second.training
    assert set(model.__dict__) == attributes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


def test_cut_points_are_immutable_and_survive_pickling(resnet: CutPoints) -> None:
    again = pickle.loads(pickle.dumps(resnet))
    assert list(again) == list(resnet)
    with pytest.raises(AttributeError):
        resnet[0].index = 3  # type: ignore[misc]


def test_a_model_without_a_place_to_cut_is_refused() -> None:
    with pytest.raises(Refusal, match="Linear has no cut point besides its input"):
        cut_points(nn.Linear(3, 2), torch.empty(2, 3))


def test_a_model_of_which_no_call_carries_all_data_is_one_block_and_is_said_to_be() -> None:
    cuts = cut_points(networks.LooksAtValues(), torch.empty(2, 4, 8, 8))
    assert (cuts.names, cuts.way) == (("input", "whole"), "calls")
    (said,) = cuts.said
    assert said.startswith("LooksAtValues is not traced (TraceError: symbolically traced")
    assert said.endswith("so it is kept whole, as one block")


class _TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * mask


@pytest.mark.parametrize(
    ("model", "example", "said"),
    [
        (_TwoInputs(), torch.empty(2, 3), "takes 2 inputs: x, mask"),
        (networks.Small(), {"x": EXAMPLE}, "an example that is a dict"),
        (networks.Small(), torch.tensor(1.0), "an example without dimensions"),
        (networks.Small(), torch.zeros(2, 3, dtype=torch.int64), "Small on an input of shape"),
    ],
)
def test_what_is_no_batch_of_one_input_is_refused_by_its_cause(
    model: nn.Module, example: object, said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        cut_points(model, example)  # type: ignore[arg-type]


def test_a_refusal_shows_no_log_of_torchs(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refusal, match="same reduction dim"):
        cut_points(nn.Sequential(nn.Flatten(), nn.Linear(10, 3)), torch.empty(2, 3, 4, 4))
    assert "".join(capfd.readouterr()) == ""


def test_an_example_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(Refusal, match=r"Small on an input of shape \(2, 1, 16, 12\)"):
        cut_points(networks.Small(), torch.empty(2, 1, 16, 12))
