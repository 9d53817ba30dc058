"""``python tests/benchmarks/soak``: a sweep with several workers, killed at random until it ends.

Again and again in new folders, until so many kills or minutes have passed; each sweep's trials and
verdict are compared with those of one that nothing was done to. By turns the study lies in SQLite,
behind tlsweep's proxy and in PostgreSQL, where that is installed; a real MLflow server records; the
servers are killed, too. Writes soak.md with ``--write``.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers import Database, Mlflow, Proxy, Server
from sweeps import Sweep, Where, differences

from tlsweep.study.storage import default_url

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # machine is that of the other benchmarks
TABLE = HERE.parent / "soak.md"
LONGEST = 420.0  # seconds of one sweep, kills included
# how often each, out of the sum
VICTIMS = {"worker": 6, "joined worker": 2, "sweep": 1, "server": 4}
KINDS = ("sqlite", "proxy", "postgresql")


def main() -> None:
    """Kill, count, and print a table."""
    asked = _arguments()
    draw, began = random.Random(asked.seed), time.monotonic()
    kills, totals, sweeps = Counter[str](), Counter[str](), Counter[str]()
    kinds = [k for k in KINDS if k in asked.kinds and (k != "postgresql" or Database.is_here())]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        place = Path(folder)
        whole = Sweep(place / "whole", Where())
        whole.run_to_end()
        servers = _Servers(place, stack, [*kinds])
        for kind in itertools.cycle(kinds):
            if sum(kills.values()) >= asked.kills or time.monotonic() - began > 60 * asked.minutes:
                break
            sweeps[kind] += 1
            with servers.of(kind, place / f"killed{sum(sweeps.values())}") as (sweep, mortal):
                kills += _killed(sweep, mortal, draw)
                sweep.sync()
                found = {**differences(whole, sweep), **sweep.runs()}
            totals += Counter(found)
            print(f"{kind}: {dict(kills)} {found}", flush=True)  # noqa: T201
    text = _table(sweeps, kills, totals, time.monotonic() - began)
    print(text)  # noqa: T201 - what a benchmark is for
    if asked.write:
        TABLE.write_text(text)
    raise SystemExit(1 if any(totals[bad] for bad in BAD) else 0)


class _Servers:
    """Those that all sweeps share, and the proxy that each of its own has."""

    def __init__(self, place: Path, stack: ExitStack, kinds: list[str]) -> None:
        (place / "mlflow").mkdir()
        self.mlflow = Mlflow(place / "mlflow")
        stack.callback(self.mlflow.end)
        self.database = Database() if "postgresql" in kinds else None
        if self.database is not None:
            stack.callback(self.database.end)

    @contextmanager
    def of(self, kind: str, folder: Path) -> Iterator[tuple[Sweep, list[Server]]]:
        """A sweep in a folder, and the servers that it uses."""
        folder.mkdir()
        record = self.mlflow.uri
        if kind == "proxy":
            proxy = Proxy(folder)
            try:
                where = Where(kind, proxy.uri, default_url(folder), record)
                yield Sweep(folder, where), [self.mlflow, proxy]
            finally:
                proxy.end()
        elif kind == "postgresql":
            assert self.database is not None
            where = Where(kind, self.database.uri(folder.name), None, record)
            yield Sweep(folder, where), [self.mlflow, self.database]
        else:
            yield Sweep(folder, Where(record=record)), [self.mlflow]


def _killed(sweep: Sweep, servers: list[Server], draw: random.Random) -> Counter[str]:
    """Run a sweep while its processes are killed. Returns how often which."""
    kills, deadline = Counter[str](), time.monotonic() + LONGEST
    restarts: list[threading.Thread] = []
    with sweep:
        while not sweep.ended():
            time.sleep(draw.uniform(1.0, 4.0))
            sweep.tend()
            if time.monotonic() > deadline:
                continue  # it is left alone now, and has to end
            (who,) = draw.choices(list(VICTIMS), weights=list(VICTIMS.values()))
            if who != "server":
                kills[who] += sweep.kill(who, draw)
            elif not any(one.is_alive() for one in restarts):
                server = draw.choice(servers)
                restarts = [threading.Thread(target=server.kill)]  # it begins again meanwhile
                restarts[0].start()
                kills[server.name] += 1
        for one in restarts:
            one.join()
    return +kills


BAD = ("lost", "doubled", "other verdict", "runs lost", "runs doubled", "runs left open")
COUNTS = ("trials begun", "cut short", "ended", *BAD[:3], "runs", *BAD[3:])


def _table(sweeps: Counter[str], kills: Counter[str], totals: Counter[str], seconds: float) -> str:
    from machine import machine

    where = ", ".join(f"{n} on {kind}" for kind, n in sweeps.items())
    rows = [f"| SIGKILL of a {who} | {n} |" for who, n in kills.items()]
    return "\n".join([
        "# Kills", "",
        "`python tests/benchmarks/soak --write`: sweeps with two workers of their own and one that"
        " joins, killed at random, and so are their servers; compared with one that nothing was"
        " done to. Runs are MLflow's, after `sync`.", "",
        f"Sweeps: {where}; {sum(kills.values())} kills, {seconds:.0f} s. {machine()}.",
        "",
        "| | |", "| --- | ---: |", *rows, *(f"| {name} | {totals[name]} |" for name in COUNTS),
        "",
    ])  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--write", action="store_true", help=f"into {TABLE.name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
