"""A study's rows are data: what a database holds of a trial runs nothing and looks nothing up."""

from __future__ import annotations

import json
import os
import runpy
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.global_hydra import GlobalHydra
from payload import Trap

from tlsweep.commands.worker import run as work
from tlsweep.config.settings import Settings
from tlsweep.study.ledger import Ledger
from tlsweep.study.post import BRIEF, THREADS, pin_code
from tlsweep.terms import NAMED_CODE
from tlsweep.trial.brief import Brief
from tlsweep.trial.folder import share
from tlsweep.trial.worker import serve

Make = Callable[..., Settings]
APP = Path(__file__).parents[1] / "jobs" / "foreign_app.py"
CONF = (Path(__file__).parents[2] / "conf").resolve()


@pytest.fixture
def planted(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> str:
    """A function of importable code that nobody named on a command line."""
    folder = trap.marker.parent
    (folder / "planted.py").write_text(f"open({str(trap.marker)!r}, 'w')\ndef made(): ...\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv(NAMED_CODE, raising=False)
    return "planted:made"


def module_of(build: str, checkpoint: Path) -> dict[str, Any]:
    """A source of a user's own code, as a config has it."""
    unset = dict.fromkeys(("part", "mean", "std", "resize"))
    told = {"name": "module", "build": build, "checkpoint": str(checkpoint), **unset}
    return {**told, "image_size": 32, "channels": 3, "interpolation": "bilinear"}


def ran(main: Ledger, brief: Brief) -> list[Any]:
    """Let a worker run what waits; the trials."""
    waiting = optuna.trial.TrialState.WAITING
    serve(brief, "s", lambda notes: bool(main.trials(waiting)))
    return list(main.trials())


# ---------------------------------------------------------------------- what a worker takes
def test_code_that_a_waiting_trial_names_is_not_run(
    main: Ledger, settings: Make, planted: str, checkpoint: Path
) -> None:
    asks = {"settings": {"source": module_of(planted, checkpoint)}}
    lines = ["source=module", f"source.build={planted}"]
    main.queue.enter({}, {}, {"overrides": lines, "asks": asks})
    (trial,) = ran(main, Brief.of(settings(), main.storage))
    assert trial.state.name == "FAIL"
    assert "no config and no record names any" in trial.user_attrs["reason"]


def test_code_that_a_sweeps_note_names_is_not_run_by_a_worker_that_joins(
    main: Ledger, settings: Make, planted: str, checkpoint: Path, tmp_path: Path
) -> None:
    asked = settings("study=s")
    (tmp_path / "s").mkdir()
    share(main, tmp_path / "s", answered=False)
    pin_code(main, None)
    note = Brief.of(asked, main.storage).note()
    note["settings"]["source"] = module_of(planted, checkpoint)
    main.remember(BRIEF, note)
    main.remember(THREADS, 1)
    main.queue.enter({}, {}, {"overrides": []})
    work(["study=s", f"output_dir={tmp_path}"], CONF)  # nobody leads: it ends at once
    assert planted.partition(":")[0] not in sys.modules


@pytest.mark.parametrize(
    "changed",
    [
        {"train": {"_target_": "os.system", "command": "touch {marker}"}},
        {"engine": {"name": "os", "_target_": "os.system"}},
        {"source": {"name": "os.path"}},
        {"source": {"name": "../../planted"}},
        {"study": "../../x"},
        {"seed": "${oc.env:SECRET}"},
    ],
)
def test_what_is_no_setting_is_refused_and_nothing_is_looked_up(
    changed: dict[str, Any], main: Ledger, settings: Make, trap: Trap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SECRET", "hunter2")
    told = json.loads(json.dumps(changed).replace("{marker}", str(trap.marker)))
    main.queue.enter({}, {}, {"overrides": [], "asks": {"settings": told}})
    (trial,) = ran(main, Brief.of(settings(), main.storage))
    assert trial.state.name == "FAIL"
    assert "Refusal" in trial.user_attrs["reason"]
    assert "hunter2" not in trial.user_attrs["reason"]


def test_an_identity_that_a_trial_brings_is_not_taken_for_its_own(
    main: Ledger, settings: Make, tmp_path: Path
) -> None:
    theirs = {"study": "other", "storage": f"sqlite:///{tmp_path}/theirs.db", "number": 7}
    main.queue.enter({}, {}, {"overrides": [], "asks": {"settings": {"trial": theirs}}})
    seen: list[Settings] = []

    def act(brief: Brief, study: str, job: Any) -> None:
        seen.append(brief.settings(study, job))
        main.study.tell(job.number, 0.5)

    serve(
        Brief.of(settings(), main.storage), "s",
        lambda notes: bool(main.trials(optuna.trial.TrialState.WAITING)), act,
    )  # fmt: skip
    assert seen[0].trial is not None
    assert (seen[0].trial.study, seen[0].trial.number) == ("s", 0)
    assert seen[0].trial.storage == main.storage


# ---------------------------------------------------------------------- what Hydra launches
@pytest.fixture
def app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[Any, str]]]:
    """A Hydra app's search, with more trials each time: its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def search(n: int) -> tuple[Any, str]:
        line = [f"hydra.sweep.dir={tmp_path}", f"hydra.sweeper.n_trials={n}", "x=interval(0,1)"]
        monkeypatch.setattr(sys, "argv", [str(APP), "-m", *line])
        code: Any = 0
        try:
            runpy.run_path(str(APP), run_name="__main__")
        except SystemExit as error:
            code = error.code
        GlobalHydra.instance().clear()
        out, err = capsys.readouterr()
        return code, out + err

    yield search
    GlobalHydra.instance().clear()


def enter(folder: Path, *overrides: str) -> None:
    """A trial that waits in the app's study, put there by hand."""
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{folder}/optuna.db")
    waiting = optuna.trial.TrialState.WAITING
    study.add_trial(optuna.trial.create_trial(state=waiting))
    (file,) = folder.glob("optuna.db")
    with sqlite3.connect(file) as rows:  # as somebody does who has no Optuna
        number = rows.execute("select max(trial_id) from trials").fetchone()[0]
        rows.execute(
            "insert into trial_user_attributes (trial_id, key, value_json) values (?, ?, ?)",
            (number, "overrides", json.dumps(["x=0.5", "kind=a", *overrides])),
        )


def test_a_trial_that_is_entered_by_hand_is_run_as_any(
    app: Callable[..., tuple[Any, str]], tmp_path: Path
) -> None:
    assert app(1)[0] == 0
    enter(tmp_path)
    code, said = app(2)
    assert (code, "point 0.5 a" in said) == (0, True)


@pytest.mark.parametrize(
    "planted",
    [
        "hydra.job.env_set={TLSWEEP_BUILD:planted}",
        "+hydra.job.env_set.TLSWEEP_BUILD=planted",
        "+hydra.job_logging.handlers.own={class:logging.FileHandler,filename:'{marker}'}",
        "hydra/job_logging=disabled",
        "kind={_target_:os.system,command:'touch {marker}'}",
        "+other._target_=os.system",
        "kind=${oc.env:SECRET}",
        "kind='\\\\${oc.env:SECRET}'",
    ],
)
def test_what_is_more_than_keys_and_values_is_refused_before_it_is_launched(
    planted: str, app: Callable[..., tuple[Any, str]], trap: Trap, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.delenv(NAMED_CODE, raising=False)
    assert app(1)[0] == 0
    enter(tmp_path, planted.replace("{marker}", str(trap.marker)))
    code, said = app(2)
    assert code == 2
    assert "what a study holds of a trial is keys and values of the app, and no more" in said
    assert "hunter2" not in said
    assert NAMED_CODE not in os.environ
