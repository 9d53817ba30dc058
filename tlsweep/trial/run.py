"""The story of one trial: resolve it, train it, score it, tell how it ended."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep import screen
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal, TrialFailure, failure_of
from tlsweep.facts import NEVER_THAWED, Facts
from tlsweep.question import Question
from tlsweep.task.outcome import Logits, Outcome
from tlsweep.task.outcome import write as write_outcome
from tlsweep.terms import Split, Stage
from tlsweep.trial.describe import describe, params_of, tags_of, trial_name
from tlsweep.trial.resolved import Resolved, resolve
from tlsweep.trial.train import (
    OnEpoch,
    Trained,
    check_batch,
    check_fold,
    check_resume,
    check_schedule,
    train,
)

if TYPE_CHECKING:
    from tlsweep.record import Record, TrialRecord, TrialRun
    from tlsweep.record.base import Status
    from tlsweep.study.handle import TrialHandle
    from tlsweep.task import Task
    from tlsweep.train.network import PlanNetwork
    from tlsweep.train.pace import Pace


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    scores, losses: split to mean example score and mean loss; history: the metrics of every epoch;
    start: what it was trained on, and why.
    """

    scores: dict[str, float]
    losses: dict[str, float]
    pruned: bool
    facts: Facts
    history: tuple[dict[str, float], ...]
    start: str


def run(settings: Settings, records: Records | None = None) -> TrialResult:
    """Train one plan once.

    records: those that this process has opened; None for one of the trial's own. Raises Refusal
    before any training where the config cannot be carried out, TrialFailure where training itself
    breaks down. Whatever happens is told to the study and the record first.
    """
    if records is not None:
        return _run(settings, records)
    with closing(Records()) as own:
        return _run(settings, own)


def _run(settings: Settings, records: Records) -> TrialResult:
    handle = _handle(settings)
    if handle is not None:
        handle.begin()
    try:
        trial, record = checked(settings), records.open(settings)
        with _said():
            question, facts = trial.question, describe(trial)
    except (Refusal, TrialFailure) as error:
        if handle is not None:
            handle.fail(str(error))
        raise
    run_record = record.start_trial(
        settings.trial.parent_run if settings.trial else None,
        trial_name(settings.stage, facts, handle.overrides if handle else ()),
        params_of(settings, facts),
        tags_of(settings, question),
    )
    if handle is not None:
        handle.note({"facts": facts.as_json(), "run_id": run_record.run_id})
    began = time.monotonic()
    try:
        with _said():
            trained = train(settings, trial, _watch(settings, trial, facts, handle, run_record))
        seconds = time.monotonic() - began
        return _close(trial, trained, handle, run_record, seconds)
    except TrialFailure as failure:
        run_record.end("failed", {}, reason=str(failure))
        if handle is not None:
            # the same numbers would fail the same way
            handle.fail(str(failure), again=failure.again)
        raise
    except KeyboardInterrupt:
        run_record.end("killed", {}, reason="interrupted")
        raise
    except BaseException as error:
        run_record.end("failed", {}, reason=f"{type(error).__name__}: {error}")
        if handle is not None:
            handle.fail(f"{type(error).__name__}: {error}")
        raise


@contextmanager
def _said() -> Iterator[None]:
    """Within, what fails for want of memory, or of a process, is said as that, a TrialFailure."""
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        if failure is None or failure is error:
            raise
        raise failure from error


def checked(settings: Settings) -> Resolved:
    """The trial that settings describe. Raises Refusal with what keeps it from being trained."""
    trial = resolve(settings)
    check_fold(trial)
    if settings.stage == Stage.SINGLE:  # a sweep has checked its own
        _refuse_shift(settings)
        check_batch(trial)
        check_schedule(trial)
        check_resume(trial)
    return trial


def _refuse_shift(settings: Settings) -> None:
    if shift := settings.target.shift:
        rule = "a sweep scores shifted examples, beside its verdict; one plan has no use for them"
        raise Refusal(Fault(f"target.shift={', '.join(shift)}", rule, "-m, or leave it out"))


def run_unrecorded(settings: Settings) -> dict[tuple[str, int], float]:
    """Train one plan and tell nobody: every number of it, by name and epoch (0: at its end)."""
    trial, found = resolve(settings), {}

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        found.update({(name, epoch + 1): value for name, value in metrics.items()})
        return False

    trained = train(settings, trial, on_epoch)
    facts = describe(trial, trained.not_thawed)
    if facts.is_probe:
        on_epoch(0, trained.history[-1], 0)
    scores, losses = _scores(trial, trained.logits)
    summary = _summary(trial.question, scores, losses, facts, 0.0)
    return {**found, **{(name, 0): value for name, value in summary.items()}}


# ---------------------------------------------------------------------- telling
def _handle(settings: Settings) -> TrialHandle | None:
    if settings.trial is None:
        return None
    from tlsweep.study.handle import TrialHandle

    return TrialHandle(settings.trial.storage, settings.trial.study, settings.trial.number)


class Records:
    """The records of the trials that one process runs, each opened once: that takes a while.

    of: that of all of them, where their process has opened it.
    """

    def __init__(self, of: TrialRecord | None = None) -> None:
        self._of = of
        self._opened: dict[tuple[str, ...], TrialRecord] = {}

    def open(self, settings: Settings) -> TrialRecord:
        """The record of a trial. Raises Refusal where it cannot be had, but within a sweep."""
        from tlsweep.record import join_record, open_record

        if self._of is not None:
            return self._of
        output_dir, trial = Path(settings.output_dir), settings.trial
        parent = (trial.parent_run or "") if trial else ""
        key = settings.record.model_dump_json(), settings.output_dir, parent
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refusal(unwritable(settings.output_dir, error)) from error
        if key not in self._opened:
            self._opened[key] = (
                open_record(settings.record, output_dir)
                if trial is None
                else join_record(settings.record, output_dir, trial.parent_run)
            )
        return self._opened[key]

    def close(self) -> None:
        """Say what has not been told where the records are. None of them is asked any more."""
        for record in self._opened.values():
            if left := record.close():
                warnings.warn(not_told(left), RuntimeWarning, stacklevel=2)
        self._opened.clear()


def not_told(left: int) -> str:
    """What is said where a record did not take everything."""
    return (
        f"MLflow was not told {left} {'thing' if left == 1 else 'things'}: they wait on disk, and"
        " the next command that records there tells them, or `python -m tlsweep sync`"
    )


def unwritable(output_dir: str, error: OSError) -> Fault:
    """The fault of an output folder that cannot be written."""
    return Fault(
        f"output_dir={output_dir}: {error.strerror or error}",
        "results are written to output_dir",
        "output_dir=DIR with a folder that you may write to",
    )


def _watch(
    settings: Settings,
    trial: Resolved,
    facts: Facts,
    handle: TrialHandle | None,
    run_record: TrialRun,
) -> OnEpoch:
    given = handle.overrides if handle else ()
    shown, name = screen.current(), trial_name(settings.stage, facts, given)
    measure, pace, began = trial.question.task.measure, _pace(settings), time.monotonic()
    key = f"select_{measure.name}"

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        run_record.log_epoch(epoch + 1, metrics)
        if shown is not None:
            value = metrics.get(key)
            text = f"  {name}" + ("" if value is None else f"  {measure.words} {value:.3f}")
            shown.epoch(text, epoch + 1, settings.train.epochs)
        if handle is None:
            return False
        if takes := pace.too_long(time.monotonic() - began, epoch + 1, least):
            handle.give_up(takes, settings.sweep.minutes)
            return True
        if key not in metrics:
            return False
        last = epoch + 1 == settings.train.epochs
        return handle.report(epoch + 1, measure.score(metrics[key])) and not last

    return on_epoch


def _pace(settings: Settings) -> Pace:
    from tlsweep.train.pace import Pace

    room = None if settings.trial is None else settings.trial.room
    return Pace(math.inf if room is None else room)


def _close(
    trial: Resolved,
    trained: Trained,
    handle: TrialHandle | None,
    run_record: TrialRun,
    seconds: float,
) -> TrialResult:
    scores, losses = _scores(trial, trained.logits)
    facts = describe(trial, trained.not_thawed)
    if handle is not None:
        noted = {
            "scores": scores,
            "losses": losses,
            "variance": _variance(trial, trained),
        }
        _keep_answers(trial, trained, handle, noted)
        handle.note({"facts": facts.as_json()})  # what was trained, whatever was to be
    if facts.is_probe:  # it has one state, and no epochs that were told of
        run_record.log_epoch(1, trained.history[-1])
    status: Status = "pruned" if trained.stopped else "finished"
    tags = {"tlsweep.trial.start": trained.start}
    if never := facts.regions.get(NEVER_THAWED):
        tags |= {"tlsweep.trial.never_thawed": never, "tlsweep.trial.state": facts.state}
    run_record.end(status, _summary(trial.question, scores, losses, facts, seconds), tags=tags)
    if handle is not None:
        epochs = 0 if facts.is_probe else len(trained.history)
        ending: dict[str, Any] = {"epochs": epochs, "settled": trained.settled}
        ending |= {"history": list(trained.history)}
        handle.note({"seconds": seconds, "start": trained.start, **ending})
        handle.finish(_value(scores), pruned=trained.stopped)
    return TrialResult(
        scores,
        losses,
        trained.stopped,
        facts,
        trained.history,
        trained.start,
    )


def _keep_answers(
    trial: Resolved, trained: Trained, handle: TrialHandle, noted: Mapping[str, Any]
) -> None:
    """Keep what a trial answered, and its network where that was asked for; note where they are."""
    name = f"{handle.study.study_name}-{handle.trial.number:05d}"
    if trained.logits:
        held_out = trained.logits.get(Split.SELECT)
        answered = Outcome(
            {} if held_out is None or trial.fold is None else {trial.fold: held_out},
            trained.logits.get(Split.REPORT),
        )
        file = keep_outcome(trial.folder, name, answered, trial.question.task)
        handle.note({"outcome": file.name, **noted})
    if trained.network is not None:
        handle.note({"weights": _keep_weights(trial.folder, name, trained.network).name})


def _scores(
    trial: Resolved, logits: Mapping[Split, Logits]
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean example score and mean loss on each split."""
    task, labels = trial.question.task, {s: trial.truth(s) for s in logits}
    return (
        {str(s): float(task.example_scores(z, labels[s]).mean()) for s, z in logits.items()},
        {str(s): float(task.losses(z, labels[s]).mean()) for s, z in logits.items()},
    )


def _variance(trial: Resolved, trained: Trained) -> float:
    """How much held-out examples' scores vary, by which it is judged how sure their mean is."""
    if (z := trained.logits.get(Split.SELECT)) is None:
        return 0.0
    return float(trial.question.task.example_scores(z, trial.truth(Split.SELECT)).var())


def _value(scores: Mapping[str, float]) -> float:
    """What a study compares trials by."""
    return scores.get(Split.SELECT, scores.get(Split.REPORT, 0.0))


def _summary(
    question: Question,
    scores: Mapping[str, float],
    losses: Mapping[str, float],
    facts: Facts,
    seconds: float,
) -> dict[str, float]:
    measure = question.task.measure
    return {
        **{f"{split}_score": measure.value(score) for split, score in scores.items()},
        **{f"{split}_{question.task.loss_name}": loss for split, loss in losses.items()},
        "seconds": seconds,
        "kept_parameters": float(facts.kept_parameters),
        "trained_parameters": float(facts.trained_parameters),
        "flops": float(facts.flops),
    }


def known_result(
    settings: Settings,
    question: Question,
    record: Record,
    parent_run: str | None,
    outcome: Outcome,
    file: str,
) -> tuple[float, dict[str, Any]]:
    """Record a trial that was not run, since a survey has its result.

    outcome: what it answered out of fold; file: where that is kept. Returns the score and what a
    trial that ran would have noted in the study.
    """
    facts = describe(resolve(settings, question))
    scores, losses = _out_of_fold(question, outcome)
    name, tags = trial_name(settings.stage, facts), tags_of(settings, question)
    run_record = record.start_trial(parent_run, name, params_of(settings, facts), tags)
    run_record.end("finished", _summary(question, scores, losses, facts, 0.0))
    noted: dict[str, Any] = {"outcome": file, "scores": scores}
    noted |= {
        "facts": facts.as_json(),
        "run_id": run_record.run_id,
        "losses": losses,
        "seconds": 0.0,
    }
    return _value(scores), noted


def answered_summary(settings: Settings, question: Question, outcome: Outcome) -> dict[str, float]:
    """The final numbers of a trial whose answers out of fold are known, as its run has them."""
    facts = describe(resolve(settings, question))
    return _summary(question, *_out_of_fold(question, outcome), facts, 0.0)


def _out_of_fold(question: Question, outcome: Outcome) -> tuple[dict[str, float], dict[str, float]]:
    """Mean example score and mean loss over all held-out examples of an outcome."""
    import numpy as np

    y, folds = question.target.labels, question.partition.folds
    pairs = [(z, y[folds[k]]) for k, z in outcome.held_out.items()]
    score, loss = (
        float(np.concatenate([measure(*pair) for pair in pairs]).mean())
        for measure in (question.task.example_scores, question.task.losses)
    )
    return {str(Split.SELECT): score}, {str(Split.SELECT): loss}


def _keep_weights(folder: Path, name: str, network: PlanNetwork) -> Path:
    """Write a trained network's tensors beside what trials answered, whole or not at all."""
    from safetensors.torch import save_model

    file = outcomes_folder(folder) / f"{name}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_model(network, str(part))
    part.replace(file)
    return file


def keep_outcome(folder: Path, name: str, outcome: Outcome, task: Task) -> Path:
    """Write what a trial answered into its study's folder; returns the file."""
    file = outcomes_folder(folder) / f"{name}.npz"
    write_outcome(file, outcome, task)
    return file


def outcomes_folder(folder: Path) -> Path:
    """Where a study's trials keep what they answered. folder: the study's."""
    return folder / "outcomes"
