"""Every override of a command line is checked at once, and nothing is refused that Hydra takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from tlsweep.errors import Fault, Refusal
from tlsweep.jobs.overrides import (
    as_meant,
    compose_config,
    refuse_flags,
    refuse_sweep,
    refuse_unknown,
)

CONF = (Path(__file__).parents[2] / "conf").resolve()


def faults(*arguments: str) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        refuse_unknown(arguments, CONF)
    return caught.value.faults


@pytest.mark.parametrize("given", ["sweep.stages=[survey]", "sweep=random", "+sweep.x=1"])
def test_settings_of_a_sweep_are_refused_without_one(given: str) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_sweep(["plan=finetune", given])
    (fault,) = caught.value.faults
    assert fault.value == f"{given} without -m"
    assert fault.mend == f"python -m tlsweep -m plan=finetune {given}"
    refuse_sweep(["-m", given])
    refuse_sweep(["--cfg", "job", given])
    refuse_sweep(["plan=finetune"])


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (("-m", "--cfg", "job"), "-m --cfg"),
        (("--multirun", "--info", "all"), "-m --info"),
        (("--resolve",), "--resolve without --cfg"),
        (("-m", "--resolve"), "--resolve without --cfg"),
    ],
)
def test_options_of_hydra_that_it_answers_with_a_traceback_are_refused(
    given: tuple[str, ...], value: str
) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_flags(given)
    (fault,) = caught.value.faults
    assert fault.value == value
    for fine in (("-m",), ("--cfg", "job", "--resolve"), ("-c=job",), ("plan=finetune",)):
        refuse_flags(fine)


def test_one_option_of_a_group_is_chosen_and_none_is_left_out() -> None:
    (fault,) = faults("plan=[finetune,scratch]")
    assert fault.mend == "plan=finetune; a grid over several: -m plan=finetune,scratch"
    (fault,) = faults("~train=0.5")
    assert (fault.value, fault.mend) == ("~train=0.5", "leave it out")


@pytest.mark.parametrize("name", ["1.10", "2024_01", "007", "1e3"])
def test_a_studys_name_stays_as_it_was_typed(name: str) -> None:
    composed = compose_config([as_meant(f"study={name}"), "output_dir=x"], CONF)
    assert composed.study == name


def test_an_unknown_option_of_a_group_is_refused_with_the_nearest_one() -> None:
    assert faults("source=glyph") == (
        Fault("source=glyph", "a source is one of: glyphs, held, torchvision", "source=glyphs"),
    )


def test_a_group_set_to_null_is_refused_since_hydra_breaks_on_it() -> None:
    (fault,) = faults("record=null")
    assert fault.value == "record=None"
    assert fault.rule == "a record is one of: mlflow, none"


def test_each_unknown_option_of_a_sweep_is_refused() -> None:
    found = faults("plan=truncate,truncat,finetun")
    assert [(f.value, f.mend) for f in found] == [
        ("plan=truncat", "plan=truncate"),
        ("plan=finetun", "plan=finetune"),
    ]


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    (fault,) = faults("train.epoch=3")
    assert fault.value == "unknown key train.epoch"
    assert "train.epochs" in fault.rule
    assert "sweep" not in fault.rule
    assert fault.mend == "train.epochs=VALUE"


def test_a_key_of_an_option_that_was_not_chosen_is_unknown() -> None:
    (fault,) = faults("source.model=resnet18")
    assert fault.value == "unknown key source.model"
    assert fault.rule == "source.model is a setting of source=torchvision"
    assert fault.mend == "source=torchvision source.model=resnet18"
    refuse_unknown(["source=torchvision", "source.model=resnet18"], CONF)


def test_a_key_like_no_other_is_refused_with_the_first_words_there_are() -> None:
    (fault,) = faults("zzz=3")
    assert fault.rule.startswith(
        "a key is one of: features, fold, keep_weights, output_dir, plan, record"
    )
    assert fault.mend == "see python -m tlsweep --help"


def test_an_override_that_cannot_be_read_is_refused_with_how_to_quote_it() -> None:
    (fault,) = faults("study=a[b")
    assert fault.value.startswith("study=a[b: ")
    assert fault.mend == "'study=\"VALUE\"'"


def test_all_unreadable_overrides_and_unknown_options_come_at_once() -> None:
    found = faults("study=a[b", "source=glyph", "target=digit", "seed=(1")
    assert [f.value.split(":")[0] for f in found] == [
        "study=a[b",
        "seed=(1",
        "source=glyph",
        "target=digit",
    ]


def test_all_unknown_keys_come_at_once() -> None:
    assert [f.value for f in faults("train.epoch=3", "seeed=1", "train.lr=1e-3")] == [
        "unknown key train.epoch",
        "unknown key seeed",
    ]


def test_unknown_keys_are_told_beside_unknown_options() -> None:
    found = faults("target=digit", "train.epoch=3")
    assert [f.value for f in found] == ["target=digit", "unknown key train.epoch"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["plan.keep=1,2", "seed=1,2,3"],
        ["plan=truncate,finetune"],
        ["plan=glob(*)", "plan.keep=glob([block*],exclude=block1)"],
        ["plan.keep=range(0,4)", "train.lr=interval(1e-4,1e-2)"],
        ["train.lr=tag(log,interval(1e-4,1e-2))", "sweep=tpe"],
        ["plan.keep=choice(1,2)", "plan.keep=shuffle(1,2)"],
        ["sweep.params.x=1"],
        ["+sweep.params.train.epochs=range(1,4)"],
        ["sweep.sampler={name: random}"],
        ["sweep.sampler.n_startup_trials=4"],
        ["trial={study: s, storage: x, number: 1}"],
        ["sweep.fixed=[]", "sweep.confirm.controls=[scratch]"],
        ["sweep.confirm={top: 2}"],
        ["study=null", "source.cache_dir=elsewhere"],
        ["target=image_folder", "target.root=/photos"],
    ],
)
def test_what_a_tlsweep_user_writes_is_accepted(arguments: list[str]) -> None:
    refuse_unknown(arguments, CONF)


@pytest.mark.parametrize(
    "arguments",
    [
        ["+mine=1"],
        ["+train.momentum=0.9"],
        ["++mine=1"],
        ["++train.momentum=0.9"],
        ["~train.pool"],
        ["~schedule"],
        ["~schedule=constant"],
        ["~experiment", "train.lr=1"],
        ["experiment=[quickstart]"],
        ["sweep.confirm.controls.0=finetune"],
        ["hydra.job.chdir=true"],
        ["hydra/launcher=basic"],
        ["hydra.sweep.subdir=x"],
        ["+source@second=torchvision"],
        ["schedule=two_phase", "schedule.epochs=2"],
        ["sweep.fixed.0.plan=finetune"],
        ["plan.keep='layer3.0'"],
        ["plan.keep=${plan.freeze}", "plan.freeze=2"],
    ],
)
def test_nothing_is_refused_that_hydra_accepts(arguments: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", overrides=arguments)  # the premise
    refuse_unknown(arguments, CONF)


def test_an_option_of_a_sampler_or_pruner_needs_no_plus() -> None:
    given = "sweep.sampler.n_startup_trials=3"
    with pytest.raises(HydraException):
        compose_config([given], CONF)
    config = compose_config([as_meant(given), as_meant("sweep.pruner.interval_steps=2")], CONF)
    assert config.sweep.sampler.n_startup_trials == 3
    assert config.sweep.pruner.interval_steps == 2


def test_a_tilde_of_the_output_folder_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert as_meant("output_dir=~/runs") == "output_dir=/home/ada/runs"
    assert as_meant("~record") == "~record"


def test_hydra_is_left_as_it_was_found() -> None:
    refuse_unknown(["seed=1"], CONF)
    faults("source=glyph")
    assert not GlobalHydra.instance().is_initialized()


def test_compose_config_checks_first_and_then_composes() -> None:
    assert compose_config(["seed=7"], CONF).seed == 7
    with pytest.raises(Refusal):
        compose_config(["sead=7"], CONF)
