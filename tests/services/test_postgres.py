"""Studies on a PostgreSQL server: several machines, and a server that is restarted under load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import psutil
import pytest
from postgres import Postgres

from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Queue
from tlsweep.study.storage import open_storage

pytestmark = pytest.mark.services
WORKER = """
import sys, time, warnings
import optuna
from tlsweep.study.handle import TrialHandle
from tlsweep.study.queue import Queue
from tlsweep.study.storage import open_storage

warnings.simplefilter("ignore")
url, seconds = sys.argv[1], float(sys.argv[2])
queue = Queue(optuna.load_study(study_name="s", storage=open_storage(url)))
print("ready", flush=True)
while (trial := queue.take()) is not None:
    handle = TrialHandle(url, "s", trial.number, beat=0.2)
    handle.begin()
    print(trial.number, flush=True)
    time.sleep(seconds)
    handle.report(1, 0.25)
    handle.finish(0.5, pruned=False)
"""


def study_of(url: str, n: int) -> Queue:
    made = optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize")
    queue = Queue(made)
    for number in range(n):
        queue.enter({}, {}, {"overrides": [f"seed={number}"], "key": f"seed={number}"})
    return queue


def worker(url: str, seconds: float, *before: str) -> subprocess.Popen[str]:
    line = [*before, sys.executable, "-c", WORKER, url, str(seconds)]
    begun = subprocess.Popen(line, text=True, stdout=subprocess.PIPE)
    assert begun.stdout is not None
    assert begun.stdout.readline() == "ready\n"
    return begun


def test_a_server_that_is_restarted_under_load_loses_no_trial_and_doubles_none(
    postgres: Postgres,
) -> None:
    url = postgres.database("restarted")
    queue = study_of(url, 60)
    workers = [worker(url, 0.05) for _ in range(3)]
    for mode in ("immediate", "fast"):  # as a crash, and as an upgrade
        time.sleep(1.5)
        postgres.control("restart", "-m", mode)
    took = [one.communicate(timeout=120)[0].split() for one in workers]
    assert [one.returncode for one in workers] == [0, 0, 0]
    trials = queue.study.trials
    # the answer to a taking may be lost: that trial is nobody's, and is given back in time
    nobodys = {t.number for t in trials if t.state.name == "RUNNING"}
    assert len(nobodys) <= 2 * len(workers)
    times = Counter(int(number) for numbers in took for number in numbers)
    assert set(times.values()) == {1}
    ended = {t.number for t in trials if t.state.name == "COMPLETE"}
    assert ended == set(times)
    assert ended | nobodys == set(range(60))


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="needs namespaces")
def test_a_worker_on_another_machine_is_left_alone_while_it_lives_and_replaced_when_it_is_gone(
    postgres: Postgres,
) -> None:
    """The other machine is another name and other process ids, where nobody sees the process."""
    url = postgres.database("machines")
    queue = study_of(url, 1)
    apart = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c")
    other = worker(url, 60.0, *apart, 'hostname node7 && exec "$@"', "sh")
    ledger = Ledger(url, "s", Sampling({"name": "random"}, 0), called="other", patience=2.0)
    ledger.open(resume=True)
    deadline = time.monotonic() + 4.0  # twice the patience
    while time.monotonic() < deadline:
        assert ledger.look_after() == []
        time.sleep(0.2)
    (running,) = queue.study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    assert running.user_attrs["worker"]["host"] == "node7"
    for child in psutil.Process(other.pid).children(recursive=True):
        child.kill()
    other.kill()
    other.wait()
    deadline = time.monotonic() + 20.0
    while not (lost := ledger.look_after()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [t.number for t in lost] == [0]
    here = worker(url, 0.0)
    assert here.communicate(timeout=60)[0].split() == ["1"]
    assert [t.state.name for t in queue.study.trials] == ["FAIL", "COMPLETE"]


def test_no_file_of_the_results_holds_the_password(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database("secret")
    line = [
        sys.executable, "-m", "tlsweep", "-m", f"output_dir={tmp_path}", "study=s",
        f"sweep.storage='{url}'", "plan.keep=1,2", "target.fit_size=60", "sweep.n_jobs=2",
    ]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    (name,) = (n for n in optuna.get_all_study_names(open_storage(url)) if n.startswith("s.grid"))
    study = optuna.load_study(study_name=name, storage=open_storage(url))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE"]
    assert "hunter2" not in str(study.user_attrs)
    for file in (f for f in tmp_path.rglob("*") if f.is_file()):
        assert b"hunter2" not in file.read_bytes(), file
