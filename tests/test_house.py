"""The house: functions that fit a screen, and no config below the door."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "tlsweep"
LONGEST = 40  # lines of a function's body
# these open, resolve or compose what a config describes; below them nobody reads it whole
DOOR = ("api", "cli", "commands", "config")
ABOVE = ("stages", "trial")
FLAT = 12


WHOLE = "from tlsweep.config.settings import"  # components have Settings of their own


def functions(having: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Room and function; having: what the text of a file holds."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if having not in file.read_text():
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield str(file.relative_to(PACKAGE).with_suffix("")), node


def body_lines(function: ast.FunctionDef) -> int:
    """Without the signature and the docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    last = function.end_lineno or function.lineno
    return last - body[0].lineno + 1 if body else 0


def takes_settings(function: ast.FunctionDef) -> bool:
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    written = [ast.unparse(one.annotation) for one in given if one.annotation is not None]
    return any(text in ("Settings", "config.Settings") for text in written)


def test_every_function_fits_a_screen() -> None:
    found = {f"{room}.{f.name}": body_lines(f) for room, f in functions()}
    assert len(found) > 500
    assert {name: lines for name, lines in found.items() if lines > LONGEST} == {}


def test_below_trial_and_sweep_nothing_takes_the_whole_settings() -> None:
    taking = {room for room, f in functions(WHOLE) if takes_settings(f)}
    rooms = {room.split("/")[0] for room in taking}
    assert "trial" in rooms  # the premise: the count counts
    assert rooms <= {*DOOR, *ABOVE}


def test_few_files_lie_outside_of_a_room() -> None:
    flat = {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert {"cli.py", "question.py"} < flat
    assert len(flat) <= FLAT


def private_names(code: str) -> list[str]:
    """Private names of tlsweep that are imported, or that a text names as monkeypatch reads it."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [name for name in found if re.match(r"tlsweep\.([a-z]\w*\.)*_[a-z]", name)]


def test_no_test_reaches_for_a_private_name_of_ours() -> None:
    """Attributes are ruff's to find (SLF001)."""
    code = "from tlsweep.plan import _a, b; patch('tlsweep.cut.flow._c.d', 'tlsweep.cut.e')"
    assert private_names(code) == ["tlsweep.plan._a", "tlsweep.cut.flow._c.d"]
    reaching = {str(file): private_names(file.read_text()) for file in TESTS.rglob("*.py")}
    reaching.pop(__file__)
    assert {file: names for file, names in reaching.items() if names} == {}


def contracts(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Import contracts of a copy of this package."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the contracts are about."""
    for name in ("tlsweep", "hydra_plugins"):
        shutil.copytree(PACKAGE.parent / name, tmp_path / name)
    shutil.copy(PACKAGE.parent / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_are_kept(checkout: Path) -> None:
    done = contracts(checkout)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("stages/story.py", "import mlflow", "MLflow BROKEN"),
        (
            "trial/run.py",
            "from mlflow import entities",
            "MLflow BROKEN",
        ),
        ("cut/flow.py", "import mlflow.tracking", "MLflow BROKEN"),
        ("stages/budget.py", "import optuna", "Optuna BROKEN"),
        ("target/base.py", "import tlsweep.trial", "the words BROKEN"),
        ("attic.py", "", "the words BROKEN"),
    ],
)
def test_an_import_that_goes_another_way_breaks_a_contract(
    module: str, line: str, broken: str, checkout: Path
) -> None:
    file = checkout / "tlsweep" / module
    file.write_text((file.read_text() if file.exists() else "") + f"\n{line}\n")
    done = contracts(checkout)
    assert done.returncode == 1
    assert broken in done.stdout
