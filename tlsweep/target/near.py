"""Near copies: one picture encoded anew, resized, slightly cropped or brightened. Pure numpy.

Candidates are found by the low frequencies of a small grey copy, as pHash does (Zauner 2010). Each
pair is looked at once more: what one thumbnail leaves unexplained of the other after the best small
shift, stretch and change of light (Lucas and Kanade 1981). How little is little enough, the images
say themselves: far less than what an image differs from those of its kind, as in the ratio test of
Lowe (2004). So digits, which are all alike, are not taken for copies. The rates from which the
shares were chosen are in tests/benchmarks/copies.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

    from tlsweep.target.base import Progress

Floats = NDArray[Any]
Indices = NDArray[np.int64]

SIZE, _COLOURS = 32, 4  # pixels a side of a thumbnail: grey, and its two colour differences
_FREQUENCIES = 8  # a side, of the cosine transform
NEAR = 0.05  # unexplained share of a copy, at most, of what images of its kind differ by
_ALIKE = 0.3  # the same of a candidate, before it is aligned
_SAME = 0.001  # a copy whatever its kind; 4 times as much for a candidate
_KIND = (10, 50)  # images of its kind: the 10 nearest, or one in 50 where that is more
_CROWD = 10  # times nearer than usual: those nearest are copies, and do not tell what others are
_ASKED = 2000  # images that stand for all of them
_MOST = 8  # candidates of an image: a copy of many is tied to the others through these
_FLAT = 2.0  # levels: a picture that varies by less shows nothing
_LIGHT = (0.5, 2.0)  # contrast of a copy
_COLOUR = 16.0  # levels that its colours differ by in the mean
_REACH = 0.12  # of the picture's width: the largest shift and stretch
_HOPE = 4.0  # times the unexplained share of a copy, after the first step of the search
_EDGE, _ROWS, _PAIRS = 2, 512, 1024
_TILE = (
    1024  # pictures that a block of rows is compared with at once: what they make stays in cache
)


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """What is kept of a picture to find its copies: uint8 [SIZE * SIZE + 2 * 4 * 4]."""
    from PIL import Image

    small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR).convert("YCbCr")
    grey, *colours = small.split()
    few = [one.resize((_COLOURS, _COLOURS), Image.Resampling.BOX) for one in colours]
    return np.concatenate([np.asarray(one, np.uint8).ravel() for one in (grey, *few)])


def firsts(
    thumbs_nd: NDArray[np.uint8], same_as: Indices, progress: Progress | None = None
) -> Indices:
    """For each picture the first one that it is a copy of, through others too: int64 [n].

    thumbs_nd: ``thumbnail`` of each; same_as: the first one of the same content. The time grows
    with the square of n.
    """
    different = np.unique(same_as)
    grey = thumbs_nd[different, : SIZE * SIZE].reshape(-1, SIZE, SIZE).astype(np.float32)
    shown = grey.std((1, 2)) >= _FLAT
    if shown.sum() < 2:
        return same_as
    places, grey = different[shown], grey[shown]
    colours = thumbs_nd[places, SIZE * SIZE :].astype(np.float32)
    group = _grouped(grey, colours, progress)
    first = np.arange(len(same_as), dtype=np.int64)
    first[places] = places[group]
    return first[same_as]


def _grouped(grey: Floats, colours: Floats, progress: Progress | None) -> Indices:
    """The first copy of each picture, by rounds: what is found shows what others are unlike."""
    low = _low_frequencies(grey)
    group, rows = np.arange(len(low)), np.arange(len(low))
    kind = np.ones(len(low), np.float32)
    while len(rows):
        kind[rows] = _of_its_kind(low[rows], low[np.unique(group)])
        kind = np.maximum(kind, np.median(kind) / _CROWD)
        i, j = candidates(low, kind, rows, progress).T
        new = group[i] != group[j]
        i, j = i[new], j[new]
        allowed = np.maximum(NEAR * np.minimum(kind[i], kind[j]), _SAME)
        alike = np.abs(colours[i] - colours[j]).mean(1) <= _COLOUR
        i, j, allowed = i[alike], j[alike], allowed[alike]
        hopeful = _unexplained(grey, i, j, steps=1) < _HOPE * allowed
        i, j, allowed = i[hopeful], j[hopeful], allowed[hopeful]
        copies = _unexplained(grey, i, j, steps=4) < allowed
        before, group = group, _joined(group, i[copies], j[copies])
        # a copy of many is unlike none of them: once they are one, its kind is told by the others
        rows = np.flatnonzero(np.isin(group, group[group != before]))
    return group


def _low_frequencies(grey: Floats) -> Floats:
    """The low frequencies without the mean, of length 1: float32 [n, 63]."""
    k, x = np.arange(_FREQUENCIES)[:, None], np.arange(SIZE)[None]
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * SIZE)).astype(np.float32)
    cosines[0] /= np.sqrt(2)
    found = (cosines @ grey @ cosines.T).reshape(len(grey), -1)[:, 1:]
    length = np.linalg.norm(found, axis=1, keepdims=True)
    whole: Floats = (found / np.maximum(length, 1e-6)).astype(np.float32)
    return whole


def _of_its_kind(rows: Floats, others: Floats) -> Floats:
    """How unlike the nearest others each picture is, 0 to 2."""
    if len(others) > _ASKED:
        others = others[np.random.default_rng(0).choice(len(others), _ASKED, replace=False)]
    place = min(max(_KIND[0], len(others) // _KIND[1]), len(others) - 1)
    parts = [rows[at : at + _ROWS] @ others.T for at in range(0, len(rows), _ROWS)]
    unlike = 1 - np.concatenate(parts)
    found: Floats = np.partition(unlike, place, axis=1)[:, place]
    return found


def candidates(
    low: Floats, kind: Floats, rows: Indices, progress: Progress | None = None
) -> Indices:
    """Pairs of pictures that may be copies, the lower index first: int64 [pairs, 2]."""
    found = [np.empty((0, 2), np.int64)]
    limits = np.maximum(_ALIKE * kind, 4 * _SAME)
    for at in range(0, len(rows), _ROWS):
        here = rows[at : at + _ROWS]
        if progress is not None:
            progress(at, len(rows), "looking for near copies")
        row, other, unlike = _within(low, here, limits[here])
        near = (unlike < limits[other]) & (here[row] != other)
        row, other, unlike = row[near], other[near], unlike[near]
        order = np.lexsort((other, unlike, row))
        row, other = row[order], other[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        row, other = here[row[rank < _MOST]], other[rank < _MOST]
        found.append(np.stack([np.minimum(row, other), np.maximum(row, other)], 1))
    return np.unique(np.concatenate(found), axis=0)


def _within(low: Floats, here: Indices, limits: Floats) -> tuple[Indices, Indices, Floats]:
    """All pictures that are as near to those ``here`` as their limits say, and how unlike: [pairs].

    Every pair is looked at, but in pieces, and once: nearly all of them go at the first comparison.
    """
    mine, found = low[here], []
    for at in range(0, len(low), _TILE):
        unlike = 1 - mine @ low[at : at + _TILE].T
        places = np.flatnonzero(unlike < limits[:, None])
        row, other = np.divmod(places, unlike.shape[1])
        found.append((row, other + at, unlike.ravel()[places]))
    row, other, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return row, other, distance


def _unexplained(grey: Floats, i: Indices, j: Indices, steps: int) -> Floats:
    """The share of each pair that is unlike once one is laid over the other, the better way.

    steps: of the search for how it is laid best.
    """
    found = [np.empty(0, np.float32)]
    for at in range(0, len(i), _PAIRS):
        a, b = grey[i[at : at + _PAIRS]], grey[j[at : at + _PAIRS]]
        found.append(np.minimum(_laid_over(a, b, steps), _laid_over(b, a, steps)))
    return np.concatenate(found)


def _laid_over(a: Floats, b: Floats, steps: int) -> Floats:
    """What ``a`` leaves of ``b``, shifted and stretched for it: of each pair [p, h, w], [p]."""
    grid = np.linspace(-1, 1, SIZE, dtype=np.float32)
    y, x = grid[:, None], grid[None]
    by = np.zeros((len(a), 4, 1, 1), np.float32)  # shift and stretch down, and to the right
    wanted = _inner(b)
    whole = np.maximum((wanted**2).sum(1), 1e-6)
    left = np.full(len(a), 2.0, np.float32)
    for step in range(steps + 1):
        moved = (
            a if not step else _at(a, y * (1 + by[:, 1]) + by[:, 0], x * (1 + by[:, 3]) + by[:, 2])
        )
        here = _inner(moved)
        light = (here * wanted).sum(1) / np.maximum((here**2).sum(1), 1e-6)
        fits = (light >= _LIGHT[0]) & (light <= _LIGHT[1])
        rest = np.where(fits, 1 - light * (here * wanted).sum(1) / whole, 2.0)
        left = np.minimum(left, rest).astype(np.float32)
        if step < steps:
            by = np.clip(by + _better(moved, here, wanted, y, x), -_REACH, _REACH)
    return left


def _better(moved: Floats, here: Floats, wanted: Floats, y: Floats, x: Floats) -> Floats:
    """By how much more to shift and to stretch: least squares on the slopes, [p, 4, 1, 1]."""
    down, right = (np.gradient(moved, axis=axis).astype(np.float32) for axis in (1, 2))
    slopes = [_inner(one * (SIZE - 1) / 2) for one in (down, down * y, right, right * x)]
    basis = np.stack([*slopes, here], 1)
    square = basis @ basis.transpose(0, 2, 1)
    damp = 1e-3 * np.trace(square, axis1=1, axis2=2) / len(square[0]) + 1e-6
    square += damp[:, None, None] * np.eye(len(square[0]), dtype=np.float32)
    found = np.linalg.solve(square, basis @ wanted[..., None])[..., 0]
    light = np.where(np.abs(found[:, 4:]) < 0.01, 1, found[:, 4:])
    step: Floats = (found[:, :4] / light)[..., None, None]
    return step


def _inner(image: Any) -> Floats:
    """The picture without its edges, where what is shifted has nothing, less its mean: [p, d]."""
    flat: Floats = image[:, _EDGE:-_EDGE, _EDGE:-_EDGE].reshape(len(image), -1)
    found: Floats = flat - flat.mean(1, keepdims=True)
    return found


def _at(image: Floats, y: Floats, x: Floats) -> Floats:
    """The picture at places from -1 to 1, between its pixels too. y: [p, h, 1], x: [p, 1, w]."""
    # down, then to the right: whole rows are picked, which is far quicker than pixel by pixel
    down = _rows_at(image, y[:, :, 0])
    found: Floats = _rows_at(np.ascontiguousarray(down.transpose(0, 2, 1)), x[:, 0])
    return found.transpose(0, 2, 1)


def _rows_at(image: Floats, places: Floats) -> Floats:
    """The picture's rows at places [p, h] from -1 to 1, between its own too."""
    down = np.clip((places + 1) / 2 * (SIZE - 1), 0, SIZE - 1.001)
    row, which = down.astype(np.int64), np.arange(len(image))[:, None]
    share = (down - row).astype(np.float32)[..., None]
    found: Floats = image[which, row] * (1 - share) + image[which, row + 1] * share
    return found


def _joined(group: Indices, i: Indices, j: Indices) -> Indices:
    """Groups, with those of each pair made one: each is called by its lowest index."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(group)
    start, end = np.concatenate([np.arange(n), i]), np.concatenate([group, j])
    graph = coo_array((np.ones(len(start), bool), (start, end)), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    _, first, back = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(first[back], dtype=np.int64)
