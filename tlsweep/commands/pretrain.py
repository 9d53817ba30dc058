"""``python -m tlsweep pretrain``: a source's architecture, trained from nothing on any target."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep import screen
from tlsweep.config.read import read, to_yaml
from tlsweep.config.sections import PlanSettings
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.files import cache_folder, make_folder, write_whole
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config
from tlsweep.source import refuse_weights
from tlsweep.terms import Split, Stage

if TYPE_CHECKING:
    from tlsweep.train.network import PlanNetwork
    from tlsweep.trial import Resolved

_READ = ("source", "target", "task", "train", "features", "seed")
_FROM_NOTHING = {"name": "scratch", "freeze": "none", "keep": "none", "regrow": "all",
                 "weights": "source", "tune": None, "adapt": None, "drop": None}  # fmt: skip


def run(arguments: Sequence[str], conf: Path) -> None:
    """Train the source that ``arguments`` choose on their target, and keep its weights.

    All blocks are trained from random weights, on the whole pool, for ``train.epochs``; the report
    split says how good the network is. The weights, below the classifier, go to the cache, as
    safetensors under the architecture's own names, with a record beside them; asked again, the same
    is not trained again. Raises Refusal for what is unknown or cannot be trained.
    """
    refuse_others(parted(arguments), "pretrain", _READ)
    settings = _settings(read(compose_config(arguments, conf)))
    with screen.shown() as shown:
        trial = _trial(settings, shown)
        file = _file(settings, trial)
        if not file.exists():
            _keep(file, settings, trial, *_trained(settings, trial, shown))
    record = json.loads(file.with_suffix(".json").read_text())
    given = [a for a in arguments if a.lstrip("+").startswith("source")]
    screen.console.print(_told(file, record, given), soft_wrap=True)


def _settings(given: Settings) -> Settings:
    """Of one training from nothing on the whole pool."""
    if given.train.devices > 1:
        rule = "a source is trained on one device"
        raise Refusal(Fault(f"train.devices={given.train.devices}", rule, "leave it out"))
    if "checkpoint" not in type(given.source).model_fields:
        value, rule = f"source={given.source.name}", "what is trained here is kept as a checkpoint"
        rule += ", and that source takes none"
        mend = "source=torchvision, timm, transformers or module"
        raise Refusal(Fault(value, rule, mend))
    refuse_weights(given.source.model_dump())
    plan = PlanSettings.model_validate({**given.plan.model_dump(), **_FROM_NOTHING})
    own = {"plan": plan, "fold": None, "stage": Stage.FINAL, "keep_weights": True, "trial": None}
    return given.model_copy(update=own)


def _trial(settings: Settings, shown: screen.Screen) -> Resolved:
    from tlsweep.question import check_device, check_train, open_question
    from tlsweep.trial import resolve

    check_device(settings.train)
    opening = settings.opening.model_copy(update={"untrained": True})
    question = open_question(opening, settings.plan, shown.step)
    check_train(settings.train, question)
    shown.clear()
    for said in question.said():
        shown.say(said)
    return resolve(settings, question)


def _file(settings: Settings, trial: Resolved) -> Path:
    """Where the weights are kept: named by all that they follow from."""
    import hashlib

    prints = trial.question.source.fingerprint, trial.question.target.fingerprint
    digest = hashlib.sha256(" ".join((trial.digest, *prints)).encode()).hexdigest()[:8]
    name = f"{settings.source.title}_on_{settings.target.title}_{digest}.safetensors"
    return make_folder(cache_folder() / "pretrained") / name


def _trained(
    settings: Settings, trial: Resolved, shown: screen.Screen
) -> tuple[PlanNetwork, float, float]:
    """The network, its mean example score on the report split, and the seconds that it took."""
    from tlsweep.trial.train import train_plan

    text = f"{settings.source.title} on {settings.target.title}"

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        shown.epoch(text, epoch + 1, settings.train.epochs)
        return False

    began = time.monotonic()
    trained = train_plan(trial, on_epoch)
    shown.clear()
    assert trained.network is not None  # it was to be kept
    task, truth = trial.question.task, trial.truth(Split.REPORT)
    score = float(task.example_scores(trained.logits[Split.REPORT], truth).mean())
    return trained.network, score, time.monotonic() - began


def _keep(
    file: Path, settings: Settings, trial: Resolved, network: PlanNetwork, score: float, took: float
) -> None:
    from safetensors.torch import save

    from tlsweep.trial import versions

    weights = {
        name: value.contiguous().clone()
        for block in network.blocks
        for name, value in block.state_dict().items()
    }
    question, measure = trial.question, trial.question.task.measure
    record: dict[str, Any] = {
        "source": settings.source.title,
        "target": question.target.name,
        "target_fingerprint": question.target.fingerprint,
        "metric": measure.words,
        "score": measure.unit.written(measure.value(score)),
        "report_examples": len(question.partition.report),
        "trained_on_examples": len(question.partition.pool),
        "epochs": settings.train.epochs,
        "seconds": round(took, 1),
        "seed": settings.seed,
        "versions": versions(),
        "config": to_yaml(settings),
    }
    # the record first: weights are there only with it
    write_whole(file.with_suffix(".json"), json.dumps(record, indent=1).encode())
    write_whole(file, save(weights))


def _told(file: Path, record: dict[str, Any], source: Sequence[str]) -> str:
    line = " ".join(map(shlex.quote, [*source, f"source.checkpoint={file}"]))
    return (
        f"{record['source']}, trained on {record['trained_on_examples']} of {record['target']} in"
        f" {record['seconds']:g} s: {record['metric']} {record['score']} of"
        f" {record['report_examples']} that it has not seen\n"
        f"  {file}\n"
        f"How much of it to keep:\n  python -m tlsweep -m {line} target=..."
    )
