"""``python tests/benchmarks/verdicts``: verdicts on real data, one a line, into verdicts.md."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from questions import QUESTIONS, Question

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))  # machine is that of the other benchmarks
TABLE = HERE.parent / "verdicts.md"
ABOUT = """# Verdicts on real data

`python tests/benchmarks/verdicts` answers the questions that have no line yet (`--again`: all).
What a source has to learn first, `python -m tlsweep pretrain` trains. Images, texts and weights are
read from the folder that `TLSWEEP_REAL_DATA` names. Intervals are those of the verdict, 95 %.
"""
COLUMNS = ("question", "recommended", "score", "beside it", "transfer", "s")


def main() -> None:
    """Answer what was asked for."""
    asked = _arguments()
    real = Path(os.environ.get("TLSWEEP_REAL_DATA") or ROOT.parent / "shared" / "data").resolve()
    kept = _kept(asked.table)
    for question in QUESTIONS:
        if (asked.only and asked.only not in question.name) or (
            question.name in kept and not asked.again
        ):
            continue
        kept[question.name] = _line(_answer(question, real, asked.work / question.folder))
        print(kept[question.name], flush=True)  # noqa: T201 - what a benchmark is for
        asked.table.write_text(_text(kept))


def _answer(question: Question, real: Path, work: Path) -> list[str]:
    """The cells of a question's row."""
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    arguments = ["-m", *question.prepare(real, work, _tlsweep), f"output_dir={work / 'out'}"]
    _tlsweep([*arguments, "study=s", "record=none"])
    verdict = json.loads((work / "out" / "s" / "verdict.json").read_text())
    r, controls = verdict["recommended"], verdict["controls"]
    beside = [f"{name} {_score(verdict, c)}" for name, c in controls.items()]
    if len({row["source"] for row in verdict["plans"]}) > 1:
        beside = [*_sources(verdict), *beside]
    beside += [_shift(verdict, one) for one in verdict["shifts"]]
    plan = " ".join(o for o in r["overrides"] if o.startswith(("plan", "source.model")))
    kept = f"{r['source']}: {plan}, {_kept_blocks(r)} of {r['n_blocks']} blocks"
    helped = "helped" if verdict["helped"] else "not shown"
    seconds = f"{time.monotonic() - began:.0f}"
    return [question.name, kept, _score(verdict, verdict), "; ".join(beside), helped, seconds]


def _kept_blocks(recommended: dict[str, Any]) -> int:
    return sum(state not in ("fresh", "dropped") for state in recommended["states"])


def _score(verdict: dict[str, Any], one: dict[str, Any]) -> str:
    measure, (low, high) = verdict["measure"], one["interval"]
    score, low, high = (f"{measure['times'] * x:.1f}" for x in (one["score"], low, high))
    return f"{score} ({low} to {high})"


def _sources(verdict: dict[str, Any]) -> list[str]:
    """The best plan of each source, out of fold, and its chance to hold the best one."""
    times, found = verdict["measure"]["times"], []
    for source in dict.fromkeys(row["source"] for row in verdict["plans"]):
        own = [row for row in verdict["plans"] if row["source"] == source and row["candidate"]]
        best = max(own, key=lambda row: float(row["out_of_fold"]))
        chance = sum(row["p_best"] for row in own)
        found.append(
            f"{source}: {best['plan']} {best['cut']}, {times * best['out_of_fold']:.1f} held out,"
            f" chance {chance:.2f}"
        )
    return found


def _shift(verdict: dict[str, Any], one: dict[str, Any]) -> str:
    times = verdict["measure"]["times"]
    own = f"{one['name']} {_score(verdict, one['recommended'])}"
    gain = one["gain"]
    low, high = (f"{times * gain[end]:+.1f}" for end in ("low", "high"))
    other = f"{one['cut']} {_score(verdict, one['other'])}, {times * gain['score']:+.1f}"
    return f"{own}, best there {other} ({low} to {high})"


def _tlsweep(arguments: list[str]) -> str:
    """What a command printed. Networks of one's own are those of this folder."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    line = [sys.executable, "-m", "tlsweep", *arguments]
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(line)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _kept(table: Path) -> dict[str, str]:
    """The lines that the table has, by their questions."""
    if not table.exists():
        return {}
    lines = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0].strip("| "): line for line in lines[2:]}


def _text(kept: dict[str, str]) -> str:
    from machine import machine

    rows = [kept[q.name] for q in QUESTIONS if q.name in kept]
    note = f"{len(rows)} of {len(QUESTIONS)} questions. {machine()}."
    head = [_line(COLUMNS), _line(["---"] * len(COLUMNS))]
    return "\n".join([ABOUT, note, "", *head, *rows, ""])


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/verdicts", description=__doc__)
    parser.add_argument("--only", help="questions whose name holds this")
    parser.add_argument("--again", action="store_true", help="those that have a line, too")
    parser.add_argument("--table", type=Path, default=TABLE, help="another file")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "outputs" / "verdicts", help="where sweeps are kept"
    )
    return parser.parse_args()


main()
