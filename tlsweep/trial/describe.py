"""What a trial is called, and what its record tells of it."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tlsweep.config.read import to_yaml
from tlsweep.config.settings import Settings
from tlsweep.facts import Facts
from tlsweep.question import Question
from tlsweep.terms import VERSION, BlockState, Stage
from tlsweep.train.settings import TrainSettings
from tlsweep.trial.probe import is_probe
from tlsweep.trial.resolved import Resolved


def describe(trial: Resolved, not_thawed: Collection[int] = ()) -> Facts:
    """What a trial is and costs.

    not_thawed: the blocks of a later phase that never came: the trial is what it trained.
    """
    question, train = trial.question, trial.train
    plan = trial.plan.with_blocks(not_thawed, BlockState.FROZEN)
    probe = is_probe(plan, train)
    layers, others = question.adapted_layers(plan)
    return Facts(
        name=trial.name,
        plan=plan,
        cuts=question.cuts.names,
        source=question.source.name,
        kept_parameters=question.kept_parameters(plan),
        trained_parameters=question.trained_parameters(plan, train, trial.seed),
        flops=question.flops(plan),
        lr=train.lr,
        lr_ratio=train.lr_ratio,
        head=train.head,
        probe_penalty=train.probe_penalty if probe else None,
        augmentation=augmentation(train, probe),
        seed=trial.seed,
        fold=trial.fold,
        adapted_layers=layers,
        frozen_layers=others,
        not_thawed=tuple(sorted(not_thawed)),
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


_IN_NAME = (
    "plan=", "plan.", "train.lr=", "train.lr_ratio=", "train.probe_penalty=", "fold=", "seed=",
    "stage=", "train_on=", "keep_weights=",
)  # fmt: skip


def trial_name(stage: str, facts: Facts, overrides: Sequence[str] = ()) -> str:
    """A name that tells runs apart: ``block3 truncate_tuned lr 0.003 x 0.1 fold 1 confirm``.

    overrides: of the trial; those that the other words do not tell stand in the name as written.
    """
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
    words += [o for o in overrides if not o.lstrip("+").startswith(_IN_NAME)]
    if facts.fold is not None and stage != Stage.SURVEY:
        words.append(f"fold {facts.fold}")
    return " ".join([*words, f"seed {facts.seed}", stage])


def params_of(settings: Settings, facts: Facts) -> dict[str, str | int | float | bool]:
    """What the record of a trial shows as its parameters: the plan, and every setting.

    Settings by the names that a command line has for them.
    """
    plan = facts.plan
    adapted = {"rank": plan.rank, "scale": plan.scale, "adapted_layers": facts.adapted_layers,
               "frozen_layers": facts.frozen_layers}  # fmt: skip
    return {
        **({} if facts.probe_penalty is None else {"probe_penalty": facts.probe_penalty}),
        "source": settings.source.title,
        "target": settings.target.title,
        "plan": facts.name,
        "keep": facts.keep_name,
        "keep_index": plan.keep,
        "freeze_index": plan.freeze,
        "regrow_index": plan.regrow,
        **facts.regions,
        **(adapted if facts.adapted_layers else {}),
        "kept_fraction": round(plan.kept_fraction, 4),
        "state": facts.state,
        **settings_of(settings),
        "fold": "null" if settings.fold is None else settings.fold,
        "stage": settings.stage,
    }


def settings_of(settings: Settings) -> dict[str, str]:
    """Every setting of the question, and how it is trained, as a command line writes them."""
    return {key: _written(value) for key, value in settings.asked().items()}


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return str(value)


def tags_of(settings: Settings, question: Question) -> dict[str, str]:
    """What the record of a trial shows as its tags: all that is needed to run it again."""
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
        "tlsweep.version": VERSION,
        "tlsweep.commit": _commit(),
        "tlsweep.torch": version("torch"),
        "tlsweep.torchvision": version("torchvision"),
        "tlsweep.lightning": version("pytorch-lightning"),
        "tlsweep.python": platform.python_version(),
        "tlsweep.platform": platform.platform(),
        "tlsweep.threads": str(torch.get_num_threads()),
    }


@functools.cache
def _commit() -> str:
    """The commit of the code, where it runs from a git checkout."""
    checkout = Path(__file__).parents[2]
    git = ("git", "-C", str(checkout), "rev-parse", "HEAD")
    if not (checkout / ".git").exists():
        return "not a checkout"  # installed: a repository around it is somebody else's
    try:
        return subprocess.run(git, capture_output=True, text=True, timeout=5, check=True).stdout[
            :40
        ]
    except (OSError, subprocess.SubprocessError):
        return "not a checkout"
