"""Tells a record what waits in its spool, in a thread of its own: nobody waits for a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tlsweep.errors import masked
from tlsweep.record.delivery import Delivery, Later, is_final
from tlsweep.record.spool import Backlog, Entry, backlogs, merged, waiting

LOOK = 1.0  # seconds from one look at the spool to the next
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds after an answer that did not come
TRIES = 5  # of an entry that MLflow takes again and again for an error of its own
NUMBERS = 900  # of a call: MLflow takes 1,000
SAID = 10  # refusals that are told in full
GONE = "its process ended before it did"


class Sender:
    """Tells one spool's entries, until it is closed. Of several for one spool, one does.

    mine: the name of this process's own writer, which is told last: it speaks of others' runs.
    """

    def __init__(self, spool: Path, delivery: Delivery, mine: Callable[[], str | None]) -> None:
        self.spool, self.delivery, self._mine = spool, delivery, mine
        self.failing = False  # the last try had no answer
        self._said, self._tries, self._wait = False, 0, FIRST_WAIT
        self._leads, self._to_say, self._refused = False, list[str](), 0
        self._backlogs: dict[str, Backlog] = {}
        self._wake, self._end = threading.Event(), threading.Event()
        self._rounds = 0  # that found nothing left
        self._thread = threading.Thread(target=self._run, name="tlsweep-record", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ asked by others
    def drain(self, patience: float, seen: Callable[[int], None] = lambda left: None) -> int:
        """Wait until all is told that was written until now, or nothing has gone on for a while.

        patience: seconds of that; seen: told how much is left, now and then. Returns how many
        entries wait on.
        """
        rounds, before, since = self._rounds, -1, time.monotonic()
        self._wake.set()
        while (left := waiting(self.spool)) or (self._leads and self._rounds == rounds):
            if at_work := self._leads and not self.failing:  # a model takes a while to be sent
                self._wake.set()
            if left != before or at_work:
                before, since = left, time.monotonic()
            if time.monotonic() - since > patience or not self._thread.is_alive():
                return left
            seen(left)
            time.sleep(0.02)
        return 0

    def close(self) -> None:
        """End the thread; one that waits for a server ends with the process."""
        self._end.set()
        self._wake.set()
        self._thread.join(0.0 if self.failing or waiting(self.spool) else 5.0)

    def heard(self) -> list[str]:
        """What is to be said to people since this was asked last."""
        said, self._to_say = self._to_say, []
        return said

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        lock = FileLock(self.spool / "sender.lock", timeout=0, thread_local=False)
        while not self._end.is_set():
            with suppress(Timeout, OSError), lock:  # another process may be at it
                self._leads = True
                while not self._end.is_set():
                    self._round()
                    self._pause()
            self._leads = False
            self._pause()

    def _pause(self) -> None:
        if self._end.is_set():
            return
        self._wake.wait(self._wait if self.failing else LOOK)
        self._wake.clear()

    def _round(self) -> None:
        """Tell all that is there by now, up to the first try without an answer."""
        mine, later = self._mine(), []
        files = sorted(backlogs(self.spool), key=lambda file: file.stem == mine)
        try:
            for file in files:
                backlog = self._backlogs.setdefault(file.stem, Backlog(file))
                if not self._tell_all(backlog):
                    later.append(backlog)
                elif backlog.name != mine and backlog.is_left() and not backlog.left():
                    self._put_away(backlog)
            self._orphans(later)
        except Exception as error:  # a server, a driver of a database, a disk: all of it passes
            self._failed(error)
            return
        self.failing, self._wait = False, FIRST_WAIT
        self._rounds += 1

    def _tell_all(self, backlog: Backlog, *, alone: bool = False) -> bool:
        """Tell what one writer wrote. Returns whether all of it could be told by now."""
        for entry, end in merged(backlog.left(), NUMBERS):
            try:
                self._tell(entry, sure=backlog.sure, alone=alone)
            except Later:
                return False
            except Exception:
                backlog.sure = False
                raise
            backlog.note(end)
            alone = False
        return True

    def _tell(self, entry: Entry, *, sure: bool, alone: bool = False) -> None:
        """Tell one entry, unless another try would end in the same way: then that is said."""
        try:
            self.delivery.tell(entry, sure=sure, alone=alone)
        except Later:
            raise
        except Exception as error:
            if not is_final(error) and not self._is_hopeless():
                raise
            self._refused += 1
            what = f"{entry.get('do', 'an entry')} of run {entry.get('run', '?')}"
            if self._refused <= SAID:
                self._to_say.append(f"MLflow refused {what}: {_why(error)}; it is not recorded")
            elif self._refused == SAID + 1:
                self._to_say.append("MLflow refuses more, which is not recorded either")
        self._tries, self.failing, self._wait = 0, False, FIRST_WAIT

    def _orphans(self, later: list[Backlog]) -> None:
        """Runs whose sweep's run is in no spool any more are recorded without it."""
        begun = {e["run"] for b in later for e, _ in b.left() if e.get("do") == "begin"}
        for backlog in later:
            first = backlog.left()[0][0]
            if first["parent"] not in begun:
                self._tell_all(backlog, alone=True)

    def _put_away(self, backlog: Backlog) -> None:
        """Close the runs of a writer that is gone, and its file."""
        now = int(time.time() * 1000)
        tags = {"tlsweep.status": "killed", "tlsweep.reason": GONE}
        for run in backlog.open_runs():
            told: Entry = {"do": "log", "run": run, "metrics": [], "params": {}, "tags": tags}
            ended: Entry = {"do": "end", "run": run, "status": "KILLED", "name": None, "at": now}
            for entry in (told, ended):
                self._tell(entry, sure=False)
        backlog.remove()
        self._backlogs.pop(backlog.name)

    # ------------------------------------------------------------------ what goes wrong
    def _is_hopeless(self) -> bool:
        """Whether MLflow answers, and yet never takes this entry."""
        self._tries += 1
        return self._tries >= TRIES and self.delivery.answers()

    def _failed(self, error: Exception) -> None:
        if not self._said:
            self._to_say.append(
                f"MLflow does not answer at present ({_why(error)}); training goes on, and what is"
                f" to be recorded waits in {self.spool}"
            )
        self._said = True
        self._wait = min(LONGEST_WAIT, 2 * self._wait) if self.failing else FIRST_WAIT
        self.failing = True


def _why(error: Exception) -> str:
    lines = str(error).splitlines()
    return masked(lines[0] if lines else type(error).__name__)[:200]
