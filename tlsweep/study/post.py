"""What a sweep and its workers tell each other: notes in the sweep's main study.

The database is the only channel: a worker learns from it what is run now, with which settings, by
which code, where results go, and whether the process that leads the sweep still lives.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from tlsweep.errors import Fault, Refusal
from tlsweep.files.database import file_of
from tlsweep.study.alive import Beating, Watch, lives, this_process
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Queue
from tlsweep.study.storage import GRPC, open_storage
from tlsweep.terms import VERSION

AT = "at"  # the study whose trials are run now
LEADER, BEAT = "leader", "leader_beat"  # the process that leads the sweep, and its sign of life
BRIEF = "brief"  # what the trials have in common
THREADS = "threads"  # of every trial: results depend on it, in their last digits
CODE = "code"  # the digests of the code that runs the study's trials
Notes = Mapping[str, Any]


class Post:
    """The notes of the sweep of study ``name`` in the database at ``storage``, as a worker reads.

    Raises Refusal where the database cannot be opened, or has no such study.
    """

    def __init__(self, storage: str, name: str) -> None:
        file = None if storage.startswith(GRPC) else file_of(storage)
        if file is not None and not file.exists():  # opening it would make one
            raise Refusal(_no_study(name))
        self._storage = open_storage(storage)
        try:
            self._study = self._storage.get_study_id_from_name(name)
        except KeyError as error:
            raise Refusal(_no_study(name)) from error

    def read(self) -> Notes:
        """All notes, as they are now."""
        found: dict[str, Any] = self._storage.get_study_user_attrs(self._study)
        return found

    def queue(self, notes: Notes) -> Queue | None:
        """The trials that wait now, of whatever stage; None where none is under way."""
        return None if notes.get(AT) is None else self._queue(str(notes[AT]))

    @functools.cache  # noqa: B019 - a worker reads one sweep's notes, and ends with it
    def _queue(self, name: str) -> Queue:
        return Queue(optuna.load_study(study_name=name, storage=self._storage))


def _no_study(name: str) -> Fault:
    return Fault(
        f"study={name}",
        "a worker takes trials of a sweep that has begun; there is no study of that name here",
        f"begin the sweep first (-m study={name}), or output_dir=DIR where it runs",
    )


class Lead:
    """This process leads the sweep whose main study is ``main``, until it is closed."""

    def __init__(self, main: Ledger) -> None:
        self._main = main
        main.remember(AT, None)
        main.remember(LEADER, this_process())
        self._beating = Beating(lambda count: main.remember(BEAT, count), ())

    def go_to(self, study: str) -> None:
        """From now on trials of this study are run."""
        self._main.remember(AT, study)

    def close(self) -> None:
        """The sweep has ended, well or not: workers have nothing more to wait for."""
        self._beating.stop()
        self._main.remember(AT, None)
        self._main.remember(LEADER, None)


class Leader:
    """The process that leads a sweep, as a worker sees it. patience: seconds without a sign."""

    def __init__(self, patience: float) -> None:
        self._watch = Watch(patience)

    def lives(self, notes: Notes) -> bool | None:
        """Whether it does; None where it has ended the sweep, in good order."""
        if (process := notes.get(LEADER)) is None:
            return None
        seen = lives(process)
        return self._watch.moves(notes.get(BEAT)) if seen is None else seen


def refuse_two_leaders(
    storage: str, name: str, patience: float, say: Callable[[str], None]
) -> None:
    """Raise Refusal where another process leads the sweep of a study.

    One on another machine is watched until it gives a sign of life, or none for ``patience``
    seconds.
    """
    post, leader = Post(storage, name), Leader(patience)
    process = post.read().get(LEADER)
    if process is None or process == this_process():
        return
    if lives(process) is None:
        say(
            f"  {process['host']} led the sweep of {name}, and did not end it: waiting for a sign"
            f" of life, at most {patience:g} s (sweep.patience)"
        )
    first = post.read().get(BEAT)
    while leader.lives(notes := post.read()):
        if lives(process) or notes.get(BEAT) != first:
            rule = "one sweep of a study runs at a time, and one is running"
            mend = f"wait for it, join it (worker study={name}), or study={name}_2"
            raise Refusal(Fault(f"study={name} on {process['host']}", rule, mend))
        time.sleep(0.5)


# ---------------------------------------------------------------------- one code for all trials
@functools.cache
def this_code() -> str:
    """A digest of the tlsweep that runs here: its Python files, by name and content."""
    package, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def refuse_other_code(name: str, known: Mapping[str, str] | None, let_in: str | None) -> None:
    """Raise Refusal where a study was run by other code than this, which nobody let in by name.

    known: digests to versions; let_in: ``sweep.code``.
    """
    if not known or this_code() in (*known, let_in):
        return
    theirs = ", ".join(f"tlsweep {version} ({digest})" for digest, version in known.items())
    raise Refusal(
        Fault(
            f"study={name}: {theirs} ran its trials; this is tlsweep {VERSION} ({this_code()})",
            "trials are compared that the same code ran",
            f"that version of tlsweep, study={name}_2 to ask anew, or sweep.code={this_code()} if"
            " you know that the change makes no difference",
        )
    )


def pin_code(main: Ledger, let_in: str | None) -> None:
    """Keep with a study what code runs its trials. Raises Refusal as ``refuse_other_code`` does."""
    known = main.recall(CODE)
    refuse_other_code(main.name, known, let_in)
    if this_code() not in (known or {}):
        main.remember(CODE, {**(known or {}), this_code(): VERSION})
