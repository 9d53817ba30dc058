"""The trunk of a network in what a file holds: under whatever prefix, beside whatever else."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsweep.errors import Refusal
from tlsweep.source.checkpoint import read_file, refusal, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

StateOf = Callable[[int], "Mapping[str, Tensor]"]

# torchvision's DenseNets once had dots in module names, and their published files still do.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)$")
_SHOWN = 3  # names of each kind in a refusal
_OTHER_SIZE = "source.image_size=SIZE, the one that the weights were trained at"
_AS_GOOD = 0.9  # share of the best one's names: what has fewer is no second set of weights


@dataclass(frozen=True)
class Found:
    """Weights of a network by its own names; left_out: what else stood with them in the file."""

    weights: dict[str, Tensor]
    left_out: tuple[str, ...]

    def said(self, path: str | Path) -> tuple[str, ...]:
        """What a user should know, a sentence or none."""
        if not self.left_out:
            return ()
        what = f"{len(self.left_out)} tensors of {Path(path).name} are left out"
        return (f"{what}: {_some(list(self.left_out))}",)


def read_trunk(
    path: str | Path,
    model: str,
    shell: StateOf,
    built: StateOf,
    *,
    part: str | None = None,
    without: int = 0,
) -> tuple[int, dict[str, Tensor], Found]:
    """The number of classes of a file, its weights in a network of so many, and what was found.

    shell, built: the state dict of the network with that many classes, without numbers and with;
    model: what messages call it; without: of how many classes where the file has no classifier.
    Raises Refusal as ``find_weights`` and ``fit_weights`` do.
    """
    many, few = shell(1000), shell(7)
    head = {name for name, value in many.items() if value.shape != few[name].shape}
    found = find_weights(path, many, head, part)
    sizes = [len(w) for n in many if n in head and (w := found.weights.get(n)) is not None]
    n_classes = sizes[0] if sizes else without
    return n_classes, fit_weights(found.weights, built(n_classes), path, model, head), found


@dataclass(frozen=True)
class _Place:
    """A dict of tensors in a file, and what stands there before the names of the network."""

    tensors: Mapping[str, Tensor]
    place: str
    prefix: str
    count: int

    @property
    def name(self) -> str:
        return ".".join(part for part in (self.place, self.prefix.rstrip(".")) if part)


def find_weights(
    path: str | Path, expected: Mapping[str, Tensor], head: Collection[str], part: str | None = None
) -> Found:
    """The weights of a network in a file.

    They lie where most names of the trunk fit: in the file or in a dict in it, behind a common
    prefix. expected: the network's own, on any device; head: names of its classifier; part: which
    of several, where a file holds several (a student and its teacher).
    Raises Refusal for a file that is no checkpoint, for numbers that are not finite, where several
    sets of weights fit, and where none does.
    """
    trunk = {name for name in expected if name not in head}
    places = [
        place
        for name, tensors in tensors_of(read_file(path), path).items()
        for place in _places(rename_old_names(tensors, trunk), name, trunk)
    ]
    best = max((place.count for place in places), default=0)
    good = [place for place in places if place.count >= max(1, _AS_GOOD * best)]
    chosen = _chosen(good, part, path, len(trunk))
    wanted = {chosen.prefix + name: name for name in expected}
    weights = {n: chosen.tensors[key] for key, n in wanted.items() if key in chosen.tensors}
    left_out = tuple(k for k in chosen.tensors if k not in wanted and not k.endswith("n_averaged"))
    broken = [name for name, value in weights.items() if _has_nonfinite(value)]
    if broken:
        rule = f"weights are finite numbers; NaN or infinite here: {_some(broken)}"
        raise refusal(path, rule, "a checkpoint from before the training run diverged")
    return Found(weights, left_out)


def _places(tensors: Mapping[str, Tensor], place: str, trunk: Collection[str]) -> Iterable[_Place]:
    """Where in one dict names of the trunk stand, by what stands before them."""
    counts: Counter[str] = Counter()
    for key in tensors:
        words = key.split(".")
        for i in range(len(words)):
            if ".".join(words[i:]) in trunk:
                counts["".join(f"{word}." for word in words[:i])] += 1
    return [_Place(tensors, place, prefix, count) for prefix, count in counts.items()]


def _chosen(good: list[_Place], part: str | None, path: str | Path, n: int) -> _Place:
    if part is not None:
        mine = [place for place in good if part in (place.name, place.place)]
        if len(mine) == 1:
            return mine[0]
    if len(good) == 1 and part is None:
        return good[0]
    if not good:
        another = "looks like another architecture: give source.model the one that the file is of"
        raise refusal(path, f"the file has weights of the model: none of its {n} names", another)
    names = [place.name or "plain" for place in good]
    rule = f"one set of weights is taken; those that fit here: {', '.join(names)}"
    raise refusal(path, rule, f"source.part={names[-1]}" if part != names[-1] else "leave it out")


def rename_old_names(weights: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """``weights`` under the names in ``expected`` where they have the older DenseNet names."""
    known = set(expected)
    renamed = {}
    for key, value in weights.items():
        match = _OLD_DENSENET.match(key)
        new = match.group(1) + match.group(2) if match else key
        renamed[new if any(new.endswith(name) for name in (known if match else ())) else key] = (
            value
        )
    return renamed


def fit_weights(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    path: str | Path,
    model: str,
    head: Collection[str] = (),
    other_size: str = _OTHER_SIZE,
) -> dict[str, Tensor]:
    """``found`` in the order and the dtypes of ``expected``, a state dict of ``model``.

    What the file lacks of ``head``, the one part that is never needed, and batch counters that old
    files lack are taken from ``expected``. other_size: the mend where only positions are of another
    shape. Raises Refusal with the names that are missing, and those of another shape, counted.
    """
    missing = [n for n in expected if n not in found and n not in head and not _is_counter(n)]
    shapes = {n: (found[n].shape, expected[n].shape) for n in expected if n in found}
    misshapen = [n for n, (has, wants) in shapes.items() if has != wants and n not in head]
    if missing or misshapen:
        raise _unfit(path, model, missing, misshapen, found, expected, other_size)
    fitted: OrderedDict[str, Tensor] = OrderedDict()
    for name, wanted in expected.items():
        value = found.get(name, wanted)
        value = value if value.shape == wanted.shape else wanted  # of another classifier
        fitted[name] = value.to(wanted.dtype).contiguous().clone()
    return fitted


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _unfit(
    path: str | Path,
    model: str,
    missing: list[str],
    misshapen: list[str],
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    other_size: str,
) -> Refusal:
    said = []
    if missing:
        said.append(f"{len(missing)} of {len(expected)} missing: {_some(missing)}")
    if misshapen:
        pairs = [f"{n} {list(found[n].shape)} for {list(expected[n].shape)}" for n in misshapen]
        said.append(f"{len(pairs)} of another shape: {_some(pairs)}")
    mend = "looks like another architecture: give source.model the one that the file is of"
    if misshapen and not missing:
        mend = "looks like the same architecture in another width or size: check source.model"
        if any("pos_embed" in name or "position" in name for name in misshapen):
            mend = other_size
    return refusal(
        path, f"the file has every weight of {model}, in its shape; {'; '.join(said)}", mend
    )


def _has_nonfinite(value: Tensor) -> bool:
    return value.is_floating_point() and not bool(value.isfinite().all())


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
