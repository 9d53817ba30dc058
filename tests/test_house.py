"""The house: functions that fit a screen, and no config below the door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tlsweep"
LONGEST = 40  # lines of a function's body
# these open, resolve or compose what a config describes; below them nobody reads it whole
DOOR = ("api", "cli", "config", "cuts_command", "reproduce_command", "session")
SWEEP = ("check", "confirm", "contenders", "final", "gather", "guide", "story", "take_home")
TRIAL = ("resolved", "trial")


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for file in sorted(PACKAGE.rglob("*.py")):
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
    taking = {room for room, f in functions() if takes_settings(f)}
    rooms = {room.split("/")[0] for room in taking}
    assert "trial" in rooms  # the premise: the count counts
    assert rooms <= {*DOOR, *SWEEP, *TRIAL}
