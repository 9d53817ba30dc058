"""The search space says in Optuna's words what the overrides say in Hydra's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hydra import compose, initialize
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tlsweep.errors import Refusal
from tlsweep.jobs.grammar import first_values, grid, parse
from tlsweep.study.space import (
    Space,
    Spaces,
    between,
    listed,
    parameters,
    suggest,
    typed,
)

Parsed = Callable[..., list[Override]]
MakeSpace = Callable[..., Space]
NAMES = ["input", "stem", "layer1.0", "layer1.1", "layer2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k=range(0,4)", IntDistribution(0, 3)),
        ("k=range(4)", IntDistribution(0, 3)),
        ("k=range(0,10,3)", IntDistribution(0, 9, step=3)),
        ("k=range(1,10,3)", IntDistribution(1, 7, step=3)),
        ("k=range(5,0,-2)", IntDistribution(1, 5, step=2)),
        ("k=range(-3,0)", IntDistribution(-3, -1)),
        ("k=shuffle(range(1,4))", IntDistribution(1, 3)),
        ("k=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("k=range(0,1,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("k=range(0.5,0.1,-0.1)", FloatDistribution(0.2, 0.5, step=0.1)),
        ("k=interval(0,1)", FloatDistribution(0.0, 1.0)),
        ("k=interval(-1e-3,1e-2)", FloatDistribution(-1e-3, 1e-2)),
        ("k=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("k=int(interval(1,5))", IntDistribution(1, 5)),
        ("k=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("k=choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("k=a,b", CategoricalDistribution(["a", "b"])),
        ("k=choice('a,b','c d')", CategoricalDistribution([r"a\,b", r"c\ d"])),
        ("k=0.1,1e-3,null,true", CategoricalDistribution(["0.1", "0.001", "null", "True"])),
        ("k=choice([1,2],[3])", CategoricalDistribution(["[1,2]", "[3]"])),
        ("plan.keep=glob(*)", CategoricalDistribution(NAMES)),
        ("plan.keep=glob(layer*)", CategoricalDistribution(NAMES[2:])),
        ("plan.freeze=glob([layer*,stem],exclude=*.1)",
         CategoricalDistribution(["stem", "layer1.0", "layer2"])),
    ],
)  # fmt: skip
def test_a_sweep_becomes_the_distribution_of_its_values(
    space: MakeSpace, text: str, expected: BaseDistribution
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", _no_warning)
        found = space(text)
    assert list(found.searched.values()) == [expected]
    assert found.fixed == ()


def _no_warning(*args: Any, **kwargs: Any) -> None:
    raise AssertionError(f"warned: {args}")


@pytest.mark.parametrize(
    "text", ["k=range(0,10,3)", "k=range(5,0,-2)", "k=range(0.1,1.0,0.1)", "k=range(0,0.7,0.1)",
             "k=range(1e-3,5e-3,1e-3)", "k=range(-1.0,-0.5,0.1)"],
)  # fmt: skip
def test_the_search_can_reach_every_value_that_hydra_lists_and_no_other(
    parsed: Parsed, space: MakeSpace, text: str
) -> None:
    (override,) = parsed(text)
    listed = sorted(float(v) for v in override.sweep_string_iterator())
    (d,) = space(text).searched.values()
    assert isinstance(d, FloatDistribution | IntDistribution)
    assert d.step is not None
    reached = [d.low + i * d.step for i in range(round((d.high - d.low) / d.step) + 1)]
    assert reached == pytest.approx(listed)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("k=range(4,4)", "a range is not empty (its end is excluded)"),
        ("k=range(4,0)", "a range is not empty (its end is excluded)"),
        ("k=range(0,4,0)", "a range has a step other than 0"),
        ("k=interval(5,1)", "an interval goes from low to high, and above 0 where tagged log"),
        ("k=tag(log,interval(0,1))",
         "an interval goes from low to high, and above 0 where tagged log"),
        ("plan.keep=glob(conv*)",
         "the pattern matches a cut point: input, stem, layer1.0, layer1.1, layer2"),
    ],
)  # fmt: skip
def test_a_space_without_values_is_refused_with_the_rule(
    space: MakeSpace, text: str, rule: str
) -> None:
    with pytest.raises(Refusal) as caught:
        space(text)
    (fault,) = caught.value.faults
    assert (fault.value, fault.rule) == (text, rule)
    assert fault.mend.startswith(text.split("=", maxsplit=1)[0] + "=")
    space(fault.mend)  # the mend can be searched


@pytest.mark.parametrize("text", ["k=range(5,1)", "k=range(1,2,0)"])
def test_a_grid_without_values_is_refused_too(parsed: Parsed, text: str) -> None:
    for ask in (lambda o: grid(o, lambda rest, key: NAMES), first_values):
        with pytest.raises(Refusal) as caught:
            ask(parsed(text))
        assert caught.value.faults[0].value == text


def test_what_is_not_swept_is_held_fixed_as_it_was_written(space: MakeSpace) -> None:
    found = space("a='x y'", "+b=1", "~c", "d=choice(1,2)")
    assert found.fixed == ("a='x y'", "+b=1", "~c=null")
    assert found.overrides({"d": "2"}) == ["a='x y'", "+b=1", "~c=null", "d=2"]


def test_keys_that_are_added_keep_their_plus(space: MakeSpace) -> None:
    assert list(space("+k=range(0,3)").searched) == ["+k"]


def test_overrides_that_cannot_be_read_are_refused_all_at_once() -> None:
    with pytest.raises(Refusal) as caught:
        parse(["a=[1", "b=2", "c=(3"], OverridesParser.create())
    assert [f.value.split(":")[0] for f in caught.value.faults] == ["a=[1", "c=(3"]


def test_every_override_of_a_space_is_read_again_by_hydra_as_the_same_value(
    space: MakeSpace, parsed: Parsed
) -> None:
    found = space("a='x,y',null,1e-05", "b=interval(1e-9,1e-5)", "c=int(interval(1,9))")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        params = suggest(study.ask(), found.searched)
        a, b, c = (o.value() for o in parsed(*found.overrides(params)))
        assert str(a).strip("'") in ("x,y", "None", "1e-05")
        assert b == params["b"]
        assert c == params["c"]
        assert isinstance(c, int)


def test_samples_name_every_listed_value_and_the_lower_end_of_a_range(space: MakeSpace) -> None:
    found = space("a=choice(x,y)", "b=interval(0.5,1)", "c=range(2,5)")
    assert found.samples() == ["a=x", "a=y", "b=0.5", "c=2"]


def test_the_fingerprint_tells_spaces_apart_and_not_the_order_of_their_keys(
    space: MakeSpace,
) -> None:
    one = space("a=choice(1,2)", "b=interval(0,1)").fingerprint()
    assert one == space("b=interval(0,1)", "a=choice(1,2)").fingerprint()
    for other in ("a=choice(1,3)", "a=choice(2,1)", "a=range(1,3)", "c=choice(1,2)"):
        assert one != space(other, "b=interval(0,1)").fingerprint()
    assert one != space("a=choice(1,2)", "b=tag(log,interval(0.1,1))").fingerprint()


# ------------------------------------------------------------------ wanted by name
@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("train.lr=1e-3", {"train.lr": 0.001}),
        ("train.lr=3", {"train.lr": 3.0}),
        ("train.probe_penalty=0.1", {"train.probe_penalty": 0.1}),
        ("seed=7", {"seed": 7}),
        ("fold=2", {"fold": 2}),
        ("fold=null", {}),
        ("train.epochs=1.5", {}),
        ("train.lr=fast", {}),
        ("train.lr=nan", {}),
        ("train.lr=-1", {}),
        ("seed=-1", {}),
        ("plan=scratch", {"plan": "scratch"}),
        ("plan=of_my_own", {}),
        ("plan.keep=layer1.0", {"plan.keep": "layer1.0"}),
        ("plan.freeze=none", {"plan.freeze": "none"}),
        ("plan.keep=3", {}),
        ("train.head=linear", {}),
        ("schedule=gradual", {}),
    ],
)
def test_overrides_of_a_wanted_trial_are_parameters_numbers_as_numbers(
    override: str, found: dict[str, Any]
) -> None:
    known = typed(NAMES, ["truncate", "scratch"])
    assert parameters([override], known) == found
    for key, value in found.items():
        assert type(parameters([override], known)[key]) is type(value)


def test_every_parameter_of_a_wanted_trial_is_accepted_by_optuna_as_it_is() -> None:
    known = typed(NAMES, ["truncate"])
    overrides = ("plan=truncate", "plan.keep=all", "train.lr=0", "train.epochs=12", "seed=0")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    given = parameters(overrides, known)
    study.enqueue_trial(given)
    trial = study.ask()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", _no_warning)
        assert suggest(trial, {name: known[name] for name in given}) == given


def test_a_space_is_narrowed_to_some_values_in_the_order_they_had(space: MakeSpace) -> None:
    found = space("plan.keep=glob(*)", "x=interval(0,1)").narrowed("plan.keep", ["layer2", "stem"])
    assert found.listed("plan.keep") == ("stem", "layer2")
    assert found.listed("x") == found.listed("nowhere") == ()


# ------------------------------------------------------------------ grids
def test_a_grid_is_every_combination_the_last_key_running_fastest(parsed: Parsed) -> None:
    found = grid(parsed("a=1,2", "+b=x", "plan.keep=glob(layer1*)"), lambda rest, key: NAMES)
    assert found == [
        ["a=1", "+b=x", "plan.keep=layer1.0"],
        ["a=1", "+b=x", "plan.keep=layer1.1"],
        ["a=2", "+b=x", "plan.keep=layer1.0"],
        ["a=2", "+b=x", "plan.keep=layer1.1"],
    ]


def test_a_glob_over_cut_points_asks_for_those_of_its_own_combination(parsed: Parsed) -> None:
    cut_points = {"source=a": ["stem", "top"], "source=b": ["input"]}
    found = grid(parsed("plan.keep=glob(*)", "source=a,b"), lambda rest, key: cut_points[rest[0]])
    assert found == [
        ["plan.keep=stem", "source=a"],
        ["plan.keep=top", "source=a"],
        ["plan.keep=input", "source=b"],
    ]


def test_a_grid_of_ranges_excludes_the_end(parsed: Parsed) -> None:
    assert grid(parsed("a=range(0,3)"), list) == [["a=0"], ["a=1"], ["a=2"]]


def test_an_interval_has_no_grid_and_the_refusal_says_what_to_add(parsed: Parsed) -> None:
    with pytest.raises(Refusal) as caught:
        grid(parsed("a=interval(0,1)"), list)
    assert caught.value.faults[0].mend == "name a sampler beside it: sweep=tpe a=interval(0,1)"


def test_a_glob_over_another_key_ranges_over_the_options_of_its_group() -> None:
    with initialize("../../conf", version_base="1.3"):
        compose("config")
        from hydra.core.global_hydra import GlobalHydra

        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        parser = OverridesParser.create(config_loader=hydra.config_loader)
        found = grid(parse(["schedule=glob(*)"], parser), lambda rest, key: NAMES)
    names = ("constant", "gradual", "phases", "two_phase")
    assert found == [[f"schedule={name}"] for name in names]


# ------------------------------------------------------------------ several sources
def test_of_several_sources_a_trial_draws_one_and_then_a_point_of_its_own_space() -> None:
    rate = between(0.1, 0.2, log=False)
    spaces = Spaces(
        {
            "a": Space({"plan.keep": listed(["a1", "a2"]), "train.lr": rate}),
            "b": Space({"plan.keep": listed(["b1"]), "train.lr": rate}),
        },
        {"a": ("source.model=a",), "b": ("source.model=b", "source.preset=x")},
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(spaces.parameters("b", {"plan.keep": "b1"}))
    drawn = [spaces.draw(study.ask()) for _ in range(30)]
    assert drawn[0][:3] == ["source.model=b", "source.preset=x", "plan.keep=b1"]
    for overrides in drawn:
        own = overrides[0].removeprefix("source.model=")
        keep = next(o for o in overrides if o.startswith("plan.keep="))
        assert keep.removeprefix("plan.keep=").startswith(own)
    assert {o[0] for o in drawn} == {"source.model=a", "source.model=b"}
    assert {*study.trials[0].params} == {"source", "plan.keep of b", "train.lr"}
    assert set(spaces.fingerprint()) == {
        "plan.keep of a", "train.lr of a", "plan.keep of b", "train.lr of b",
    }  # fmt: skip
