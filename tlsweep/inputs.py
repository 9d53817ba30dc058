"""What the trained part of a plan sees: activations of frozen blocks, computed once for all trials.

They are kept in the activation store; where it has no room for them, they are computed anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsweep import screen
from tlsweep.config import FeaturesSettings, Settings, TrainSettings
from tlsweep.errors import TrialFailure
from tlsweep.features import Key, NotStored, Spec, Store, open_store, rows_digest, size_text
from tlsweep.question import Question
from tlsweep.terms import Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.target import Augmentation

COMPUTED = 2  # part of the key: raise it when the same settings are to give other numbers
TOLD = 2**20  # bytes that are worth telling of before they are stored
SOURCE = None  # in place of a seed: the source's own weights
PLAIN = 0  # in place of the number of a view: the images as they are
Write = Callable[[list["Tensor"]], None]
"""Takes the next rows of all wanted entries."""
Compute = Callable[[Sequence[int], Write], None]
"""Computes the entries at these places among the wanted ones, and writes them batch by batch."""


def pooled(
    question: Question,
    split: Split,
    settings: Settings,
    indices: Sequence[int],
    seed: int | None = SOURCE,
    said: Callable[[int, int], None] = lambda done, total: None,
    view: int = PLAIN,
    without: Collection[int] = (),
) -> list[Tensor]:
    """Pooled activations of a split's images at some cut points: float32 [images, features] each.

    One pass over the images for all that is not stored yet; the whole pool is stored, and fit and
    select splits are rows of it, so that another fold takes no other pass. indices: of the cut
    points, ascending; seed: draws random weights in place of the source's; said: told (images done,
    all of them); view: which augmented view of each image; without: blocks that are left out.
    """
    if split in (Split.FIT, Split.SELECT):
        whole = pooled(question, Split.POOL, settings, indices, seed, said, view, without)
        places = question.partition.places(split, settings.fold)
        return [z_nd[places] for z_nd in whole]
    import torch

    def compute(places: Sequence[int], write: Write) -> None:
        wanted, total = tuple(indices[place] for place in places), len(_rows(question, split))
        done = 0

        def written(batch: list[Tensor]) -> None:
            nonlocal done
            write(batch)
            done += len(batch[0])
            said(done, total)

        asked = _Asked(split, wanted, seed, view, pooling=True, without=tuple(without))
        _pass(question, settings, asked, written)

    specs = [
        _spec(question, split, settings, i, seed, view, pooling=True, without=without)
        for i in indices
    ]
    found = _through(store_of(settings.features), specs, compute)
    if found is None:
        parts: list[list[Tensor]] = []
        compute(range(len(indices)), parts.append)
        found = [torch.cat(column) for column in zip(*parts, strict=True)]
    return found


def fitted(
    question: Question,
    settings: Settings,
    indices: Sequence[int],
    seed: int | None = SOURCE,
    said: Callable[[int, int], None] = lambda done, total: None,
    without: Collection[int] = (),
) -> tuple[list[Tensor], Tensor]:
    """What heads are fitted to: pooled activations of the fit split, of every stored view of it.

    Returns float32 [views * images, features] for each cut point, view by view, and the labels.
    """
    import torch

    views = views_of(settings.train)
    found = [
        pooled(question, Split.FIT, settings, indices, seed, said, view, without) for view in views
    ]
    y = labels(question, Split.FIT, settings.fold)
    if len(views) == 1:  # no copy of what is mapped from a file
        return found[0], y
    return [torch.cat(column) for column in zip(*found, strict=True)], torch.cat([y] * len(views))


def digests(question: Question, settings: Settings, seed: int | None = SOURCE) -> list[str]:
    """What the pooled activations of the pool are kept under."""
    return [
        _spec(question, Split.POOL, settings, index, seed, view, pooling=True).key.digest
        for view in views_needed(settings.train)
        for index in range(len(question.cuts))
    ]


def bytes_to_store(
    question: Question,
    settings: Settings,
    index: int,
    seed: int | None,
    without: Collection[int] = (),
) -> int:
    """How many bytes of the pool's activations are not stored yet."""
    store = store_of(settings.features)
    specs = [
        _spec(question, Split.POOL, settings, index, seed, view, pooling=False, without=without)
        for view in views_needed(settings.train)
    ]
    return sum(spec.nbytes for spec in specs if not store.holds(spec.key))


def activations(
    question: Question,
    split: Split,
    settings: Settings,
    index: int,
    seed: int | None = SOURCE,
    view: int = PLAIN,
    without: Collection[int] = (),
) -> Tensor | None:
    """Whole activations at a cut point, of the report split or of the pool: float32 [images, ...].

    without: blocks that are left out. Fit and select splits are rows of the pool's
    (``Partition.places``). None where they cannot be stored: they may not fit into memory.
    """

    def compute(places: Sequence[int], write: Write) -> None:
        asked = _Asked(split, (index,), seed, view, pooling=False, without=tuple(without))
        _pass(question, settings, asked, write)

    spec = _spec(question, split, settings, index, seed, view, pooling=False, without=without)
    found = _through(store_of(settings.features), [spec], compute)
    return None if found is None else found[0]


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


def drawn(settings: Settings, view: int) -> Augmentation | None:
    """How a view is made of the images; None for the images as they are.

    Stored views are the same for all seeds, else each would need a store of its own.
    """
    from tlsweep.target import Augmentation

    train = settings.train
    if view == PLAIN:
        return None
    draw = (view,) if train.augment == "views" else (view, settings.seed)
    return Augmentation(train.crop, train.flip, draw)


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


def source_features(question: Question, settings: Settings, n: int) -> list[Tensor] | None:
    """Pooled activations of ``n`` of the source's own images at every cut point; None without."""
    import torch

    from tlsweep.survey.taps import Taps

    x_bchw = question.source.sample(n, settings.seed)
    if x_bchw is None:
        return None
    indices = range(len(question.cuts))
    rules = [question.pooling(i, settings.train) for i in indices]
    taps = Taps(question.source.model(), question.cuts, indices, rules)
    parts = [taps(part) for part in torch.split(x_bchw, 64)]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def labels(question: Question, split: Split, fold: int | None = 0) -> Tensor:
    """The class indices of a split's images: int64 [images]; fold: what is held out of the pool."""
    import torch

    return torch.from_numpy(question.target.labels[question.partition.rows(split, fold)])


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


def _spec(
    question: Question,
    split: Split,
    settings: Settings,
    index: int,
    seed: int | None,
    view: int,
    *,
    pooling: bool,
    without: Collection[int] = (),
) -> Spec:
    import torch

    from tlsweep.train.head import pool
    from tlsweep.train.loading import device_of

    source, target, rows = question.source, question.target, _rows(question, split)
    cut, rule = question.cuts[index], question.pooling(index, settings.train)
    # what stands above the cut point changes nothing at it
    missing = [question.cuts[i + 1].name for i in sorted(without) if i < index]
    key = Key.of(
        **({"without": missing} if missing else {}),
        source=source.fingerprint if seed is SOURCE else f"{source.fingerprint} random {seed}",
        cut=cut.name,
        image=source.image,
        target=target.fingerprint,
        rows=rows_digest(rows),
        dtype=torch.float32,
        pooling=rule if pooling else "none",
        view=drawn(settings, view),
        precision=settings.train.precision,
        device=device_of(settings.train).type,
        computed=COMPUTED,
    )
    shape = pool(torch.zeros(1, *cut.shape), rule).shape[1:] if pooling else None
    weights = source.name if seed is SOURCE else f"{source.name}, random {seed}"
    about = {"source": weights, "target": target.name, "split": str(split)}
    return Spec(key, (len(rows), *(shape or cut.shape)), torch.float32, about)


@dataclass(frozen=True)
class _Asked:
    """What a pass is asked for: which images, and what of them.

    seed: of random weights; without: blocks that are left out.
    """

    split: Split
    indices: tuple[int, ...]
    seed: int | None
    view: int
    pooling: bool
    without: tuple[int, ...] = ()


def _pass(question: Question, settings: Settings, asked: _Asked, write: Write) -> None:
    """One pass over the images; with several devices, each of them takes every n-th batch."""
    from tlsweep.train.group import in_group, run_in_group

    devices = settings.train.devices
    if devices == 1 or in_group():
        _share_of_pass(question, settings, asked, lambda _, batch: write(batch))
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

    run_in_group(devices, _pass_as_member, settings, asked, on_message=hear)
    if rows < len(_rows(question, asked.split)):
        raise TrialFailure(f"a device ended before its share of the images did, after {rows}")


def _pass_as_member(settings: Settings, asked: _Asked, tell: Callable[[Any], None]) -> None:
    from tlsweep.question import open_question
    from tlsweep.train.trainer import rank_of

    def write(number: int, batch: list[Tensor]) -> None:
        tell((number, [z.numpy() for z in batch]))

    rank, world = rank_of(settings.train), settings.train.devices
    _share_of_pass(open_question(settings), settings, asked, write, rank, world)


def _share_of_pass(
    question: Question,
    settings: Settings,
    asked: _Asked,
    write: Callable[[int, list[Tensor]], None],
    rank: int = 0,
    world: int = 1,
) -> None:
    from tlsweep.survey.one_pass import one_pass
    from tlsweep.survey.taps import Taps

    source, train = question.source, settings.train
    model: nn.Module = source.model() if asked.seed is SOURCE else source.fresh(asked.seed)
    rules = [question.pooling(i, train) for i in asked.indices] if asked.pooling else None
    taps = Taps(model, question.cuts, asked.indices, rules, asked.without)
    images: Any = question.images(asked.split, None, drawn(settings, asked.view))
    one_pass(taps, images, train, write, rank=rank, world=world)
