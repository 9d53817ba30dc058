"""What a whole sweep did not have to train: by racing, by pruning, and by ending in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from table import Table

from tlsweep.stages.contenders import facts_of

EPOCHS = 30  # that a training may take by default
STAGES = ("first", "search", "confirm", "final")
COLUMNS = (
    "data, split seed", "trainings", "pruned in the search", "replicates that racing left out",
    "epochs of those allowed, %", "of plans that may end early, %",
)  # fmt: skip


def saved(outputs: Mapping[str, Path]) -> Table:
    """outputs: the output folder of each whole sweep, by the name of its row."""
    rows = [_row(name, folder) for name, folder in outputs.items()]
    notes = [
        "Trainings: of first, searched, confirmed and final plans, pruned ones among them."
        " Replicates left out: of all plans that were confirmed on some fold; those that the"
        " minutes did not hold are among them.",
        f"Epochs: of {EPOCHS} for each training that was not pruned; then without plans that train"
        " something fresh, which take all of them.",
    ]
    return Table("Whole sweeps: what was not trained", COLUMNS, rows, notes)


def _row(name: str, folder: Path) -> list[str]:
    trials = {stage: _trials(folder, stage) for stage in STAGES}
    ended = [t for ts in trials.values() for t in ts if t.state == TrialState.COMPLETE]
    pruned = [t for t in trials["search"] if t.state == TrialState.PRUNED]
    plans = {_plan(t) for t in trials["confirm"]}
    folds = {facts_of(t).fold for t in trials["confirm"]}
    left_out = len(plans) * len(folds) - len(trials["confirm"])
    trained = [t for t in ended if t.user_attrs.get("epochs")]
    may_end = [t for t in trained if not facts_of(t).is_regrown]
    return [
        name,
        str(sum(map(len, trials.values()))),
        f"{len(pruned)} of {len(trials['search'])}",
        f"{left_out} of {len(plans) * len(folds)}",
        *(_share(some) for some in (trained, may_end)),
    ]


def _share(trials: Sequence[FrozenTrial]) -> str:
    if not trials:
        return "-"
    taken = sum(t.user_attrs["epochs"] for t in trials)
    return f"{100 * taken / (EPOCHS * len(trials)):.0f}"


def _plan(trial: FrozenTrial) -> str:
    return " ".join(o for o in trial.user_attrs["overrides"] if not o.startswith(("fold", "seed")))


def _trials(folder: Path, stage: str) -> list[FrozenTrial]:
    """Those of one stage that ended in time or were pruned."""
    storage = f"sqlite:///{folder / 'optuna.db'}"
    name = next(n for n in optuna.study.get_all_study_names(storage) if n.endswith(".first"))
    study = name.removesuffix(".first") + ("" if stage == "search" else f".{stage}")
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return optuna.load_study(study_name=study, storage=storage).get_trials(states=states)
