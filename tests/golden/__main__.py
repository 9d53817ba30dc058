"""``python tests/golden COMMIT``: does this tree give the numbers that COMMIT gives?

Both run side by side on one machine in one environment from one source checkpoint, so that a
difference comes from the code. What is meant to change is named with ``--but``, a part of a value's
name; all else must be equal. Exit 1 where it is not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from rich.console import Console  # noqa: E402
from scenarios import SCENARIOS, Scenario  # noqa: E402
from values import Values, differences, values_of  # noqa: E402

SHOWN = 20  # differences of a scenario
SCORES = ("  accuracy", "  loss")  # the lines that hold them


def main() -> int:
    """Compare; the exit code."""
    asked, console = _arguments(), Console(width=160)
    wrong = 0
    with TemporaryDirectory() as folder:
        work = Path(folder)
        old_tree = work / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(old_tree), asked.commit)
        try:
            for scenario in SCENARIOS:
                if asked.only and asked.only not in scenario.name:
                    continue
                began = time.monotonic()
                old = _run(old_tree, scenario, work)
                new = _run(ROOT, scenario, work)
                found = [d for d in differences(old, new) if not any(b in d for b in asked.but)]
                wrong += len(found)
                word = f"{len(found)} differ" if found else "equal"
                seconds = time.monotonic() - began
                console.print(f"{scenario.name}: {len(old)} values, {word}; {seconds:.0f} s")
                for line in found[:SHOWN]:
                    console.print(f"  {line}", markup=False, highlight=False)
        finally:
            _git("worktree", "remove", "--force", str(old_tree))
    return 1 if wrong else 0


def _run(tree: Path, scenario: Scenario, work: Path) -> Values:
    """Its values, from an empty store; the source is trained once, by whoever needs it first."""
    output, cache = work / "out", work / "cache"
    for made in (output, cache):
        shutil.rmtree(made, ignore_errors=True)
    output.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TLSWEEP", "HYDRA", "MLFLOW"))}
    env |= {"PYTHONPATH": str(tree), "TLSWEEP_CACHE": str(cache), "PYTHONHASHSEED": "0"}
    said: Values = {}
    for arguments in scenario.commands:
        mine = [*arguments, f"output_dir={output}", f"source.cache_dir={work / 'source'}"]
        done = subprocess.run(
            [sys.executable, "-m", "tlsweep", *mine],
            env=env, cwd=tree, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{tree}: {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        if arguments[0] != "-m":  # one plan leaves nothing but what it prints
            scores = [line for line in done.stdout.splitlines() if line.startswith(SCORES)]
            said[" ".join(arguments)] = "\n".join(scores)
    return {**said, **values_of(output)}


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/golden", description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD", help="to compare with; default HEAD")
    parser.add_argument("--only", help="scenarios whose name holds this")
    parser.add_argument("--but", action="append", default=[], help="names of values left out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
