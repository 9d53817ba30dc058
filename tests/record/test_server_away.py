"""A real MLflow server that is killed, frozen, slow or late: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from recorded_runs import points, shown, trials

from tlsweep.cli import conf_folder
from tlsweep.commands import sync
from tlsweep.errors import Refusal
from tlsweep.record.mlflow import MlflowLedger
from tlsweep.record.opening import open_mlflow
from tlsweep.record.spool import waits
from tlsweep.record.to_mlflow import Settings, join

Server = tuple[str, subprocess.Popen[bytes]]
EPOCHS = 5


def record_trials(record: MlflowLedger, parent: str | None, count: int) -> list[str]:
    """Tell of trials as a sweep does. Returns their ids."""
    told = []
    for n in range(count):
        run = record.start_trial(parent, f"trial {n}", {"lr": 0.1}, {"mine": "x"})
        for epoch in range(1, EPOCHS + 1):
            run.log_epoch(epoch, {"loss": n + 1 / epoch})
        run.end("finished", {"select_score": n / 10})
        told.append(str(run.run_id))
    return told


def all_there(record: MlflowLedger, parent: str, told: list[str]) -> None:
    """Each trial stands there once, below its sweep, with each of its numbers once."""
    assert record.flush(30.0) == 0
    found = trials(record)
    assert set(found) == {*told}
    above = record.delivery.id_of(parent)
    for run in found.values():
        n = int(run.info.run_name.split()[1])
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == above
        assert run.data.params == {"lr": "0.1"}
        wanted = [(epoch, n + 1 / epoch) for epoch in range(1, EPOCHS + 1)]
        assert points(record, run, "loss") == wanted
        assert points(record, run, "select_score") == [(0, n / 10)]


@contextmanager
def heard() -> Iterator[list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        texts: list[str] = []
        yield texts
    texts += [str(w.message) for w in said if w.category is RuntimeWarning]


def test_a_server_that_was_killed_and_comes_back_is_told_all_of_it(
    server: Server, begin_server: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, process = server
    with closing(open_mlflow(url, "tests", tmp_path)) as record:
        parent = str(record.start_sweep("s", {}))
        told = record_trials(record, parent, 2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with heard() as said:
            told += record_trials(record, parent, 3)
            assert record.flush(2.0) > 0
            told += record_trials(record, parent, 1)
        assert len(said) == 1
        assert said[0].startswith("MLflow does not answer at present")
        assert "training goes on" in said[0]
        begin_server()
        all_there(record, parent, told)
    assert waits(tmp_path) == {}


def test_a_session_goes_on_while_the_server_is_away_that_was_recorded_there_before(
    server: Server, begin_server: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, process = server
    with closing(open_mlflow(url, "tests", tmp_path)) as record:
        parent = str(record.start_sweep("s", {}))
        told = record_trials(record, parent, 1)
        assert record.flush(30.0) == 0
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(Refusal, match="answers before training starts"):  # of another folder
        open_mlflow(url, "tests", tmp_path / "other")
    with heard() as said, closing(open_mlflow(url, "tests", tmp_path)) as record:
        assert record.start_sweep("s", {}, parent) == parent
        told += record_trials(record, parent, 2)
        assert record.flush(2.0) > 0
    assert any(text.startswith("MLflow does not answer at present") for text in said)
    begin_server()
    with closing(open_mlflow(url, "tests", tmp_path)) as record:
        all_there(record, parent, told)


@pytest.mark.slow
def test_a_server_that_is_frozen_keeps_no_trial_waiting_and_is_told_when_it_thaws(
    server: Server, tmp_path: Path
) -> None:
    url, process = server
    record = open_mlflow(url, "tests", tmp_path)
    parent = str(record.start_sweep("s", {}))
    told = record_trials(record, parent, 1)
    assert record.flush() == 0
    os.killpg(process.pid, signal.SIGSTOP)
    with heard():
        told += record_trials(record, parent, 20)  # it would hang here
        time.sleep(8.0)  # a call that was under way has no answer
        told += record_trials(record, parent, 1)
    os.killpg(process.pid, signal.SIGCONT)
    all_there(record, parent, told)
    assert record.close() == 0


@pytest.mark.slow
def test_a_server_that_is_slow_is_told_all_of_it(server: Server, tmp_path: Path) -> None:
    url, _ = server
    with slowed(url, 0.2) as slow, closing(open_mlflow(slow, "tests", tmp_path)) as record:
        parent = str(record.start_sweep("s", {}))
        told = record_trials(record, parent, 3)
        assert record.flush() == 0
    with closing(open_mlflow(url, "tests", tmp_path)) as looked_at:
        all_there(looked_at, parent, told)


@contextmanager
def slowed(url: str, seconds: float) -> Iterator[str]:
    """A way to a server on which each answer takes longer."""
    port = int(url.rpartition(":")[2])
    listener = socket.create_server(("127.0.0.1", 0))

    def hand_on(source: socket.socket, sink: socket.socket, wait: float) -> None:
        try:
            while part := source.recv(65536):
                time.sleep(wait)
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for pair in ((near, far, 0.0), (far, near, seconds)):
                threading.Thread(target=hand_on, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


# ---------------------------------------------------------------------- processes that die
SESSION = """
import sys, time
from pathlib import Path
from tlsweep.record.opening import open_mlflow
record = open_mlflow(None, "tests", Path(sys.argv[1]))
known = sys.argv[2] if len(sys.argv) > 2 else None
parent = record.start_sweep("s", {}, known)
print("sweep", parent, flush=True)
n = 0
while True:
    run = record.start_trial(parent, f"trial {n}", {"lr": 0.1}, {"mine": "x"})
    print("begun", run.run_id, flush=True)
    for epoch in range(1, 6):
        run.log_epoch(epoch, {"loss": n + 1 / epoch})
    run.end("finished", {"select_score": n / 10})
    print("ended", run.run_id, flush=True)
    time.sleep(0.05)
    n += 1
"""


@pytest.mark.slow
def test_sessions_that_are_killed_lose_and_double_no_run_and_the_next_one_closes_theirs(
    ledger: MlflowLedger, record_folder: Path, tmp_path: Path
) -> None:
    assert ledger.flush() == 0  # its tables are there
    shutil.copy(record_folder / "mlflow.db", tmp_path)
    draw, begun, ended, known = random.Random(0), set[str](), set[str](), list[str]()
    for _ in range(3):
        command = [sys.executable, "-c", SESSION, str(tmp_path), *known[:1]]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        known.append(process.stdout.readline().split()[1])
        time.sleep(draw.uniform(0.3, 1.5))
        process.kill()
        for line in process.stdout.read().split("\n")[:-1]:  # the last one may be half a line
            (begun if line.startswith("begun") else ended).add(line.split()[1])
        process.wait()
    assert len({*known}) == 1  # the sweep's run goes on
    assert len(begun) > 5
    with closing(open_mlflow(None, "tests", tmp_path)) as record:
        assert record.flush(30.0) == 0
        found = trials(record)
        mine = {i: r for i, r in found.items() if r.data.tags.get("mine") == "x" and i in begun}
        assert set(mine) == begun
        for run_id in ended:
            assert mine[run_id].info.status == "FINISHED"
            assert len(points(record, mine[run_id], "loss")) == EPOCHS
        for run_id in begun - ended:
            assert mine[run_id].info.status in ("KILLED", "FINISHED")
        assert shown(record, known[0]).info.status == "KILLED"
    assert waits(tmp_path) == {}


def test_what_a_server_was_not_told_is_told_by_sync(
    server: Server,
    begin_server: Callable[[], subprocess.Popen[bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, process = server
    record = open_mlflow(url, "tests", tmp_path)
    parent = str(record.start_sweep("s", {}))
    assert record.flush() == 0
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    worker = join(Settings(name="mlflow", tracking_uri=url, experiment="tests"), tmp_path, parent)
    run = worker.start_trial(parent, "trial 0", {"lr": 0.1}, {})
    for epoch in range(1, EPOCHS + 1):
        run.log_epoch(epoch, {"loss": 1 / epoch})
    run.end("finished", {"select_score": 0.0})
    worker.close()
    with heard():
        record.end_sweep(parent, "finished", {"report_score": 0.9})
        assert record.close(0.5) > 0
    (place,) = waits(tmp_path)
    assert place == f"{url}, experiment tests"
    begin_server()
    asked = [f"output_dir={tmp_path}", f"record.tracking_uri={url}", "record.experiment=tests"]
    sync.run(asked, conf_folder())
    assert waits(tmp_path) == {}
    assert "told of what waited" in capsys.readouterr().out
    with closing(open_mlflow(url, "tests", tmp_path)) as again:
        all_there(again, parent, [str(run.run_id)])
        assert shown(again, parent).info.status == "FINISHED"


def test_what_mlflow_refuses_is_said_and_keeps_nothing_else_back(
    ledger: MlflowLedger, record_folder: Path, tmp_path: Path
) -> None:
    assert ledger.flush() == 0  # its tables are there
    shutil.copy(record_folder / "mlflow.db", tmp_path)
    with closing(open_mlflow(None, "refusals", tmp_path)) as record:
        parent = str(record.start_sweep("s", {}))
        gone = record.start_trial(parent, "trial 0", {}, {})
        record.flush()
        record.client.delete_run(str(record.delivery.id_of(gone.run_id)))
        outside = tmp_path.parent / "outside.txt"
        outside.write_text("secret")
        with heard() as said:
            gone.end("finished", {"select_score": 0.5})
            record.spooled.add("file", parent, path=f"../{outside.name}")
            record.spooled.add("file", parent, path="never_there.json")
            record.spooled.add("explode", parent)
            for _ in range(20):
                record.spooled.add("file", parent, path="never_there.json")
            told = record_trials(record, parent, 1)
            assert record.flush() == 0
            record.end_sweep(parent, "finished", {})
        assert len(said) == 11  # not each of the 25
        assert all(text.startswith("MLflow refused ") for text in said[:10])
        assert said[10] == "MLflow refuses more, which is not recorded either"
        assert set(trials(record)) == {*told}
        found = shown(record, parent)
        assert record.client.list_artifacts(found.info.run_id) == []
