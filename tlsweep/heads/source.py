"""The head "source": the source's own classifier, for those of its classes that are asked for.

Its layers are no new ones: they are handed over with their weights (``Head(own=...)``). They read
activations as the source makes them, so nothing is pooled or standardised.
"""

from __future__ import annotations

READS = ("features, pooled already", "tokens", "maps")
OWN = True


def rows(class_names: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    """The outputs of a classifier that stand for these classes. Raises KeyError for others."""
    place = {name: row for row, name in enumerate(class_names)}
    return [place[name] for name in wanted]


def unknown(class_names: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    """Those of ``wanted`` that no one output stands for: it has no such name, or several."""
    return [name for name in wanted if class_names.count(name) != 1]
