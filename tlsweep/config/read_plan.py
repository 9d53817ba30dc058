"""The plan that a config describes, in the cut points of one source. Loads no weights."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import TYPE_CHECKING

from tlsweep.config.sections import PlanSettings
from tlsweep.errors import Fault, Refusal, together
from tlsweep.plan import TransferPlan, as_written, monotone
from tlsweep.section import Region
from tlsweep.terms import BlockState

if TYPE_CHECKING:
    from tlsweep.cut import BlockLayers, CutPoints


def read_plan(
    settings: PlanSettings, cuts: CutPoints, layers: Collection[BlockLayers]
) -> TransferPlan:
    """The plan that a config describes.

    layers: of each block. Raises Refusal for unknown cut points and blocks, for points out of
    order, for regions that cannot be what they are to be, and for a part that would start at a cut
    point that is good for its prefix only.
    """
    index = _indices(settings, cuts)
    plan = monotone(**index, n_blocks=cuts.n_blocks, random_weights=settings.weights == "random")
    wanted, faults = {}, list[Refusal]()
    for key, written in settings.regions.items():
        try:
            wanted[key] = _blocks(cuts, key, written, plan)
        except Refusal as refusal:
            faults.append(refusal)
    if faults:
        raise together(*faults)
    plan = _Regions(settings, cuts, tuple(layers), plan, wanted).changed()
    if faults_of_starts := _no_start(settings, cuts, plan):
        raise Refusal(*faults_of_starts)
    return plan


def _no_start(settings: PlanSettings, cuts: CutPoints, plan: TransferPlan) -> list[Fault]:
    """The faults of parts that start where none can: blocks on both sides are in another state."""
    states = plan.states[: plan.regrow]
    parted = [i for i, pair in enumerate(pairwise(states), start=1) if pair[0] != pair[1]]
    return [
        Fault(
            f"plan={settings.name}: {cuts.names[i]} is {states[i - 1]} and {cuts.names[i + 1]} is"
            f" {states[i]}",
            f"{cuts.names[i]} is good for its prefix only: a head may stand on it, and no other"
            " part may start there",
            f"a plan that changes at {cuts.below(i).name} or {cuts.above(i).name}, or"
            f" plan=truncate plan.keep={cuts.names[i]}",
        )
        for i in parted
        if not cuts[i].starts
    ]


def _indices(settings: PlanSettings, cuts: CutPoints) -> dict[str, int]:
    faults: list[Refusal] = []
    index: dict[str, int] = {}
    refused = set()  # plan.freeze and plan.regrow often follow plan.keep: said once
    for name in ("keep", "freeze", "regrow"):
        written = getattr(settings, name)
        try:
            share = _share(written) if name == "freeze" else None
            if share is not None and "keep" in index:
                blocks = int(share * index["keep"] + 1e-9)  # 29 % of 100 are 29
                index[name] = blocks if share == 1 else cuts.below(blocks).index
            else:
                index[name] = cuts.resolve(written, where=f"plan.{name}").index
        except Refusal as refusal:
            if written not in refused:
                faults.append(refusal)
            refused.add(written)
    if faults:
        raise together(*faults)
    return index


def _share(written: str | int | float) -> float | None:
    """The share of the kept blocks that ``75%`` is, at most; None for other spellings.

    Raises Refusal where it is more than all of them.
    """
    number = str(written).strip().removesuffix("%")
    if not str(written).strip().endswith("%") or not number.replace(".", "", 1).isdigit():
        return None
    if float(number) <= 100:
        return float(number) / 100
    raise Refusal(
        Fault(
            f"plan.freeze={written}",
            "a share of the kept blocks lies between 0% and 100%",
            "plan.freeze=100% freezes all that is kept",
        )
    )


# ---------------------------------------------------------------------- regions
_STATES = {
    "drop": BlockState.DROPPED,
    "tune": BlockState.TUNED,
    "adapt": BlockState.ADAPTED,
}


def _blocks(cuts: CutPoints, key: str, written: Region, plan: TransferPlan) -> list[int]:
    """The blocks of a region; ``all`` are all that are kept."""
    from tlsweep.cut import region as blocks_of

    if written == "all":
        return list(plan.kept)
    return blocks_of(cuts, written, f"plan.{key}")


class _Regions:
    """The regions of a plan, and what must hold of them."""

    def __init__(
        self,
        settings: PlanSettings,
        cuts: CutPoints,
        layers: tuple[BlockLayers, ...],
        plan: TransferPlan,
        wanted: dict[str, list[int]],
    ) -> None:
        self.settings, self.cuts, self.layers = settings, cuts, layers
        self.plan, self.wanted = plan, wanted

    def changed(self) -> TransferPlan:
        """The plan with its regions. Raises Refusal with every broken rule."""
        faults = [*self._kept(), *self._one_state()]
        faults = faults or [*self._tuned(), *self._dropped(), *self._adapted()]
        if faults:
            raise Refusal(*faults)
        plan = self.plan
        for key, blocks in self.wanted.items():
            plan = plan.with_blocks(blocks, _STATES[key])
        return TransferPlan(
            plan.states, plan.random_weights, self.settings.rank, self.settings.scale
        )

    def _kept(self) -> list[Fault]:
        kept = [*self.plan.learned]
        return [
            Fault(
                f"plan.{key}={self._written(key)} with {self._base}",
                "a region lies within the blocks that are kept of the source's",
                f"plan.{key}={self._named(kept)}" if kept else f"plan.{key}=null",
            )
            for key, blocks in self.wanted.items()
            if not blocks or not set(blocks) <= set(kept)
        ]

    def _one_state(self) -> list[Fault]:
        keys = list(self.wanted)
        return [
            Fault(
                f"plan.{one}={self._written(one)} plan.{other}={self._written(other)}",
                f"a block has one state, and {self._named(both)} would have two",
                f"leave {self._named(both)} out of one of them",
            )
            for place, one in enumerate(keys)
            for other in keys[place + 1 :]
            if (both := sorted(set(self.wanted[one]) & set(self.wanted[other])))
        ]

    def _tuned(self) -> list[Fault]:
        blocks, given = self.wanted.get("tune", []), f"plan.tune={self._written('tune')}"
        if not set(blocks) <= set(self.plan.blocks(BlockState.FROZEN)):
            return [
                Fault(
                    f"{given} with {self._base}",
                    "plan.tune names blocks to train among those that plan.freeze holds frozen",
                    f"plan=surgical {given}, which freezes all others",
                )
            ]
        if blocks and not any(self._trains(i) for i in blocks):
            may = self._named([i for i in self.plan.learned if self._trains(i)])
            rule = "a region that is trained has parameters"
            return [Fault(f"{given}: it has none", rule, f"plan.tune with some of {may}")]
        return []

    def _trains(self, block: int) -> bool:
        return bool(self.layers[block].shapes or self.layers[block].others)

    def _dropped(self) -> list[Fault]:
        blocks, cuts = self.wanted.get("drop", []), self.cuts
        faults = []
        if blocks and blocks[-1] + 1 == self.plan.regrow:
            lowest = next(i for i in reversed(range(-1, blocks[-1])) if i not in blocks)
            faults.append(
                Fault(
                    f"plan.drop={self._written('drop')} with {self._base}",
                    "plan.drop leaves out blocks below one that is kept",
                    f"plan=truncate_tuned plan.keep={cuts[lowest + 1].name}",
                )
            )
        wrong = [i for i in blocks if not droppable(cuts, i)]
        if wrong:
            shapes = f"{cuts[wrong[0]].shape} into {cuts[wrong[0] + 1].shape}"
            may = [
                cuts[i + 1].name
                for i in range(self.plan.regrow - 1)
                if droppable(cuts, i) and stands_alone(cuts, i)
            ]
            faults.append(
                Fault(
                    f"plan.drop={self._written('drop')}: {cuts[wrong[0] + 1].name} makes {shapes}",
                    "a block can be left out where its output has the shape of its input",
                    f"plan.drop with some of {', '.join(may)}" if may else "plan.drop=null: none",
                )
            )
        return faults

    def _adapted(self) -> list[Fault]:
        blocks = self.wanted.get("adapt", [])
        if not blocks or any(self.layers[i].shapes for i in blocks):
            return []
        fit = [i for i in self.plan.learned if self.layers[i].shapes]
        return [
            Fault(
                f"plan.adapt={self._written('adapt')}",
                "an addition fits linear layers and ungrouped convolutions; there are none",
                f"plan.adapt={self._named(fit)}" if fit else "plan=finetune",
            )
        ]

    # ------------------------------------------------------------------ words
    def _written(self, key: str) -> str:
        written = self.settings.regions.get(key, "null")
        if isinstance(written, str | int):
            return str(written)
        return f"[{','.join(map(str, written))}]"

    def _named(self, blocks: Collection[int]) -> str:
        return as_written(blocks, self.cuts.names[1:])

    @property
    def _base(self) -> str:
        s = self.settings
        return f"plan={s.name} plan.freeze={s.freeze} plan.keep={s.keep}"


def droppable(cuts: CutPoints, block: int) -> bool:
    """Whether what is before a block can go on behind it: the same shape, channels at one place."""
    before, after = cuts[block], cuts[block + 1]
    return (before.shape, before.channel_dim) == (after.shape, after.channel_dim)


def stands_alone(cuts: CutPoints, block: int) -> bool:
    """Whether a plan may do with a block what it does not do with its neighbours."""
    return cuts[block].starts and cuts[block + 1].starts
