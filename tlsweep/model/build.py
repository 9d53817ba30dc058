"""The network that a card describes, from the source's architecture: no weights, no pickle."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from tlsweep.errors import Fault, Refusal
from tlsweep.heads.head import Head, Pooling
from tlsweep.heads.whole import is_own
from tlsweep.model.card import PROGRAM, Card
from tlsweep.terms import BlockState
from tlsweep.train.network import PlanNetwork

if TYPE_CHECKING:
    from tlsweep.cut import CutPoints


def build(card: Card) -> PlanNetwork:
    """The network with weights of no meaning, in eval mode, to be loaded into.

    Raises Refusal where this version finds other cut points in the architecture.
    """
    from tlsweep.cut import ending
    from tlsweep.source import open_architecture
    from tlsweep.train.network import blocks_of

    plan, source, part = card.plan.plan, card.source, card.head
    kept = open_architecture(source.name, **source.options)[0]
    # as when it was trained, a fresh block shares no tensor with a kept one
    again = BlockState.FRESH in plan.states
    fresh = open_architecture(source.name, **source.options)[0] if again else kept
    cuts = _cuts_of(source.name, json.dumps(source.options))
    names = tuple(block.name for block in card.plan.blocks)
    if cuts.names[1:] != names:
        raise Refusal(_other_cuts(card))
    # which classes its outputs are is in the weights that are loaded
    outputs = len(card.output_names)
    own = ending(kept, cuts, [0] * outputs) if is_own(part.kind) else None
    head = Head(
        part.shape,
        Pooling(part.channel_dim, part.grid, part.tokens, part.bag),
        outputs,
        kind=part.kind,
        scaled=card.target.kind == "numbers",
        own=own,
        sizes=part.sizes,
    )
    network = PlanNetwork(blocks_of(plan, cuts, kept, fresh), head).eval()
    network.thaw(range(card.plan.frozen, plan.regrow))
    return network


@functools.lru_cache(maxsize=4)  # the models of several seeds or plans are of one source
def _cuts_of(name: str, options: str) -> CutPoints:
    from tlsweep.source import dissect, open_architecture

    return dissect(name, *open_architecture(name, **json.loads(options)))


def _other_cuts(card: Card) -> Fault:
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    program = f", or torch.export.load of {PROGRAM} in its folder, which needs no tlsweep"
    return Fault(
        f"a model of {card.source.model}, written with {versions}",
        "the same cut points are found in the architecture as when the model was written",
        f"those versions{program if PROGRAM in card.files else ''}",
    )
