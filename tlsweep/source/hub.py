"""The hub of models: what it logs while it is asked is not shown; a refusal says what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Without the lines that the hub's client logs of each retry.

    They come from loggers below this one, which a level reaches and ``disabled`` does not.
    """
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
