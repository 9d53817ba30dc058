"""One study on two hosts: another name, other process ids, and a database between them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import pytest
from postgres import Postgres

from tlsweep.study.storage import open_storage

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="needs namespaces"),
]
TLSWEEP = (sys.executable, "-m", "tlsweep")
SWEEP = (
    "study=s", "engine=joined", "engine.workers=2", "train.epochs=2", "target.fit_size=60",
    "sweep.minutes=null", "sweep.n_trials=4", "sweep.fixed=[{plan: scratch}]",
    "sweep.confirm.top=1", "sweep.confirm.seeds=2", "sweep.confirm.controls=[scratch]",
)  # fmt: skip
BESIDE = ("s", "s.first", "s.confirm", "s.final")
ENDS = ("COMPLETE", "PRUNED")
HOSTS = ("node7", "node8")


def on_host(name: str, *line: str) -> subprocess.Popen[str]:
    """A command where the host has that name, and sees none of our processes."""
    apart = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c")
    command = [*apart, f'hostname {name} && exec "$@"', "sh", *line]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@contextmanager
def proxy(output: Path) -> Iterator[str]:
    """The URL of a proxy before a file of this machine."""
    pytest.importorskip("grpc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*TLSWEEP, "proxy", f"output_dir={output}", f"port={port}"])
    try:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            time.sleep(0.2)
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def ran_by(url: str) -> dict[str, set[str]]:
    """Which trials ended, by the host that ran them. A trial is told by its overrides."""
    found: dict[str, set[str]] = {}
    ended = []
    for name in BESIDE:
        for trial in optuna.load_study(study_name=name, storage=open_storage(url)).trials:
            if trial.state.name in ENDS:
                ended.append(f"{name}: {' '.join(sorted(trial.user_attrs['overrides']))}")
                found.setdefault(trial.user_attrs["worker"]["host"], set()).add(ended[-1])
    assert len(ended) == len(set(ended)) == sum(map(len, found.values()))
    return found


def joined(name: str, output: Path, url: str, sweep: subprocess.Popen[str]) -> str:
    """What a worker of another host says, which joins as soon as there is something to join."""
    line = (*TLSWEEP, "worker", "study=s", f"output_dir={output}", f"sweep.storage='{url}'")
    while sweep.poll() is None:
        worker = on_host(name, *line)
        said = worker.communicate(timeout=300)[0]
        if worker.returncode == 0:
            return said
        assert worker.returncode == 2, said  # the sweep has not begun
    raise AssertionError("the sweep ended before a worker joined")


def swept(url: str, output: Path, hosts: Sequence[str]) -> dict[str, set[str]]:
    """What each host ran of a sweep that a third host leads."""
    line = ("-m", f"output_dir={output}", f"sweep.storage='{url}'", *SWEEP)
    sweep = on_host("login", *TLSWEEP, *line)
    try:
        with ThreadPoolExecutor() as pool:
            said = pool.map(lambda host: joined(host, output, url, sweep), hosts)
            assert all("trials of it were run here" in one for one in said)
        told = sweep.communicate(timeout=300)[0]
    finally:
        sweep.kill()  # its host ends with it
    assert sweep.returncode == 0, told
    assert (output / "s" / "verdict.json").exists()
    return ran_by(url)


def test_two_hosts_share_a_study_in_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database("hosts")
    assert set(swept(url, tmp_path, HOSTS)) == set(HOSTS)


def test_two_hosts_share_a_study_behind_a_proxy(tmp_path: Path) -> None:
    with proxy(tmp_path) as url:
        assert set(swept(url, tmp_path, HOSTS)) == set(HOSTS)
