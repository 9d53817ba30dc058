"""Every override of a command line is checked at once, and nothing is refused that Hydra takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from tlsweep.errors import Fault, Refusal
from tlsweep.jobs.effect import refuse_others, refuse_without_effect
from tlsweep.jobs.line import as_meant, parted
from tlsweep.jobs.overrides import compose_config, refuse_unknown

CONF = (Path(__file__).parents[2] / "conf").resolve()


def check(*arguments: str) -> None:
    refuse_unknown(parted(arguments), CONF)


def faults(*arguments: str) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        check(*arguments)
    return caught.value.faults


def without_effect(*arguments: str) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        refuse_without_effect(parted(arguments))
    return caught.value.faults


@pytest.mark.parametrize("given", ["sweep.stages=[survey]", "sweep=random", "+sweep.x=1"])
def test_settings_of_a_sweep_are_refused_without_one(given: str) -> None:
    (fault,) = without_effect("plan=finetune", given)
    assert fault.value == f"{given} without -m"
    assert fault.mend == f"python -m tlsweep -m plan=finetune {given}"
    (fault,) = without_effect("-cd", "mine", "hydra.verbose=true", given)
    assert fault.mend == f"python -m tlsweep -m --config-dir=mine hydra.verbose=true {given}"
    for fine in (["-m", given], ["--cfg", "job", given], ["hydra.mode=MULTIRUN", given],
                 ["plan=finetune"]):  # fmt: skip
        refuse_without_effect(parted(fine))


@pytest.mark.parametrize(
    ("given", "value", "mend"),
    [
        (("-m", "--cfg", "job"), "-m --cfg", "-m without --cfg, or the reverse"),
        (("--multirun", "--info", "all"), "-m --info", "-m without --info, or the reverse"),
        (("--resolve",), "--resolve without --cfg", "--cfg job --resolve"),
        (("-m", "--resolve"), "--resolve without --cfg", "--cfg job --resolve"),
        (("-p", "train"), "--package without --cfg", "--cfg job --package train"),
        (("-cp", "mine"), "--config-path mine", "--config-dir mine"),
        (("-sc",), "-sc", "-sc install=bash"),
        (("-sc", "instal=zhs"), "-sc instal=zhs", "-sc install=zsh"),
        (("hydra.sweeper.n_trials=9",), "hydra.sweeper.n_trials=9", "sweep.n_trials=9"),
        (("hydra.sweeper.study_name=x",), "hydra.sweeper.study_name=x", "study=x"),
        (("--experimental-rerun=a.pickle",), "--experimental-rerun a.pickle",
         "python -m tlsweep reproduce run=ID"),
    ],
)  # fmt: skip
def test_options_of_hydra_that_would_do_nothing_or_end_in_a_traceback_are_refused(
    given: tuple[str, ...], value: str, mend: str
) -> None:
    (fault,) = without_effect(*given)
    assert (fault.value, fault.mend) == (value, mend)
    for fine in (("-m",), ("--cfg", "job", "--resolve"), ("-c=job",), ("-sc", "install=bash")):
        refuse_without_effect(parted(fine))


def test_a_sub_command_refuses_what_it_has_no_use_for() -> None:
    line = parted(
        ["-cd", "mine", "source=glyphs", "experiment=mine", "seed=3", "+plan.keep=2", "-m"]
    )
    with pytest.raises(Refusal) as caught:
        refuse_others(line, "cuts", ("source",))
    assert [f.value for f in caught.value.faults] == [
        "--multirun with cuts", "seed=3 with cuts", "+plan.keep=2 with cuts",
    ]  # fmt: skip


def test_options_of_hydra_stand_anywhere_and_are_handed_on_before_the_overrides() -> None:
    line = parted(["seed=1", "-cd", "mine", "plan=finetune", "-m", "fold=2"])
    assert line.overrides == ("seed=1", "plan=finetune", "fold=2")
    assert line.arguments() == ["--multirun", "--config-dir=mine", *line.overrides]


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        (["--cfg", "jobs"], "--cfg job"),
        (["--multirunn"], "--multirun"),
        (["-cd"], "--config-dir DIR"),
        (["--info", "seed=1"], "--info all, at the end of the line"),
        (["-x"], "see python -m tlsweep --help"),
    ],
)
def test_an_option_that_hydra_does_not_know_is_refused(given: list[str], mend: str) -> None:
    with pytest.raises(Refusal) as caught:
        parted(given)
    assert [f.mend for f in caught.value.faults] == [mend]


# ---------------------------------------------------------------------- configs of the user's own
@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a plan, an experiment and two configs to start from, one of them alone."""
    for name, text in {
        "plan/half.yaml": (CONF / "plan" / "truncate.yaml").read_text(),
        "experiment/small.yaml": "# @package _global_\ndefaults: [{override /plan: half}]\nseed: 7",
        "own.yaml": "defaults: [config, _self_]\nseed: 5",
        "alone.yaml": "seed: 5",
    }.items():
        file = tmp_path / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "mine"


def test_configs_of_the_users_own_are_composed_as_hydra_does(mine: Path) -> None:
    path = f"hydra.searchpath=[file://{mine}]"
    for where in (["-cd", str(mine)], [f"--config-dir={mine}"], [path]):
        assert compose_config([*where, "experiment=small"], CONF).seed == 7
        check(*where, "plan=half,finetune", "plan.keep=1")
    assert compose_config(["-cd", str(mine), "-cn", "own"], CONF).seed == 5
    assert compose_config(["-cd", str(mine), "-cn", "own.yaml", "seed=6"], CONF).seed == 6


def test_the_users_own_options_are_listed_where_one_is_unknown(mine: Path) -> None:
    (fault,) = faults("-cd", str(mine), "experiment=smal")
    assert fault == Fault(
        "experiment=smal", "an experiment is one of: quickstart, small", "experiment=small"
    )
    (fault,) = faults(f"hydra.searchpath=[{mine}]", "plan=hal")
    assert fault.mend == "plan=half"


def test_a_config_or_a_folder_that_is_not_there_is_refused(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    (fault,) = faults("-cd", "mien")
    assert (fault.value, fault.mend) == ("--config-dir mien", "--config-dir mine")
    (fault,) = faults("hydra.searchpath=[file://mien]")
    assert fault.mend == "'hydra.searchpath=[file://mine]'"
    (fault,) = faults("hydra.searchpath=mine")
    assert fault.mend == "'hydra.searchpath=[file://DIR]'"
    (fault,) = faults("-cd", "mine", "-cn", "onw")
    assert fault.mend == "--config-name=own"
    (fault,) = faults("-cd", "mine", "-cn", "alone")
    assert fault.mend == "defaults: [config, _self_] at the top of alone"


# ---------------------------------------------------------------------- overrides
@pytest.mark.parametrize(
    ("given", "ranges"),
    [
        ("sweep.params.train.lr=interval(1e-4,1e-3)", {"train.lr": "interval(1e-4,1e-3)"}),
        ("sweep.params.train.lr=tag(log, interval(1,2))", {"train.lr": "tag(log, interval(1,2))"}),
        ("sweep.params.plan='choice(a,b)'", {"plan": "choice(a,b)"}),
        ("+sweep.params.train.epochs=range(1,4)", {"train.epochs": "range(1,4)"}),
        ("sweep.params={train.weight_decay: 'choice(1,3)'}", {"train.weight_decay": "choice(1,3)"}),
        ("~sweep.params.train.lr_ratio", {"train.lr_ratio": None}),
        ("sweep.params.train.lr_ratio=null", {"train.lr_ratio": None}),
    ],
)  # fmt: skip
def test_one_range_of_the_search_space_is_changed_added_or_taken_out_by_its_name(
    given: str, ranges: dict[str, str | None]
) -> None:
    before = compose_config([], CONF).sweep.params
    after = compose_config(["-m", given], CONF).sweep.params
    assert after == {**before, **ranges}


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ("sweep.params.train.lrr=choice(1,2)", "sweep.params.train.lr=VALUE"),
        ("~sweep.params.train.lr_ration", "sweep.params.train.lr_ratio=VALUE"),
        ("sweep.params={plam: choice(a)}", "sweep.params.plan=VALUE"),
    ],
)
def test_an_unknown_range_is_refused_with_the_nearest_one(given: str, mend: str) -> None:
    (fault,) = faults(given)
    assert fault.mend == mend
    check("sweep.params.schedule.epochs=range(1,3)")  # of schedule=two_phase


def test_one_option_of_a_group_is_chosen_and_none_is_left_out() -> None:
    (fault,) = faults("plan=[finetune,scratch]")
    assert fault.mend == "plan=finetune; a grid over several: -m plan=finetune,scratch"
    (fault,) = faults("~train=0.5")
    assert (fault.value, fault.mend) == ("~train=0.5", "leave it out")


@pytest.mark.parametrize("name", ["1.10", "2024_01", "007", "1e3"])
def test_a_studys_name_stays_as_it_was_typed(name: str) -> None:
    assert compose_config([f"study={name}", "output_dir=x"], CONF).study == name


def test_an_unknown_option_of_a_group_is_refused_with_the_nearest_one() -> None:
    assert faults("source=glyph") == (
        Fault(
            "source=glyph",
            "a source is one of: glyphs, module, timm, torchvision, transformers, word_vectors",
            "source=glyphs",
        ),
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
    assert fault.rule == "source.model is a setting of source=timm, transformers, torchvision"
    assert fault.mend == "source=torchvision source.model=resnet18"
    check("source=torchvision", "source.model=resnet18")


def test_a_key_like_no_other_is_refused_with_the_first_words_there_are() -> None:
    (fault,) = faults("zzz=3")
    assert fault.rule.startswith(
        "a key is one of: engine, features, fold, keep_weights, output_dir, plan, record"
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
    check(*arguments)


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
    check(*arguments)


def test_an_option_of_a_sampler_or_pruner_needs_no_plus() -> None:
    given = "sweep.sampler.n_startup_trials=3"
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(HydraException):
        compose("config", overrides=[given])
    config = compose_config([given, "sweep.pruner.interval_steps=2"], CONF)
    assert config.sweep.sampler.n_startup_trials == 3
    assert config.sweep.pruner.interval_steps == 2


def test_a_tilde_that_a_path_begins_with_is_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert as_meant("output_dir=~/runs") == "output_dir=/home/ada/runs"
    assert as_meant("target.root=~/a,~/b~") == "target.root=/home/ada/a,/home/ada/b~"
    assert as_meant("~record") == "~record"


def test_hydra_is_left_as_it_was_found() -> None:
    check("seed=1")
    faults("source=glyph")
    assert not GlobalHydra.instance().is_initialized()


def test_compose_config_checks_first_and_then_composes() -> None:
    assert compose_config(["seed=7"], CONF).seed == 7
    with pytest.raises(Refusal):
        compose_config(["sead=7"], CONF)


@pytest.mark.parametrize("name", ["a=b", "a,b", "a#b c", "[e", "(f'", "été", "007", "a'b\\", "$x"])
@pytest.mark.parametrize("key", ["target.root", "target.file"])
def test_what_is_there_is_meant_as_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for path in (name, f"{tmp_path}/{name}"):
        read = OverridesParser.create().parse_override(as_meant(f"{key}={path}"))
        assert (read.value(), read.is_sweep_override()) == (path, False)


def test_what_is_not_there_keeps_its_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "1,2", "finetune"):
        (tmp_path / name).mkdir()
    for argument in ("plan.keep=1,2", "target.root=c,d", "plan=finetune", "target.root='a,b'"):
        assert as_meant(argument) == argument


def test_a_path_that_is_not_utf_8_is_refused_with_what_to_do_about_it() -> None:
    (fault,) = faults("target.root=/data/caf\udce9")
    assert fault.value == "target.root=/data/caf\\xe9"
    assert fault.mend == "another name, or a link: ln -s OLD NEW, and NEW in its place"
