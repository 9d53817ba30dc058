"""``python -m tlsweep reproduce run=ID``: a recorded run, run again, every number compared."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tlsweep import screen
from tlsweep.config.read import checked, from_yaml, read
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal, TlsweepError
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config
from tlsweep.record import Recorded, open_record
from tlsweep.report.table import Compared, reproduced_table
from tlsweep.terms import Stage

if TYPE_CHECKING:
    from tlsweep.question import Question

OWN = ("run",)
NEAR = 1e-4  # numbers that differ by less are equal to rounding
TIMES = ("seconds",)  # measured anew, and never the same


class NotReproduced(TlsweepError):  # noqa: N818 - a word of the project
    """Some number of a run came out otherwise."""


def run(arguments: Sequence[str], conf: Path) -> None:
    """Run a recorded run again and print each number beside what was recorded.

    ``run=ID`` is MLflow's id of a trial's run; output_dir and record.tracking_uri say where it is
    recorded. Nothing is recorded, and no file of the study is touched. Raises Refusal for a run
    that is not there or whose data or weights have changed, NotReproduced where a number differs by
    more than rounding.
    """
    given = [a.removeprefix("run=") for a in arguments if a.startswith("run=")]
    if len(given) != 1:
        rule = "one recorded run is run again; MLflow's page of a run shows its id"
        raise Refusal(Fault(f"run given {len(given)} times", rule, "reproduce run=ID"))
    rest = [a for a in arguments if not a.startswith("run=")]
    refuse_others(parted(rest), "reproduce", ("output_dir", "record"))
    chosen = read(compose_config(rest, conf))
    with closing(open_record(chosen.record, Path(chosen.output_dir))) as record:
        recorded = record.recorded(given[0])
    with (
        tempfile.TemporaryDirectory(prefix="tlsweep-reproduce-") as folder,
        screen.shown() as shown,
    ):
        settings = _settings(recorded, folder)
        found = _again(settings, recorded, shown)
    compared = compare(recorded.metrics, found)
    screen.console.print(reproduced_table(recorded.name, compared, _elsewhere(recorded)))
    if off := [c for c in compared if c.difference > NEAR]:
        names = ", ".join(sorted({c.name for c in off}))
        raise NotReproduced(f"{len(off)} of {len(compared)} numbers differ: {names}")


def _settings(recorded: Recorded, folder: str) -> Settings:
    """The settings of the run, in a folder of its own, outside of any study."""
    plain = {**from_yaml(recorded.config), "trial": None, "output_dir": folder}
    if isinstance(train := plain.get("train"), dict):  # else refused, with all that is wrong
        plain["train"] = {**train, "resume": False}
    return checked(plain)


def _again(
    settings: Settings, recorded: Recorded, shown: screen.Screen
) -> dict[tuple[str, int], float]:
    """Every number of the run by name and step, measured anew."""
    import torch

    from tlsweep.trial import question_of, run_unrecorded

    if (threads := recorded.tags.get("tlsweep.threads", "")).isdigit():
        torch.set_num_threads(int(threads))  # another number of threads changes the last digits
    question = question_of(settings, shown.step)
    _refuse_changed(question, recorded)
    shown.clear()
    if settings.stage == Stage.SURVEY:
        return _survey_again(settings, question, shown)
    return run_unrecorded(settings)


def _survey_again(
    settings: Settings, question: Question, shown: screen.Screen
) -> dict[tuple[str, int], float]:
    from tlsweep.survey.surveyor import survey
    from tlsweep.trial import answered_summary, resolve

    trial = resolve(settings, question)
    plan = trial.plan
    _, outcomes = survey(trial.inputs, settings.sweep.survey, settings.sweep.minutes, shown.step)
    answered = outcomes["random" if plan.random_weights else "source", plan.keep]
    summary = answered_summary(settings, question, answered)
    return {(name, 0): value for name, value in summary.items()}


def _refuse_changed(question: Question, recorded: Recorded) -> None:
    now = {"source": question.source.fingerprint, "target": question.target.fingerprint}
    faults = [
        Fault(
            f"{part} {print_}, and the run was of {recorded.tags[tag]}",
            f"the {'weights' if part == 'source' else 'images'} are those that were recorded",
            f"put back the {'weights' if part == 'source' else 'images'} of that run",
        )
        for part, print_ in now.items()
        if recorded.tags.get(tag := f"tlsweep.{part}_fingerprint", print_) != print_
    ]
    if faults:
        raise Refusal(*faults)


def compare(
    recorded: Mapping[tuple[str, int], float], found: Mapping[tuple[str, int], float]
) -> list[Compared]:
    """Each number that was recorded beside what it is now; NaN where it is not there any more."""
    return [
        Compared(name, step, value, found.get((name, step), float("nan")))
        for (name, step), value in sorted(recorded.items(), key=lambda item: (item[0][1], item[0]))
        if name not in TIMES
    ]


def _elsewhere(recorded: Recorded) -> list[str]:
    """Versions that were others when the run was recorded."""
    from tlsweep.trial import versions

    return [
        f"{name.removeprefix('tlsweep.')} {now} here, {was} when it was recorded"
        for name, now in versions().items()
        if (was := recorded.tags.get(name, now)) != now
    ]
