"""One turn of ``turns.py``: three things timed in this process. Runs in older trees, too."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from hydra import compose, initialize_config_dir

from tlsweep.trial import resolve, train_plan

try:
    from tlsweep.config.read import read
    from tlsweep.survey import surveyor
except ImportError:  # the names of before
    from tlsweep import surveyor  # type: ignore[attr-defined, no-redef, unused-ignore]
    from tlsweep.config import read  # type: ignore[no-redef, attr-defined, unused-ignore]

EPOCHS = 6
REPEATS = 3  # of a second or two each: one alone tells more of the machine than of the tree


def settings(conf: Path, folder: str, *overrides: str) -> Any:
    """A question about the quickstart's source and target."""
    own = ("target.fit_size=300", "features.budget_gb=0", f"output_dir={folder}", "record=none")
    with initialize_config_dir(str(conf), version_base="1.3"):
        return read(compose("config", overrides=[*own, *overrides]))


def main() -> None:
    """Print seconds by name. The first argument is the tree's conf/."""
    conf = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        asked = settings(conf, folder)
        inputs = resolve(asked).inputs  # opened before anything is timed
        plan = ("plan=finetune", f"train.epochs={EPOCHS}", "train.settle=false")
        phases = ("schedule=two_phase", f"schedule.epochs={EPOCHS - 1}")
        timed: dict[str, Callable[[], object]] = {
            "survey": lambda: surveyor.survey(inputs, asked.sweep.survey, None, lambda *_: None),
            "trained epochs": lambda: train_plan(resolve(settings(conf, folder, *plan)), None),
            "first phase": lambda: train_plan(
                resolve(settings(conf, folder, *plan, *phases)), None
            ),
        }
        found = {}
        for name, action in timed.items():
            found[name] = median(_seconds(action) for _ in range(REPEATS))
    print(json.dumps(found))  # noqa: T201


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
