"""What the trained part of a plan sees: activations of frozen blocks, computed once for all trials.

They are kept in the activation store; where it has no room for them, they are computed anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tlsweep import screen
from tlsweep.config.sections import FeaturesSettings
from tlsweep.config.settings import Opening
from tlsweep.errors import TrialFailure
from tlsweep.features import Key, NotStored, Spec, Store, open_store, rows_digest, size_text
from tlsweep.plan import TransferPlan
from tlsweep.question import Question
from tlsweep.terms import Split
from tlsweep.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.target import Augmentation
    from tlsweep.target.batch import Side

COMPUTED = 2  # part of the key: raise it when the same settings are to give other numbers
TOLD = 2**20  # bytes that are worth telling of before they are stored
SOURCE = None  # in place of a seed: the source's own weights
PLAIN = 0  # in place of the number of a view: the images as they are
Said = Callable[[int, int], None]
"""Told (images done, all of them)."""
Write = Callable[[list["Tensor"]], None]
"""Takes the next rows of all wanted entries."""
Compute = Callable[[Sequence[int], Write], None]
"""Computes the entries at these places among the wanted ones, and writes them batch by batch."""


def views_needed(train: TrainSettings) -> tuple[int, ...]:
    """The views of the pool that trials read: those that are trained on, and the images as such."""
    return tuple(dict.fromkeys((*views_of(train), PLAIN)))


def views_of(train: TrainSettings) -> tuple[int, ...]:
    """The views of the fit split that are stored; augmentation that is always new has none."""
    return tuple(range(1, train.views + 1)) if train.augment == "views" else (PLAIN,)


def view_of(train: TrainSettings, epoch: int) -> int:
    """The view of the fit split that an epoch trains on; 0 is the first epoch."""
    if train.augment == "none":
        return PLAIN
    return 1 + (epoch % train.views if train.augment == "views" else epoch)


@dataclass(frozen=True)
class Variant:
    """Which activations of the same images at the same cut points.

    weights: the seed that random ones are drawn from, None for the source's; view: which augmented
    view of each image; without: blocks that are left out.
    """

    weights: int | None = SOURCE
    view: int = PLAIN
    without: tuple[int, ...] = ()

    @classmethod
    def of(cls, plan: TransferPlan, seed: int) -> Variant:
        """What the frozen blocks of a plan give, of the images as they are. seed: of the trial."""
        return cls(weights=seed if plan.random_weights else SOURCE, without=plan.left_out)


USUAL = Variant()


@dataclass(frozen=True)
class Activations:
    """What the blocks of a question's source make of its images, found in the store or computed.

    train: how (views, precision, device, pooling); features: where they are kept; seed: of views
    that are new in every epoch; fold: what is held out of the pool, None for nothing.
    """

    question: Question
    train: TrainSettings
    features: FeaturesSettings
    seed: int
    fold: int | None = 0

    @property
    def store(self) -> Store:
        """The activation store."""
        return store_of(self.features)

    def pooled(
        self,
        split: Split,
        indices: Sequence[int],
        variant: Variant = USUAL,
        said: Said = lambda done, total: None,
    ) -> list[Tensor]:
        """Pooled activations of a split at some cut points: float32 [images, features] each.

        One pass over the images for all that is not stored yet; the whole pool is stored, and fit
        and select splits are rows of it, so that another fold takes no other pass. indices: of the
        cut points, ascending; said: told (images done, all of them).
        """
        if split in (Split.FIT, Split.SELECT):
            whole = self.pooled(Split.POOL, indices, variant, said)
            places = self.question.partition.places(split, self.fold)
            return [z_nd[places] for z_nd in whole]
        import torch

        def compute(places: Sequence[int], write: Write) -> None:
            wanted = tuple(indices[place] for place in places)
            asked = Asked(split, wanted, variant, self.drawn(variant.view), pooling=True)
            run_pass(self, asked, _counted(write, said, len(_rows(self.question, split))))

        specs = [self.spec(split, index, variant, pooling=True) for index in indices]
        found = _through(self.store, specs, compute)
        if found is None:
            parts: list[list[Tensor]] = []
            compute(range(len(indices)), parts.append)
            found = [torch.cat(column) for column in zip(*parts, strict=True)]
        return found

    def fitted(
        self, indices: Sequence[int], variant: Variant = USUAL
    ) -> tuple[list[Tensor], Tensor]:
        """What heads are fitted to: pooled activations of the fit split, of every stored view.

        Returns float32 [views * images, features] for each cut point, view by view, and the labels.
        """
        import torch

        views = [replace(variant, view=view) for view in views_of(self.train)]
        found = [self.pooled(Split.FIT, indices, view) for view in views]
        y = self.labels(Split.FIT)
        if len(views) == 1:  # no copy of what is mapped from a file
            return found[0], y
        columns = [torch.cat(column) for column in zip(*found, strict=True)]
        return columns, torch.cat([y] * len(views))

    def whole(self, split: Split, index: int, variant: Variant = USUAL) -> Tensor | None:
        """Whole activations at a cut point, of the report split or of the pool: [images, ...].

        Fit and select splits are rows of the pool's (``Partition.places``). float32; None where
        they cannot be stored: they may not fit into memory.
        """

        def compute(places: Sequence[int], write: Write) -> None:
            asked = Asked(split, (index,), variant, self.drawn(variant.view), pooling=False)
            run_pass(self, asked, write)

        spec = self.spec(split, index, variant, pooling=False)
        found = _through(self.store, [spec], compute)
        return None if found is None else found[0]

    def digests(self, variant: Variant = USUAL) -> list[str]:
        """What the pooled activations of the pool are kept under."""
        return [
            self.spec(Split.POOL, index, replace(variant, view=view), pooling=True).key.digest
            for view in views_needed(self.train)
            for index in range(len(self.question.cuts))
        ]

    def bytes_to_store(self, index: int, variant: Variant = USUAL) -> int:
        """How many bytes of the pool's whole activations are not stored yet."""
        views = [replace(variant, view=view) for view in views_needed(self.train)]
        specs = [self.spec(Split.POOL, index, view, pooling=False) for view in views]
        return sum(spec.nbytes for spec in specs if not self.store.holds(spec.key))

    def drawn(self, view: int) -> Augmentation | None:
        """How a view is made of the images; None for the images as they are.

        Stored views are the same for all seeds, else each would need a store of its own.
        """
        from tlsweep.target import Augmentation

        if view == PLAIN:
            return None
        draw = (view,) if self.train.augment == "views" else (view, self.seed)
        return Augmentation(self.train.crop, self.train.flip, draw)

    def labels(self, split: Split) -> Tensor:
        """The truth of a split's images: [images, ...]."""
        import torch

        question = self.question
        return torch.from_numpy(question.target.labels[question.partition.rows(split, self.fold)])

    def side(self, split: Split) -> Side:
        """What rides along with the report split or the pool: [examples, ...] by name."""
        examples = self.question.examples(split, None)
        side: Side = examples.side(examples.indices)
        return side

    def source_features(self, n: int) -> list[Tensor] | None:
        """Pooled activations of ``n`` of the source's own images at every cut point, or None."""
        import torch

        from tlsweep.extract.taps import Taps

        question = self.question
        x_bchw = question.source.sample(n, self.seed)
        if x_bchw is None:
            return None
        indices = range(len(question.cuts))
        rules = [question.pooling(i, self.train) for i in indices]
        taps = Taps(question.source.model(), question.cuts, indices, rules)
        parts = [taps(part) for part in torch.split(x_bchw, 64)]
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    def spec(self, split: Split, index: int, variant: Variant = USUAL, *, pooling: bool) -> Spec:
        """What is kept of a cut point, and what under."""
        import torch

        from tlsweep.heads.head import pool
        from tlsweep.train.loading import device_of

        question, train = self.question, self.train
        source, target, rows = question.source, question.target, _rows(question, split)
        cut, rule = question.cuts[index], question.pooling(index, train)
        # what stands above the cut point changes nothing at it
        missing = [question.cuts[i + 1].name for i in sorted(variant.without) if i < index]
        weights, random = variant.weights, variant.weights is not SOURCE
        key = Key.of(
            **({"without": missing} if missing else {}),
            source=f"{source.fingerprint} random {weights}" if random else source.fingerprint,
            cut=cut.name,
            spec=source.spec,
            target=target.fingerprint,
            rows=rows_digest(rows),
            dtype=torch.float32,
            pooling=rule if pooling else "none",
            view=self.drawn(variant.view),
            precision=train.precision,
            device=device_of(train).type,
            computed=COMPUTED,
        )
        shape = pool(torch.zeros(1, *cut.shape), rule).shape[1:] if pooling else cut.shape
        name = f"{source.name}, random {weights}" if random else source.name
        about = {"source": name, "target": target.name, "split": str(split)}
        return Spec(key, (len(rows), *shape), torch.float32, about)


def source_probabilities(question: Question, z_nd: Tensor) -> Tensor | None:
    """What the source's own classifier makes of features at the last cut point: [n, classes].

    None for a source whose last cut point is not pooled: z_nd does not hold all that it reads.
    """
    import torch

    from tlsweep.cut import section

    last = question.cuts[-1]
    if len(last.shape) != 1:
        return None
    classifier = section(question.source.model(), question.cuts, last, None)
    with torch.no_grad():
        probabilities: Tensor = classifier(z_nd).softmax(1)
    return probabilities


def _rows(question: Question, split: Split) -> Any:
    """The images of what is stored as one: the pool, or the report split."""
    if split not in (Split.POOL, Split.REPORT):
        raise ValueError(f"{split}: the pool is stored, and folds are rows of it")
    return question.partition.rows(split)


def store_of(features: FeaturesSettings) -> Store:
    """The activation store that a config describes."""
    return _store(features.budget_gb, features.cache_dir)


@functools.lru_cache(maxsize=2)
def _store(budget_gb: float, cache_dir: str | None) -> Store:
    return open_store(budget_gb=budget_gb, cache_dir=cache_dir, say=screen.say)


def _through(store: Store, specs: Sequence[Spec], compute: Compute) -> list[Tensor] | None:
    """The entries of ``specs``, those that are missing computed and written in one pass."""
    found = [store.find(spec.key) for spec in specs]
    missing = [i for i, entry in enumerate(found) if entry is None]
    if missing:
        try:
            with store.writing([specs[i] for i in missing]) as writers:
                # another process may have written some of them meanwhile
                places = [i for i in missing if specs[i].key in writers]

                def write(batch: list[Tensor]) -> None:
                    for i, z in zip(places, batch, strict=True):
                        writers[specs[i].key].append(z)

                if places:
                    _tell([specs[i] for i in places])
                    compute(places, write)
        except NotStored:
            return None
        found = [store.find(spec.key) for spec in specs]
    tensors = [entry.tensor() for entry in found if entry is not None]
    return tensors if len(tensors) == len(specs) else None


def _tell(specs: Sequence[Spec]) -> None:
    """Say what is about to be stored, and how large it is."""
    about, size = specs[0].about, sum(spec.nbytes for spec in specs)
    if size < TOLD:
        return
    what = f"{about['source']} on {about['target']}, {about['split']} split"
    where = f", {len(specs)} cut points" if len(specs) > 1 else ""
    screen.say(f"  storing {size_text(size)}: {what}{where}")


@dataclass(frozen=True)
class Asked:
    """What a pass is asked for: which images, and what of them. augmentation: of the view."""

    split: Split
    indices: tuple[int, ...]
    variant: Variant
    augmentation: Augmentation | None
    pooling: bool


def _counted(write: Write, said: Said, total: int) -> Write:
    """``write``, which also tells how many of the images are done."""
    done = 0

    def written(batch: list[Tensor]) -> None:
        nonlocal done
        write(batch)
        done += len(batch[0])
        said(done, total)

    return written


def run_pass(inputs: Activations, asked: Asked, write: Write) -> None:
    """One pass over the images; with several devices, each of them takes every n-th batch."""
    from tlsweep.engine.group import in_group, run_in_group

    devices = inputs.train.devices
    if devices == 1 or in_group():
        _share_of_pass(inputs.question, inputs.train, asked, lambda _, batch: write(batch))
        return
    import torch

    # few: Lightning lets the devices begin together, and their shares are equal
    waiting: dict[int, list[Any]] = {}
    written = rows = 0

    def hear(message: tuple[int, list[Any]]) -> None:
        nonlocal written, rows
        waiting[message[0]] = message[1]
        while written in waiting:
            batch = [torch.from_numpy(z) for z in waiting.pop(written)]
            write(batch)
            written, rows = written + 1, rows + len(batch[0])

    opening = inputs.question.opening
    run_in_group(devices, _pass_as_member, opening, inputs.train, asked, on_message=hear)
    if rows < len(_rows(inputs.question, asked.split)):
        raise TrialFailure(f"a device ended before its share of the images did, after {rows}")


def _pass_as_member(
    opening: Opening, train: TrainSettings, asked: Asked, tell: Callable[[Any], None]
) -> None:
    from tlsweep.question import open_question
    from tlsweep.train.trainer import rank_of

    def write(number: int, batch: list[Tensor]) -> None:
        tell((number, [z.numpy() for z in batch]))

    rank, world = rank_of(train), train.devices
    _share_of_pass(open_question(opening), train, asked, write, rank, world)


def _share_of_pass(
    question: Question,
    train: TrainSettings,
    asked: Asked,
    write: Callable[[int, list[Tensor]], None],
    rank: int = 0,
    world: int = 1,
) -> None:
    from tlsweep.extract.one_pass import one_pass
    from tlsweep.extract.taps import Taps

    source, weights = question.source, asked.variant.weights
    model: nn.Module = source.model() if weights is SOURCE else source.fresh(weights)
    rules = [question.pooling(i, train) for i in asked.indices] if asked.pooling else None
    taps = Taps(model, question.cuts, asked.indices, rules, asked.variant.without)
    images: Any = question.examples(asked.split, None, asked.augmentation)
    one_pass(taps, images, train, write, rank=rank, world=world)
