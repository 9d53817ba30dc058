"""The model to take home: a folder with a plan's network, and all that is needed to use it."""

from tlsweep.model.card import PROGRAM, WEIGHTS, Card, read_card
from tlsweep.model.export import FORMATS, NotExported, export_all, export_model
from tlsweep.model.read import load_model
from tlsweep.model.taken import TakenModel
from tlsweep.model.write import MODEL, write_model

__all__ = [
    "FORMATS",
    "MODEL",
    "PROGRAM",
    "WEIGHTS",
    "Card",
    "NotExported",
    "TakenModel",
    "export_all",
    "export_model",
    "load_model",
    "read_card",
    "write_model",
]
