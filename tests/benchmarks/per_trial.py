"""``python tests/benchmarks/per_trial.py``: what a trial costs beside its training.

Of a study with 10, 1,000 and 10,000 trials: to draw one, to take it, to tell its end; and how busy
1, 2 and 4 workers are with trials that take five seconds. Writes per_trial.md with ``--write``.
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from machine import machine
from optuna.distributions import FloatDistribution
from table import Table

from tlsweep.engine.helpers import Helpers
from tlsweep.study import choice
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import DRAW, Sampling
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Ledger
from tlsweep.study.post import Lead, Post
from tlsweep.study.queue import Job
from tlsweep.study.space import Space
from tlsweep.study.storage import default_url

SAMPLERS = ("random", "tpe")
SIZES, MEASURED = (10, 1_000, 10_000), 20
WORKERS, TRIALS, SECONDS = (1, 2, 4), 20, 5.0
SPACE = Space({f"x{k}": FloatDistribution(0.0, 1.0) for k in range(5)})
TABLE = Path(__file__).with_name("per_trial.md")


class Clock:
    """Seconds by what they were spent on, a number for each time; of the processor, too."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.computed: dict[str, float] = {}

    def timed(self, name: str, action: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **options: Any) -> Any:
            began, computed = time.perf_counter(), time.process_time()
            try:
                return action(*given, **options)
            finally:
                computed = time.process_time() - computed
                self.computed[name] = self.computed.get(name, 0.0) + computed
                self.spent.setdefault(name, []).append(time.perf_counter() - began)

        return timed


def opened(folder: Path, sampler: str) -> Ledger:
    ledger = Ledger(default_url(folder), "s", Sampling({"name": sampler}, 0))
    return ledger.open(resume=True)


def filled(ledger: Ledger, n: int) -> None:
    """Give a study ``n`` finished trials, as a search leaves them."""
    draw = random.Random(0)
    ledger.study.add_trials([
        optuna.trial.create_trial(
            params={key: draw.random() for key in SPACE.searched},
            distributions=dict(SPACE.searched),
            value=draw.random(),
            user_attrs={DRAW: number, "overrides": [], "facts": {"plan": "x" * 1000},
                        "history": [{"select_loss": 0.5, "fit_loss": 0.5}] * 10},
        )
        for number in range(n)
    ])  # fmt: skip


def costs(n: int) -> list[list[str]]:
    """A row for each sampler, in copies of one study: thousands of trials take their time."""
    rows = []
    with TemporaryDirectory() as folder:
        filled(opened(Path(folder), "random"), n)
        for sampler in SAMPLERS:
            copy = Path(folder) / sampler
            copy.mkdir()
            for file in Path(folder).glob("optuna.db*"):
                shutil.copy(file, copy)
            rows.append(cost(copy, n, sampler))
    return rows


def cost(folder: Path, n: int, sampler: str) -> list[str]:
    """A row: milliseconds of each part, medians, and of a whole trial, a mean."""
    clock = Clock()
    ledger = opened(folder, sampler)

    def launch(jobs: Any) -> list[Ended]:
        return [Ended(told(ledger.storage, job)) for job in jobs]

    told = clock.timed("tell", tell)
    ledger.queue.take = clock.timed("take", ledger.queue.take)  # type: ignore[method-assign]
    ledger._draw = clock.timed("draw", ledger._draw)  # type: ignore[method-assign]  # noqa: SLF001
    began = time.perf_counter()
    search = partial(ledger.search, SPACE, Batches(launch), max_failure_rate=0.0)
    search(n_trials=n + 1)
    draws = ledger._draws  # noqa: SLF001
    assert draws is not None
    draws._asked = clock.timed("ask", draws._asked)  # type: ignore[method-assign]  # noqa: SLF001
    search(n_trials=n + 2)
    gc.collect()  # of what was just read: Python would do it in the midst of some trial
    taken_up = time.perf_counter() - began
    clock.spent.clear()
    clock.computed.clear()
    began, computed = time.perf_counter(), time.process_time()
    search(n_trials=n + 2 + MEASURED)
    whole = (time.perf_counter() - began) / MEASURED
    computed = (time.process_time() - computed - clock.computed["ask"]) / MEASURED
    part = {name: 1000 * median(seconds) for name, seconds in clock.spent.items()}
    mine = 1000 * whole - part["ask"]
    rest = mine - (part["draw"] - part["ask"]) - part["take"] - part["tell"]
    shown = (
        part["draw"] - part["ask"],
        part["take"],
        part["tell"],
        max(0.0, rest),
        mine,
        1000 * computed,
    )
    return [sampler, f"{n:,}", *(f"{x:.0f}" for x in (part["ask"], *shown)), f"{taken_up:.1f}"]


def tell(storage: str, job: Job) -> float:
    """What a trial tells of itself: that it begins, a score, two facts, its end."""
    handle = TrialHandle(storage, "s", job.number)
    handle.begin()
    handle.report(1, 0.5)
    handle.note({"facts": {"plan": "x" * 1000}, "seconds": 1.0})
    handle.finish(0.5, pruned=False)
    return 0.5


# ---------------------------------------------------------------------- how busy workers are
def sleeping(brief: str, study: str, job: Job) -> None:
    """A trial that trains nothing, for five seconds."""
    handle = TrialHandle(brief, study, job.number)
    handle.begin()
    time.sleep(SECONDS)
    handle.finish(0.5, pruned=False)


def work(storage: str) -> None:
    """What a worker does, with a trial of our own."""
    from tlsweep.trial.brief import Brief
    from tlsweep.trial.worker import serve

    brief = Brief({}, ".", storage)
    serve(brief, "s", act=lambda brief, study, job: sleeping(brief.storage, study, job))


class Waits:
    """A crew of ``n`` processes."""

    def __init__(self, n: int, tend: Callable[[], None]) -> None:
        self.n, self._tend = n, tend

    def asks(self, overrides: Any, *, named: bool) -> dict[str, Any]:
        return {}

    def work(self, ledger: Ledger) -> None:
        ledger.wait(self._tend)


def busy(n: int) -> list[str]:
    """A row: the share of the time that workers are at a trial, from the first one on."""
    with TemporaryDirectory() as folder, _workers(Path(folder), n) as (ledger, crew):
        ledger.search(SPACE, crew, n_trials=n, max_failure_rate=0.0)  # processes have begun
        began = time.perf_counter()
        trials = n * TRIALS // 2
        ledger.search(SPACE, crew, n_trials=n + trials, max_failure_rate=0.0)
        seconds = time.perf_counter() - began
    share = trials * SECONDS / (n * seconds)
    return [str(n), str(trials), f"{seconds:.1f}", f"{100 * share:.0f}"]


@contextmanager
def _workers(folder: Path, n: int) -> Iterator[tuple[Ledger, Waits]]:
    ledger = opened(folder, "random")
    with closing(Lead(ledger)) as lead, closing(Helpers(n, 1, work, ledger.storage)) as helpers:
        lead.go_to("s")
        assert Post(ledger.storage, "s").read()["at"] == "s"
        yield ledger, Waits(n, helpers.tend)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/per_trial.py")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS)
    asked = parser.parse_args()
    choice.silence_experimental()
    columns = ("sampler", "trials", "sampler asks", "draw", "take", "tell", "rest",
               "all but asking", "of that computing", "taken up")  # fmt: skip
    rows = [row for n in asked.sizes for row in costs(n)]
    rows.sort(key=lambda row: SAMPLERS.index(row[0]))
    note = (
        "Milliseconds of 20 trials, medians; the rest, and all of it, means; SQLite. Draw: without"
    )
    note += (
        " what the sampler takes. Tell: begin, report, note, finish. Taken up: seconds of the first"
    )
    note += (
        " two trials, for which the study is read, and of collecting what that leaves. Computing:"
    )
    note += " milliseconds of the processor, which other programs on the machine change less."
    tables = [Table("What a trial costs beside its training", columns, rows, [note])]
    if asked.workers:
        rows = [busy(n) for n in asked.workers]
        columns = ("workers", "trials", "seconds", "busy, %")
        tables.append(Table("Workers with trials of five seconds", columns, rows, []))
    text = "\n\n".join([table.markdown() for table in tables]) + f"\n\n- {machine()}.\n"
    sys.stdout.write(text)
    if asked.write:
        TABLE.write_text(
            "# The cost of a trial\n\n`python tests/benchmarks/per_trial.py`\n\n" + text
        )


if __name__ == "__main__":
    main()
