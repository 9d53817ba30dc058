"""One plan, trained once, and what it answers: in this process, or as one of a group."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlsweep.config.settings import Settings
from tlsweep.engine.group import Tell, run_in_group
from tlsweep.errors import Fault, Refusal, is_out_of_memory
from tlsweep.plan import TransferPlan, as_written
from tlsweep.question import Question
from tlsweep.schedule.settings import PhasedSettings
from tlsweep.task.outcome import Logits
from tlsweep.terms import Split, Stage
from tlsweep.train.settings import TrainSettings
from tlsweep.trial.first_phase import FirstPhase
from tlsweep.trial.probe import fit_probe, fitted_head, is_probe, starts_at_probe
from tlsweep.trial.resolved import Resolved, resolve
from tlsweep.trial.start import Starts

if TYPE_CHECKING:
    from tlsweep.train.network import PlanNetwork

OnEpoch = Callable[[int, dict[str, float], int], bool]  # epoch, its metrics, least epochs in all


EVERY = 30.0  # seconds from one checkpoint of a sweep's trial to the next: short ones write none


@dataclass(frozen=True)
class Trained:
    """What training one plan gave.

    logits: split to float32 [images, classes]; start: what it was trained on, and why; network: as
    it was trained, where it is to be kept; not_thawed: the blocks that a later phase of its
    schedule would have thawed.
    """

    history: tuple[dict[str, float], ...]
    stopped: bool
    logits: dict[Split, Logits]
    start: str = "from pooled features of frozen blocks"
    network: PlanNetwork | None = None
    settled: bool = True
    not_thawed: frozenset[int] = frozenset()


def train_plan(trial: Resolved, on_epoch: OnEpoch | None) -> Trained:
    """Train a plan in this process (or as one of a group) and predict.

    Only a trial of the final stage reads the report split.
    """
    from tlsweep.train.fit import fit

    question, plan, train, splits = trial.question, trial.plan, trial.train, scored_splits(trial)
    if is_probe(plan, train):
        metrics, logits = fit_probe(trial, splits)
        return Trained((metrics,), False, logits, Trained.start + _ignored(trial))
    schedule = trial.freezing
    with closing(Starts(trial, schedule)) as starts:
        first_phase = FirstPhase(trial)
        network = question.network(plan, train, trial.seed)
        if probed := starts_at_probe(plan, train):
            network.head = fitted_head(trial, plan.frozen())
        checkpoint = _checkpoint(trial)
        fitted = fit(
            network,
            schedule,
            starts,
            train,
            kept=plan.learned,
            seed=trial.seed,
            task=trial.task,
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            every=EVERY if trial.in_sweep else None,
            shelf=first_phase if first_phase.may_be_shared else None,
            evaluate="every" if _evaluates(trial) else "never",
            fitted=probed,
            early=ends_early(plan, train),
        )
        if trial.in_sweep and checkpoint is not None:
            checkpoint.unlink(missing_ok=True)  # nobody takes this trial up any more
        network.merge()
        logits = _predicted(trial, network, starts) if not fitted.stopped else {}
    taken = "first phase as another trial trained it; then " if first_phase.taken else ""
    not_thawed = schedule.thawed[-1] - network.thawed
    short = _unfinished(trial, network.thawed, fitted.stopped) if not_thawed else ""
    why = taken + starts.why + short + trial.freezing.said + _added(question, plan)
    kept = network if trial.keep_weights else None
    return Trained(fitted.history, fitted.stopped, logits, why, kept, fitted.settled, not_thawed)


def _predicted(trial: Resolved, network: PlanNetwork, starts: Starts) -> dict[Split, Logits]:
    """What a trained network answers of each split that is scored; nothing on other devices."""
    from tlsweep.train.fit import predict
    from tlsweep.train.trainer import rank_of

    logits: dict[Split, Logits] = {}
    for split in scored_splits(trial) if rank_of(trial.train) == 0 else []:
        network.entry, data = starts.scored(network.boundary, split)
        logits[split] = predict(network, data, trial.train)
    return logits


def train(settings: Settings, trial: Resolved, on_epoch: OnEpoch) -> Trained:
    """Train a plan on its devices. settings: of the trial, for processes that open it again.

    A batch that memory does not hold is halved where ``train.out_of_memory`` is ``halve``, until it
    holds it: the steps are the same, their gradients are added up from parts.
    """
    heard = 0  # epochs that were told of before memory ran out are not told again

    def hear(epoch: int, metrics: dict[str, float], least: int) -> bool:
        nonlocal heard
        if epoch < heard:
            return False
        heard = epoch + 1
        return on_epoch(epoch, metrics, least)

    asked = trial.train
    while True:
        try:
            trained = _train(settings, trial, hear)
            return replace(trained, start=trained.start + _parts(asked, trial.train))
        except Exception as error:
            halved = asked.out_of_memory == "halve" and trial.train.halved()
            if not halved or not is_out_of_memory(error):
                raise
        _let_go()  # only here: what was raised held the tensors of the step that failed
        settings = settings.model_copy(update={"train": halved})
        trial = resolve(settings, trial.question)


def _let_go() -> None:
    """Give memory that nothing needs any more back to the device."""
    import torch

    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def _train(settings: Settings, trial: Resolved, on_epoch: OnEpoch) -> Trained:
    if trial.train.devices == 1 or is_probe(trial.plan, trial.train):
        return train_plan(trial, on_epoch)

    def hear(message: tuple[int, dict[str, float], int]) -> bool:
        return on_epoch(*message)

    trained = run_in_group(trial.train.devices, train_as_member, settings, on_message=hear)
    assert isinstance(trained, Trained)
    return trained


def train_as_member(settings: Settings, tell: Tell) -> Trained:
    """Train a plan as one of a group of processes.

    tell: how the group's starter is asked, by rank 0 after each epoch, whether to stop.
    """

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        return bool(tell.ask((epoch, metrics, least)))

    return train_plan(resolve(settings), on_epoch)


def _evaluates(trial: Resolved) -> bool:
    """Whether what is held out is looked at after every epoch: where that may decide something."""
    if trial.fold is None:
        return False
    schedule = trial.schedule
    plateau = isinstance(schedule, PhasedSettings) and schedule.until == "plateau"
    return plateau or trial.stage in (Stage.SINGLE, Stage.GRID, Stage.SEARCH)


def scored_splits(trial: Resolved) -> list[Split]:
    """What a trial is scored on: what its fold holds out, and in the final stage what is quoted."""
    if trial.train_on == "all":
        return []
    held_out = [] if trial.fold is None else [Split.SELECT]
    return [*held_out, *([Split.REPORT] if trial.stage == Stage.FINAL else [])]


def _checkpoint(trial: Resolved) -> Path | None:
    if trial.in_sweep:
        return checkpoints_folder(trial.folder) / f"{trial.digest[:24]}.ckpt"
    if trial.stage != Stage.SINGLE:
        return None
    trial.folder.mkdir(parents=True, exist_ok=True)
    # named by what is trained: a run goes on from its own checkpoint and from no other
    return trial.folder / f"last-{trial.digest[:8]}.ckpt"


def checkpoints_folder(folder: Path) -> Path:
    """Where trials that are under way keep their state. folder: the study's."""
    return folder / "checkpoints"


# ---------------------------------------------------------------------- words
def _ignored(trial: Resolved) -> str:
    """What to say of settings that a head at its optimum does not look at."""
    asked = {
        f"schedule={trial.schedule.name}": trial.schedule.name != "constant",
        "train.augment=live": trial.train.augment == "live",
        f"train.dropout={trial.train.dropout:g}": trial.train.dropout > 0,
    }
    without = " and ".join(text for text, given in asked.items() if given)
    return (
        f"; {without} without effect: all blocks are frozen, and there are no epochs"
        if without
        else ""
    )


def _unfinished(trial: Resolved, thawed: frozenset[int], stopped: bool) -> str:
    """What to say where training ended before its freeze schedule did."""
    phases = trial.freezing.thawed
    never = as_written(phases[-1] - thawed, trial.question.cuts.names[1:])
    why = "it was stopped early" if stopped else f"train.epochs={trial.train.epochs} was too few"
    return (
        f"; ended in phase {phases.index(thawed) + 1} of {len(phases)}: {never} never thawed and"
        f" stayed frozen ({why})"
    )


def _parts(asked: TrainSettings, train: TrainSettings) -> str:
    """What to say of a batch that was taken in more parts than were asked for."""
    if train.accumulate == asked.accumulate:
        return ""
    return (
        f"; memory did not hold {asked.passed} examples at a time: a batch of {train.batch_size}"
        f" was taken in parts of {train.passed}"
    )


def _added(question: Question, plan: TransferPlan) -> str:
    """What to say of the layers of adapted blocks."""
    layers, others = question.adapted_layers(plan)
    if not layers:
        return ""
    return (
        f"; additions to {layers} layers, {others} others (norms, grouped convolutions) stay frozen"
    )


# ---------------------------------------------------------------------- rules
def ends_early(plan: TransferPlan, train: TrainSettings) -> bool:
    """Whether a training may end before its last epoch.

    By default not where something fresh is trained: it learns from the first step to the last.
    """
    if train.settle != "auto":
        return train.settle
    return plan.trained <= set(plan.learned)


def check_fold(trial: Resolved) -> None:
    """Raise Refusal for a fold that there is not."""
    fold, count = trial.fold, len(trial.question.partition.folds)
    if fold is not None and not count:
        rule = "all labelled images train, and none is held out"
        raise Refusal(Fault(f"train_on=all fold={fold}", rule, "fold=null"))
    if fold is not None and fold >= count:
        rule = f"the pool has {count} folds" if count > 1 else "the pool has one held-out part"
        mend = f"fold={count - 1} or less, or target.folds={fold + 1}"
        raise Refusal(Fault(f"fold={fold}", f"{rule}, counted from 0", mend))


def check_batch(trial: Resolved) -> None:
    """Raise Refusal where BatchNorm would be trained on one number a channel.

    That is so of one image a batch, on maps of one pixel.
    """
    train = trial.train
    if train.passed > 1 or is_probe(trial.plan, train):
        return
    import torch

    network = trial.question.network(trial.plan, train, trial.seed)
    network.steady = frozenset(trial.plan.learned if train.batch_norm == "source" else ())
    network.thaw(trial.plan.trained)
    z, side, _ = trial.question.examples(Split.FIT, trial.fold).batch([0])
    try:
        with torch.no_grad():
            network.train()(z, side)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        rule = "BatchNorm is trained on several numbers a channel: two images a batch, or more"
        mend = f"train.batch_size={2 * train.devices * train.accumulate} or more"
        parts = "" if train.accumulate == 1 else f" train.accumulate={train.accumulate}"
        raise Refusal(Fault(f"train.batch_size={train.batch_size}{parts}", rule, mend)) from error


def check_resume(trial: Resolved) -> None:
    """Raise Refusal where a training is to go on, and there is nothing that it could go on from."""
    if not trial.train.resume:
        return
    if is_probe(trial.plan, trial.train):
        rule = "a training goes on from its last epoch; a head on frozen blocks has no epochs"
        raise Refusal(Fault("train.resume=true", rule, "leave it out"))
    file = _checkpoint(trial)
    if file is not None and not file.exists():
        rule = "a training goes on from the checkpoint of the same plan, data and settings"
        mend = "leave it out: training begins anew, and keeps a checkpoint after every epoch"
        raise Refusal(Fault(f"train.resume=true, and there is no {file}", rule, mend))


def check_schedule(trial: Resolved) -> None:
    """Raise Refusal where the first phase of a schedule would take all epochs."""
    schedule, epochs = trial.schedule, trial.train.epochs
    if not isinstance(schedule, PhasedSettings) or schedule.until != "epochs":
        return  # a phase may settle earlier
    if schedule.epochs >= epochs and len(trial.freezing.thawed) > 1:
        mend = f"train.epochs={schedule.epochs + 1} or more"
        raise Refusal(
            Fault(
                f"schedule={trial.schedule.name} schedule.epochs={schedule.epochs}"
                f" train.epochs={epochs}",
                "a phase ends before training does",
                mend if epochs == 1 else f"{mend}, or schedule.epochs={epochs - 1} or less",
            )
        )
