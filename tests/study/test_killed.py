"""A sweep that is killed at any moment ends with all its trials, none lost and none doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tlsweep.study.storage import open_storage

DRIVER = Path(__file__).parent / "kill_driver.py"
KILLS = 6


@pytest.fixture
def killed_study(url: str) -> optuna.Study:
    """The study of a driver that was killed six times, at moments drawn at random."""
    draw, command = random.Random(20), [sys.executable, str(DRIVER), url]
    for _ in range(KILLS):
        before = _trials(url)
        driver = subprocess.Popen(command)
        # first let it get as far as its trials, else the start is all that is ever killed
        while driver.poll() is None and _trials(url) == before:
            time.sleep(0.02)
        time.sleep(draw.uniform(0.0, 0.6))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    subprocess.run(command, check=True, timeout=120)
    return optuna.load_study(study_name="s", storage=open_storage(url))


def _trials(url: str) -> list[tuple[int, str]]:
    if not Path(url.removeprefix("sqlite:///")).exists():
        return []
    try:
        storage = optuna.storages.RDBStorage(url)
        study = optuna.load_study(study_name="s", storage=storage)
        return [(t.number, t.state.name) for t in study.trials if t.state != TrialState.WAITING]
    except Exception:  # the driver is making the tables at this moment
        return []


def test_after_six_kills_eight_trials_are_counted_none_doubled_and_none_lost(
    killed_study: optuna.Study,
) -> None:
    trials = killed_study.trials
    counted = [t for t in trials if t.state == TrialState.COMPLETE]
    cut_short = [t for t in trials if t.user_attrs.get("cut_short")]
    assert len(counted) == 8
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.FAIL}
    assert {t.number for t in trials if t.state == TrialState.FAIL} == {t.number for t in cut_short}
    assert len(cut_short) >= 2  # else the kills hit nothing, and this test shows nothing

    # the items of the list once each, and each drawn set of parameters once
    keys = [t.user_attrs["key"] for t in counted if "key" in t.user_attrs]
    assert sorted(keys) == ["plan=finetune", "plan=scratch"]
    drawn = [tuple(sorted(t.params.items())) for t in counted if "key" not in t.user_attrs]
    assert len(set(drawn)) == len(drawn) == 6
    assert all([k for k, _ in params] == ["c", "k", "x"] for params in drawn)

    # every trial that was cut short has one successor, with its own parameters; but one that
    # waited while another list was asked for, which is queued anew when its own list is
    successors: dict[int, list[FrozenTrial]] = {}
    for t in trials:
        successors.setdefault(t.user_attrs.get("retry_of", -1), []).append(t)
    for lost in (t for t in cut_short if t.user_attrs["reason"] != "no longer wanted"):
        (again,) = successors[lost.number]
        if again.state == TrialState.COMPLETE:
            assert lost.params.items() <= again.params.items()
        if "overrides" in lost.user_attrs and "overrides" in again.user_attrs:
            assert again.user_attrs["overrides"] == lost.user_attrs["overrides"]
        assert again.user_attrs.get("key") == lost.user_attrs.get("key")
    # the search space did not change on the way
    spaces = {str(sorted(t.distributions.items())) for t in counted if "key" not in t.user_attrs}
    assert len(spaces) == 1
