"""Whether any process, on any machine of this file system, has a file in use.

A hold lives as long as a mapping or an open file does, and ends with its process, however that
ends. Unlinking a file that others have mapped would be safe on a local POSIX disk (they keep its
pages until they are done, though the disk is not free until then); over NFS it kills a reader on
another machine.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def hold(descriptor: int) -> None:
    """Mark a file that is open for reading as in use; a mapping made of it keeps the mark."""
    # a few file systems have no locks: there the mark is missing, and nothing else
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def in_use(file: Path, *, unknown: bool) -> bool:
    """Whether the file is marked by any process, this one among them, or is not ours to remove.

    unknown: the answer on a file system that has no locks.
    """
    try:
        descriptor = os.open(file, os.O_RDWR)  # over NFS an exclusive lock needs the right to write
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return unknown
    finally:
        os.close(descriptor)
    return False
