"""A full disk and a folder that is gone, as each layer tells of them: in words that help."""

from __future__ import annotations

import errno
from collections.abc import Iterator

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DELETED = "the database was deleted while it was in use"
_FULL_DATABASE = "database or disk is full"
_GONE_DATABASE = (
    DELETED,
    "unable to open database file",
    "disk I/O error",
    "attempt to write a readonly database",
)
_KEPT = "Finished trials are kept"


def why_unwritten(error: BaseException) -> str | None:
    """Why something could not be written; None for an error of another kind.

    A database wraps what the disk said into errors of its own, and others wrap these.

    >>> why_unwritten(OSError(28, "No space left", "a.pt"))
    'a.pt: No space left. Finished trials are kept; free some space, then the same command'
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in FULL:
            what = f"{one.filename or 'disk'}: {one.strerror}"
            return f"{what}. {_KEPT}; free some space, then the same command"
        text = one.strerror or "" if isinstance(one, OSError) else str(one)
        if _FULL_DATABASE in text:
            what = "the disk of a database of this sweep is full"
            return f"{what}. {_KEPT}; free some space, then the same command"
        if found := next((words for words in _GONE_DATABASE if words in text), None):
            what = f"a database of this sweep is gone, or cannot be written any more ({found})"
            return f"{what}. Look for output_dir, or for the file of its storage"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
