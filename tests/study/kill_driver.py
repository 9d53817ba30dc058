"""A sweep that a test may kill: ``python kill_driver.py URL`` searches eight trials and exits 0.

Each trial works in this process, as under Hydra's basic launcher, tells its own end as a real
trial does, and writes a line to the file FINISHED beside the database before it does so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from tlsweep.jobs.grammar import build, parse
from tlsweep.study import choice
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.queue import Job

SPACE = ("x=interval(0,1)", "k=range(0,5)", "c=choice(a,b)")
ITEMS = (Item.of(("plan=scratch",)), Item.of(("plan=finetune",)))


def main(url: str) -> None:
    """Search until eight trials are counted."""
    choice.silence_experimental()
    space = build(parse(SPACE, OverridesParser.create()), lambda key: [])
    ledger = Ledger(
        storage=url,
        name="s",
        sampling=Sampling({"name": "random"}, 0),
        facts={"space": space.fingerprint()},
    ).open(resume=True)
    finished = Path(url.removeprefix("sqlite:///")).parent / "FINISHED"

    def launch(jobs: Sequence[Job]) -> list[Ended]:
        for job in jobs:
            handle = TrialHandle(url, "s", job.number)
            handle.begin()
            for epoch in range(1, 4):
                time.sleep(0.08)
                handle.report(epoch, 0.1 * epoch)
            with finished.open("a") as stream:
                stream.write(f"{job.number} {' '.join(job.overrides)}\n")
            handle.finish(0.5, pruned=False)
        return [Ended(0.5) for _ in jobs]

    ledger.reclaim()
    # one by one, as a sweep asks for them: a session that begins again asks from the first one
    for item in ITEMS:
        ledger.run_list([item], Batches(launch))
    ledger.search(space, Batches(launch), n_trials=8, max_failure_rate=0.0)


if __name__ == "__main__":
    main(sys.argv[1])
