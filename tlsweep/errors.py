"""The one error family: a Refusal can be mended by the user, a TrialFailure ends one trial."""

from __future__ import annotations

import difflib
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")
_NAMED = re.compile(
    r"(?i)([?&][\w.-]*(?:password|passwd|pwd|secret|token|api_?key)[\w.-]*=)[^&\s'\"]+"
)


def masked(text: str) -> str:
    """The text without the passwords in its URLs: what is said, recorded or shown is handed on.

    >>> masked("postgresql://me:hunter2@host/db?sslpassword=abc")
    'postgresql://me:***@host/db?sslpassword=***'
    """
    return _NAMED.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, said so that it can be mended without reading code.

    value: what was given (``plan.keep=layr3``); rule: what must hold; mend: what to write instead.
    """

    value: str
    rule: str
    mend: str

    def __str__(self) -> str:
        return masked(f"{self.value}\n    rule: {self.rule}\n    mend: {self.mend}")


class TlsweepError(Exception):
    """Base of every error that tlsweep raises on purpose."""


class Refusal(TlsweepError):  # noqa: N818 - a word of the project
    """The request cannot be carried out as written; carries every fault found, not the first."""

    def __init__(self, *faults: Fault) -> None:
        if not faults:
            raise ValueError("a Refusal needs at least one Fault")
        super().__init__(*faults)
        self.faults: tuple[Fault, ...] = faults

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class TrialFailure(TlsweepError):  # noqa: N818 - a word of the project
    """One trial cannot go on (a NaN loss, say), the sweep can. The message is what is recorded.

    again: whether the same training may succeed another time.
    """

    again = False


class OutOfMemory(TrialFailure):
    """More memory was needed than there was. Another time there may be more."""

    again = True

    def __init__(self, error: BaseException) -> None:
        said = [line for line in str(error).splitlines() if line.strip()]
        because = f" ({said[0][:200]})" if said else ""
        super().__init__(
            "out of memory: a smaller train.batch_size, smaller images or fewer trials at once"
            f" need less{because}"
        )


class NoDataWorker(TrialFailure):
    """A process that decodes images (``train.num_workers``) ended, by whatever killed it."""

    again = True

    def __init__(self, pids: str) -> None:
        super().__init__(
            f"a process that decodes images ended before it was done (process {pids}): something"
            " killed it, as the system does where memory runs out; train.num_workers=0 decodes in"
            " the trial's own process"
        )


_NO_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_NO_MEMORY = re.compile(r"(?i)out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had: NumPy, torch and CUDA each have a way.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("CUDA out of memory."))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes differ"))
    False
    """
    if isinstance(error, MemoryError):
        return True
    return (
        isinstance(error, (RuntimeError, TrialFailure))
        and _NO_MEMORY.search(str(error)) is not None
    )


def failure_of(error: BaseException) -> TrialFailure | None:
    """What ended a training from outside, in words; None for any other error.

    >>> failure_of(RuntimeError("CUDA out of memory.")).again
    True
    >>> print(failure_of(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")))
    ... # doctest: +ELLIPSIS
    a process that decodes images ended before it was done (process 7): ...
    >>> failure_of(RuntimeError("shapes differ"))
    """
    if isinstance(error, TrialFailure):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(error)
    found = _NO_WORKER.search(str(error)) if isinstance(error, RuntimeError) else None
    return None if found is None else NoDataWorker(found[1])


def nearest(name: str, known: Iterable[str], alike: float = 0.5) -> str | None:
    """The known name most like ``name``, or None when none is near.

    alike: how near that is, 0..1; 0.5 suits the few names of a list that is ours.
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=alike)
    return matches[0] if matches else None


def unknown_name(kind: str, where: str, name: str, known: Iterable[str]) -> Fault:
    """The fault for a name that is not among ``known``: lists them and suggests the nearest.

    kind: what the name should be ("cut point"); where: the config key it was given at.
    """
    names = list(known)
    guess = nearest(name, names)
    return Fault(
        value=f"{where}={name}",
        rule=f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind} is one of: {', '.join(names)}",
        mend=f"{where}={guess}" if guess else f"{where}={names[0]}, or another of that list",
    )


def together(*refusals: Refusal) -> Refusal:
    """One Refusal with the faults of several."""
    return Refusal(*(fault for refusal in refusals for fault in refusal.faults))


@contextmanager
def interrupts_heard() -> Iterator[None]:
    """Within, a Ctrl-C that Python drops is sent again a moment later.

    Python drops what is raised while an object is being taken apart, which libraries of databases
    do often.
    """
    before = sys.unraisablehook

    def hook(dropped: UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        # from another thread: what is raised in here is dropped as well
        main = threading.main_thread().ident
        again = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
