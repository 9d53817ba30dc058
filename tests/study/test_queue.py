"""Many workers take the trials of one study: each trial is taken once, and ends once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna

from tlsweep.study.queue import Queue
from tlsweep.study.storage import open_storage

TRIALS, WORKERS = 120, 4
TAKES = """
import sys
import optuna
from tlsweep.study.queue import Queue
from tlsweep.study.storage import open_storage

queue = Queue(optuna.load_study(study_name="s", storage=open_storage(sys.argv[1])))
sys.stdin.readline()
while (trial := queue.take()) is not None:
    print(trial.number, flush=True)
    queue.study.tell(trial.number, 0.5)
"""


def test_of_many_workers_each_trial_is_taken_by_one(url: str) -> None:
    queue = Queue(optuna.create_study(study_name="s", storage=open_storage(url)))
    for _ in range(TRIALS):
        queue.enter({}, {}, {"overrides": []})
    line = [sys.executable, "-c", TAKES, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = [subprocess.Popen(line, text=True, **pipes) for _ in range(WORKERS)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    took = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    assert sum(bool(numbers) for numbers in took) >= 2  # else nobody was in another's way
    times = Counter(int(number) for numbers in took for number in numbers)
    assert times == dict.fromkeys(range(TRIALS), 1)


def test_a_trial_is_entered_with_all_that_it_is_run_with(url: str, tmp_path: Path) -> None:
    queue = Queue(optuna.create_study(study_name="s", storage=open_storage(url)))
    uniform = optuna.distributions.FloatDistribution(0.0, 1.0)
    queue.enter({"x": 0.25}, {"x": uniform}, {"overrides": ["x=0.25"], "key": "x=0.25"})
    trial = queue.take()
    assert trial is not None
    assert (trial.params, trial.distributions) == ({"x": 0.25}, {"x": uniform})
    assert trial.user_attrs["overrides"] == ["x=0.25"]
    assert queue.take() is None
