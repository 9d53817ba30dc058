"""A trial that lives is left alone, wherever it runs; one that does not is run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from lost_trials import begun as taken

from tlsweep.study.alive import Beating, Watch, this_machine, this_process
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Ledger
from tlsweep.study.space import Space

Open = Callable[..., Ledger]
ELSEWHERE = {"host": "node7", "machine": "another", "pid": 1, "started": 0.0}


class OverError(Exception):
    """The trial has ended."""


def test_a_counter_moves_until_it_has_stood_still_for_longer_than_the_patience() -> None:
    clock = iter((0.0, 0.0, 9.0, 9.5, 19.0, 19.4, 29.3, 29.5))
    watch = Watch(10.0, clock=lambda: next(clock))
    seen = [watch.moves(count) for count in (None, None, 1, 1, 0, 0, 0)]
    assert seen == [True, True, True, True, True, True, False]  # any change is a sign of life


def test_a_process_of_this_machine_names_it_and_another_start_of_it_has_another_name() -> None:
    code = "from tlsweep.study.alive import this_machine; print(this_machine())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout.strip() == this_machine() == this_process()["machine"]


def test_counts_go_on_over_errors_until_the_trial_ends_or_is_over() -> None:
    counts: list[int] = []

    def tell(count: int) -> None:
        counts.append(count)
        if count == 2:
            raise OSError("the database is away")
        if count == 4:
            raise OverError

    Beating(tell, (OverError,), seconds=0.01)
    time.sleep(0.5)
    assert counts == [1, 2, 3, 4]
    stopped: list[int] = []
    beating = Beating(stopped.append, (OverError,), seconds=0.05)
    beating.stop()
    time.sleep(0.2)
    assert stopped == []


def begun(ledger: Ledger) -> TrialHandle:
    """A trial under way, of a process that is not on this machine."""
    job = taken(ledger, Space())
    handle = TrialHandle(ledger.storage, ledger.name, job.number, beat=0.1)
    handle.begin()
    handle.note({"worker": ELSEWHERE})
    return handle


def test_a_trial_of_another_machine_is_waited_for_as_long_as_its_counter_moves(
    open_ledger: Open,
) -> None:
    handle = begun(open_ledger())
    code = (
        "import sys; from tlsweep.study.draws import Sampling;"
        "from tlsweep.study.ledger import Ledger;"
        "ledger = Ledger(sys.argv[1], 's', Sampling({'name': 'random'}, 0),"
        " facts={'question': 1}, patience=1.0).open(resume=True);"
        "print('watching', flush=True); print(len(ledger.reclaim()))"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", code, open_ledger().storage], stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "watching\n"
    time.sleep(2.5)
    assert watcher.poll() is None
    handle.finish(0.7, pruned=False)
    assert watcher.communicate(timeout=30)[0] == "0\n"


def test_a_suspended_process_loses_its_trial_and_its_late_result_does_not_count(
    open_ledger: Open,
) -> None:
    ledger = open_ledger()
    job = taken(ledger, Space())
    code = (
        "import sys, time; from tlsweep.study.handle import TrialHandle;"
        "handle = TrialHandle(sys.argv[1], 's', 0, beat=0.1); handle.begin();"
        f"handle.note({{'worker': {ELSEWHERE}}}); print('begun', flush=True); time.sleep(1);"
        "handle.finish(0.9, pruned=False)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code, ledger.storage], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGSTOP)
    (lost,) = open_ledger(patience=0.5).reclaim()
    assert lost.number == job.number
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=30)[1]
    assert "trial 0 of s was taken up by another process" in said
    assert [t.state.name for t in ledger.trials()] == ["FAIL", "WAITING"]
    (again,) = ledger.take(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrialHandle(ledger.storage, ledger.name, again.number).finish(0.8, pruned=False)
    assert [t.value for t in ledger.completed()] == [0.8]


def test_a_trial_that_ended_gives_no_more_signs(open_ledger: Open) -> None:
    ledger = open_ledger()
    handle: Any = begun(ledger)
    time.sleep(0.35)
    handle.finish(0.7, pruned=False)
    count = ledger.trials()[0].user_attrs["beat"]
    assert count >= 2
    time.sleep(0.35)
    assert ledger.trials()[0].user_attrs["beat"] == count
