"""What a trial is and costs: one typed value, and its one JSON form. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlsweep.plan import TransferPlan, region, runs_of, spelled
from tlsweep.terms import BlockState

NEVER_THAWED = "never thawed"  # a state, in words, of blocks whose phase never came
LAYOUT = 3  # of the JSON form: raise it when one of before can no longer be read


@dataclass(frozen=True)
class Facts:
    """A plan in the cut points of its source, with its settings and its cost.

    name: of the kind of plan (``truncate``); cuts: names of the source's cut points, from the input
    up; source: what it is called; kept_parameters: that start from what the source has learned;
    flops: of a forward pass, an image, without the head; probe_penalty: of a linear head at its
    optimum, None where something is trained by epochs; augmentation: in words; fold: what was held
    out, None for nothing; adapted_layers, frozen_layers: of adapted blocks, those that have
    additions, and those that have none; not_thawed: the blocks that the schedule would have thawed,
    had training not ended before: they are frozen in ``plan``, which is what was trained.
    """

    name: str
    plan: TransferPlan
    cuts: tuple[str, ...]
    source: str
    kept_parameters: int
    trained_parameters: int
    flops: int
    lr: float
    lr_ratio: float
    head: str
    probe_penalty: float | None
    augmentation: str
    seed: int
    fold: int | None
    adapted_layers: int = 0
    frozen_layers: int = 0
    not_thawed: tuple[int, ...] = ()

    # ------------------------------------------------------------------ names
    @property
    def freeze_name(self) -> str:
        """Name of the cut point below which nothing is trained."""
        return self.cuts[self.plan.freeze]

    @property
    def keep_name(self) -> str:
        """Name of the cut point up to which the source is kept."""
        return self.cuts[self.plan.keep]

    @property
    def regrow_name(self) -> str:
        """Name of the cut point that the head stands on."""
        return self.cuts[self.plan.regrow]

    @property
    def regions(self) -> dict[str, str]:
        """What the three cut points do not say, by state: ``{"tuned": "block2..block3"}``."""
        never = region(runs_of(self.not_thawed), self.cuts[1:])
        return {**spelled(self.plan, self.cuts[1:]), **({NEVER_THAWED: never} if never else {})}

    # ------------------------------------------------------------------ kinds
    @property
    def is_probe(self) -> bool:
        """Whether nothing but a linear head is trained, to its optimum."""
        return self.probe_penalty is not None

    @property
    def is_deterministic(self) -> bool:
        """Whether no seed changes what it answers."""
        return self.is_probe and not self.plan.random_weights

    @property
    def keeps_something(self) -> bool:
        """Whether something of what the source has learned is kept."""
        return bool(self.plan.learned)

    @property
    def state(self) -> str:
        """What is done with the kept blocks: ``frozen``, ``adapted`` or ``tuned``."""
        return str(self.plan.trained_state)

    @property
    def is_regrown(self) -> bool:
        """Whether there are fresh blocks."""
        return BlockState.FRESH in self.plan.states

    # ------------------------------------------------------------------ JSON
    def as_json(self) -> dict[str, Any]:
        """JSON values that ``from_json`` reads."""
        found = dataclasses.asdict(self)
        plan = found.pop("plan")
        states = [str(state) for state in plan.pop("states")]
        lists = {"cuts": list(self.cuts), "not_thawed": list(self.not_thawed)}
        return {"layout": LAYOUT, **found, **lists, **plan, "states": states}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Facts:
        """Raises ValueError for what was written by another version, or by nobody of ours."""
        fields = dict(found)
        try:
            if fields.pop("layout") != LAYOUT:
                raise ValueError("facts of another layout")
            states = tuple(BlockState(state) for state in fields.pop("states"))
            plan = TransferPlan(
                states, **{key: fields.pop(key) for key in ("random_weights", "rank", "scale")}
            )
            lists = {
                "cuts": tuple(fields["cuts"]),
                "not_thawed": tuple(fields.get("not_thawed", ())),
            }
            return cls(plan=plan, **{**fields, **lists})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the facts of a trial: {error}") from error
