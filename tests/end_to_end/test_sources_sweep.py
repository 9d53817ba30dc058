"""Two sources in one study: both are surveyed and searched, and one verdict chooses."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from short_sweep import EndedWell

from tlsweep.model import read_card

pytestmark = pytest.mark.slow
Sweep = tuple[Path, str, tuple[str, ...]]


@pytest.fixture(scope="module")
def swept(ended_well: EndedWell, checkpoint: Path, other_checkpoint: Path) -> Sweep:
    """The study's folder, what was printed, and the command line without its folder."""
    sources = [
        f"{{model: {model}, checkpoint: {file}, preset: IMAGENET1K_V1}}"
        for model, file in (
            ("shufflenet_v2_x0_5", checkpoint), ("squeezenet1_1", other_checkpoint),
        )
    ]  # fmt: skip
    arguments = (
        "-m", "source=torchvision", "source.image_size=32", "target.fit_size=80", "study=two",
        f"sweep.sources=[{','.join(sources)}]", "sweep.n_trials=2", "train.epochs=2",
        "sweep.fixed=[{plan: finetune}, {plan: scratch}]", "target.folds=3", "sweep.minutes=null",
        "sweep.confirm.top=1", "sweep.confirm.seeds=2",
    )  # fmt: skip
    output, printed = ended_well(*arguments)
    return output, printed, arguments


def verdict_of(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "two" / "verdict.json").read_text())
    return found


def test_the_verdict_says_which_source_to_take_and_ranks_the_plans_of_both(swept: Sweep) -> None:
    output, printed, _ = swept
    verdict = verdict_of(output)
    plans = verdict["plans"]
    assert isinstance(plans, list)
    assert {row["source"] for row in plans} == {"shufflenet_v2_x0_5", "squeezenet1_1"}
    assert "which of shufflenet_v2_x0_5 (checkpoint shufflenet.pt)" in printed
    assert str(verdict["sentence"]).removeprefix("Nothing was shown").count("Of 2 sources, take")
    for row in plans:  # what is written for a plan chooses its source
        assert f"source.model={row['source']}" in row["overrides"]
    trained = {row["source"] for row in plans if row["plan"] in ("scratch", "finetune")}
    assert trained == {"shufflenet_v2_x0_5", "squeezenet1_1"}


def test_every_cut_point_of_both_is_compared_on_the_same_images(swept: Sweep) -> None:
    output, _, _ = swept
    surveys = sorted((output / "two").glob("survey-*.json"))
    assert [file.name for file in surveys] == [
        "survey-shufflenet_v2_x0_5.json", "survey-squeezenet1_1.json",
    ]  # fmt: skip
    frozen = [json.loads(file.read_text())["frozen"] for file in surveys]
    cuts = sum(point["weights"] == "source" for found in frozen for point in found)
    plans = verdict_of(output)["plans"]
    assert isinstance(plans, list)
    own = [r for r in plans if r["state"] == "frozen" and "train.head=linear" in r["overrides"]]
    assert len(own) == cuts - 1  # the raw input, of which nothing is a source's, once


def test_the_model_folder_is_of_the_recommended_source(swept: Sweep) -> None:
    output, _, _ = swept
    recommended = verdict_of(output)["recommended"]
    assert isinstance(recommended, dict)
    card = read_card(output / "two" / "model")
    assert recommended["source"] in json.dumps(card.model_dump(mode="json")["source"])


def test_the_same_command_trains_nothing_a_second_time(swept: Sweep, ended_well: EndedWell) -> None:
    output, _, arguments = swept
    before, first = trials_of(output), verdict_of(output)
    ended_well(*arguments, f"output_dir={output}")
    assert trials_of(output) == before
    again = verdict_of(output)
    assert again["plans"] == first["plans"]
    assert again["sentence"] == first["sentence"]


def trials_of(output: Path) -> dict[str, int]:
    storage = f"sqlite:///{output / 'optuna.db'}"
    return {one.study_name: one.n_trials for one in optuna.get_all_study_summaries(storage)}
