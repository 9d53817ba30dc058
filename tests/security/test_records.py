"""Recorded configs are data: a run whose config was edited runs nothing and reads no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from payload import Trap

from tlsweep import trial
from tlsweep.commands.reproduce import run
from tlsweep.config.read import from_yaml, to_yaml
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.record import open_record

Make = Callable[..., Settings]
CONF = (Path(__file__).parents[2] / "conf").resolve()
CONFIG = "tlsweep.config"


@pytest.fixture
def edited(settings: Make, tmp_path: Path) -> Callable[[Callable[[str], str]], list[str]]:
    """Records a run, edits its config, and gives the arguments that reproduce it."""

    def edit(change: Callable[[str], str]) -> list[str]:
        asked = settings("plan=truncate", "plan.keep=1")
        trial.run(asked)
        record: Any = open_record(asked.record, tmp_path)
        (found,) = record.client.search_runs([record.experiment_id])
        changed = change(found.data.tags[CONFIG])
        assert changed != found.data.tags[CONFIG]
        record.client.set_tag(found.info.run_id, CONFIG, changed)
        return [f"run={found.info.run_id}", f"output_dir={tmp_path}"]

    return edit


def with_source(text: str, source: str) -> str:
    """A config with another section in place of its source."""
    head, _, rest = text.partition("source:\n")
    after = rest[rest.index("\ntarget:") + 1 :]
    return f"{head}source:\n{source}{after}"


def test_code_that_a_recorded_config_names_is_not_run(
    edited: Callable[..., list[str]],
    trap: Trap,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = trap.marker.parent / "planted.py"
    module.write_text(f"import os\nos.system('touch {trap.marker}')\ndef made(): ...\n")
    source = (
        f"  name: module\n  build: planted:made\n  checkpoint: {checkpoint}\n  part: null\n"
        "  image_size: 32\n  channels: 3\n  mean: null\n  std: null\n  resize: null\n"
        "  interpolation: bilinear\n"
    )
    monkeypatch.syspath_prepend(module.parent)
    with pytest.raises(Refusal, match="no record names any"):
        run(edited(lambda text: with_source(text, source)), CONF)


@pytest.mark.parametrize(
    "written",
    [
        "seed: !!python/object/apply:os.system ['touch {marker}']",
        "seed: !!python/object/new:os.system ['touch {marker}']",
        "seed: !!python/name:os.system ''",
    ],
)
def test_tags_of_python_in_a_recorded_config_are_refused(
    written: str, edited: Callable[..., list[str]], trap: Trap
) -> None:
    line = written.replace("{marker}", str(trap.marker))
    with pytest.raises(Refusal, match="a recorded config: could not determine a constructor"):
        run(edited(lambda text: text.replace("seed: 0", line)), CONF)


@pytest.mark.parametrize("section", ["source", "train", "plan", "record", "engine"])
def test_code_for_hydra_to_make_something_with_is_an_unknown_key(
    section: str, edited: Callable[..., list[str]], trap: Trap
) -> None:
    inside = f"{section}:\n  _target_: os.system\n  command: touch {trap.marker}\n"
    with pytest.raises(Refusal, match="_target_"):
        run(edited(lambda text: text.replace(f"{section}:\n", inside, 1)), CONF)


def test_what_the_environment_holds_is_not_looked_up(
    edited: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    with pytest.raises(Refusal) as caught:
        run(edited(lambda text: text.replace("seed: 0", "seed: ${oc.env:SECRET}")), CONF)
    assert "hunter2" not in str(caught.value)
    assert "${oc.env:SECRET}" in str(caught.value)


def test_what_looks_like_a_look_up_is_text_when_it_is_read_again(settings: Make) -> None:
    plain = from_yaml(to_yaml(settings()).replace("study: null", "study: ${seed}"))
    assert plain["study"] == "${seed}"


@pytest.mark.parametrize("text", ["[1, 2]", "seed: [", "${", "train: 3", "a word"])
def test_what_is_no_config_is_refused(text: str, edited: Callable[..., list[str]]) -> None:
    with pytest.raises(Refusal):
        run(edited(lambda _: text), CONF)


def test_a_run_of_another_folder_is_run_in_one_of_its_own(
    edited: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "theirs"
    run(edited(lambda text: text.replace(f"output_dir: {tmp_path}", f"output_dir: {there}")), CONF)
    assert "select_score" in capsys.readouterr().out
    assert not there.exists()
