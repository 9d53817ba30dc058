"""conf/ and its schema agree, and what a user writes wrong is said so that it can be mended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tlsweep.config.idle import refuse_idle
from tlsweep.config.read import read, to_yaml
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal

CONF = (Path(__file__).parents[2] / "conf").resolve()
GROUPS = (
    "source",
    "target",
    "task",
    "plan",
    "schedule",
    "train",
    "sweep",
    "features",
    "record",
    "engine",
    "experiment",
)
OPTIONS = [(g, f.stem) for g in GROUPS for f in sorted((CONF / g).glob("*.yaml"))]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def settings(*overrides: str) -> Settings:
    return read(composed(*overrides))


def faults(overrides: Sequence[str]) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        settings(*overrides)
    return caught.value.faults


# ------------------------------------------------------------------ conf/ is whole
def test_every_group_of_conf_is_tested_here() -> None:
    assert sorted(GROUPS) == sorted(p.name for p in CONF.iterdir() if p.is_dir())


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_conf_passes_the_schema(group: str, option: str) -> None:
    extra = ["target.root=/photos"] if option == "image_folder" else []
    extra += (
        [f"{group}.file=a.csv"] if option in ("manifest", "arrays", "text", "word_vectors") else []
    )
    named = ("target", "torchvision"), ("target", "hf")
    extra += ["target.dataset=MNIST"] if (group, option) in named else []
    extra += [f"{group}.key=Net-0"] if option == "held" else []
    extra += ["source.model=resnet18"] if option in ("timm", "transformers") else []
    mine = ["source.build=a:b", "source.checkpoint=a.pt", "source.image_size=32"]
    extra += mine if option == "module" else []
    extra += ["plan.tune=block3"] if option == "surgical" else []
    extra += ["schedule.phases=[none,all]"] if option == "phases" else []
    found = settings(f"{group}={option}", *extra)
    if group not in ("train", "sweep", "features", "experiment"):
        assert getattr(found, group).name == option


def test_a_value_without_default_is_named_where_it_is_not_set() -> None:
    assert faults(["target=image_folder"]) == (
        Fault("target.root is not set", "this value has no default", "target.root=VALUE"),
    )


def test_a_value_that_is_not_set_is_named_beside_the_other_faults() -> None:
    found = faults(["target=image_folder", "train.epochs=0"])
    assert {fault.value for fault in found} == {"target.root is not set", "train.epochs=0"}


def test_every_value_in_conf_has_a_comment() -> None:
    bare = []
    for file in sorted(CONF.rglob("*.yaml")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            # Hydra's own wiring in config.yaml and lines that choose from a group say it themselves
            ours = file != CONF / "config.yaml" or not line.startswith((" ", "hydra"))
            value = re.match(r"\s*[\w.]+: ", line) or re.match(r"\s*[\w.]+:$", line)
            if ours and value and " # " not in line and line != "defaults:":
                bare.append(f"{file.relative_to(CONF)}:{number}: {line}")
    params = [b for b in bare if b.startswith("sweep/tpe.yaml") and re.search(r"plan|train", b)]
    assert [b for b in bare if b not in params] == []


def test_every_file_of_conf_says_in_its_first_line_what_it_is_for() -> None:
    for file in sorted(CONF.rglob("*.yaml")):
        lines = [x for x in file.read_text().splitlines() if not x.startswith("# @package")]
        assert lines[0].startswith("# "), file


def test_comments_that_list_choices_list_those_that_are_accepted() -> None:
    from tlsweep.study.choice import PRUNERS, SAMPLERS

    text = (CONF / "sweep" / "tpe.yaml").read_text()
    for known in (SAMPLERS, PRUNERS):
        (listed,) = [
            set(c.split(", "))
            for c in re.findall(r"name: \w+ # (.*)", text)
            if c.startswith(next(iter(known)))
        ]
        assert listed == set(known)


# ------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (
            "train.epochs=0",
            Fault(
                "train.epochs=0",
                "the value is greater than or equal to 1",
                "train.epochs=1",
            ),
        ),
        (
            "train.pool=20",
            Fault("train.pool=20", "the value is less than or equal to 16", "train.pool=16"),
        ),
        (
            "target.select_fraction=1.5",
            Fault(
                "target.select_fraction=1.5",
                "the value is less than 1",
                "target.select_fraction=a number below 1",
            ),
        ),
        (
            "train.lr=0",
            Fault("train.lr=0", "the value is greater than 0", "train.lr=a number above 0"),
        ),
        (
            "train.optimizer=adamv",
            Fault(
                "train.optimizer=adamv",
                "an optimizer is one of: adamw, sgd",
                "train.optimizer=adamw",
            ),
        ),
        (
            "sweep.confirm.controls=[scrath]",
            Fault(
                "sweep.confirm.controls=scrath",
                "a control is one of: scratch, raw_pixels, random_features, feature_extractor,"
                " finetune",
                "sweep.confirm.controls=[scratch], or others of that list",
            ),
        ),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_nearest_one_allowed(
    override: str, fault: Fault
) -> None:
    assert faults([override]) == (fault,)


def test_a_decay_that_momentum_adds_up_is_refused() -> None:
    (fault,) = faults(["train.optimizer=sgd", "train.weight_decay=0.3"])
    assert fault.value == "train.optimizer=sgd train.weight_decay=0.3"
    assert fault.mend == "train.weight_decay=auto"
    assert settings("train.optimizer=sgd", fault.mend).train.optimizer == "sgd"


def test_with_sgd_the_first_plans_of_a_sweep_can_be_tried() -> None:
    plain = ("train.optimizer=sgd",)
    for entry in settings().sweep.fixed:
        one = [f"{key}={str(value).split(',')[0]}" for key, value in entry.items()]
        assert settings(*plain, *one).plan.name == entry["plan"]


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=twelve",
        "train.epochs=1.5",
        "train.epochs=true",
        "train.lr=true",
        "train.lr_ratio=true",
        "train.pool=true",
        "train.num_workers=true",
        "seed=true",
        "target.split_seed=true",
        "plan.rank=true",
        "plan.scale=true",
        "sweep.confirm.seeds=true",
        "train.lr=fast",
        "train.lr=nan",
        "train.weight_decay=inf",
        "train.weight_decay=-0.1",
        "train.weight_decay=true",
        "train.weight_decay=much",
        "train.settle=maybe",
        "train.resume=maybe",
        "plan.keep=[1,2]",
        "plan.keep=null",
        "plan.keep=true",
        "sweep.sampler=tpe",
        "sweep.fixed=truncate",
        "sweep.confirm=none",
        "fold=-1",
        "fold=first",
        "fold=true",
        "target.folds=0",
        "target.folds=many",
        "target.folds=true",
        "sweep.minutes=0",
        "sweep.minutes=true",
        "sweep.minutes=long",
        "sweep.confirm.margin=-1",
        "seed=-1",
        "output_dir=a?b",
        "study='a/b'",
        "study='.hidden'",
        "study=''",
        "target=[1]",
    ],
)
def test_a_wrong_type_or_value_is_refused_under_its_own_key(override: str) -> None:
    key, value = override.split("=", 1)
    found = _read_with(key, value)
    assert len(found) == 1
    assert found[0].value.startswith(key)
    assert "Input" not in found[0].rule
    assert found[0].mend.startswith(key)


def _read_with(key: str, value: str) -> tuple[Fault, ...]:
    config = composed()
    plain = OmegaConf.to_container(config, resolve=True)
    node = OmegaConf.create(plain)
    OmegaConf.update(node, key, OmegaConf.create(f"v: {value}").v, merge=False, force_add=True)
    with pytest.raises(Refusal) as caught:
        read(node)
    return caught.value.faults


@pytest.mark.parametrize("value", ["2024", "1.5"])
def test_a_study_may_be_named_by_a_number(value: str) -> None:
    assert settings(f"study={value}").study_name == value


@pytest.mark.parametrize("name", ["optuna.db", "mlflow.db-wal", "artifacts"])
def test_a_study_takes_no_place_that_a_database_lies_in(name: str) -> None:
    (fault,) = faults([f"study={name}"])
    assert fault.value == f"study={name}"
    assert "optuna.db, mlflow.db, artifacts" in fault.rule
    assert fault.mend == "study=NAME, another one"
    assert settings("study=my.optuna.db").study_name == "my.optuna.db"


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        (["plan=finetune", "plan.rank=4"], "plan.adapt=all plan.rank=4"),
        (["train.crop=0.5"], "train.augment=views train.crop=0.5"),
        (
            ["train.augment=live", "train.flip=true", "train.views=2"],
            "leave it out, or train.augment=views",
        ),
        (["train.head_sizes=[64]"], "train.head=mlp train.head_sizes=[64]"),
        (
            ["train.head=conv", "train.pool=4"],
            "leave it out, or train.head=linear or train.head=mlp",
        ),
    ],
)
def test_a_setting_that_changes_nothing_beside_the_others_is_refused(
    given: list[str], mend: str
) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_idle(settings(*given), given)
    assert [f.mend for f in caught.value.faults] == [mend]
    for fine in (
        ["plan=adapters", "plan.rank=4"],
        ["train.augment=views", "train.crop=0.5"],
        ["train.head=mlp", "train.head_sizes=[512,128]", "train.pool=4"],
        ["train.head_sizes=null"],
    ):
        refuse_idle(settings(*fine), fine)


def test_all_faults_of_a_config_come_in_one_refusal() -> None:
    found = faults(["train.epochs=0", "train.lr=-1", "+train.momentum=0.9", "seed=-1"])
    assert sorted(fault.value for fault in found) == [
        "seed=-1",
        "train.epochs=0",
        "train.lr=-1",
        "unknown key train.momentum",
    ]


def test_an_unknown_key_is_refused_with_the_keys_beside_it() -> None:
    (fault,) = faults(["+schedule.momentum=3"])
    assert fault == Fault(
        "unknown key schedule.momentum",
        "a key is one of: schedule.name",
        "leave it out, or write one of those",
    )


def test_an_unknown_key_like_a_known_one_is_refused_with_that_one() -> None:
    (fault,) = faults(["+train.weigth_decay=0.1"])
    assert fault.mend == "train.weight_decay=VALUE"


def test_a_key_that_was_deleted_is_missed() -> None:
    (fault,) = faults(["~train.pool"])
    assert fault == Fault("train.pool is missing", "every key of conf/ has a value",
                          "+train.pool=VALUE")  # fmt: skip


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ("+source.model=resnet50", "source=torchvision source.model=VALUE"),
        ("+source.checkpoint=a.pt", "source=torchvision source.checkpoint=VALUE"),
        ("+target.root=DIR", "target=image_folder target.root=VALUE"),
    ],
)
def test_a_key_of_another_variant_is_refused_with_that_variant(given: str, mend: str) -> None:
    (fault,) = faults([given])
    assert fault.value == f"unknown key {given[1:].split('=')[0]}"
    assert fault.mend == mend


def test_an_unknown_variant_is_refused_with_the_nearest_name() -> None:
    config = composed()
    OmegaConf.update(config, "source.name", "glyph")
    with pytest.raises(Refusal) as caught:
        read(config)
    assert caught.value.faults == (
        Fault(
            "source=glyph",
            "a source is one of: glyphs, module, timm, transformers, word_vectors, torchvision",
            "source=glyphs",
        ),
    )


def test_an_interpolation_that_leads_nowhere_is_refused_with_its_key() -> None:
    (fault,) = faults(["study=${studdy}"])
    assert fault.value.startswith("config key study: ")
    assert "studdy" in fault.value
    assert fault.mend == "correct study"
    assert "\n" not in fault.value


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["train.devices=2"], "several devices train one plan with train.strategy=ddp"),
        (
            ["train.devices=2", "train.strategy=ddp", "train.batch_size=31"],
            "train.batch_size is a multiple of train.devices",
        ),
    ],
)
def test_devices_strategy_and_batch_size_have_to_fit_together(
    overrides: list[str], text: str
) -> None:
    (fault,) = faults(overrides)
    assert fault.rule == text
    assert fault.value in (
        "train.devices=2 train.strategy=auto",
        "train.batch_size=31 train.devices=2",
    )
    mended = fault.mend.split()
    assert settings(*mended).train.devices == 2


def test_augmentation_that_changes_nothing_is_refused() -> None:
    (fault,) = faults(["train.augment=views", "train.crop=1"])
    assert fault.rule == "augmentation crops or mirrors"
    for mended in ("train.crop=0.7", "train.flip=true", "train.augment=none"):
        assert mended in fault.mend
        settings("train.augment=views", "train.crop=1", mended)


# ------------------------------------------------------------------ what is read
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["source=torchvision", "source.weights=DEFAULT", "target=cifar10", "schedule=gradual"],
        ["target=image_folder", "target.root='/a b/c,d'", "record=none", "study=7"],
        ["trial={study: s, storage: 'sqlite:////x/y.db', number: 3}", "stage=confirm"],
        ["plan=last_layers", "+sweep.sampler={name: tpe, n_startup_trials: 3}", "sweep.fixed=[]"],
    ],
)
def test_what_to_yaml_writes_read_accepts_again(overrides: list[str]) -> None:
    first = settings(*overrides)
    assert read(OmegaConf.create(to_yaml(first))) == first


@pytest.mark.parametrize(
    ("written", "value"), [("5", 5), ("0.5", 0.5), ("layer3.0", "layer3.0"), ("all", "all")]
)
def test_a_cut_point_keeps_the_type_it_was_written_with(written: str, value: object) -> None:
    keep = settings(f"plan.keep={written}").plan.keep
    assert keep == value
    assert type(keep) is type(value)


def test_a_study_without_a_name_is_called_after_source_and_target() -> None:
    assert settings().study_name == "glyphs_to_digits"
    found = settings("source=torchvision", "target=image_folder", "target.root='/data/my pets/'")
    assert found.study_name == "resnet18_to_my_pets"


def test_what_changes_only_how_a_trial_runs_is_no_part_of_the_question() -> None:
    base = settings().question()
    changed = (
        "train.num_workers=3",
        "train.accelerator=cpu",
        "source.cache_dir=x",
        "features.budget_gb=0",
    )
    assert base == settings(*changed, "output_dir=/elsewhere", "sweep.n_trials=3").question()
    assert base != settings("train.epochs=3").question()
    assert base != settings("target.split_seed=3").question()
    assert all(not isinstance(value, dict | list) for value in base.values())


def test_passwords_in_urls_are_not_written_down() -> None:
    written = to_yaml(settings("sweep.storage='postgresql+psycopg://me:s3:cr/et@host/db'"))
    assert "s3:cr/et" not in written
    assert "postgresql+psycopg://me:***@host/db" in written
    for line in (
        "sweep.storage='postgresql://host/db?user=me&password=hunter2&sslmode=require'",
        "record.tracking_uri='http://me:hunter2@host:5000/'",
        "record.tracking_uri='postgresql://host/db?sslpassword=hunter2'",
    ):
        written = to_yaml(settings(line))
        assert "hunter2" not in written
        assert "host" in written


def test_an_entry_of_a_list_is_mended_by_the_whole_list() -> None:
    (fault,) = faults(["sweep.stages=[surveys]"])
    assert fault.value == "sweep.stages=surveys"
    assert fault.mend.startswith("sweep.stages=[survey]")
    (fault,) = faults(["sweep.stages=[confirm]"])
    assert fault.value == "sweep.stages=[confirm]"
    assert fault.rule.startswith("sweep.stages is [survey, search, confirm] or [survey]")
    assert fault.mend.startswith("sweep.stages=[survey]")
