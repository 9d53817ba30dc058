"""Activations at cut points, kept on disk: computed once, found by every trial and process."""

from tlsweep.features.entry import Meta, Spec, Stored
from tlsweep.features.key import Key, rows_digest
from tlsweep.features.refused import NotStored, size_text
from tlsweep.features.room import Room
from tlsweep.features.shelf import Kept
from tlsweep.features.store import Store, open_store
from tlsweep.features.writer import Writer

__all__ = [
    "Kept",
    "Key",
    "Meta",
    "NotStored",
    "Room",
    "Spec",
    "Store",
    "Stored",
    "Writer",
    "open_store",
    "rows_digest",
    "size_text",
]
