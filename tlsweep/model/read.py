"""A model folder, read."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors import torch as safetensors

from tlsweep.errors import Fault, Refusal
from tlsweep.files import at_home
from tlsweep.model.build import build
from tlsweep.model.card import WEIGHTS, read_card
from tlsweep.model.taken import TakenModel
from tlsweep.train.network import PlanNetwork


def load_model(folder: str | Path) -> TakenModel:
    """The model in a folder that a sweep wrote, on the CPU, in eval mode.

    Nothing in the folder is run: the network is built from the architecture's name, and the weights
    are loaded into it strictly. Raises Refusal for a folder that is not one, or was changed.
    """
    folder = Path(at_home(str(folder)))
    card = read_card(folder)
    network = build(card)
    load_weights(network, folder)
    return TakenModel(network, card)


def load_weights(network: PlanNetwork, folder: Path) -> None:
    """Load a folder's weights into the network that its card describes."""
    try:
        safetensors.load_model(network, folder / WEIGHTS, strict=True)
    except (RuntimeError, SafetensorError) as error:
        raise Refusal(
            Fault(
                f"model={folder} ({error})",
                f"{WEIGHTS} holds exactly the weights of the network that model.json describes",
                "the versions that model.json names, or have the sweep write the folder again",
            )
        ) from error
    network.eval()
