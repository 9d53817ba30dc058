"""A question, opened and checked: source, cut points, target, partition. Nothing trains here.

Opening gathers every fault that can be known before training, from all parts, in one Refusal.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tlsweep import screen
from tlsweep.config.read_plan import droppable, read_plan, stands_alone
from tlsweep.config.sections import PlanSettings
from tlsweep.config.settings import Opening
from tlsweep.errors import Fault, Refusal, together
from tlsweep.plan import TransferPlan
from tlsweep.section import SourceSettings, TargetSettings
from tlsweep.terms import BlockState, ImageSpec, Split, TokenSpec
from tlsweep.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import nn

    from tlsweep.cut import BlockLayers, CutPoints, PrefixCost
    from tlsweep.heads.head import Head, Pooling
    from tlsweep.source import Source
    from tlsweep.target import Augmentation, Partition, Target
    from tlsweep.task import Task, Truth
    from tlsweep.train.network import PlanNetwork

T = TypeVar("T")
Progress = Callable[[int, int, str], None]
NAMED = 5  # classes in a refusal


@dataclass(frozen=True)
class Question:
    """How much of ``source`` to keep for ``target``?

    costs: of every cut point; layers: of every block; task: the target's, with the metric that
    plans are chosen by; opening: what opens the same question in another process.
    """

    source: Source
    cuts: CutPoints
    costs: tuple[PrefixCost, ...]
    layers: tuple[BlockLayers, ...]
    target: Target
    partition: Partition
    task: Task
    opening: Opening

    def plan(self, settings: PlanSettings) -> TransferPlan:
        """The plan that a config describes, in this source's cut points.

        Raises Refusal where it cannot be one (``read_plan.py``).
        """
        return read_plan(settings, self.cuts, self.layers)

    def named(self, key: str) -> tuple[str, ...]:
        """The names that ``glob(...)`` is matched with: of cut points, or of a region's blocks."""
        if key == "plan.freeze":
            return tuple(cut.name for cut in self.cuts if cut.starts)
        if key not in ("plan.tune", "plan.adapt", "plan.drop"):
            return self.cuts.names
        blocks = [i for i in range(self.cuts.n_blocks) if stands_alone(self.cuts, i)]
        if key == "plan.adapt":
            blocks = [i for i in blocks if self.layers[i].shapes]
        elif key == "plan.drop":
            blocks = [i for i in blocks if i + 1 < self.cuts.n_blocks and droppable(self.cuts, i)]
        return tuple(self.cuts.names[i + 1] for i in blocks)

    def searched(self, key: str) -> tuple[str, ...]:
        """As ``named``, for a search: its plans put parts on cut points, and not a head alone."""
        starts = {cut.name for cut in self.cuts if cut.starts}
        return tuple(name for name in self.named(key) if name in starts)

    def network(self, plan: TransferPlan, train: TrainSettings, seed: int) -> PlanNetwork:
        """The network of a plan: kept blocks with their weights, new ones drawn from ``seed``."""
        from tlsweep.train.adapt import adapt
        from tlsweep.train.network import PlanNetwork, blocks_of

        kept = self.source.fresh(seed) if plan.random_weights else self.source.model()
        fresh = self.source.fresh(seed) if plan.blocks(BlockState.FRESH) else kept
        blocks, adapted = blocks_of(plan, self.cuts, kept, fresh), plan.blocks(BlockState.ADAPTED)
        adapt(blocks, adapted, plan.rank, plan.scale, seed)
        return PlanNetwork(blocks, self.head(plan, train, seed), adapted)

    # ------------------------------------------------------------------ cost
    def flops(self, plan: TransferPlan, index: int | None = None) -> int:
        """Of a forward pass, an image, up to a cut point of the plan; None: without the head."""
        below = range(plan.regrow if index is None else index)
        return sum(self._of_block(i).flops for i in below if i not in plan.left_out)

    def kept_parameters(self, plan: TransferPlan) -> int:
        """How many parameters start from what the source has learned."""
        return sum(self._of_block(i).parameters for i in plan.learned)

    def trained_parameters(self, plan: TransferPlan, train: TrainSettings, seed: int) -> int:
        """How many parameters are trained: of blocks that are, what is added to some, the head."""
        whole = sum(self._of_block(i).parameters for i in plan.trained)
        for i in plan.blocks(BlockState.ADAPTED):
            whole += self.layers[i].added(plan.rank) - self._of_block(i).parameters
        return whole + sum(p.numel() for p in self.head(plan, train, seed).parameters())

    def untrainable(self, plan: TransferPlan) -> frozenset[int]:
        """The blocks that a plan trains and that have nothing to train, such as a pooling.

        One that no part can start with is trained as part of the block below it.
        """
        adapted = plan.blocks(BlockState.ADAPTED)
        held = {self.cuts.below(i).index for i in plan.trained if self._has_layers(i, i in adapted)}
        return plan.trained - held

    def _has_layers(self, block: int, adapted: bool) -> bool:
        layers = self.layers[block]
        return bool(layers.shapes or (layers.others and not adapted))

    def adapted_layers(self, plan: TransferPlan) -> tuple[int, int]:
        """Of the adapted blocks: layers that have additions, and layers that have none."""
        blocks = [self.layers[i] for i in plan.blocks(BlockState.ADAPTED)]
        return sum(len(b.shapes) for b in blocks), sum(b.others for b in blocks)

    def _of_block(self, block: int) -> PrefixCost:
        """What one block costs beside those below it."""
        before, after = self.costs[block], self.costs[block + 1]
        return dataclasses.replace(
            after,
            parameters=after.parameters - before.parameters,
            flops=after.flops - before.flops,
        )

    def head(self, plan: TransferPlan, train: TrainSettings, seed: int) -> Head:
        """The head of a plan, its weights drawn from ``seed``."""
        import torch

        from tlsweep.heads.head import Head
        from tlsweep.heads.whole import is_own

        shape, pooling = self.cuts[plan.regrow].shape, self.pooling(plan.regrow, train)
        scaled = self.task.kind == "numbers"
        own = self.own_classifier() if is_own(train.head) else None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return Head(
                shape,
                pooling,
                self.task.n_outputs,
                kind=train.head,
                scaled=scaled,
                own=own,
                sizes=train.head_sizes,
                dropout=train.dropout,
            )

    def own_classifier(self) -> nn.Module | None:
        """The source's own, for the target's classes; None where it cannot be taken apart.

        Raises KeyError for classes that the source does not name.
        """
        from tlsweep.cut import ending
        from tlsweep.heads.source import rows

        places = rows(self.source.class_names, self.target.output_names)
        return ending(self.source.model(), self.cuts, places)

    def pooling(self, index: int, train: TrainSettings) -> Pooling:
        """How a head pools the activations of a cut point."""
        from tlsweep.heads.head import BAG, INPUT_GRID, Pooling

        cut, grid = self.cuts[index], INPUT_GRID if index == 0 else train.pool
        spec, bag = self.source.spec, None
        if index == 0 and isinstance(spec, TokenSpec):
            bag = min(BAG, spec.vocabulary)
        return Pooling(cut.channel_dim, grid, cut.tokens, bag)

    def examples(
        self, split: Split, fold: int | None = 0, augmentation: Augmentation | None = None
    ) -> Any:
        """The examples of one split, or a view of each, as the source wants to see them.

        fold: what is held out of the pool, None for nothing.
        """
        rows = self.partition.rows(split, fold)
        return self.target.dataset(rows, self.source.spec, augmentation)

    def said(self) -> list[str]:
        """What a user should know of the data before anything trains, a sentence each."""
        return [
            *self.source.said,
            *self.cuts.said,
            *self.target.said,
            *self.partition.said,
            *_cut_texts(self.target, self.source.spec),
            *_two_labels(self.target),
        ]


def open_question(
    opening: Opening, plan: PlanSettings | None = None, progress: Progress | None = None
) -> Question:
    """Open source and target, find the cut points, draw the partition.

    The same one again for the trials that a process runs one after the other. plan: one that is
    checked beside the rest. Raises Refusal with the faults of all parts together.
    """
    text = opening.model_dump_json(exclude={"joined"})
    question = _open(text, _Hidden((opening, plan, progress)))
    if opening.joined:
        joined = question.partition.joined()
        return dataclasses.replace(question, partition=joined, opening=opening)
    return question


def check_train(train: TrainSettings, question: Question) -> None:
    """Raise Refusal for a head that does not fit the task, or views that there are not."""
    task = question.task
    if train.augment != "none" and not isinstance(question.source.spec, ImageSpec):
        rule = "images are cropped and mirrored; a text has no other views"
        raise Refusal(Fault(f"train.augment={train.augment}", rule, "train.augment=none"))
    if train.class_weights != "none" and not task.can_be_weighted:
        why = "numbers have no classes" if task.kind == "numbers" else "this task's loss is its own"
        rule = f"the loss of classes or labels is weighted; {why}"
        value = f"train.class_weights={train.class_weights}"
        raise Refusal(Fault(value, rule, "train.class_weights=none"))
    if train.probe not in ("auto", *task.probes):
        rule = f"linear heads for {task.kind}: {', '.join(task.probes)}"
        raise Refusal(Fault(f"train.probe={train.probe}", rule, "train.probe=auto"))


def check_head(plan: TransferPlan, train: TrainSettings, question: Question) -> None:
    """Raise Refusal for a head that cannot read what reaches it, with the cut point's name.

    And for the source's own classifier where it does not fit the plan or the target.
    """
    from tlsweep.heads.whole import is_own, unread

    cut, ids = question.cuts[plan.regrow], question.pooling(plan.regrow, train).bag is not None
    if fault := unread(train.head, cut.shape, ids=ids):
        raise Refusal(dataclasses.replace(fault, value=f"{fault.value} (cut point {cut.name})"))
    if is_own(train.head):
        _refuse_own(plan, question)


def _refuse_own(plan: TransferPlan, question: Question) -> None:
    """Raise Refusal where the source's own classifier cannot answer this target's classes."""
    from tlsweep.heads.source import unknown

    source, target = question.source, question.target
    known, wanted = source.class_names, target.output_names
    strange = unknown(known, wanted)
    if question.task.kind != "classes":
        rule = f"the source's own classifier names classes; {target.name} has {question.task.kind}"
    elif not known:
        why = f" ({source.no_classes})" if source.no_classes else ""
        rule = f"a source says what its own classes are called; {source.name} does not{why}"
    elif strange:
        more = f", and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
        rule = (
            f"each of the target's {len(wanted)} classes is one of the {len(known)} of"
            f" {source.name}, by the same name; not so: {', '.join(strange[:NAMED])}{more}"
        )
    elif len(plan.learned) < question.cuts.n_blocks:
        rule = "the source's own classifier reads what all of its blocks make: all are kept"
        mend = "plan=feature_extractor or plan=finetune, or train.head=linear"
        raise Refusal(Fault("train.head=source", rule, mend))
    elif question.own_classifier() is None:
        rule = f"classes are outputs of one last layer; {source.name} has no such layer"
    else:
        return
    raise Refusal(Fault("train.head=source", rule, "train.head=linear"))


def _cut_texts(target: Target, spec: ImageSpec | TokenSpec) -> list[str]:
    from tlsweep.target.texts import TextTarget

    if not isinstance(target, TextTarget) or not isinstance(spec, TokenSpec):
        return []
    return [said for said in (target.cut(spec), target.unknown(spec)) if said is not None]


def _two_labels(target: Target) -> list[str]:
    """Images with one content and several labels: at least one of the labels is wrong."""
    first = target.same_as
    unlike = target.labels != target.labels[first]
    wrong = np.flatnonzero(unlike.reshape(len(unlike), -1).any(1))
    if not len(wrong):
        return []
    shown = [
        f"{target.called(i)} ({target.truth_of(i)}) and"
        f" {target.called(first[i])} ({target.truth_of(first[i])})"
        for i in wrong[:3].tolist()
    ]
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    thing = target.things.removesuffix("s")
    return [f"the same {thing} under two labels: {'; '.join(shown)}{more}"]


def check_device(train: TrainSettings) -> None:
    """Raise Refusal where a GPU is asked for and there is none."""
    if train.accelerator != "gpu":
        return
    import torch

    if not torch.accelerator.is_available():
        rule = "torch finds the device that is asked for"
        mend = "train.accelerator=auto, which takes the CPU where there is no GPU"
        raise Refusal(Fault("train.accelerator=gpu, and torch finds no GPU here", rule, mend))


class _Hidden:
    """A value that a cache does not look at."""

    def __init__(self, value: tuple[Opening, PlanSettings | None, Progress | None]) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hidden)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=2)
def _open(_key: str, hidden: _Hidden) -> Question:
    opening, plan, progress = hidden.value
    source, target = opening.source, opening.target
    faults: list[Refusal] = []
    # what is quick to check comes before what is long to make: a source may have to be trained
    if not opening.untrained:
        _try(faults, lambda: _check_source(source))
    images = _try(faults, lambda: _target(opening, progress))
    task = None if images is None else _try(faults, lambda: images.task.by(target.metric))
    partition = None if images is None else _try(faults, lambda: _partition(target, images))
    if images is not None and task is not None and partition is not None:
        rows = images.labels[partition.pool]
        task = _try(faults, functools.partial(_of_pool, task, rows))
    found = _try(faults, lambda: _cuts(source))
    if found is not None and plan is not None:
        _try(faults, lambda: read_plan(plan, found[0], found[2]))
    if images is None or task is None or partition is None or found is None or faults:
        raise together(*faults)
    opened = _untrained(source) if opening.untrained else _source(opening, progress)
    _refuse_other_kind(opened, images)
    whole = opening.model_copy(update={"joined": False})
    return Question(opened, *found, images, partition, task, whole)


def _of_pool(task: Task, y_n: Truth) -> Task:
    """The task as the pool has it: no label of the report split says how large an error is."""
    try:
        return task.scaled_to(y_n)
    except ValueError as error:
        raise Refusal(
            Fault(
                f"the {len(y_n)} labelled {task.things} to learn from: {error}",
                "they are not all alike",
                "a larger target.fit_size, or another target",
            )
        ) from error


def _cuts(
    source: SourceSettings,
) -> tuple[CutPoints, tuple[PrefixCost, ...], tuple[BlockLayers, ...]]:
    """Cut points, costs, layers: questions about the architecture, which need no weights."""
    return _cuts_of(source.name, source.model_dump_json(exclude={"name"}))


@functools.lru_cache(maxsize=4)  # a grid over targets asks them of one source again and again
def _cuts_of(
    name: str, options: str
) -> tuple[CutPoints, tuple[PrefixCost, ...], tuple[BlockLayers, ...]]:
    from tlsweep.cut import block_layers, prefix_costs
    from tlsweep.source import dissect, open_architecture

    model, example = open_architecture(name, **json.loads(options))
    cuts = dissect(name, model, example)
    return cuts, tuple(prefix_costs(model, cuts, example)), block_layers(model, cuts)


def _refuse_other_kind(source: Source, target: Target) -> None:
    """Raise Refusal where the target's examples are not of the kind that the source takes."""
    if isinstance(source.spec, target.reads):
        return
    kinds = {ImageSpec: "images", TokenSpec: "texts"}
    wants, has = kinds[type(source.spec)], kinds[target.reads]
    rule = "source and target are of one kind"
    raise Refusal(
        Fault(
            f"{source.name} takes {wants}, and {target.name} has {has}",
            rule,
            f"a source of {has}, or a target of {wants}",
        )
    )


def _try(faults: list[Refusal], action: Callable[[], T]) -> T | None:
    try:
        return action()
    except Refusal as refusal:
        faults.append(refusal)
        return None


def _target(opening: Opening, progress: Progress | None) -> Target:
    """The target; the same one where several sources are asked about it."""
    asked = [opening.target.model_dump_json(exclude=_PARTED), opening.task.model_dump_json()]
    return _open_target("\n".join(asked), _Hidden((opening, None, progress)))


@functools.lru_cache(maxsize=2)
def _open_target(_key: str, hidden: _Hidden) -> Target:
    opening, _, progress = hidden.value
    return target_like(opening, opening.target, progress)


def target_like(
    opening: Opening, settings: TargetSettings, progress: Progress | None = None
) -> Target:
    """Another target, opened anew, that is asked what a question asks of its own.

    Raises Refusal for every fault of its settings and its data.
    """
    from tlsweep.target import asked, open_target

    opened = open_target(settings.name, **target_options(settings), progress=progress)
    opened.progress = screen.work
    return asked(opened, opening.task)


# how a target's examples are parted, and what its answers are scored by
_PARTED = {
    "metric", "fit_size", "folds", "select_fraction", "report_fraction", "split_seed", "shift",
}  # fmt: skip


def target_options(settings: TargetSettings) -> dict[str, Any]:
    """What a target itself is told: not how it is cut, nor what its answers are scored by."""
    return settings.model_dump(exclude={"name", *_PARTED})


def split_seeds(settings: TargetSettings, draws: int) -> range:
    """``target.split_seed`` of so many other draws of the pool."""
    return range(settings.split_seed + 1, settings.split_seed + 1 + draws)


def refuse_draws(question: Question, draws: int) -> None:
    """Raise Refusal for other draws (``sweep.confirm.splits``) of a pool that is not drawn."""
    settings = question.opening.target
    for seed in split_seeds(settings, draws)[:1]:
        other = _partition(settings, question.target, seed)
        if np.array_equal(other.pool, question.partition.pool):
            raise Refusal(
                Fault(
                    f"sweep.confirm.splits={draws}",
                    "it draws the pool anew, and this pool is all that the data's own parts hold",
                    "leave it out, or let target.fit_size draw a part of them",
                )
            )


def _partition(t: TargetSettings, target: Target, seed: int | None = None) -> Partition:
    from tlsweep.target import partition

    draw = functools.partial(
        partition,
        target.strata,
        fit_size=t.fit_size,
        select_fraction=t.select_fraction,
        report_fraction=t.report_fraction,
        seed=t.split_seed if seed is None else seed,
        folds=t.folds,
        given=target.given,
        same_as=target.like,
        groups=target.groups,
        class_names=target.output_names,
        of_classes=target.task.kind == "classes",
    )
    try:
        found = draw()
    except Refusal as refusal:
        apart = _near_copies_apart(draw, t, target)
        texts = [(f.value, f.rule, f.mend + apart) for f in refusal.faults]
        told = [[_of(target, text) for text in of_one] for of_one in texts]
        raise Refusal(*(Fault(*texts) for texts in told)) from refusal
    return dataclasses.replace(found, said=tuple(_of(target, text) for text in found.said))


def _near_copies_apart(draw: Callable[..., Partition], t: TargetSettings, target: Target) -> str:
    """What else helps where images are too few since near copies count as one; else nothing."""
    joined = int((target.like != target.same_as).sum())
    if not joined or getattr(t, "twins", None) != "near":
        return ""
    try:
        draw(same_as=target.same_as)
    except Refusal:
        return ""
    return f"; target.twins=exact, which takes {joined} near copies for images of their own"


def _of(target: Target, text: str) -> str:
    """What the partition says of images, said of the target's examples."""
    one = target.things.removesuffix("s")
    return re.sub(r"\bimage(s?)\b", rf"{one}\1", text)


def _check_source(settings: SourceSettings) -> None:
    from tlsweep.source import check_source

    check_source(settings.name, **settings.model_dump(exclude={"name"}))


def _source(opening: Opening, progress: Progress | None) -> Source:
    """The source; the same one where a study asks about several in turn."""
    text = opening.model_dump_json(include={"source"})
    return _open_source(text, _Hidden((opening, None, progress)))


@functools.lru_cache(maxsize=4)
def _open_source(_key: str, hidden: _Hidden) -> Source:
    from tlsweep.source import open_source

    opening, _, progress = hidden.value
    settings = opening.source
    return open_source(settings.name, **settings.model_dump(exclude={"name"}), progress=progress)


def _untrained(settings: SourceSettings) -> Source:
    from tlsweep.source import untrained

    return untrained(settings.name, settings.title, **settings.model_dump(exclude={"name"}))
