"""Many small computations side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def workers() -> Iterator[Executor]:
    """As many workers as torch has threads, each of which computes alone.

    Threads that share one small product wait for each other longer than they compute, the more so
    beside another busy process; a worker waits for nobody. An error ends what has not begun.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # new threads would take up what the workers said last
