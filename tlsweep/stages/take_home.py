"""The network that a user takes home: the recommended plan, trained on all labels that chose it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import TlsweepError
from tlsweep.plan import TransferPlan
from tlsweep.record import ToLog
from tlsweep.stages import final
from tlsweep.stages.contenders import Contender, facts_of
from tlsweep.stages.first_trials import inherited
from tlsweep.stages.session import Session
from tlsweep.study.ledger import Item, Ledger
from tlsweep.terms import Split, Stage
from tlsweep.trial import Resolved, outcomes_folder, resolve
from tlsweep.trial.probe import fitted_head

if TYPE_CHECKING:
    from tlsweep.train.network import PlanNetwork


def network_of(
    s: Session, contender: Contender, confirmed: Ledger, finals: Ledger, *, scored: bool = False
) -> tuple[PlanNetwork, Resolved]:
    """The network to take home, and the trial that trained it.

    That of the first final training, or with ``sweep.final=all`` that of the one on all labels,
    where it ended well. scored: whether it is to be scored, and so has to be the first one, which
    has not learned from the report split.
    Raises TlsweepError where its tensors are not there any more.
    """
    asked = (contender, confirmed, s.question, s.settings)
    item = final.items(*asked)[0]
    if s.settings.sweep.final == "all" and not scored:
        more = final.on_all(*asked)
        item = more if contender.facts.is_deterministic or finals.of(more) is not None else item
    trial = resolve(_settings(s, item))
    network = trial.question.network(trial.plan, trial.train, trial.seed)
    network.merge()  # as it was kept
    if contender.facts.is_deterministic:  # a head at its optimum: fitted anew in no time
        network.head = fitted_head(trial, trial.plan)
    else:
        trial = replace(trial, plan=_load(s, network, item, finals))
    network.thaw(trial.plan.trained)
    return network.eval(), trial


def keep_in_record(s: Session, folder: Path, chosen: Contender) -> None:
    """Keep the folder of a plan's model with the sweep's run, where its program is there."""
    from tlsweep.model import PROGRAM, WEIGHTS, read_card
    from tlsweep.model.card import Preprocessing

    card = read_card(folder)
    if not (folder / PROGRAM).exists():
        return  # its card says why
    if not isinstance(card.preprocessing, Preprocessing):
        return  # MLflow hands a program one tensor, and texts are two
    question = s.source_of(chosen.overrides).question
    example = question.examples(Split.POOL).batch([0]).z.numpy()
    torch_version = card.versions["torch"].partition("+")[0]  # of a build that pip knows
    s.record.keep_model(
        s.parent_run,
        ToLog(
            program=folder / PROGRAM,
            digest=card.files[WEIGHTS],
            example=example,
            classes=len(card.output_names),
            requirements=(f"torch=={torch_version}", "numpy"),
            about={
                "tlsweep.sentence": str(card.about["sentence"]),
                "tlsweep.classes": ", ".join(card.output_names)[:5000],
                "tlsweep.preprocessing": card.preprocessing.in_words,
            },
        ),
    )


def _settings(s: Session, item: Item) -> Settings:
    lines = [*inherited(s.plain, item.overrides), *item.overrides, f"stage={Stage.FINAL}"]
    return read(s.bench.compose([*lines, f"study={s.settings.study_name}"]))


def _load(s: Session, network: PlanNetwork, item: Item, finals: Ledger) -> TransferPlan:
    """Take up the tensors of a final training. Returns the plan that it trained."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    trial = finals.of(item)
    name = "" if trial is None else trial.user_attrs.get("weights", "")
    file = outcomes_folder(s.folder) / name
    try:
        load_model(network, str(file), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TlsweepError(
            f"{file}: {error}. It holds the trained network; without it there is no model to take"
            " home. Put it back, or ask anew under another name: study=NAME"
        ) from error
    assert trial is not None  # else there was no file
    return facts_of(trial).plan
