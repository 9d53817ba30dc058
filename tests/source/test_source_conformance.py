"""What every source promises, whichever it is."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tlsweep.source import Source


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_one_seed_draws_one_set_of_fresh_weights(source: Source) -> None:
    assert same_weights(source.fresh(3), source.fresh(3))


def test_another_seed_draws_other_fresh_weights(source: Source) -> None:
    assert not same_weights(source.fresh(3), source.fresh(4))


def test_fresh_weights_do_not_depend_on_the_global_random_state(source: Source) -> None:
    torch.manual_seed(1)
    one = source.fresh(3)
    torch.manual_seed(2)
    assert same_weights(one, source.fresh(3))


def test_fresh_weights_are_not_those_of_the_source(source: Source) -> None:
    assert not same_weights(source.fresh(99), source.model())


def test_fresh_has_the_architecture_of_the_source(source: Source) -> None:
    shapes = {key: value.shape for key, value in source.model().state_dict().items()}
    assert {key: value.shape for key, value in source.fresh(0).state_dict().items()} == shapes


def test_building_models_leaves_every_global_random_state_as_it_was(
    make_source: Callable[[int], Source],
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    source = make_source(7)
    source.model()
    source.fresh(1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_models_share_no_weights(source: Source) -> None:
    one = source.model()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert not same_weights(one, source.model())
    assert same_weights(source.model(), source.model())


def test_models_are_in_eval_mode(source: Source) -> None:
    for model in (source.model(), source.fresh(0)):
        assert not any(module.training for module in model.modules())


def test_a_model_takes_the_example_and_gives_one_row_of_logits_an_image(source: Source) -> None:
    x_bchw = source.example()
    assert x_bchw.shape == (2, source.image.channels, source.image.size, source.image.size)
    with torch.no_grad():
        logits = source.model()(x_bchw)
    assert logits.shape[0] == 2
    assert logits.ndim == 2
    assert bool(logits.isfinite().all())


def test_the_fingerprint_is_the_same_each_time_it_is_opened(
    make_source: Callable[[int], Source],
) -> None:
    assert make_source(0).fingerprint == make_source(0).fingerprint


def test_the_fingerprint_depends_on_the_weights(make_source: Callable[[int], Source]) -> None:
    assert make_source(0).fingerprint != make_source(1).fingerprint


def test_a_source_can_be_sent_to_another_process(source: Source) -> None:
    sent = pickle.loads(pickle.dumps(source))
    assert sent.fingerprint == source.fingerprint
    assert same_weights(sent.model(), source.model())


def test_one_mean_and_one_deviation_a_channel(source: Source) -> None:
    assert len(source.image.mean) == len(source.image.std) == source.image.channels
    assert source.image.resize >= source.image.size
