"""What the stages of a sweep share: its studies, its parent run, its lock, its way to run jobs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from notes_record import Notes
from optuna.distributions import FloatDistribution
from rich.console import Console

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.record import none
from tlsweep.stages.session import Session, locked
from tlsweep.study.alive import this_process
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.ledger import Item, Trial, reason_of_failure
from tlsweep.study.queue import Job
from tlsweep.study.space import Space
from tlsweep.terms import Stage
from tlsweep.trial.brief import Brief

MakeSession = Callable[..., Session]


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """A record in memory, which every session of the test opens."""
    kept = Notes()
    monkeypatch.setattr(none, "open", lambda settings, output_dir: kept)
    return kept


# ---------------------------------------------------------------------- studies
@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("target.fit_size=50", "target.fit_size=50; study s has 60"),
        ("train.weight_decay=0.5", "train.weight_decay=0.5; study s has auto"),
        ("seed=3", "seed=3; study s has 0"),
    ],
)
def test_a_study_of_other_facts_is_refused(session: MakeSession, change: str, value: str) -> None:
    first = session()
    first.ledger("s", first.facts())
    other = session(change)
    with pytest.raises(Refusal) as caught:
        other.ledger("s", other.facts())
    (fault,) = caught.value.faults
    assert fault.value == value
    assert fault.rule == (
        "a study answers one question: one search space, one source, one target, one training"
    )
    assert fault.mend == "study=s_2 to ask another one, or leave that change out"


@pytest.mark.parametrize("part", ["source", "target"])
def test_other_weights_or_images_under_the_same_settings_are_refused(
    session: MakeSession, part: str
) -> None:
    first = session()
    first.ledger("s", first.facts())
    changed = {**first.facts(), f"{part}.fingerprint": "other"}
    with pytest.raises(Refusal) as caught:
        session().ledger("s", changed)
    (fault,) = caught.value.faults
    own = getattr(first.question, part).fingerprint
    assert fault.value == f"{part}.fingerprint=other; study s has {own}"


def test_how_and_where_a_study_runs_may_change(session: MakeSession) -> None:
    first = session()
    first.ledger("s", first.facts())
    again = session("sweep.n_jobs=2", "train.num_workers=1", "sweep.n_trials=7", "sweep.minutes=9")
    kept = again.ledger("s", again.facts()).recall("facts")
    assert kept == json.loads(json.dumps(first.facts()))


def test_a_study_that_is_taken_up_draws_other_numbers_than_it_began_with(
    session: MakeSession,
) -> None:
    where = Space({"train.lr": FloatDistribution(0, 1)})

    def drawn(name: str) -> list[tuple[str, ...]]:
        ledger = session("sweep.sampler={name: random}").ledger(name, {})
        seen: list[tuple[str, ...]] = []

        def launch(jobs: Sequence[Job]) -> list[Ended]:
            seen.extend(job.overrides for job in jobs)
            return [Ended(0.5) for _ in jobs]

        n_trials = 3 + len(ledger.counted())
        ledger.search(where, Batches(launch), n_trials=n_trials, max_failure_rate=0)
        return seen

    first = drawn("s")
    assert not {*first} & {*drawn("s")}
    assert drawn("other") == first


def test_an_unknown_sampler_or_pruner_is_refused_before_there_is_a_study(
    session: MakeSession,
) -> None:
    for change, mend in (
        ("sweep.sampler={name: tpee}", "sweep.sampler.name=tpe"),
        ("sweep.pruner={name: medium}", "sweep.pruner.name=median"),
    ):
        s = session(change)
        with pytest.raises(Refusal) as caught:
            s.ledger("s", {})
        assert caught.value.faults[0].mend.startswith(mend)
        assert not (Path(s.settings.output_dir) / "optuna.db").exists()


# ---------------------------------------------------------------------- the parent run
def test_the_parent_run_holds_the_question_and_its_command_and_is_kept_by_the_next_session(
    session: MakeSession, notes: Notes
) -> None:
    s = session("sweep.params={train.lr: 'interval(0.001,0.01)'}")
    with s.recorded(s.ledger("s", {})):
        (run_id,) = notes.sweeps
        assert s.parent_run == run_id
    told = notes.sweeps[run_id]
    assert told["source"] == s.settings.source.title
    assert (told["target"], told["stage"]) == ("digits", "sweep")
    assert told["target.fit_size"] == "60"
    assert told["sweep.params.train.lr"] == "interval(0.001,0.01)"
    assert told["command"] == shlex.join(["python", "-m", "tlsweep", "-m", *s.arguments])
    written = (s.folder / "config.yaml").read_text()
    assert written.splitlines()[0] == f"# {told['command']}"
    assert "fit_size: 60" in written
    again = session()
    with again.recorded(again.ledger("s", {})):
        assert again.parent_run == run_id
    assert [*notes.sweeps] == [run_id]


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (KeyboardInterrupt(), "killed"),
        (RuntimeError("no memory"), "failed"),
        (Refusal(Fault("a", "b", "c")), "failed"),
        (SystemExit(3), "failed"),
    ],
)
def test_the_parent_run_is_closed_as_what_the_sweep_ended_as(
    session: MakeSession, notes: Notes, raised: BaseException, status: str
) -> None:
    s = session()
    ledger = s.ledger("s", {})
    with pytest.raises(type(raised)), s.recorded(ledger):
        raise raised
    assert notes.ended == [(s.parent_run, status)]


def test_a_sweep_that_runs_to_its_end_closes_its_run_itself(
    session: MakeSession, notes: Notes
) -> None:
    s = session()
    with s.recorded(s.ledger("s", {})):
        s.record.end_sweep(s.parent_run, "finished", {})
    assert notes.ended == [(s.parent_run, "finished")]


def test_a_lost_trial_is_given_back_and_its_run_closed_as_lost(
    session: MakeSession, notes: Notes
) -> None:
    """In every study of the sweep; one that was lost before it had a run is given back too."""
    dead = session()
    for name, run_id in (("s", "run 1"), ("s.first", "run 2"), ("s.first", None)):
        trial = dead.ledger(name, {}).study.ask()
        trial.set_user_attr("worker", {**this_process(), "pid": 2**22 + 1})  # of nobody
        if run_id:
            trial.set_user_attr("run_id", run_id)
    s = session()
    ledgers = [s.ledger(name, {}) for name in ("s", "s.first")]
    with s.recorded(*ledgers):
        assert notes.lost == ["run 1", "run 2"]
        states = [[t.state.name for t in ledger.trials()] for ledger in ledgers]
        assert states == [["FAIL", "WAITING"], ["FAIL", "FAIL", "WAITING", "WAITING"]]
    for trials in (ledger.trials() for ledger in ledgers):
        lost, again = trials[: len(trials) // 2], trials[len(trials) // 2 :]
        assert {t.user_attrs["reason"] for t in lost} == {"its process ended before it did"}
        assert [t.user_attrs["retry_of"] for t in again] == [t.number for t in lost]


def test_an_engine_that_is_not_here_is_refused_before_anything_is_recorded(
    session: MakeSession, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = session("engine=slurm")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refusal) as caught, s.recorded(s.ledger("s", {})):
        pytest.fail("a sweep runs")
    assert caught.value.faults[0].value == "engine=slurm"
    assert notes.sweeps == {}


def test_nothing_is_lost_where_every_trial_ended(session: MakeSession, notes: Notes) -> None:
    first = session()
    ledger = first.ledger("s", {})
    ledger.study.tell(ledger.study.ask(), 0.5)
    s = session()
    with s.recorded(taken_up := s.ledger("s", {})):
        assert notes.lost == []
        assert [t.state.name for t in taken_up.trials()] == ["COMPLETE"]


# ---------------------------------------------------------------------- one at a time
def test_a_second_sweep_of_a_study_is_refused_while_one_runs(
    settings: Callable[..., Settings],
) -> None:
    asked = settings("study=s")
    with locked(asked):
        with pytest.raises(Refusal) as caught, locked(asked):
            pytest.fail("two sweeps run")
        with locked(settings("study=other")):  # another question has its own lock
            pass
    (fault,) = caught.value.faults
    assert fault.value == f"study=s in {asked.output_dir}"
    assert fault.rule == "one sweep of a study runs at a time, and one is running"
    assert fault.mend == "wait for it, or ask another question: study=NAME"
    with locked(asked):  # the first one has ended
        pass


def test_a_folder_that_cannot_be_written_is_refused(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    asked = settings(f"output_dir={tmp_path / 'file'}")
    with pytest.raises(Refusal) as caught, locked(asked):
        pytest.fail("a sweep runs")
    (fault,) = caught.value.faults
    assert fault.value == f"output_dir={tmp_path / 'file'}: Not a directory"
    assert fault.mend == "output_dir=DIR with a folder that you may write to"


# ---------------------------------------------------------------------- jobs
class Seen:
    """Runs trials by noting their settings."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []

    def __call__(self, brief: Brief, study: str, job: Job) -> float:
        asked = brief.settings(study, job)
        self.settings.append(asked)
        if asked.seed == 13:
            raise RuntimeError("unlucky")
        return 0.25 + asked.seed


def run(s: Session, stage: Stage, *items: Item, **options: Any) -> list[Trial]:
    """The trials of a list, run as that stage of the sweep runs them."""
    ledger = s.ledger("s.x", {})
    ledger.run_list(items, s.crew(ledger, stage, **options))
    return ledger.ended()


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """A place that a shell, a URL and Hydra's grammar would each read in another way."""
    folder = tmp_path / "it's, {50%25} of a [folder] = x"
    folder.mkdir()
    return folder


def test_a_trial_is_given_its_settings_and_which_trial_of_which_study_it_is(
    session: MakeSession, odd_folder: Path
) -> None:
    seen = Seen()
    quoted = str(odd_folder).replace("'", "\\'")
    s = session(f"output_dir='{quoted}'", act=seen)
    s.parent_run = "run, 'of' the sweep"
    items = Item.of(("plan=finetune", "seed=1")), Item.of(("seed=2",))
    ended = run(s, Stage.SEARCH, *items)
    assert [trial.value for trial in ended] == [1.25, 2.25]
    for asked, number in zip(seen.settings, (0, 1), strict=True):
        assert asked.trial is not None
        assert asked.trial.model_dump() == {
            "study": "s.x", "storage": s.storage, "number": number,
            "parent_run": "run, 'of' the sweep", "room": None,
        }  # fmt: skip
        assert (asked.stage, asked.study_name) == (Stage.SEARCH, "s")
        assert asked.output_dir == str(odd_folder)
    assert (odd_folder / "optuna.db").is_file()
    assert [asked.plan.name for asked in seen.settings] == ["finetune", "truncate"]


def test_a_trial_has_the_settings_that_its_command_line_makes(
    session: MakeSession, tmp_path: Path
) -> None:
    """What it is told travels as JSON; a study knows its question by paths as they were typed."""
    seen = Seen()
    s = session("features.cache_dir=some/folder", act=seen)
    own = ("plan=surgical", "plan.tune=[stage2,stage3]", "schedule=two_phase", "seed=5", "fold=1")
    run(s, Stage.CONFIRM, Item.of(own))
    line = [*s.plain, *own, "stage=confirm", "study=s"]
    composed = read(s.bench.compose(line))
    (asked,) = seen.settings
    assert asked.model_copy(update={"trial": None}) == composed
    assert asked.asked() == composed.asked()
    assert asked.question() == composed.question()


def test_a_trial_without_a_parent_run_is_told_of_none(session: MakeSession) -> None:
    seen = Seen()
    run(session(act=seen), Stage.GRID, Item.of(()))
    (identity,) = (one.trial for one in seen.settings)
    assert identity is not None
    assert identity.parent_run is None


@pytest.mark.parametrize(("seconds", "room"), [(12.34, 12.3), (-5.0, 0.0), (float("inf"), None)])
def test_a_trial_is_told_how_long_its_training_may_take(
    session: MakeSession, seconds: float, room: float | None
) -> None:
    seen = Seen()
    run(session(act=seen), Stage.FIRST, Item.of(()), room=lambda: seconds)
    (identity,) = (one.trial for one in seen.settings)
    assert identity is not None
    assert identity.room == room


def test_a_trial_that_is_wanted_by_name_takes_no_plan_of_the_command_line_but_in_a_grid(
    session: MakeSession,
) -> None:
    seen = Seen()
    s = session("plan=last_layers", "plan.freeze=3", "train.lr=0.5", act=seen)
    run(s, Stage.CONFIRM, Item.of(("plan=finetune",)))
    assert (seen.settings[0].plan.name, seen.settings[0].train.lr) == ("finetune", 0.5)
    assert seen.settings[0].plan.freeze != 3
    run(s, Stage.GRID, Item.of(("plan=surgical", "plan.tune=stage3")))
    assert seen.settings[1].plan.freeze == 3
    ledger = s.ledger("s.y", {})
    rates = Space({"train.lr": FloatDistribution(0.1, 0.1)})
    ledger.search(rates, s.crew(ledger, Stage.SEARCH), n_trials=1, max_failure_rate=0)
    assert (seen.settings[2].plan.name, seen.settings[2].train.lr) == ("last_layers", 0.1)


def test_a_trial_that_raises_failed_with_its_error_and_the_others_have_their_values(
    session: MakeSession,
) -> None:
    bad, good = run(session(act=Seen()), Stage.SEARCH, Item.of(("seed=13",)), Item.of(("seed=4",)))
    assert reason_of_failure(bad) == "RuntimeError: unlucky"
    assert good.value == 4.25


# ---------------------------------------------------------------------- on the screen
def test_a_stage_says_which_trial_failed_and_why(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=200, record=True, highlight=False, markup=False)
    monkeypatch.setattr(screen, "console", console)
    s = session()
    ledger = s.ledger("s", {})
    after = s.follow("search ", 2, lambda: len(ledger.counted()))
    good, bad = ledger.study.ask(), ledger.study.ask()
    bad.set_user_attr("overrides", ["plan=scratch", "train.lr=9"])
    bad.set_user_attr("reason", "training diverged")
    ledger.study.tell(good, 0.5)
    ledger.study.tell(bad, state=type(ledger.trials()[0].state).FAIL)
    for trial in ledger.trials():
        after(trial)
    said = console.export_text().splitlines()
    assert said == ["trial 1 plan=scratch train.lr=9 failed: training diverged"]


def test_a_look_up_in_a_trial_of_a_study_is_refused_but_not_the_users_own(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN", "0.01")
    monkeypatch.setenv("SECRET", "hunter2")
    made = session("train.lr=${oc.env:OWN}")
    for lines in ([], ["train.weight_decay=${oc.env:OWN}"]):
        settings = read(made.bench.compose([*made.plain, *lines]))
        assert settings.train.lr == 0.01
    for planted in ("train.lr=${oc.env:SECRET}", "record.name=${oc.env:SECRET}"):
        with pytest.raises(Refusal) as caught:
            made.bench.compose([*made.plain, planted])
        assert caught.value.faults[0].value == f"{planted} in a study"
        assert "hunter2" not in str(caught.value)
