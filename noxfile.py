"""The project's checks. All sessions use one environment of about 6 GB, made once in .nox/."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "imports", "tests", "services"]
nox.options.default_venv_backend = "none"  # the one environment below serves every session

ENVIRONMENT = Path(".nox/one").resolve()
PYTHON = ENVIRONMENT / "bin" / "python"
PYTHONS = ("3.11", "3.12", "3.13")


def _environment(session: nox.Session) -> None:
    """Make the environment, or bring it up to date if pyproject.toml has changed since."""
    wanted = hashlib.sha256(Path("pyproject.toml").read_bytes()).hexdigest()
    mark = ENVIRONMENT / "made-from"
    if mark.exists() and mark.read_text() == wanted:
        return
    if not PYTHON.exists():
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    # torch and torchvision in one command, so that they come as a matched pair
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet"]
    session.run(*pip, "torch", "torchvision", "-e", ".[dev]", external=True)
    mark.write_text(wanted)


def _run(session: nox.Session, module: str, *arguments: str) -> None:
    _environment(session)
    session.run(str(PYTHON), "-m", module, *arguments, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    _run(session, "ruff", "check", ".")
    _run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    _run(session, "mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Imports run one way."""
    _environment(session)
    session.run(str(ENVIRONMENT / "bin" / "lint-imports"), external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the slow ones, the zoo's, the fuzz, and those of services."""
    _side_by_side(session, "not zoo and not slow and not fuzz and not services and not slurm")


@nox.session
def services(session: nox.Session) -> None:
    """Studies on a real PostgreSQL server, which the tests start; skipped where there is none."""
    _environment(session)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet"]
    session.run(*pip, "-e", ".[postgres,grpc]", external=True)
    _run(session, "pytest", "-m", "services", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """A sweep whose workers are jobs of a real Slurm, which the tests start, as root."""
    _run(session, "pytest", "-m", "slurm", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Sweeps that are killed at random until they end: two hundred kills, or twenty minutes."""
    _environment(session)
    session.run(str(PYTHON), "tests/benchmarks/soak", *session.posargs, external=True)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that take longest: whole sweeps, kills, minutes, several devices, benchmarks."""
    _side_by_side(session, "slow")


def _side_by_side(session: nox.Session, chosen: str) -> None:
    # one thread each: many tests wait for a process to start; a file's tests share their sweep
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    workers = ["-n", "auto", "--maxprocesses", "8", "--dist", "loadfile"]
    _run(session, "pytest", "-m", chosen, *workers, *session.posargs)


@nox.session
def zoo(session: nox.Session) -> None:
    """Every cut point of every torchvision classification model; then the table of all zoos.

    Hours: models that have a row in tests/benchmarks/zoo.md are passed over (`-- --again`: not).
    """
    _run(session, "pytest", "-m", "zoo", "-s")  # -s: it prints its count
    session.run(str(PYTHON), "tests/benchmarks/zoo", *session.posargs, external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten thousand command lines through the door (half an hour; TLSWEEP_FUZZ=N)."""
    _run(session, "pytest", "-m", "fuzz", "-s", *session.posargs)  # -s: it prints its counts


@nox.session
def smoke(session: nox.Session) -> None:
    """A wheel, installed outside this checkout under every Python that is supported and here.

    The quickstart's survey, and what its model says of an image (minutes, and gigabytes, each).
    """
    _environment(session)
    built = Path(session.create_tmp()).resolve()
    pip = [str(PYTHON), "-m", "pip"]
    session.run(*pip, "wheel", "--quiet", "--no-deps", "-w", str(built), ".", external=True)
    (wheel,) = built.glob("*.whl")
    found = {version: _python(version) for version in PYTHONS}
    for version, python in found.items():
        if python is None:
            session.warn(f"no Python {version} here")
            continue
        _smoke(session, python, wheel, built / version)
        session.log(f"Python {version}: passed")
    wheel.unlink()
    if not any(found.values()):
        session.error(f"none of Python {', '.join(PYTHONS)} is here")


def _python(version: str) -> str | None:
    """An interpreter of this version that runs: a name alone may be a shim without one."""
    name = shutil.which(f"python{version}")
    runs = name and subprocess.run([name, "-c", ""], check=False, capture_output=True)
    return name if runs and runs.returncode == 0 else None


def _smoke(session: nox.Session, python: str, wheel: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    session.run(python, "-m", "venv", str(place / "venv"), external=True)
    own, work = str(place / "venv" / "bin" / "python"), place / "work"
    work.mkdir()
    pip = [own, "-m", "pip", "install", "--quiet"]
    session.run(*pip, "torch", "torchvision", str(wheel), external=True)
    with session.chdir(work):
        env = {"PYTHONPATH": "", "PYTHONWARNINGS": "default"}
        for line in (
            ["--help"],
            ["cuts", "source=torchvision", "source.model=resnet18"],
            ["-m", "sweep.stages=[survey]"],
        ):
            session.run(own, "-m", "tlsweep", *line, external=True, env=env)
        session.run(own, "-c", _AN_IMAGE, external=True)
        model = "model=outputs/glyphs_to_digits/model"
        said = session.run(
            own, "-m", "tlsweep", "predict", model, "3.png", external=True, env=env, silent=True
        )
    if not isinstance(said, str) or len(said.splitlines()) != 2:  # a head line, and the image's
        session.error(f"predict said: {said}")
    shutil.rmtree(place)


_AN_IMAGE = """
from PIL import Image
from sklearn.datasets import load_digits

Image.fromarray((load_digits().images[3] * 15).astype("uint8")).save("3.png")
"""


@nox.session
def audit(session: nox.Session) -> None:
    """Known holes in the installed packages. Asks a public list of them, so it needs a network."""
    _run(session, "pip", "install", "--quiet", "pip-audit")
    # our own package is no published one, and is passed over
    _run(session, "pip_audit", "--local", "--skip-editable", *session.posargs)


@nox.session
def golden(session: nox.Session) -> None:
    """Whether this tree gives the numbers of another commit: ``nox -s golden -- COMMIT``."""
    _environment(session)
    session.run(str(PYTHON), "tests/golden", *session.posargs, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Ratios to what people use today, in tables (half an hour)."""
    _run(session, "pip", "install", "--quiet", "-e", ".[bench]")
    session.run(str(PYTHON), "tests/benchmarks", *session.posargs, external=True)


@nox.session
def truth(session: nox.Session) -> None:
    """Whether the verdict's rule finds the truth, into tests/benchmarks/truth.md (half an hour)."""
    _environment(session)
    session.run(str(PYTHON), "tests/benchmarks/truth", "--write", *session.posargs, external=True)
