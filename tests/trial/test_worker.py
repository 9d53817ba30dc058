"""A worker runs what waits, gives back what it cannot end, and knows no password from the study."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from tlsweep.config.settings import Settings
from tlsweep.study.ledger import Ledger
from tlsweep.study.post import Notes
from tlsweep.study.queue import Job
from tlsweep.trial.brief import Brief
from tlsweep.trial.worker import serve

Make = Callable[..., Settings]


@pytest.fixture
def brief(settings: Make, main: Ledger) -> Brief:
    return Brief.of(settings(), main.storage)


def until_nothing_waits(main: Ledger) -> Callable[[Notes], bool]:
    return lambda notes: bool(main.trials(optuna.trial.TrialState.WAITING))


def test_it_runs_what_waits_with_what_each_was_entered_with_until_it_is_told_to_end(
    main: Ledger, brief: Brief, settings: Make
) -> None:
    for seed in (3, 4):
        asks = brief.asks(settings(f"seed={seed}"), parent_run="p", room=7.5)
        main.queue.enter({}, {}, {"overrides": [f"seed={seed}"], "key": str(seed), "asks": asks})
    ran: list[Settings] = []

    def act(brief: Brief, study: str, job: Job) -> None:
        ran.append(brief.settings(study, job))
        main.study.tell(job.number, 0.5)

    assert serve(brief, "s", until_nothing_waits(main), act) == 2
    assert [asked.seed for asked in ran] == [3, 4]
    for number, asked in enumerate(ran):
        assert asked.trial is not None
        assert (asked.trial.study, asked.trial.number) == ("s", number)
        assert (asked.trial.parent_run, asked.trial.room) == ("p", 7.5)


def test_a_trial_that_raises_failed_and_the_worker_goes_on(main: Ledger, brief: Brief) -> None:
    for seed in (1, 2):
        main.queue.enter({}, {}, {"overrides": [f"seed={seed}"]})

    def act(brief: Brief, study: str, job: Job) -> None:
        if job.number == 0:
            raise OSError("postgresql://me:hunter2@host/db is away")
        main.study.tell(job.number, 0.5)

    assert serve(brief, "s", until_nothing_waits(main), act) == 2
    assert [t.state.name for t in main.trials()] == ["FAIL", "COMPLETE"]
    assert main.trials()[0].user_attrs["reason"] == "OSError: postgresql://me:***@host/db is away"


def test_an_interrupted_worker_gives_its_trial_back(main: Ledger, brief: Brief) -> None:
    main.queue.enter({}, {}, {"overrides": ["seed=1"], "key": "seed=1"})

    def act(brief: Brief, study: str, job: Job) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(brief, "s", act=act)
    assert [t.state.name for t in main.trials()] == ["FAIL", "WAITING"]
    assert main.trials()[1].user_attrs == {
        "key": "seed=1", "overrides": ["seed=1"], "retry_of": 0,
    }  # fmt: skip


def test_no_password_stands_in_the_study_and_a_worker_may_have_sections_of_its_own(
    settings: Make,
) -> None:
    url = "postgresql://me:hunter2@host/db"
    asked = settings("record=mlflow", f"record.tracking_uri={url}", f"sweep.storage={url}")
    note = Brief.of(asked, url).note()
    assert "hunter2" not in json.dumps(note)
    assert note["settings"]["sweep"]["storage"] is None
    own: dict[str, Any] = {"name": "none"}
    joined = Brief.noted(json.loads(json.dumps(note)), url, record=own)
    assert joined.plain["record"] == own
    assert joined.settings("s", Job(0, ())).source == asked.source
