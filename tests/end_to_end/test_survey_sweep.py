"""A survey alone: every cut point answered, and nothing trained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from short_sweep import STUDY, EndedWell, Run, everywhere, runs, shown, trials, verdict_of

from tlsweep.stages.contenders import facts_of

SURVEY = ("-m", "sweep.stages=[survey]", "target.fit_size=60", "sweep.confirm.seeds=2")


@pytest.fixture(scope="module")
def surveyed(ended_well: EndedWell) -> tuple[Path, str]:
    """The output folder of a survey alone, and what it printed."""
    return ended_well(*SURVEY)


def test_a_survey_alone_answers_every_cut_point_ends_with_a_verdict_and_trains_nothing(
    surveyed: tuple[Path, str],
) -> None:
    output, text = surveyed
    found = json.loads((output / STUDY / "survey.json").read_text())
    assert {row["index"] for row in found["rows"]} == set(range(9))
    wanted = {"cut", "index", "head", "regularisation", "fit_size", "seed", "score"}
    assert all(wanted <= set(row) for row in found["rows"])
    assert all(isinstance(cut["frechet"], float) for cut in found["transfer"])
    verdict = verdict_of(output)
    assert verdict["sentence"] in shown(text)
    assert re.search(r"the rest takes (10|[5-9]) min at most", shown(text))  # of ten, after seconds
    assert verdict["n_trials"] == 0
    assert verdict["folds"] == 5
    assert len(verdict["curve"]) == 9
    assert set(verdict["controls"]) == {"raw_pixels", "random_features", "feature_extractor"}
    # the features of glyphs tell digits apart far better than random weights do
    assert verdict["score"] > verdict["controls"]["random_features"]["score"]
    assert "scratch: no plan of it was tried" in verdict["shortfalls"]
    assert {facts_of(t).state for t in everywhere(output)} == {"frozen"}
    # one plan depends on a seed: random weights
    assert "random_features" in {t.params["plan"] for t in trials(output, "final")}
    assert not trials(output)
    assert not trials(output, "confirm")


@pytest.mark.slow
def test_a_second_survey_says_the_same_and_adds_nothing(
    surveyed: tuple[Path, str], tlsweep: Run
) -> None:
    output = surveyed[0]
    before, numbers = verdict_of(output), (len(everywhere(output)), len(runs(output)))
    done = tlsweep(*SURVEY, f"output_dir={output}")
    assert done.returncode == 0, done.stdout + done.stderr
    after = verdict_of(output)
    assert {**before, "seconds": 0} == {**after, "seconds": 0}
    assert numbers == (len(everywhere(output)), len(runs(output)))


@pytest.mark.slow
def test_a_smaller_pool_is_answered_as_a_study_of_that_size_is(ended_well: EndedWell) -> None:
    both, text = ended_well(*SURVEY, "sweep.pool_sizes=[30,all]")
    alone, _ = ended_well(*SURVEY, "target.fit_size=30")
    (found,) = verdict_of(both)["smaller"]
    own = verdict_of(alone)
    same = "recommended", "score", "interval", "plans", "curve", "controls", "pool_images", "folds"
    assert {key: found[key] for key in same} == {key: own[key] for key in same}
    assert "with 30 images" in text
    assert verdict_of(both)["pool_images"] == 60


@pytest.mark.slow
def test_a_study_of_which_an_outcome_was_damaged_is_not_concluded_and_the_file_is_named(
    surveyed: tuple[Path, str], tlsweep: Run
) -> None:
    output = surveyed[0]
    (trial, *_) = (t for t in trials(output, "final") if t.params["plan"] == "random_features")
    file = output / STUDY / "outcomes" / trial.user_attrs["outcome"]
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    done = tlsweep(*SURVEY, f"output_dir={output}")
    file.write_bytes(whole)
    assert done.returncode == 1
    assert file.name in done.stderr
    assert "Traceback" not in done.stderr
