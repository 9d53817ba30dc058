"""Starts ``python -m tlsweep`` in a new process with the libraries imported: seconds each saved.

Reads one command a line (JSON: arguments, env, cwd, out, err) and writes its exit code. Nothing of
tlsweep is imported before the fork, so each command is a first one.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from typing import NoReturn

LIBRARIES = (
    "hydra", "jinja2", "matplotlib.figure", "mlflow", "mlflow.tracking", "optuna", "pandas",
    "PIL.Image", "pytorch_lightning", "rich", "scipy.stats", "sklearn.datasets", "torch._dynamo",
    "torch.utils.flop_counter", "torchvision",
)  # fmt: skip


def main() -> None:
    """Serve until the input ends."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as tlsweep does before it imports MLflow
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(**json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def become(arguments: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> NoReturn:
    """Be the command from here on, to the end of the process."""
    for path, number in ((os.devnull, 0), (out, 1), (err, 2)):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["tlsweep", *arguments]
    sys.path[0] = cwd  # as python -m has it
    runpy.run_module("tlsweep", run_name="__main__", alter_sys=True)
    raise SystemExit(0)


if __name__ == "__main__":
    main()
