"""One trial: a plan trained once, scored and told of."""

from tlsweep.trial.describe import augmentation, describe, settings_of, trial_name, versions
from tlsweep.trial.resolved import Resolved, question_of, resolve, study_folder
from tlsweep.trial.run import (
    TrialResult,
    answered_summary,
    checked,
    keep_outcome,
    known_result,
    outcomes_folder,
    run,
    run_unrecorded,
    unwritable,
)
from tlsweep.trial.train import (
    Trained,
    check_batch,
    check_fold,
    check_schedule,
    ends_early,
    train_plan,
)

__all__ = [
    "Resolved",
    "Trained",
    "TrialResult",
    "answered_summary",
    "augmentation",
    "check_batch",
    "check_fold",
    "check_schedule",
    "checked",
    "describe",
    "ends_early",
    "keep_outcome",
    "known_result",
    "outcomes_folder",
    "question_of",
    "resolve",
    "run",
    "run_unrecorded",
    "settings_of",
    "study_folder",
    "train_plan",
    "trial_name",
    "unwritable",
    "versions",
]
