"""Sources and targets of other packages: one file and one YAML each; none of ours is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tlsweep.cli import GROUPS, conf_folder, help_text
from tlsweep.errors import Refusal
from tlsweep.registry import INSIDE, KINDS, component, names, section

OUTSIDE = Path(__file__).parent / "outside"
ROOT = Path(__file__).parents[1]
ENTRIES = """[tlsweep.source]
tiny = tiny_source
broken = no_such_module
lost = no_such_package.module
[tlsweep.target]
stripes = stripes_target
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Tlsweep where a package with a source and a target is installed."""
    site = tmp_path / "site"
    shutil.copytree(OUTSIDE, site)
    about = site / "outside-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "TLSWEEP_CACHE": str(tmp_path)}

    def go(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tlsweep", *arguments]
        return subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return go


def test_each_is_written_in_less_than_thirty_lines() -> None:
    for file in OUTSIDE.glob("*.py"):
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        assert len(lines) < 30, file.name


def test_a_source_and_a_target_of_another_package_are_surveyed_and_answered(
    run: Run, tmp_path: Path
) -> None:
    done = run("-m", "source=tiny", "target=stripes", "target.fit_size=60", "record=none",
               "sweep.stages=[survey]", "source.width=4")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recommended" in done.stdout
    assert (tmp_path / "outputs" / "tiny_to_stripes" / "model" / "model.json").exists()
    plan = ("plan=finetune", "train.epochs=1", "target.fit_size=60", "record=none")
    again = run("source=tiny", "target=stripes", *plan)
    assert again.returncode == 0, again.stdout + again.stderr


def test_they_are_listed_checked_and_refused_as_ours_are(run: Run) -> None:
    listed = run("--help").stdout
    assert "tiny" in listed
    assert "stripes" in listed
    for argument, words in (
        ("source.widht=3", "source.width=VALUE"),
        ("source.width=wide", "source.width=wide"),
        ("target=strips", "target=stripes"),
        ("source=broken", "source=broken"),
        ("source=lost", "source=lost"),
    ):
        done = run("source=tiny", argument)
        assert done.returncode == 2, argument
        assert words in done.stderr, done.stderr
    cut = run("cuts", "source=tiny")
    assert cut.returncode == 0, cut.stderr
    assert cut.stderr == ""  # nothing of what torch says of a size that the network does not take


@pytest.mark.parametrize("kind", KINDS)
def test_every_yaml_of_ours_has_a_module_with_its_settings(kind: str) -> None:
    written = {file.stem for file in (conf_folder() / kind).glob("*.yaml")}
    assert written == {*names(kind), *INSIDE}
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
