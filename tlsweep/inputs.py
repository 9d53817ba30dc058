"""What the trained part of a plan sees: activations of frozen blocks, computed once for all trials.

They are kept in the activation store; where it has no room for them, they are computed anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsweep import screen
from tlsweep.config import FeaturesSettings, Settings, TrainSettings
from tlsweep.features import Key, NotStored, Spec, Store, open_store, rows_digest, size_text
from tlsweep.plan import TransferPlan
from tlsweep.question import Question
from tlsweep.terms import Split

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCE = None  # in place of a seed: the source's own weights
Compute = Callable[[Sequence[int]], Iterator[list["Tensor"]]]
"""Places among the wanted entries, to batches of their rows."""


def pooled(
    question: Question,
    split: Split,
    settings: Settings,
    indices: Sequence[int],
    seed: int | None = SOURCE,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> list[Tensor]:
    """Pooled activations of a split's images at some cut points: float32 [images, features] each.

    One pass over the images for all that is not stored yet. indices: of the cut points, ascending;
    seed: draws random weights in place of the source's; said: told (images done, all of them).
    """
    import torch

    def compute(places: Sequence[int]) -> Iterator[list[Tensor]]:
        wanted, total = tuple(indices[place] for place in places), len(question.partition[split])
        done = 0
        for batch in _pass(question, split, settings.train, wanted, seed, pooling=True):
            done += len(batch[0])
            said(done, total)
            yield batch

    specs = [_spec(question, split, settings, index, seed, pooling=True) for index in indices]
    found = _through(store_of(settings.features), specs, compute)
    if found is None:
        parts = list(compute(range(len(indices))))
        found = [torch.cat(column) for column in zip(*parts, strict=True)]
    return found


def activations(
    question: Question, split: Split, settings: Settings, index: int, seed: int | None = SOURCE
) -> Tensor | None:
    """Whole activations of a split's images at a cut point: float32 [images, ...].

    None where they cannot be stored: they may not fit into memory.
    """

    def compute(places: Sequence[int]) -> Iterator[list[Tensor]]:
        return _pass(question, split, settings.train, (index,), seed, pooling=False)

    spec = _spec(question, split, settings, index, seed, pooling=False)
    found = _through(store_of(settings.features), [spec], compute)
    return None if found is None else found[0]


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
    grids = [question.grid(i, settings.train) for i in indices]
    taps = Taps(question.source.model(), question.cuts, indices, grids)
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
    *,
    pooling: bool,
) -> Spec:
    import torch

    from tlsweep.train.head import pool
    from tlsweep.train.loading import device_of

    source, target, rows = question.source, question.target, question.partition[split]
    cut, grid = question.cuts[index], question.grid(index, settings.train)
    key = Key.of(
        source=source.fingerprint if seed is SOURCE else f"{source.fingerprint} random {seed}",
        cut=cut.name,
        image=source.image,
        target=target.fingerprint,
        rows=rows_digest(rows),
        dtype=torch.float32,
        pooling=grid if pooling else "none",
        view=0,
        precision=settings.train.precision,
        device=device_of(settings.train).type,
    )
    shape = pool(torch.zeros(1, *cut.shape), cut.channel_dim, grid).shape[1:] if pooling else None
    weights = source.name if seed is SOURCE else f"{source.name}, random {seed}"
    about = {"source": weights, "target": target.name, "split": str(split)}
    return Spec(key, (len(rows), *(shape or cut.shape)), torch.float32, about)


def _pass(
    question: Question,
    split: Split,
    train: TrainSettings,
    indices: tuple[int, ...],
    seed: int | None,
    *,
    pooling: bool,
) -> Iterator[list[Tensor]]:
    from tlsweep.survey.taps import Taps
    from tlsweep.train.loading import device_of, in_batches

    device = device_of(train)
    model: nn.Module = question.source.model() if seed is SOURCE else question.source.fresh(seed)
    grids = [question.grid(i, train) for i in indices] if pooling else None
    taps = Taps(model, question.cuts, indices, grids).to(device)
    images: Any = question.images(split)
    for x_bchw, _ in in_batches(images, train):
        with autocast(train, device):
            taken = taps(x_bchw.to(device))
        yield [z.float().cpu() for z in taken]


def autocast(train: TrainSettings, device: Any) -> Any:
    """The precision of ``train.precision``, as Lightning runs it."""
    import torch

    kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(train.precision)
    return torch.autocast(device.type, kind, enabled=kind is not None)


# ---------------------------------------------------------------------- where a trial starts
@dataclass(frozen=True)
class Start:
    """Where a trial's data enters its plan. index: cut point, 0 for images; why: for people."""

    index: int
    why: str
    data: Mapping[Split, Any]  # datasets of (input, label)


def start_of(
    question: Question, plan: TransferPlan, settings: Settings, frozen: int, splits: Sequence[Split]
) -> Start:
    """What a trial of ``plan`` trains on: the highest activations that are worth storing.

    frozen: blocks that stay frozen to the end of training.
    """
    seed = settings.seed if plan.random_weights else SOURCE
    if frozen == plan.regrow:
        stored = {s: pooled(question, s, settings, [frozen], seed)[0] for s in splits}
        return Start(frozen, "only a head trains: from pooled features", _rows(question, stored))
    index, why = boundary(question, settings, frozen)
    if index:
        wanted = {s: activations(question, s, settings, index, seed) for s in splits}
        kept = {s: z for s, z in wanted.items() if z is not None}
        if len(kept) == len(splits):
            return Start(index, why, _rows(question, kept))
        why = "the activations could not be stored: trained from images"
    return Start(0, why, {split: question.images(split) for split in splits})


def _rows(question: Question, stored: Mapping[Split, Tensor]) -> dict[Split, Any]:
    from tlsweep.train.loading import Rows

    return {split: Rows(z, labels(question, split)) for split, z in stored.items()}


COMPUTED_PER_SECOND = 3e10  # FLOPs of a forward pass on two cores, to weigh against reading
READ_PER_SECOND = 1e9  # bytes, of a file that is in memory already


def boundary(question: Question, settings: Settings, frozen: int) -> tuple[int, str]:
    """The cut point whose stored activations a trial starts from, and why; 0: from images.

    frozen: blocks that are frozen throughout. Storing at the freeze boundary saves the whole
    prefix; at an earlier, smaller cut point part of it for less space. Of those that the budget
    and the disk allow, the one that saves most time in an epoch.
    """
    if frozen == 0:
        return 0, "nothing stays frozen: trained from images"
    n = len(question.partition.fit) + len(question.partition.select)
    store = store_of(settings.features)

    def saved(index: int) -> float:
        cost = question.costs[index]
        computed, read = cost.flops * n / COMPUTED_PER_SECOND, cost.activation_bytes * n
        return computed - read / READ_PER_SECOND

    sizes = {i: question.costs[i].activation_bytes * n for i in range(1, frozen + 1)}
    ranked = sorted(sizes, key=lambda i: (-saved(i), i))
    for index in ranked:
        if saved(index) > 0 and store.room(sizes[index]).fits:
            share = question.costs[index].flops / max(1, question.costs[frozen].flops)
            name, size = question.cuts[index].name, size_text(sizes[index])
            return index, f"from {name}, {share:.0%} of the frozen blocks' work stored in {size}"
    size, name = size_text(sizes[frozen]), question.cuts[frozen].name
    return 0, f"{size} at {name} are not stored: no gain, or no room"
