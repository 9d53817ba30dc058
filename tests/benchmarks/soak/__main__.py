"""``python tests/benchmarks/soak``: a sweep with several workers, killed at random until it ends.

Again and again in new folders, until so many kills or minutes have passed; each sweep's trials and
verdict are compared with those of one that nothing was done to. Writes soak.md with ``--write``.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sweeps import Sweep, differences

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # machine is that of the other benchmarks
TABLE = HERE.parent / "soak.md"
LONGEST = 420.0  # seconds of one sweep, kills included
VICTIMS = {"worker": 6, "joined worker": 2, "sweep": 1}  # how often each, out of the sum


def main() -> None:
    """Kill, count, and print a table."""
    asked = _arguments()
    draw, began = random.Random(asked.seed), time.monotonic()
    kills, totals, sweeps = Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Sweep(Path(folder) / "whole", asked.storage)
        whole.run_to_end()
        while sum(kills.values()) < asked.kills and time.monotonic() - began < 60 * asked.minutes:
            sweeps += 1
            sweep = Sweep(Path(folder) / f"killed{sweeps}", asked.storage)
            kills += _killed(sweep, draw)
            found = differences(whole, sweep)
            totals += Counter(found)
            print(f"sweep {sweeps}: {dict(kills)} {found}", flush=True)  # noqa: T201
    text = _table(asked.storage, sweeps, kills, totals, time.monotonic() - began)
    print(text)  # noqa: T201 - what a benchmark is for
    if asked.write:
        TABLE.write_text(text)
    raise SystemExit(1 if totals["lost"] + totals["doubled"] + totals["other verdict"] else 0)


def _killed(sweep: Sweep, draw: random.Random) -> Counter[str]:
    """Run a sweep while its processes are killed. Returns how often which."""
    kills, deadline = Counter[str](), time.monotonic() + LONGEST
    with sweep:
        while not sweep.ended():
            time.sleep(draw.uniform(1.0, 4.0))
            sweep.tend()
            if time.monotonic() > deadline:
                continue  # it is left alone now, and has to end
            (who,) = draw.choices(list(VICTIMS), weights=list(VICTIMS.values()))
            kills[who] += sweep.kill(who, draw)
    return +kills


def _table(
    storage: str | None, sweeps: int, kills: Counter[str], totals: Counter[str], seconds: float
) -> str:
    from machine import machine

    where = (storage or "sqlite").partition(":")[0]
    rows = [f"| SIGKILL of a {who} | {n} |" for who, n in kills.items()]
    return "\n".join([
        "# Kills", "",
        "`python tests/benchmarks/soak --write`: sweeps with two workers of their own and one that"
        " joins, killed at random, compared with one that nothing was done to.", "",
        f"{sweeps} sweeps on {where}, {sum(kills.values())} kills, {seconds:.0f} s. {machine()}.",
        "",
        "| | |", "| --- | ---: |", *rows,
        *(f"| {name} | {totals[name]} |" for name in
          ("trials begun", "cut short", "ended", "lost", "doubled", "other verdict")),
        "",
    ])  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", default=os.environ.get("TLSWEEP_SOAK_STORAGE"))
    parser.add_argument("--write", action="store_true", help=f"into {TABLE.name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
