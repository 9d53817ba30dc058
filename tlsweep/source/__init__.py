"""Sources: the models that transfer starts from.

A source is one file that yields a model and its preprocessing.
"""

from tlsweep.source.base import Progress, Source
from tlsweep.source.registry import (
    carried,
    carry_files,
    check_source,
    dissect,
    input_spec,
    open_architecture,
    open_source,
)
from tlsweep.source.untrained import refuse_weights, untrained

__all__ = [
    "Progress",
    "Source",
    "carried",
    "carry_files",
    "check_source",
    "dissect",
    "input_spec",
    "open_architecture",
    "open_source",
    "refuse_weights",
    "untrained",
]
