"""``python -m tlsweep help TOPIC``: the pages of the manual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsweep.errors import Fault, Refusal, nearest, unknown_name

MANUAL = Path(__file__).resolve().parents[1] / "manual"


def run(arguments: Sequence[str], conf: Path) -> None:
    """Print the page of a topic, or, without one, all topics with a line each.

    Laid out on a terminal, as it is written (Markdown) elsewhere. Raises Refusal for a topic that
    there is not, and for more than one.
    """
    if len(arguments) > 1:
        rule = "help shows one topic, or without a topic the list of all"
        mend = f"python -m tlsweep help {arguments[0]}"
        raise Refusal(Fault(f"help {' '.join(arguments)}", rule, mend))
    _show(_page(arguments[0]) if arguments else _list())


def topics() -> tuple[str, ...]:
    """The topics of the manual, as ``help`` takes them."""
    return tuple(sorted(file.stem for file in MANUAL.glob("*.md")))


def summary(topic: str) -> str:
    """What a page is about: the sentence below its title."""
    lines = (MANUAL / f"{topic}.md").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines[1:] if line.strip())


def _page(topic: str) -> str:
    known = topics()
    if topic not in known:
        fault = unknown_name("topic of the manual", "topic", topic, known)
        near = nearest(topic, known)
        mend = f"python -m tlsweep help {near}" if near else "python -m tlsweep help"
        raise Refusal(Fault(f"help {topic}", fault.rule, mend))
    return (MANUAL / f"{topic}.md").read_text(encoding="utf-8")


def _list() -> str:
    lines = [f"- `{topic}`: {summary(topic)}" for topic in topics()]
    return "\n".join(
        ["# Manual", "", "`python -m tlsweep help TOPIC` shows one of these pages:", "", *lines]
    )


def _show(text: str) -> None:
    from rich.markdown import Markdown
    from rich.text import Text

    from tlsweep import screen

    if screen.console.is_terminal:
        # links lead to files beside the page: the terminal shows where
        screen.console.print(Markdown(text, hyperlinks=False))
    else:
        screen.console.print(Text(text.rstrip()), soft_wrap=True)
