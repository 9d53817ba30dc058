"""A sweep and its workers know each other through its study: who leads, where, by which code."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tlsweep.errors import Refusal
from tlsweep.study.alive import this_process
from tlsweep.study.ledger import Ledger
from tlsweep.study.post import (
    AT,
    BEAT,
    CODE,
    LEADER,
    Lead,
    Leader,
    Post,
    pin_code,
    refuse_other_code,
    refuse_two_leaders,
    this_code,
)

Open = Callable[..., Ledger]
ELSEWHERE = {"host": "node7", "machine": "another", "pid": 1, "started": 0.0}


def test_a_worker_reads_where_the_sweep_stands_and_that_it_has_ended(open_ledger: Open) -> None:
    ledger = open_ledger()
    post, leader, lead = Post(ledger.storage, "s"), Leader(patience=1.0), Lead(ledger)
    assert leader.lives(post.read()) is True
    assert post.queue(post.read()) is None
    lead.go_to("s")
    queue = post.queue(post.read())
    assert queue is not None
    assert queue.study.study_name == "s"
    lead.close()
    assert leader.lives(post.read()) is None
    assert post.queue(post.read()) is None


def test_the_sweep_shows_that_it_lives_to_those_that_cannot_see_its_process(
    open_ledger: Open,
) -> None:
    ledger = open_ledger()
    ledger.remember(LEADER, ELSEWHERE)
    leader = Leader(patience=0.3)
    for count in range(4):
        ledger.remember(BEAT, count)
        time.sleep(0.15)
        assert leader.lives({LEADER: ELSEWHERE, BEAT: count}) is True
    time.sleep(0.4)
    assert leader.lives({LEADER: ELSEWHERE, BEAT: 3}) is False


def test_a_worker_of_a_study_that_is_not_there_is_refused(open_ledger: Open) -> None:
    with pytest.raises(Refusal) as caught:
        Post(open_ledger().storage, "other")
    (fault,) = caught.value.faults
    assert fault.value == "study=other"
    assert fault.mend == "begin the sweep first (-m study=other), or output_dir=DIR where it runs"


# ---------------------------------------------------------------------- one leader
def refused(ledger: Ledger, patience: float = 0.5) -> str:
    said: list[str] = []
    with pytest.raises(Refusal) as caught:
        refuse_two_leaders(ledger.storage, "s", patience, said.append)
    (fault,) = caught.value.faults
    assert fault.rule == "one sweep of a study runs at a time, and one is running"
    return " ".join([*said, fault.value, fault.mend])


def test_a_second_sweep_of_a_study_is_refused_while_the_first_one_lives(
    open_ledger: Open,
) -> None:
    ledger = open_ledger()
    code = "import sys; from tlsweep.study.alive import this_process; import json; "
    code += "print(json.dumps(this_process()), flush=True); sys.stdin.readline()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    first = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)
    assert first.stdout is not None
    process = eval(first.stdout.readline())
    ledger.remember(LEADER, process)
    text = refused(ledger)
    assert text.startswith(f"study=s on {process['host']} wait for it, join it (worker study=s)")
    first.kill()
    first.wait()
    refuse_two_leaders(ledger.storage, "s", 0.5, pytest.fail)  # it is seen to be dead, at once


def test_one_on_another_machine_is_watched_for_a_sign_of_life(open_ledger: Open) -> None:
    ledger = open_ledger()
    ledger.remember(LEADER, ELSEWHERE)
    ledger.remember(BEAT, 7)
    said: list[str] = []
    began = time.monotonic()
    refuse_two_leaders(ledger.storage, "s", 1.0, said.append)
    assert time.monotonic() - began >= 1.0
    (line,) = said
    assert "node7 led the sweep of s, and did not end it" in line
    code = (
        "import sys, time; from tlsweep.study.draws import Sampling;"
        "from tlsweep.study.ledger import Ledger; ledger = Ledger(sys.argv[1], 's',"
        " Sampling({'name': 'random'}, 0), facts={'question': 1}).open(resume=True)\n"
        f"for n in range(1000): ledger.remember({BEAT!r}, n); time.sleep(0.1)"
    )
    alive = subprocess.Popen([sys.executable, "-c", code, ledger.storage])
    try:
        assert "study=s on node7" in refused(ledger, patience=60.0)
    finally:
        alive.kill()
        alive.wait()


def test_this_process_may_take_up_what_it_led(open_ledger: Open) -> None:
    ledger = open_ledger()
    ledger.remember(LEADER, this_process())
    refuse_two_leaders(ledger.storage, "s", 60.0, pytest.fail)


# ---------------------------------------------------------------------- one code
def test_other_code_is_refused_unless_it_is_let_in_by_name(open_ledger: Open) -> None:
    ledger = open_ledger()
    pin_code(ledger, None)
    pin_code(ledger, None)
    assert list(ledger.recall(CODE)) == [this_code()]
    ledger.remember(CODE, {"0123456789ab": "0.0.9"})
    for let_in in (None, "0123456789ab"):
        with pytest.raises(Refusal) as caught:
            pin_code(ledger, let_in)
        (fault,) = caught.value.faults
        assert "tlsweep 0.0.9 (0123456789ab) ran its trials; this is tlsweep" in fault.value
        assert f"sweep.code={this_code()}" in fault.mend
    pin_code(ledger, this_code())
    pin_code(ledger, None)  # it is known from now on
    assert list(ledger.recall(CODE)) == ["0123456789ab", this_code()]
    refuse_other_code("s", ledger.recall(CODE), None)
    assert ledger.recall(AT) is None
