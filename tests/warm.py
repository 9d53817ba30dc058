"""Runs ``python ...`` in a new process with the libraries imported: seconds each saved.

``Warm`` is what tests call. The file itself, as a program, reads one command a line (JSON:
arguments, env, cwd, out, err) and writes its exit code. Nothing of tlsweep is imported before the
fork, so each command is a first one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "hydra", "jinja2", "matplotlib.figure", "mlflow", "mlflow.tracking", "optuna", "pandas",
    "PIL.Image", "pytorch_lightning", "rich", "scipy.stats", "sklearn.datasets", "torch._dynamo",
    "torch.utils.flop_counter", "torchvision",
)  # fmt: skip


class Warm:
    """A process that has imported the libraries, and forks for each command.

    folder: where what commands say is kept while they run.
    """

    def __init__(self, folder: Path) -> None:
        self.out, self.err = folder / "out", folder / "err"
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(
        self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path
    ) -> subprocess.CompletedProcess[str]:
        """``python`` with these arguments: ``-m MODULE ...``, ``-c CODE ...`` or ``FILE ...``."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        wanted = {"arguments": [*arguments], "env": dict(env), "cwd": str(cwd)}
        said = {"out": str(self.out), "err": str(self.err)}
        self.server.stdin.write(json.dumps({**wanted, **said}) + "\n")
        self.server.stdin.flush()
        code = int(self.server.stdout.readline())
        texts = self.out.read_text(), self.err.read_text()
        return subprocess.CompletedProcess(arguments, code, *texts)

    def close(self) -> None:
        """End it: its input is at its end."""
        self.server.communicate()


def main() -> None:
    """Serve until the input ends."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as tlsweep does before it imports MLflow
    for name in LIBRARIES:
        importlib.import_module(name)
    # else each child looks at every object when it ends, which copies all memory: two seconds each
    gc.collect()
    gc.freeze()
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
    first, *rest = arguments
    here = cwd if first in ("-m", "-c") else str(Path(first).parent)
    sys.path[:1] = [here, *env.get("PYTHONPATH", "").split(os.pathsep)]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(rest[0], {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")
    raise SystemExit(0)


if __name__ == "__main__":
    main()
