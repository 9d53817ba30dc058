"""``python tests/benchmarks/scale.py RESULTS``: what 100,000 trials on 1,000 nodes would need.

From what the trials of a finished sweep left in its results folder, and from how fast MLflow takes
runs here. Reckoned, not run: nobody here has 1,000 nodes. Writes scale.md with ``--write``.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import machine
from table import Table

from tlsweep.record.opening import open_mlflow
from tlsweep.study.alive import BEAT

TRIALS, NODES, SECONDS = 100_000, 1_000, 60.0  # of one trial
MEASURED = 100
TABLE = Path(__file__).with_name("scale.md")
ROWS = {
    "optuna.db": ("trial_user_attributes", "trial_intermediate_values", "trial_params",
                  "trial_values", "trials"),
    "mlflow.db": ("params", "metrics", "tags", "latest_metrics", "runs"),
}  # fmt: skip


def rows_of(database: Path) -> float:
    """Rows of a database for each trial or run."""
    with closing(sqlite3.connect(database)) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                  for table in ROWS[database.name]]  # fmt: skip
    return sum(counts) / counts[-1]


def trials_of(database: Path) -> int:
    """How many trials a study's database has."""
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])


def told_a_second() -> float:
    """Runs that MLflow takes a second from a spool, into SQLite: 60 params, 10 epochs of 4."""
    with TemporaryDirectory() as folder, closing(open_mlflow(None, "x", Path(folder))) as record:
        parent = record.start_sweep("s", {})
        record.flush()
        params = {f"setting.{k}": k for k in range(60)}
        tags = {f"tag.{k}": "x" for k in range(15)}
        for n in range(MEASURED):
            run = record.spooled.start_trial(parent, f"t{n}", params, tags)
            for epoch in range(1, 11):
                run.log_epoch(epoch, {f"m{k}": 0.5 for k in range(4)})
            run.end("finished", {"select_score": 0.5})
        began = time.perf_counter()
        assert record.flush() == 0
        return MEASURED / (time.perf_counter() - began)


def main() -> None:
    """Reckon, and print the table."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/scale.py")
    parser.add_argument("results", type=Path, help="output_dir of a sweep that has ended")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    study, record = asked.results / "optuna.db", asked.results / "mlflow.db"
    n = trials_of(study)
    outcomes = [*asked.results.glob("*/outcomes/*")]
    size = sum(file.stat().st_size for file in outcomes) / n
    speed, wanted = told_a_second(), NODES / SECONDS
    rows = [
        ["trials that end a second", "", f"{wanted:.1f}"],
        ["signs of life a second, one each", f"every {BEAT:g} s", f"{NODES / BEAT:.0f}"],
        ["rows of the study's database", f"{rows_of(study):.0f}", _many(rows_of(study))],
        ["its bytes", _bytes(study.stat().st_size / n), _bytes(study.stat().st_size / n * TRIALS)],
        ["rows of MLflow", f"{rows_of(record):.0f}", _many(rows_of(record))],
        ["its bytes", _bytes(record.stat().st_size / n),
         _bytes(record.stat().st_size / n * TRIALS)],
        ["bytes of what trials answer", _bytes(size), _bytes(size * TRIALS)],
        ["runs that MLflow is told a second, SQLite", f"{speed:.1f}",
         f"{TRIALS / speed / 3600:.1f} hours for all"],
    ]  # fmt: skip
    columns = ("what", "a trial", f"{TRIALS:,} trials, {NODES:,} nodes, {SECONDS:.0f} s each")
    notes = [f"From {n} trials of the sweep. {machine()}."]
    text = Table("What a large study needs", columns, rows, notes).markdown()
    sys.stdout.write(text + "\n")
    if asked.write:
        said = TABLE.read_text().partition("<!-- table -->")
        TABLE.write_text(f"{said[0]}<!-- table -->\n\n{text}\n")


def _many(each: float) -> str:
    return f"{each * TRIALS / 1e6:.1f} million"


def _bytes(count: float) -> str:
    for name, size in (("GB", 2**30), ("MB", 2**20)):
        if count > size:
            return f"{count / size:.1f} {name}"
    return f"{count / 2**10:.0f} KB"


if __name__ == "__main__":
    main()
