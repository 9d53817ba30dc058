"""What the trained part of a plan sees: activations of frozen blocks, computed once for all trials.

They are kept in the activation store; where it has no room for them, they are computed anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tlsweep import screen
from tlsweep.config import FeaturesSettings, Settings, TrainSettings
from tlsweep.features import Key, NotStored, Spec, Store, open_store, rows_digest
from tlsweep.question import Question
from tlsweep.terms import Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.target import Augmentation

SOURCE = None  # in place of a seed: the source's own weights
PLAIN = 0  # in place of the number of a view: the images as they are
Compute = Callable[[Sequence[int]], Iterator[list["Tensor"]]]
"""Places among the wanted entries, to batches of their rows."""


def pooled(
    question: Question,
    split: Split,
    settings: Settings,
    indices: Sequence[int],
    seed: int | None = SOURCE,
    said: Callable[[int, int], None] = lambda done, total: None,
    view: int = PLAIN,
) -> list[Tensor]:
    """Pooled activations of a split's images at some cut points: float32 [images, features] each.

    One pass over the images for all that is not stored yet. indices: of the cut points, ascending;
    seed: draws random weights in place of the source's; said: told (images done, all of them);
    view: which augmented view of each image.
    """
    import torch

    def compute(places: Sequence[int]) -> Iterator[list[Tensor]]:
        wanted, total = tuple(indices[place] for place in places), len(question.partition[split])
        done = 0
        for batch in _pass(question, split, settings, wanted, seed, view, pooling=True):
            done += len(batch[0])
            said(done, total)
            yield batch

    specs = [_spec(question, split, settings, i, seed, view, pooling=True) for i in indices]
    found = _through(store_of(settings.features), specs, compute)
    if found is None:
        parts = list(compute(range(len(indices))))
        found = [torch.cat(column) for column in zip(*parts, strict=True)]
    return found


def fitted(
    question: Question,
    settings: Settings,
    indices: Sequence[int],
    seed: int | None = SOURCE,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Tensor], Tensor]:
    """What heads are fitted to: pooled activations of the fit split, of every stored view of it.

    Returns float32 [views * images, features] for each cut point, view by view, and the labels.
    """
    import torch

    views = views_of(settings.train)
    found = [pooled(question, Split.FIT, settings, indices, seed, said, view) for view in views]
    y = labels(question, Split.FIT)
    if len(views) == 1:  # no copy of what is mapped from a file
        return found[0], y
    return [torch.cat(column) for column in zip(*found, strict=True)], y.repeat(len(views))


def activations(
    question: Question,
    split: Split,
    settings: Settings,
    index: int,
    seed: int | None = SOURCE,
    view: int = PLAIN,
) -> Tensor | None:
    """Whole activations of a split's images at a cut point: float32 [images, ...].

    None where they cannot be stored: they may not fit into memory.
    """

    def compute(places: Sequence[int]) -> Iterator[list[Tensor]]:
        return _pass(question, split, settings, (index,), seed, view, pooling=False)

    spec = _spec(question, split, settings, index, seed, view, pooling=False)
    found = _through(store_of(settings.features), [spec], compute)
    return None if found is None else found[0]


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


def labels(question: Question, split: Split) -> Tensor:
    """The class indices of a split's images: int64 [images]."""
    import torch

    return torch.from_numpy(question.target.labels[question.partition[split]])


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
                for batch in compute(places) if places else ():
                    for i, z in zip(places, batch, strict=True):
                        writers[specs[i].key].append(z)
        except NotStored:
            return None
        found = [store.find(spec.key) for spec in specs]
    tensors = [entry.tensor() for entry in found if entry is not None]
    return tensors if len(tensors) == len(specs) else None


def _spec(
    question: Question,
    split: Split,
    settings: Settings,
    index: int,
    seed: int | None,
    view: int,
    *,
    pooling: bool,
) -> Spec:
    import torch

    from tlsweep.train.head import pool
    from tlsweep.train.loading import device_of

    source, target, rows = question.source, question.target, question.partition[split]
    cut, rule = question.cuts[index], question.pooling(index, settings.train)
    key = Key.of(
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
    )
    shape = pool(torch.zeros(1, *cut.shape), rule).shape[1:] if pooling else None
    weights = source.name if seed is SOURCE else f"{source.name}, random {seed}"
    about = {"source": weights, "target": target.name, "split": str(split)}
    return Spec(key, (len(rows), *(shape or cut.shape)), torch.float32, about)


def _pass(
    question: Question,
    split: Split,
    settings: Settings,
    indices: tuple[int, ...],
    seed: int | None,
    view: int,
    *,
    pooling: bool,
) -> Iterator[list[Tensor]]:
    from tlsweep.survey.taps import Taps
    from tlsweep.train.loading import device_of, in_batches

    train = settings.train
    device = device_of(train)
    model: nn.Module = question.source.model() if seed is SOURCE else question.source.fresh(seed)
    rules = [question.pooling(i, train) for i in indices] if pooling else None
    taps = Taps(model, question.cuts, indices, rules).to(device)
    images: Any = question.images(split, drawn(settings, view))
    for x_bchw, _ in in_batches(images, train):
        with autocast(train, device):
            taken = taps(x_bchw.to(device))
        yield [z.float().cpu() for z in taken]


def autocast(train: TrainSettings, device: Any) -> Any:
    """The precision of ``train.precision``, as Lightning runs it."""
    import torch

    kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(train.precision)
    return torch.autocast(device.type, kind, enabled=kind is not None)
