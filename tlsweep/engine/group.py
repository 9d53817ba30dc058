"""A group of processes that train one plan together, on this machine.

The processes are ours, not Lightning's: its own launcher would run the whole command again in
each of them, with a second output folder and a second record. The parent keeps the record; the
group only trains.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import shutil
import socket
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tlsweep.errors import TrialFailure, failure_of

Member = Callable[..., Any]
WAITING = 64  # messages that may wait to be heard: members that compute faster than that wait
IN_GROUP = "TLSWEEP_GROUP"  # set in every member, so that none of them begins a group of its own


@dataclass(frozen=True)
class Tell:
    """What a member has to reach whoever began its group.

    messages, answers: queues between the two processes.
    """

    messages: Any
    answers: Any

    def __call__(self, message: Any) -> None:
        """Let the other side hear a message."""
        self.messages.put((False, message))

    def ask(self, message: Any) -> Any:
        """What the other side makes of a message. One member alone asks, and waits."""
        self.messages.put((True, message))
        return self.answers.get()


def context() -> Any:
    """How processes are begun here: from a server that has imported torch already."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["torch", "pytorch_lightning"])
    return found


def run_in_group(
    world: int, member: Member, *arguments: Any, on_message: Callable[[Any], Any]
) -> Any:
    """Call ``member(*arguments, tell)`` in ``world`` processes and return what rank 0 returned.

    member: a function that can be imported by name; ``tell(message)`` in any of them reaches
    ``on_message`` here, in the order of each, and ``tell.ask(message)`` in one of them returns what
    that returned. Raises TrialFailure with the first error of any rank; the others are ended.
    """
    import torch

    begun = context()
    tell = Tell(begun.Queue(maxsize=WAITING), begun.Queue())
    # closed when this process ends, however it does
    theirs, ours = begun.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="tlsweep-group-") as folder:
        port, threads = _free_port(), torch.get_num_threads()
        processes = [
            begun.Process(
                target=_member,
                args=(rank, world, threads, port, folder, theirs, tell, member, arguments),
                name=f"tlsweep-rank{rank}",
            )
            for rank in range(world)
        ]
        try:
            for process in processes:
                process.start()
            _wait(processes, tell, on_message)
        finally:
            # Ctrl-C may come before all of them, or any, have been started
            for process in (p for p in processes if p.pid is not None):
                if process.is_alive():
                    process.terminate()
                process.join()
            theirs.close()
            ours.close()
        return _result(Path(folder), [p.exitcode for p in processes])


def _member(
    rank: int,
    world: int,
    threads: int,
    port: int,
    folder: str,
    parent: Connection,
    tell: Tell,
    member: Member,
    arguments: Any,
) -> None:
    end_with(parent, folder)
    os.environ.update(
        **{IN_GROUP: "1"},
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
        WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    import torch

    torch.set_num_threads(max(1, threads // world))
    try:
        value = member(*arguments, tell)
    except BaseException as error:
        _write(Path(folder) / f"error{rank}", _reason(error))
        raise SystemExit(1) from None
    if rank == 0:
        _write(Path(folder) / "result", value)


def _reason(error: BaseException) -> tuple[str, bool]:
    """Why a member failed, and whether it may succeed another time."""
    failure = failure_of(error)
    if failure is None:
        return traceback.format_exc(limit=-3), False
    return str(failure), failure.again


def end_with(parent: Connection, folder: str | None = None) -> None:
    """From now on this process ends as soon as the one at the pipe's other end does, however.

    folder: is removed then.
    """

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            parent.recv_bytes()  # nothing is ever sent
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def in_group() -> bool:
    """Whether this process is a member."""
    return IN_GROUP in os.environ


def _write(path: Path, value: Any) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(value))
    part.replace(path)


def _wait(processes: list[Any], tell: Tell, on_message: Callable[[Any], Any]) -> None:
    def hear() -> None:
        asked, message = tell.messages.get(timeout=0.2)
        answer = on_message(message)
        if asked:
            tell.answers.put(answer)

    while any(p.is_alive() for p in processes) and not any(p.exitcode for p in processes):
        with contextlib.suppress(queue.Empty):
            hear()
    with contextlib.suppress(queue.Empty):
        while True:
            hear()


def _result(folder: Path, codes: list[int | None]) -> Any:
    errors = sorted(folder.glob("error*"))
    if errors:
        reason, again = pickle.loads(errors[0].read_bytes())
        failure = TrialFailure(reason)
        failure.again = again
        raise failure
    # the file was written whole by our own child, so it counts even if the child died at exit
    result = folder / "result"
    if result.exists():
        return pickle.loads(result.read_bytes())
    raise TrialFailure(f"a training process ended without a result (exit codes {codes})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
