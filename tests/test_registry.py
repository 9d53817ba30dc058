"""Sources and targets of other packages: one file and one YAML each; none of ours is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outside_package import FOLDER, Outside

from tlsweep.cli import GROUPS, conf_folder, help_text
from tlsweep.errors import Refusal
from tlsweep.registry import INSIDE, KINDS, component, names, section


def test_each_is_written_in_less_than_thirty_lines() -> None:
    for file in FOLDER.glob("*.py"):
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        most = 45 if file.name == "text_encoder.py" else 30  # it says itself how it is cut
        assert len(lines) < most, file.name


def test_a_source_and_a_target_of_another_package_are_surveyed_and_answered(
    outside: Outside, tmp_path: Path
) -> None:
    done = outside("-m", "source=tiny", "target=stripes", "target.fit_size=60", "record=none",
               "sweep.stages=[survey]", "source.width=4")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recommended" in done.stdout
    assert (tmp_path / "outputs" / "tiny_to_stripes" / "model" / "model.json").exists()
    plan = ("plan=finetune", "train.epochs=4", "target.fit_size=60", "record=none")
    again = outside("source=tiny", "target=stripes", *plan, "schedule=pairs", "schedule.blocks=2",
                    "train.head=normed")  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    assert "after 4 epochs" in again.stdout


@pytest.mark.slow
def test_a_task_of_another_package_scores_chooses_and_is_part_of_the_question(
    outside: Outside, tmp_path: Path
) -> None:
    common = ("-m", "source=tiny", "target=digits", "target.fit_size=200", "record=none",
              "sweep.stages=[survey]", "study=s")  # fmt: skip
    done = outside(*common, "task=grades", "task.near=2")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "outputs" / "s" / "verdict.json").read_text())
    assert verdict["metric"] == "near_miss"
    (accuracy,) = (one["value"] for one in verdict["beside"] if one["name"] == "accuracy")
    assert accuracy < verdict["seed_scores"][0] < accuracy + (1 - accuracy) / 2
    other = outside(*common, "task=grades", "task.near=1")
    assert other.returncode == 2
    assert "task.near=1; study s has 2" in other.stderr


def test_they_are_listed_checked_and_refused_as_ours_are(outside: Outside) -> None:
    listed = outside("--help").stdout
    assert "tiny" in listed
    assert "stripes" in listed
    for argument, words in (
        ("source.widht=3", "source.width=VALUE"),
        ("source.width=wide", "source.width=wide"),
        ("target=strips", "target=stripes"),
        ("task=grade", "task=grades"),
        ("train.head=norm", "train.head=normed"),
        ("task=grades task.neer=1", "task.near=VALUE"),
        ("task=grades target=mood", "grades are classes"),
        ("source=broken", "source=broken"),
        ("source=lost", "source=lost"),
    ):
        done = outside("source=tiny", *argument.split())
        assert done.returncode == 2, argument
        assert words in done.stderr, done.stderr
    cut = outside("cuts", "source=tiny")
    assert cut.returncode == 0, cut.stderr
    assert cut.stderr == ""  # nothing of what torch says of a size that the network does not take


@pytest.mark.parametrize("kind", KINDS)
def test_every_yaml_of_ours_has_a_module_with_its_settings(kind: str) -> None:
    written = {file.stem for file in (conf_folder() / kind).glob("*.yaml")}
    assert written - {*INSIDE} == {*names(kind)}
    for name in written:
        assert name in section(kind, name).model_fields["name"].annotation.__args__
        assert callable(component(kind, name).open)


def test_an_unknown_name_is_refused_with_those_that_people_may_write() -> None:
    with pytest.raises(Refusal, match=r"source=torchvison(.|\n)*source=torchvision") as caught:
        component("source", "torchvison")
    assert "held" not in str(caught.value)


def test_help_names_every_option_of_every_group() -> None:
    shown = help_text()
    assert {p.name for p in conf_folder().iterdir() if p.is_dir()} == set(GROUPS)
    for group in GROUPS:
        for file in (conf_folder() / group).glob("*.yaml"):
            assert file.stem in INSIDE or file.stem in shown, file
    assert all(len(line) <= 100 for line in shown.splitlines())
