"""``python -m tlsweep worker study=NAME``: runs trials of a sweep that another process leads."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlsweep import screen
from tlsweep.config.read import checked, read
from tlsweep.config.settings import Settings
from tlsweep.engine.requeue import go_on_later
from tlsweep.errors import Fault, Refusal, TlsweepError
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config
from tlsweep.study.post import BRIEF, CODE, THREADS, Leader, Notes, Post, refuse_other_code
from tlsweep.study.queue import Job
from tlsweep.study.storage import default_url
from tlsweep.trial.brief import Brief
from tlsweep.trial.folder import refuse_unseen
from tlsweep.trial.resolved import study_folder
from tlsweep.trial.worker import RunJob, serve, with_threads

OWN = ("study", "output_dir", "sweep.storage", "sweep.code")
_BUILD = "source.build="  # read by the door: it allows code by name


class Left(TlsweepError):  # noqa: N818 - a word of the project
    """The process that leads the sweep is gone."""


def run(arguments: Sequence[str], conf: Path) -> None:
    """Run trials of the sweep of a study until it has ended; any number of workers may, anywhere.

    ``study=NAME`` and ``output_dir=DIR`` (or ``sweep.storage=URL``) say which sweep; code of one's
    own (``source.build``) is named here too. Raises Refusal where there is no such study, where
    other code runs it, and where its folder is not seen from here; Left where the sweep is gone
    without having ended.
    """
    given = [a for a in arguments if not a.lstrip("+").startswith(_BUILD)]
    refuse_others(parted(given), "worker", OWN)
    chosen = read(compose_config(given, conf))
    if chosen.study is None:
        rule = "a worker takes the trials of one study"
        raise Refusal(Fault("worker without study=NAME", rule, "worker study=NAME output_dir=DIR"))
    storage = chosen.sweep.storage or default_url(Path(chosen.output_dir))
    notes = Post(storage, chosen.study).read()
    brief = _joined(notes, chosen, storage, given)
    with screen.shown() as shown, with_threads(notes[THREADS]), _told_to_end():
        shown.say(f"working for {chosen.study}; Ctrl-C gives back what is under way, and ends")
        done = serve(brief, chosen.study, _Leads(brief, chosen.study).goes_on, _Said(shown))
        shown.say(f"the sweep of {chosen.study} has ended; {done} trials of it were run here")


def _joined(notes: Notes, chosen: Settings, storage: str, given: Sequence[str]) -> Brief:
    """What trials of a sweep have in common, as this worker may run them. Raises Refusal."""
    name = str(chosen.study)
    if (note := notes.get(BRIEF)) is None:
        rule = "a worker takes trials of a sweep that has begun"
        raise Refusal(Fault(f"study={name}, which no sweep has run", rule, f"-m study={name}"))
    refuse_other_code(name, notes.get(CODE), chosen.sweep.code)
    own: dict[str, Any] = {}
    if any(a.lstrip("+").startswith("output_dir=") for a in given):
        own["output_dir"] = chosen.output_dir
    brief = Brief.noted(note, storage, **own)
    settings = checked(dict(brief.plain), Path(brief.typed_in))
    refuse_unseen(notes, study_folder(settings), name)
    return brief


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Within, SIGTERM is as Ctrl-C, and so is what Slurm sends when a job's time is over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    go_on_later()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Leads:
    """Whether the process that leads the sweep still does."""

    def __init__(self, brief: Brief, name: str) -> None:
        self._name = name
        self._leader = Leader(brief.plain["sweep"]["patience"])  # the sweep's own

    def goes_on(self, notes: Notes) -> bool:
        """False where it ended the sweep. Raises Left where it is gone."""
        found = self._leader.lives(notes)
        if found is False:
            raise Left(
                f"the process that leads the sweep of {self._name} is gone; the same -m command"
                " goes on from where it was, and workers may join it again"
            )
        return bool(found)


class _Said:
    """Runs trials, and says of each how it ended."""

    def __init__(self, shown: screen.Screen) -> None:
        self._shown, self._run = shown, RunJob()

    def __call__(self, brief: Brief, study: str, job: Job) -> float:
        score = self._run(brief, study, job)
        self._shown.say(f"  trial {job.number} of {study} ended: {' '.join(job.overrides)}")
        return score
