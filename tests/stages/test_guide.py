"""A survey's findings become finished trials, guide the search, and are found again in its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tlsweep.config.settings import Settings
from tlsweep.extract.activations import Activations
from tlsweep.jobs import grammar
from tlsweep.question import Question
from tlsweep.record import NoRecord, Record
from tlsweep.stages import guide
from tlsweep.stages.contenders import facts_of, frozen_facts, overrides_of
from tlsweep.stages.guide import Surveyed
from tlsweep.stages.session import Session
from tlsweep.stages.sources import StudySource, only
from tlsweep.study import space
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Job
from tlsweep.study.storage import default_url
from tlsweep.survey.rows import Findings, Frozen, Row
from tlsweep.task import Classes, Labels, outcome
from tlsweep.task.outcome import Outcome
from tlsweep.trial import outcomes_folder, question_of, resolve, study_folder

Make = Callable[..., Settings]


def findings_of(scores: list[float], names: list[str] | None = None) -> Findings:
    names = names or [f"c{i}" for i in range(len(scores))]
    rows, frozen = [], []
    for weights in ("source", "random"):
        for i, name in enumerate(names):
            score = scores[i] if weights == "source" else 0.1 + 0.01 * i
            rows.append(Row(name, i, weights, "logistic", 0.01, 48, 0, score, 1.0))
            frozen.append(Frozen(name, i, weights, "logistic", 0.01, score, 1.0, False))
    return Findings(tuple(rows), tuple(frozen), (), 1.0)


@dataclass
class Compose:
    """What a session's bench does: settings from overrides."""

    make: Make

    def compose(self, lines: list[str]) -> Any:
        return self.make(*lines)


@dataclass
class Alone:
    """A session without a sweep around it: what surveys ask of one."""

    settings: Settings
    bench: Any
    folder: Path
    plain: tuple[str, ...] = ()
    parent_run: str | None = None
    record: Record = field(default_factory=NoRecord)

    @property
    def question(self) -> Question:
        return question_of(self.settings)

    several = False

    @cached_property
    def sources(self) -> tuple[StudySource, ...]:
        return (only(self.settings, self.question),)

    def inputs(self, source: StudySource) -> Activations:
        return resolve(source.settings).inputs


@pytest.fixture
def session(settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    asked = settings()
    folder = outcomes_folder(study_folder(asked)).parent
    folder.mkdir(parents=True)
    return cast(Session, Alone(asked, Compose(settings), folder))


@pytest.fixture
def ledger(session: Session, tmp_path: Path) -> Ledger:
    names = session.question.cuts.names
    return Ledger(
        storage=default_url(tmp_path),
        name="s",
        sampling=Sampling({"name": "random"}, 0),
        typed=space.typed(names, ["truncate", "random_features", "truncate_tuned"]),
    ).open(resume=True)


def surveyed_of(session: Session) -> Surveyed:
    question = session.question
    draw, names = np.random.default_rng(0), question.cuts.names
    scores = [0.2, *np.linspace(0.4, 0.8, len(names) - 1)]
    findings = findings_of(scores, names)
    outcomes = {
        (point.weights, point.index): Outcome(
            {
                k: draw.normal(size=(len(fold), 10)).astype(np.float32)
                for k, fold in enumerate(question.partition.folds)
            }
        )
        for point in findings.frozen
    }
    return Surveyed(session.sources[0], findings, outcomes)


# ------------------------------------------------------------------ ranking
def test_of_equal_cut_points_the_one_with_less_loss_leads_and_then_the_lowest() -> None:
    losses = {"a": 1.0, "b": 0.5, "c": 1.0}
    frozen = tuple(
        Frozen(name, i, "source", "logistic", 0.1, 0.5, loss, False)
        for i, (name, loss) in enumerate(losses.items())
    )
    assert Findings((), frozen, (), 1.0).ranking() == [1, 0, 2]


def test_findings_are_read_from_json_as_they_were_written() -> None:
    findings = findings_of([0.5, 0.9])
    assert Findings.from_json(json.loads(json.dumps(findings.as_json()))) == findings


# ------------------------------------------------------------------ trials of the survey
def test_each_cut_point_becomes_a_finished_trial_once_and_random_weights_one(
    session: Session, ledger: Ledger
) -> None:
    surveyed = surveyed_of(session)
    for _ in range(2):
        guide.enter_survey(session, ledger, surveyed)
    trials = ledger.completed()
    cuts = session.question.cuts
    assert len(trials) == len(cuts) + 1
    by_cut = {t.params["plan.keep"]: t for t in trials if t.params["plan"] == "truncate"}
    assert set(by_cut) == set(cuts.names)
    (random,) = [t for t in trials if t.params["plan"] == "random_features"]
    assert random.params["plan.keep"] == cuts.names[-1]  # where random weights did best
    for t in trials:
        assert isinstance(t.params["train.probe_penalty"], float)
    place = ("source", 3)
    y = session.question.target.labels[session.question.partition.held_out]
    answered = np.concatenate(list(surveyed.outcomes[place].held_out.values()))
    trial = by_cut[cuts[3].name]
    assert trial.value == pytest.approx(np.mean(answered.argmax(1) == y))
    assert trial.user_attrs["scores"] == {"select": trial.value}
    assert facts_of(trial).plan.keep == 3


def test_a_frozen_plans_facts_are_those_that_its_trial_notes(
    session: Session, ledger: Ledger
) -> None:
    """Else the verdict would not know two records of one plan for the same."""
    surveyed = surveyed_of(session)
    guide.enter_survey(session, ledger, surveyed)
    noted = {tuple(t.user_attrs["overrides"]): facts_of(t) for t in ledger.completed()}
    for (weights, index), point in surveyed.points.items():
        if weights == "random" and index != surveyed.random_cut:
            continue
        assert frozen_facts(session.sources[0], point) == noted[overrides_of(point)]


# ------------------------------------------------------------------ the search
def where_of(session: Session, *texts: str) -> space.Space:
    overrides = grammar.parse(list(texts), OverridesParser.create())
    return grammar.build(overrides, session.question.named)


def guided(session: Session, ledger: Ledger, findings: Findings, where: space.Space) -> space.Space:
    """Where the one source of a session is searched."""
    (source,) = session.sources
    found = guide.guide(session, ledger, [Surveyed(source, findings, {})], {source.called: where})
    return found[source.called]


PLANS = "plan=choice(truncate_tuned,transfer_tuned)"


def test_the_best_half_of_the_cut_points_and_the_last_stay_open(
    session: Session, ledger: Ledger
) -> None:
    names = session.question.cuts.names
    scores = [0.2, 0.9, 0.8, 0.7, *([0.3] * (len(names) - 4))]
    findings = findings_of(scores, names)
    most = -(-len(names) // 2)
    found = guided(session, ledger, findings, where_of(session, PLANS, "plan.keep=glob(*)"))
    kept = found.listed("plan.keep")
    assert set(kept) == {names[i] for i in findings.ranking()[:most]} | {names[-1]}
    assert list(kept) == [name for name in names if name in kept]
    # a later session, whose survey might rank otherwise, goes on with the same ones
    other = findings_of(scores[::-1], names)
    again = guided(session, ledger, other, where_of(session, PLANS, "plan.keep=glob(*)"))
    assert again.listed("plan.keep") == kept


def test_the_two_best_cut_points_are_tried_first_and_once(session: Session, ledger: Ledger) -> None:
    names = session.question.cuts.names
    scores = [0.99, 0.9, 0.8, *([0.3] * (len(names) - 3))]  # the raw input keeps nothing
    where = where_of(session, PLANS, "plan.keep=glob(*)", "train.lr=interval(0.001,0.01)")
    for _ in range(2):  # sessions
        found = guided(session, ledger, findings_of(scores, names), where)
    jobs: list[Job] = []

    def launch(asked: Sequence[Job]) -> list[Ended]:
        jobs.extend(asked)
        return [Ended(0.5) for _ in asked]

    ledger.search(found, Batches(launch), n_trials=2 + len(ledger.counted()), max_failure_rate=0)
    assert [job.overrides[:2] for job in jobs] == [
        ("plan=truncate_tuned", f"plan.keep={names[1]}"),
        ("plan=truncate_tuned", f"plan.keep={names[2]}"),
    ]
    assert [t.user_attrs["draw"] for t in ledger.completed()][-2:] == [0, 1]


def test_cut_points_that_the_user_names_are_all_searched(session: Session, ledger: Ledger) -> None:
    names = session.question.cuts.names
    where = where_of(session, PLANS, f"plan.keep=choice({names[1]},{names[2]})")
    found = guided(session, ledger, findings_of([0.1] * len(names), names), where)
    assert list(found.listed("plan.keep")) == [names[1], names[2]]


def two_of(session: Session) -> list[StudySource]:
    """One source under two names, as two sources of a study."""
    (one,) = session.sources
    return [
        replace(one, called=name, overrides=(f"source.model={name}",)) for name in ("one", "two")
    ]


def test_plans_are_trained_of_the_sources_whose_best_cut_point_is_best_and_of_those_alone(
    session: Session, ledger: Ledger
) -> None:
    names, sources = session.question.cuts.names, two_of(session)
    rest = [0.3] * (len(names) - 1)
    low, high = (findings_of([score, *rest], names) for score in (0.5, 0.9))
    surveys = [Surveyed(one, f, {}) for one, f in zip(sources, (low, high), strict=True)]
    assert guide.trained_sources(ledger, surveys, 1) == ["two"]
    # a later session, whose survey might rank otherwise, goes on with the same one
    assert guide.trained_sources(ledger, surveys[::-1], 2) == ["two"]


def test_of_two_sources_the_cut_points_that_are_best_of_all_stay_open_and_are_tried_first(
    session: Session, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, names = two_of(session), session.question.cuts.names
    monkeypatch.setattr(session, "sources", tuple(sources))
    monkeypatch.setattr(session, "several", True)
    n = len(names)
    first = findings_of([0.2, 0.6, *([0.1] * (n - 2))], names)
    second = findings_of([0.2, *np.linspace(0.9, 0.7, n - 1)], names)
    surveys = [Surveyed(one, f, {}) for one, f in zip(sources, (first, second), strict=True)]
    where = {one.called: where_of(session, PLANS, "plan.keep=glob(*)") for one in sources}
    found = guide.guide(session, ledger, surveys, where)
    assert list(found["one"].listed("plan.keep")) == [names[1], names[-1]]
    assert list(found["two"].listed("plan.keep")) == list(names[1:])
    assert ledger.recall("hints") == [
        {"source": "two", "plan.keep of two": name, "plan": "truncate_tuned"} for name in names[1:3]
    ]


# ------------------------------------------------------------------ kept for the next session
def test_a_session_that_goes_on_finds_what_the_first_one_found(session: Session) -> None:
    first = surveyed_of(session)
    guide.keep_survey(session, "asked", first)
    found = guide.kept_survey(session, session.sources[0], "asked")
    assert found is not None
    assert found.findings == first.findings
    assert set(found.outcomes) == set(first.outcomes)
    for place, answered in first.outcomes.items():
        again = found.outcomes[place].held_out
        assert all(np.array_equal(again[k], z) for k, z in answered.held_out.items())


@pytest.mark.parametrize(
    "damage", ["nothing", "asked", "json", "rows", "missing", "half", "other folds", "another task"]
)
def test_what_was_asked_otherwise_or_is_damaged_is_surveyed_anew(
    damage: str, session: Session
) -> None:
    if damage != "nothing":
        asked = "asked otherwise" if damage == "asked" else "asked"
        guide.keep_survey(session, asked, surveyed_of(session))
    file = session.folder / "survey.json"
    answered = outcomes_folder(study_folder(session.settings)) / "survey-source-002.npz"
    if damage == "json":
        file.write_text(file.read_text()[:100])
    if damage == "rows":
        content = json.loads(file.read_text())
        del content["rows"][0]["score"]
        file.write_text(json.dumps(content))
    if damage == "missing":
        answered.unlink()
    if damage == "half":
        answered.write_bytes(answered.read_bytes()[:100])
    if damage == "other folds":
        outcome.write(answered, Outcome({0: np.zeros((60, 10), np.float32)}), Classes(10))
    if damage == "another task":
        own = outcome.read(answered, Classes(10))
        outcome.write(answered, own, Labels(10))
    assert guide.kept_survey(session, session.sources[0], "asked") is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("train.lr=0.5", True),
        ("sweep.n_trials=3", True),
        ("target.folds=4", False),
        ("target.fit_size=59", False),
        ("sweep.survey.penalties=[0.1]", False),
        ("train.probe=ridge", False),
        ("train.pool=1", False),
        ("sweep.survey.random=false", False),
    ],
)
def test_a_survey_is_asked_anew_where_its_findings_would_differ(
    session: Session, settings: Make, change: str, same: bool
) -> None:
    other = Alone(settings(change), session.bench, session.folder)
    asked = [guide.asked_of(one, one.sources[0]) for one in (session, cast(Session, other))]
    assert (asked[0] == asked[1]) == same


def test_others_may_read_the_files(session: Session) -> None:
    made = session.folder / "as made"
    made.touch()
    guide.keep_survey(session, "asked", surveyed_of(session))
    for file in ("survey.json", "outcomes/survey-source-000.npz"):
        assert (session.folder / file).stat().st_mode == made.stat().st_mode
