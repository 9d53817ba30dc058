"""The story of one trial: build the plan's network, train it, score it, tell how it ended."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import platform
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep import __version__, screen
from tlsweep.config import GradualSchedule, PhasedSchedule, Settings, TrainSettings, to_yaml
from tlsweep.errors import Fault, Refusal, TrialFailure
from tlsweep.facts import Facts
from tlsweep.first_phase import FirstPhase
from tlsweep.outcome import Logits, Outcome
from tlsweep.outcome import write as write_outcome
from tlsweep.plan import TransferPlan
from tlsweep.probe import fit_probe, fitted_head, is_probe, starts_at_probe
from tlsweep.question import Question, open_question
from tlsweep.start import Starts
from tlsweep.terms import BlockState, Split, Stage

if TYPE_CHECKING:
    from tlsweep.record import Record, TrialRun
    from tlsweep.record.base import Status
    from tlsweep.study.handle import TrialHandle
    from tlsweep.train.network import PlanNetwork
    from tlsweep.train.pace import Pace
    from tlsweep.train.schedule import FreezeSchedule

OnEpoch = Callable[[int, dict[str, float], int], bool]  # epoch, its metrics, least epochs in all


@dataclass(frozen=True)
class Trained:
    """What training one plan gave.

    logits: split to float32 [images, classes]; start: what it was trained on, and why; network: as
    it was trained, where it is to be kept.
    """

    history: tuple[dict[str, float], ...]
    stopped: bool
    logits: dict[Split, Logits]
    start: str = "from pooled features of frozen blocks"
    network: PlanNetwork | None = None
    settled: bool = True


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


def run(settings: Settings) -> TrialResult:
    """Train one plan once.

    Raises Refusal before any training where the config cannot be carried out, TrialFailure where
    training itself breaks down. Whatever happens is told to the study and the record first.
    """
    handle = _handle(settings)
    if handle is not None:
        handle.begin()
    try:
        question, plan, record = _opened(settings)
    except Refusal as refusal:
        if handle is not None:
            handle.fail(str(refusal))
        raise
    facts = describe(question, plan, settings)
    run_record = record.start_trial(
        settings.trial.parent_run if settings.trial else None,
        trial_name(settings.stage, facts),
        _params(settings, facts),
        _tags(settings, question),
    )
    if handle is not None:
        handle.note({"facts": facts.as_json(), "run_id": run_record.run_id})
    began = time.monotonic()
    try:
        trained = _train(settings, question, _watch(settings, question, facts, handle, run_record))
        seconds = time.monotonic() - began
        return _close(settings, question, facts, trained, handle, run_record, seconds)
    except TrialFailure as failure:
        run_record.end("failed", {}, reason=str(failure))
        if handle is not None:
            handle.fail(str(failure), again=False)  # the same numbers would fail the same way
        raise
    except KeyboardInterrupt:
        run_record.end("killed", {}, reason="interrupted")
        raise
    except BaseException as error:
        run_record.end("failed", {}, reason=f"{type(error).__name__}: {error}")
        if handle is not None:
            handle.fail(f"{type(error).__name__}: {error}")
        raise


def _opened(settings: Settings) -> tuple[Question, TransferPlan, Record]:
    question = open_question(settings)
    plan = question.plan(settings.plan)
    check_fold(settings, question)
    if settings.stage == Stage.SINGLE:  # a sweep has checked its own
        check_schedule(settings, plan)
    return question, plan, _open_record(settings)


# ---------------------------------------------------------------------- training
def train_plan(settings: Settings, on_epoch: OnEpoch | None) -> Trained:
    """Train the plan of ``settings`` in this process (or as one of a group) and predict.

    Only a trial of the final stage reads the report split.
    """
    from tlsweep.train.fit import fit, predict
    from tlsweep.train.trainer import rank_of

    question = open_question(settings)
    plan = question.plan(settings.plan)
    splits = scored_splits(settings)
    if is_probe(plan, settings.train):
        metrics, logits = fit_probe(question, plan, settings, splits)
        return Trained((metrics,), False, logits, Trained.start + _ignored(settings))
    schedule = freeze_schedule(settings, plan)
    with closing(Starts(question, plan, settings, schedule)) as starts:
        first_phase = FirstPhase(question, plan, settings)
        network = question.network(plan, settings.train, settings.seed)
        if probed := starts_at_probe(plan, settings.train):
            network.head = fitted_head(question, plan.frozen(), settings)
        fitted = fit(
            network,
            schedule,
            starts,
            settings.train,
            kept=plan.learned,
            seed=settings.seed,
            task=question.task,
            on_epoch=on_epoch,
            checkpoint=_checkpoint(settings),
            # one device of several could find what another one did not find yet
            shelf=first_phase if settings.train.devices == 1 else None,
            evaluate="every" if _evaluates(settings) else "never",
            fitted=probed,
            early=ends_early(plan, settings.train),
        )
        network.merge()
        logits = {}
        if not fitted.stopped and rank_of(settings.train) == 0:
            for split in splits:
                network.entry, data = starts.scored(network.boundary, split)
                logits[split] = predict(network, data, settings.train)
    taken = "first phase as another trial trained it; then " if first_phase.taken else ""
    short = "" if fitted.stopped else _unfinished(schedule, network.thawed, settings)
    why = taken + starts.why + short + _added(question, plan)
    kept = network if settings.keep_weights else None
    return Trained(fitted.history, fitted.stopped, logits, why, kept, fitted.settled)


def _evaluates(settings: Settings) -> bool:
    """Whether what is held out is looked at after every epoch: where that may decide something."""
    if settings.fold is None:
        return False
    schedule = settings.schedule
    plateau = isinstance(schedule, PhasedSchedule) and schedule.until == "plateau"
    return plateau or settings.stage in (Stage.SINGLE, Stage.GRID, Stage.SEARCH)


def scored_splits(settings: Settings) -> list[Split]:
    """What a trial is scored on: what its fold holds out, and in the final stage what is quoted."""
    if settings.train_on == "all":
        return []
    held_out = [] if settings.fold is None else [Split.SELECT]
    return [*held_out, *([Split.REPORT] if settings.stage == Stage.FINAL else [])]


def _ignored(settings: Settings) -> str:
    """What to say of settings that a head at its optimum does not look at."""
    asked = {
        f"schedule={settings.schedule.name}": settings.schedule.name != "constant",
        "train.augment=live": settings.train.augment == "live",
    }
    without = " and ".join(text for text, given in asked.items() if given)
    return (
        f"; {without} without effect: all blocks are frozen, and there are no epochs"
        if without
        else ""
    )


def _unfinished(schedule: FreezeSchedule, thawed: frozenset[int], settings: Settings) -> str:
    """What to say where training ended before its freeze schedule did."""
    if thawed == schedule.thawed[-1]:
        return ""
    phase, left = schedule.thawed.index(thawed) + 1, len(schedule.thawed[-1] - thawed)
    return (
        f"; ended in phase {phase} of {len(schedule.thawed)}, with {left} blocks not thawed yet:"
        f" train.epochs={settings.train.epochs} is too few for the schedule"
    )


def _added(question: Question, plan: TransferPlan) -> str:
    """What to say of the layers of adapted blocks."""
    layers, others = question.adapted_layers(plan)
    if not layers:
        return ""
    return (
        f"; additions to {layers} layers, {others} others (norms, grouped convolutions) stay frozen"
    )


def _train(settings: Settings, question: Question, on_epoch: OnEpoch) -> Trained:
    if settings.train.devices == 1 or is_probe(question.plan(settings.plan), settings.train):
        return train_plan(settings, on_epoch)
    from tlsweep.train.group import run_in_group

    def hear(message: tuple[int, dict[str, float], int]) -> None:
        on_epoch(*message)

    trained = run_in_group(settings.train.devices, _train_as_member, settings, on_message=hear)
    assert isinstance(trained, Trained)
    return trained


def _train_as_member(settings: Settings, tell: Callable[[Any], None]) -> Trained:
    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        tell((epoch, metrics, least))
        return False

    return train_plan(settings, on_epoch)


def freeze_schedule(settings: Settings, plan: TransferPlan) -> FreezeSchedule:
    """The freeze schedule that a config describes, for this plan."""
    from tlsweep.train.schedule import Ending, constant, gradual, two_phase

    schedule = settings.schedule
    if not isinstance(schedule, PhasedSchedule):
        return constant(plan)
    ending = Ending(**schedule.model_dump(exclude={"name", "begin"}))
    if isinstance(schedule, GradualSchedule):
        return gradual(plan, ending, schedule.begin)
    return two_phase(plan, ending)


def ends_early(plan: TransferPlan, train: TrainSettings) -> bool:
    """Whether a training may end before its last epoch.

    By default not where something fresh is trained: it learns from the first step to the last.
    """
    if train.settle != "auto":
        return train.settle
    return plan.trained <= set(plan.learned)


def check_fold(settings: Settings, question: Question) -> None:
    """Raise Refusal for a fold that there is not."""
    count = len(question.partition.folds)
    if settings.fold is not None and not count:
        rule = "all labelled images train, and none is held out"
        raise Refusal(Fault(f"train_on=all fold={settings.fold}", rule, "fold=null"))
    if settings.fold is not None and settings.fold >= count:
        rule = f"the pool has {count} folds" if count > 1 else "the pool has one held-out part"
        mend = f"fold={count - 1} or less, or target.folds={settings.fold + 1}"
        raise Refusal(Fault(f"fold={settings.fold}", f"{rule}, counted from 0", mend))


def check_schedule(settings: Settings, plan: TransferPlan) -> None:
    """Raise Refusal where the first phase of a schedule would take all epochs."""
    schedule, epochs = settings.schedule, settings.train.epochs
    if not isinstance(schedule, PhasedSchedule) or schedule.until != "epochs":
        return  # a phase may settle earlier
    if schedule.epochs >= epochs and len(freeze_schedule(settings, plan).thawed) > 1:
        mend = f"train.epochs={schedule.epochs + 1} or more"
        raise Refusal(
            Fault(
                f"schedule={schedule.name} schedule.epochs={schedule.epochs} train.epochs={epochs}",
                "a phase ends before training does",
                mend if epochs == 1 else f"{mend}, or schedule.epochs={epochs - 1} or less",
            )
        )


def _checkpoint(settings: Settings) -> Path | None:
    # a trial of a study is short and is run again when it is lost; a single one may be long
    if settings.stage != Stage.SINGLE:
        return None
    folder = study_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    # named by what is trained: a run goes on from its own checkpoint and from no other
    asked = {**settings.question(), "fold": settings.fold, "train_on": settings.train_on}
    what = json.dumps(asked, sort_keys=True)
    return folder / f"last-{hashlib.sha256(what.encode()).hexdigest()[:8]}.ckpt"


def study_folder(settings: Settings) -> Path:
    """Where the study's own files are."""
    return Path(settings.output_dir).resolve() / settings.study_name


# ---------------------------------------------------------------------- facts
def describe(question: Question, plan: TransferPlan, settings: Settings) -> Facts:
    """What a trial is and costs."""
    probe, train = is_probe(plan, settings.train), settings.train
    layers, others = question.adapted_layers(plan)
    return Facts(
        name=settings.plan.name,
        plan=plan,
        cuts=question.cuts.names,
        kept_parameters=question.kept_parameters(plan),
        trained_parameters=question.trained_parameters(plan, train, settings.seed),
        flops=question.flops(plan),
        lr=train.lr,
        lr_ratio=train.lr_ratio,
        head=train.head,
        probe_penalty=train.probe_penalty if probe else None,
        augmentation=augmentation(train, probe),
        seed=settings.seed,
        fold=settings.fold,
        adapted_layers=layers,
        frozen_layers=others,
    )


def augmentation(train: TrainSettings, probe: bool) -> str:
    """In words, what views of the fit images a plan is trained on."""
    if train.augment == "none":
        return "none"
    if probe and train.augment == "live":  # it has no epochs
        return "none: a head on frozen blocks is fitted to the images as they are"
    crops = f"crops of {train.crop:.0%} of the area or more" if train.crop < 1 else "no crops"
    how = f"({crops}, {'half of them mirrored' if train.flip else 'not mirrored'})"
    if train.augment == "live":
        return f"a new view of each image in every epoch {how}"
    return f"{train.views} stored views of each image, {'all' if probe else 'one an epoch'} {how}"


def trial_name(stage: str, facts: Facts) -> str:
    """A name that tells runs apart: ``block3 truncate_tuned lr 0.003 x 0.1 fold 1 confirm``."""
    plan, words = facts.plan, [facts.keep_name, facts.name]
    words += [f"{state} {blocks}" for state, blocks in facts.regions.items()]
    if facts.adapted_layers:
        words.append(f"rank {plan.rank}")
    if plan.is_monotone and 0 < plan.freeze < plan.keep:
        words.append(f"frozen to {facts.freeze_name}")
    if plan.keep < plan.regrow < plan.n_blocks:
        words.append(f"new to {facts.regrow_name}")
    if facts.probe_penalty is not None:
        words.append(f"penalty {facts.probe_penalty:.3g}")
    else:
        ratio = f" x {facts.lr_ratio:.2g}" if facts.state == BlockState.TUNED else ""
        words.append(f"lr {facts.lr:.3g}{ratio}")
    if facts.fold is not None and stage != Stage.SURVEY:
        words.append(f"fold {facts.fold}")
    return " ".join([*words, f"seed {facts.seed}", stage])


def _params(settings: Settings, facts: Facts) -> dict[str, str | int | float | bool]:
    train, plan = settings.train, facts.plan
    adapted = {"rank": plan.rank, "scale": plan.scale, "adapted_layers": facts.adapted_layers,
               "frozen_layers": facts.frozen_layers}  # fmt: skip
    return {
        **({} if facts.probe_penalty is None else {"probe_penalty": facts.probe_penalty}),
        "source": settings.source.label,
        "target": settings.target.label,
        "plan": facts.name,
        "keep": facts.keep_name,
        "keep_index": plan.keep,
        "freeze_index": plan.freeze,
        "regrow_index": plan.regrow,
        **facts.regions,
        **(adapted if facts.adapted_layers else {}),
        "kept_fraction": round(plan.kept_fraction, 4),
        "state": facts.state,
        "schedule": settings.schedule.name,
        "lr": train.lr,
        "lr_ratio": train.lr_ratio,
        "epochs": train.epochs,
        "batch_size": train.batch_size,
        "augment": train.augment,
        "seed": settings.seed,
        "fold": "none" if settings.fold is None else settings.fold,
        "stage": settings.stage,
    }


def _tags(settings: Settings, question: Question) -> dict[str, str]:
    return {
        "tlsweep.study": settings.study_name,
        "tlsweep.source_fingerprint": question.source.fingerprint,
        "tlsweep.target_fingerprint": question.target.fingerprint,
        "tlsweep.config": to_yaml(settings),
        **versions(),
    }


def versions() -> dict[str, str]:
    """What numbers depend on beside the settings: tlsweep and libraries, machine, threads."""
    from importlib.metadata import version

    import torch

    return {
        "tlsweep.version": __version__,
        "tlsweep.commit": _commit(),
        "tlsweep.torch": version("torch"),
        "tlsweep.torchvision": version("torchvision"),
        "tlsweep.lightning": version("pytorch-lightning"),
        "tlsweep.python": platform.python_version(),
        "tlsweep.platform": platform.platform(),
        "tlsweep.threads": str(torch.get_num_threads()),
    }


def run_unrecorded(settings: Settings) -> dict[tuple[str, int], float]:
    """Train one plan and tell nobody: every number of it, by name and epoch (0: at its end)."""
    question = open_question(settings)
    facts, found = describe(question, question.plan(settings.plan), settings), {}

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        found.update({(name, epoch + 1): value for name, value in metrics.items()})
        return False

    trained = _train(settings, question, on_epoch)
    if facts.is_probe:
        on_epoch(0, trained.history[-1], 0)
    scores, losses = _scores(question, settings.fold, trained.logits)
    summary = _summary(question, scores, losses, facts, 0.0)
    return {**found, **{(name, 0): value for name, value in summary.items()}}


@functools.cache
def _commit() -> str:
    """The commit of the code, where it runs from a git checkout."""
    checkout = Path(__file__).parents[1]
    git = ("git", "-C", str(checkout), "rev-parse", "HEAD")
    if not (checkout / ".git").exists():
        return "not a checkout"  # installed: a repository around it is somebody else's
    try:
        return subprocess.run(git, capture_output=True, text=True, timeout=5, check=True).stdout[
            :40
        ]
    except (OSError, subprocess.SubprocessError):
        return "not a checkout"


# ---------------------------------------------------------------------- telling
def _handle(settings: Settings) -> TrialHandle | None:
    if settings.trial is None:
        return None
    from tlsweep.study.handle import TrialHandle

    return TrialHandle(settings.trial.storage, settings.trial.study, settings.trial.number)


def _open_record(settings: Settings) -> Record:
    from tlsweep.record import NoRecord, open_record

    output_dir = Path(settings.output_dir).resolve()
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        return open_record(settings.record, output_dir)
    except OSError as error:
        raise Refusal(unwritable(settings.output_dir, error)) from error
    except Refusal as refusal:
        if settings.trial is None:
            raise
        # the record was there when the sweep began: its trials do not die with a server
        warnings.warn(f"this trial is not recorded: {refusal}", RuntimeWarning, stacklevel=2)
        return NoRecord()


def unwritable(output_dir: str, error: OSError) -> Fault:
    """The fault of an output folder that cannot be written."""
    return Fault(
        f"output_dir={output_dir}: {error.strerror or error}",
        "results are written to output_dir",
        "output_dir=DIR with a folder that you may write to",
    )


def _watch(
    settings: Settings,
    question: Question,
    facts: Facts,
    handle: TrialHandle | None,
    run_record: TrialRun,
) -> OnEpoch:
    shown, name = screen.current(), trial_name(settings.stage, facts)
    measure, pace, began = question.task.measure, _pace(settings), time.monotonic()
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
    settings: Settings,
    question: Question,
    facts: Facts,
    trained: Trained,
    handle: TrialHandle | None,
    run_record: TrialRun,
    seconds: float,
) -> TrialResult:
    scores, losses = _scores(question, settings.fold, trained.logits)
    if handle is not None:
        noted = {
            "scores": scores,
            "losses": losses,
            "variance": _variance(settings, question, trained),
        }
        _keep_answers(settings, trained, handle, noted)
    if facts.is_probe:  # it has one state, and no epochs that were told of
        run_record.log_epoch(1, trained.history[-1])
    status: Status = "pruned" if trained.stopped else "finished"
    tags = {"tlsweep.start": trained.start}
    run_record.end(status, _summary(question, scores, losses, facts, seconds), tags=tags)
    if handle is not None:
        epochs = 0 if facts.is_probe else len(trained.history)
        ending = {"epochs": epochs, "settled": trained.settled}
        handle.note({"seconds": seconds, "start": trained.start, **ending})
        handle.note({"history": list(trained.history)})
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
    settings: Settings, trained: Trained, handle: TrialHandle, noted: Mapping[str, Any]
) -> None:
    """Keep what a trial answered, and its network where that was asked for; note where they are."""
    name = f"{handle.study.study_name}-{handle.trial.number:05d}"
    if trained.logits:
        held_out = trained.logits.get(Split.SELECT)
        answered = Outcome(
            {} if held_out is None or settings.fold is None else {settings.fold: held_out},
            trained.logits.get(Split.REPORT),
        )
        handle.note({"outcome": keep_outcome(settings, name, answered).name, **noted})
    if trained.network is not None:
        handle.note({"weights": _keep_weights(settings, name, trained.network).name})


def _scores(
    question: Question, fold: int | None, logits: Mapping[Split, Logits]
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean example score and mean loss on each split."""
    task = question.task
    labels = {s: question.target.labels[question.partition.rows(s, fold)] for s in logits}
    return (
        {str(s): float(task.example_scores(z, labels[s]).mean()) for s, z in logits.items()},
        {str(s): float(task.losses(z, labels[s]).mean()) for s, z in logits.items()},
    )


def _variance(settings: Settings, question: Question, trained: Trained) -> float:
    """How much held-out examples' scores vary, by which it is judged how sure their mean is."""
    if (z := trained.logits.get(Split.SELECT)) is None:
        return 0.0
    y = question.target.labels[question.partition.rows(Split.SELECT, settings.fold)]
    return float(question.task.example_scores(z, y).var())


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
        **{f"{split}_log_loss": loss for split, loss in losses.items()},
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
    facts = describe(question, question.plan(settings.plan), settings)
    scores, losses = _out_of_fold(question, outcome)
    name, tags = trial_name(settings.stage, facts), _tags(settings, question)
    run_record = record.start_trial(parent_run, name, _params(settings, facts), tags)
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
    facts = describe(question, question.plan(settings.plan), settings)
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


def _keep_weights(settings: Settings, name: str, network: PlanNetwork) -> Path:
    """Write a trained network's tensors beside what trials answered, whole or not at all."""
    from safetensors.torch import save_model

    file = outcomes_folder(settings) / f"{name}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_model(network, str(part))
    part.replace(file)
    return file


def keep_outcome(settings: Settings, name: str, outcome: Outcome) -> Path:
    """Write what a trial answered into the study's folder; returns the file."""
    file = outcomes_folder(settings) / f"{name}.npz"
    write_outcome(file, outcome)
    return file


def outcomes_folder(settings: Settings) -> Path:
    """Where a study's trials keep what they answered."""
    return study_folder(settings) / "outcomes"
