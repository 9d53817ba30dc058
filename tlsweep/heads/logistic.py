"""Logistic regression to the optimum: many heads, several sets of features, at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tlsweep.heads.lbfgs import Minima, minimise

GAP = 1e-7  # nats that a fitted head's objective is estimated to lie above its minimum
SMALL = 30_000_000  # multiplications of one evaluation that one thread does in milliseconds
BATCH = 100_000_000  # multiplications of one evaluation of several sets of features side by side
WIDE = 1_024  # features from which it is looked whether they need to be rotated
WIDER = 2  # times its own width that a set may count as wide beside others
CELLS = 2_000_000  # logits that are kept at once, unless one head has more: heads take turns


@dataclass(frozen=True)
class Heads:
    """Fitted linear heads: weight [h, d, k] and bias [h, k], for standardised features.

    converged [h]: whether each was estimated within ``GAP`` of its minimum; left_out [h]: share of
    the examples that each gets right when fitted to all others, None where that is not known.
    """

    weight: Tensor
    bias: Tensor
    converged: Tensor
    left_out: Tensor | None = None

    def logits(self, z_nd: Tensor) -> Tensor:
        """[n, d] features to [h, n, k] logits."""
        return torch.einsum("nd,hdk->hnk", z_nd, self.weight) + self.bias[:, None]

    def predictions(self, z_nd: Tensor) -> Tensor:
        """[n, d] features to [h, n] class indices; chunk by chunk."""
        h, _, k = self.weight.shape
        rows = max(1, CELLS // (h * k))
        return torch.cat([self.logits(part).argmax(2) for part in torch.split(z_nd, rows)], dim=1)


def fit_logistic(
    z_nd: Tensor,
    y_n: Tensor,
    n_classes: int,
    penalties: Sequence[float],
    weights_sn: Tensor | None = None,
    *,
    gap: float = GAP,
) -> Heads:
    """One head for every penalty and every weighting of the examples.

    Minimises mean cross-entropy + penalty / 2 * |weight|^2, the bias unpenalised; scikit-learn's
    C is 1 / (n * penalty). z_nd: standardised features; y_n: class indices; weights_sn: s ways to
    weight the examples (a row of zeros and ones is a subset), default one of ones.
    The h = len(penalties) * s heads are ordered by penalty, then by weighting.

    Raises ValueError if a penalty is not positive or a weighting is all zeros.
    """
    return fit_side_by_side([z_nd], y_n, n_classes, penalties, weights_sn, gap=gap)[0]


def fit_side_by_side(
    sets: Sequence[Tensor],
    y_n: Tensor,
    n_classes: int,
    penalties: Sequence[float],
    weights_sn: Tensor | None = None,
    *,
    gap: float = GAP,
) -> list[Heads]:
    """``fit_logistic`` of several sets of features of the same examples, each [n, its own d].

    They share every step but the products with the features, as the heads of one set do. y_n may be
    [s, n]: each weighting has classes of its own.
    """
    first = sets[0]
    if weights_sn is None:
        weights_sn = torch.ones(1, len(first), device=first.device)
    weights_sn = weights_sn.to(first.dtype)
    if min(penalties) <= 0 or bool((weights_sn.sum(1) <= 0).any()):
        raise ValueError(f"penalties {list(penalties)} are above 0, and each weighting counts one")
    shares_sn = weights_sn / weights_sn.sum(1, keepdim=True)
    penalty_p = torch.tensor(penalties, device=first.device, dtype=first.dtype)
    products = sum(evaluation(z, len(penalties) * len(shares_sn), n_classes) for z in sets)
    with _few_threads(products):
        rotated = [_rotated(z_nd) for z_nd in sets]
        task = _Task(_side_by_side([z_nr for z_nr, _ in rotated]), y_n, n_classes, gap)
        # where steps are short, two rounds of them would take longer than one
        alone = products < SMALL or y_n.ndim == 2  # other classes end elsewhere
        solve = task.solved if alone else task.solved_from_the_first
        points_cpsx, converged_cps = solve(shares_sn, penalty_p, None)
        points_chkq = points_cpsx.view(len(sets), -1, n_classes, task.z.shape[2])
        return [
            Heads(axes.weights(points_hkq[..., : z_nr.shape[1]]), points_hkq[..., -1], converged_h)
            for (z_nr, axes), points_hkq, converged_h in zip(
                rotated, points_chkq, converged_cps.flatten(1), strict=True
            )
        ]


def fit_labels(
    sets: Sequence[Tensor],
    y_nm: Tensor,
    penalties: Sequence[float],
    weights_sn: Tensor | None = None,
    *,
    gap: float = GAP,
) -> list[Heads]:
    """Binary logistic regression of each of m labels, of several sets of features side by side.

    Minimises, label by label, mean binary cross-entropy + penalty / 2 * |weight|^2. y_nm: 0 or 1;
    weights_sn: may be [s, n, m], where examples count otherwise for each label; other arguments and
    errors as of ``fit_side_by_side``. The heads' outputs are a logit a label.
    """
    m = y_nm.shape[1]
    if weights_sn is None:
        weights_sn = torch.ones(1, len(y_nm), device=y_nm.device)
    s = len(weights_sn)
    # two classes share what one logit has: half the weight each, so half the penalty's square sum
    doubled = [2 * penalty for penalty in penalties]
    alike = weights_sn[..., None] if weights_sn.ndim == 2 else weights_sn
    rows = alike.expand(-1, -1, m).transpose(1, 2).flatten(0, 1)
    y_rows = y_nm.T.long().repeat(s, 1)
    found = []
    for heads in fit_side_by_side(sets, y_rows, 2, doubled, rows, gap=gap):
        weight_hmd = (heads.weight[..., 1] - heads.weight[..., 0]).view(
            -1, m, heads.weight.shape[1]
        )
        bias_hm = (heads.bias[:, 1] - heads.bias[:, 0]).view(-1, m)
        converged_h = heads.converged.view(-1, m).all(1)
        found.append(Heads(weight_hmd.transpose(1, 2), bias_hm, converged_h))
    return found


def batches(sets: Sequence[Tensor], n_heads: int, n_classes: int) -> list[list[int]]:
    """Which sets of features are worth fitting side by side, the widest first.

    n_heads: of each set. Narrower ones count as wide as the widest beside them, so that many steps
    of little are saved, and little is computed in vain.
    """
    found: list[list[int]] = []
    room = 0
    for i in sorted(range(len(sets)), key=lambda i: -min(sets[i].shape)):
        if room > 0 and min(sets[i].shape) * WIDER >= min(sets[found[-1][0]].shape):
            found[-1].append(i)
        else:
            found.append([i])
            products = evaluation(sets[i], n_heads, n_classes)
            room = min(BATCH // products, CELLS // (len(sets[i]) * n_heads * n_classes))
        room -= 1
    return found


def _side_by_side(sets: Sequence[Tensor]) -> Tensor:
    """Sets [n, r] as wide as the widest, with zeros, and a last column of ones: [c, n, q]."""
    q = max(z_nr.shape[1] for z_nr in sets) + 1
    z_cnq = sets[0].new_zeros(len(sets), len(sets[0]), q)
    z_cnq[..., -1] = 1
    for z_nq, z_nr in zip(z_cnq, sets, strict=True):
        z_nq[:, : z_nr.shape[1]] = z_nr
    return z_cnq


@dataclass(frozen=True)
class _Task:
    """What all heads share: sets of rotated features and ones [c, n, q], classes, and the gap.

    y: classes [n], or those of each weighting [s, n].
    """

    z: Tensor
    y: Tensor
    k: int
    gap: float

    def solved(
        self, shares_sn: Tensor, penalty_p: Tensor, start_cpx: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The minima [c, p, s, x] and whether each converged [c, p, s].

        Each search begins at its set's and penalty's start, or at zero.
        """
        shape = len(self.z), len(penalty_p), len(shares_sn)
        found = []
        which_h = torch.arange(math.prod(shape), device=self.z.device)
        for which_a in torch.split(which_h, max(1, CELLS // (self.z.shape[1] * self.k))):
            c, p, s = torch.unravel_index(which_a, shape)
            start_ax = None if start_cpx is None else start_cpx[c, p]
            found.append(self._minima(c, s, shares_sn, penalty_p[p], start_ax))
        points_hx = torch.cat([f.points for f in found])
        converged_h = torch.cat([f.converged for f in found])
        return points_hx.view(*shape, -1), converged_h.view(shape)

    def _minima(
        self,
        set_a: Tensor,
        weighting_a: Tensor,
        shares_sn: Tensor,
        penalty_a: Tensor,
        start_ax: Tensor | None,
    ) -> Minima:
        """The minima of a heads. Where rounding hides one, it is sought on in double precision."""
        y = self.y if self.y.ndim == 1 else self.y[weighting_a]
        problems = _Problems(self.z, set_a, y, self.k, shares_sn[weighting_a], penalty_a)
        if start_ax is not None:
            problems.begin_at(start_ax)
        found = minimise(problems, gap=self.gap)
        left = (~found.converged).nonzero().squeeze(1)
        if not len(left) or self.z.dtype == torch.float64:
            return found
        sets, set_l = torch.unique(set_a[left], return_inverse=True)
        finer = replace(self, z=self.z[sets].double())
        exact = finer._minima(
            set_l,
            weighting_a[left],
            shares_sn.double(),
            penalty_a[left].double(),
            found.points[left].double(),
        )
        found.points[left] = exact.points.to(self.z.dtype)
        found.converged[left] = exact.converged
        return found

    def solved_from_the_first(
        self, shares_sn: Tensor, penalty_p: Tensor, start_cpx: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same; the first weighting's minima are where the others begin.

        Subsets of the same examples end near where all of them do: half of the steps are saved.
        """
        first = self.solved(shares_sn[:1], penalty_p, start_cpx)
        if len(shares_sn) == 1:
            return first
        others = self.solved(shares_sn[1:], penalty_p, first[0][:, :, 0])
        return torch.cat([first[0], others[0]], 2), torch.cat([first[1], others[1]], 2)


def evaluation(z_nd: Tensor, n_heads: int, n_classes: int) -> int:
    """Multiplications of one evaluation of all heads; below ``SMALL`` threads only get in the way.

    They wait for each other, or for the interpreter, longer than they compute.
    """
    return min(z_nd.shape) * len(z_nd) * n_heads * n_classes


@contextmanager
def _few_threads(products: int) -> Iterator[None]:
    """One thread where an evaluation is so short that threads would wait longer than compute.

    Beside another busy process they were seen to make a survey four times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def together(groups: Sequence[Heads]) -> Heads:
    """Heads of s groups, each ordered by penalty, as one: by penalty, then by group."""

    def interleaved(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(parts), 1).flatten(0, 1)

    left_out = [g.left_out for g in groups if g.left_out is not None]
    return Heads(
        interleaved([g.weight for g in groups]),
        interleaved([g.bias for g in groups]),
        interleaved([g.converged for g in groups]),
        interleaved(left_out) if len(left_out) == len(groups) else None,
    )


@dataclass(frozen=True)
class _Axes:
    """Where rotated features [n, r] lie: axes [r, r] in a span [d, r], None for all of space.

    axes: None where features stand as they were; used: which of them, bool [d], None for all.
    """

    span: Tensor | None
    axes: Tensor | None
    used: Tensor | None = None

    def weights(self, rotated_hkr: Tensor) -> Tensor:
        """Weights for rotated features as weights for the features they were: [h, d, k]."""
        weight_hkd = rotated_hkr if self.axes is None else rotated_hkr @ self.axes.T
        if self.span is not None:
            weight_hkd = weight_hkd @ self.span.T
        if self.used is not None:
            whole_hkd = weight_hkd.new_zeros(*weight_hkd.shape[:2], len(self.used))
            whole_hkd[..., self.used] = weight_hkd
            weight_hkd = whole_hkd
        return weight_hkd.transpose(1, 2)


def _rotated(z_nd: Tensor) -> tuple[Tensor, _Axes]:
    """Features in the basis of their principal axes, r = min(n, d) of them, and the axes.

    Exact: a rotation keeps |weight|, and the optimal weight has no part outside the span of the
    examples. There the Hessian is nearly diagonal, and with n < d there is less to compute. Many
    features that are nearly orthogonal as they are, such as counts of words, are not rotated: of
    4,096 that took ten times as long as all the rest.
    """
    used = None
    if z_nd.shape[1] > WIDE and not bool((used := (z_nd != 0).any(0)).all()):
        z_nd = z_nd[:, used]  # the optimal weight of a feature that is always 0 is 0
    else:
        used = None
    span = None
    if z_nd.shape[0] < z_nd.shape[1]:
        span, within = torch.linalg.qr(z_nd.T)
        z_nd = within.T
    gram_rr = z_nd.T @ z_nd
    if len(gram_rr) > WIDE and _is_diagonal(gram_rr):
        return z_nd, _Axes(span, None, used)
    axes = _principal_axes(gram_rr)
    return z_nd @ axes, _Axes(span, axes, used)


def _is_diagonal(gram_rr: Tensor) -> bool:
    """Whether most of a Gram matrix, by its squares, stands in its diagonal."""
    return bool(gram_rr.diagonal().square().sum() > gram_rr.square().sum() / 2)


def _principal_axes(gram_rr: Tensor) -> Tensor:
    try:
        axes_rr: Tensor = torch.linalg.eigh(gram_rr).eigenvectors
    except RuntimeError:  # LAPACK gives up on some in single precision
        axes_rr = torch.linalg.eigh(gram_rr.double()).eigenvectors.to(gram_rr.dtype)
    return axes_rr


class _Problems:
    """The objectives of a heads: points are [k, q] flattened, the last of q being the bias.

    z_cnq: sets of features; set_a: the one of each head, ascending; y: classes [n] of all heads,
    or [a, n] of each.
    Logits are kept, and those of the direction: along it they are linear, so that a step length
    is judged without another product with the features. Examples come last, since sums over
    classes are fast then. Probabilities are kept as exponentials [a, k, n] and their sums [a, n].
    """

    def __init__(
        self,
        z_cnq: Tensor,
        set_a: Tensor,
        y: Tensor,
        n_classes: int,
        shares_an: Tensor,
        penalty_a: Tensor,
    ) -> None:
        self.z, self.transposed, self.squares = z_cnq, z_cnq.mT, z_cnq.square()
        (_, n, q), a, self.k = z_cnq.shape, len(shares_an), n_classes
        self._sort(set_a)
        self.one_truth, self.shares_an = y.ndim == 1, shares_an
        self.y_a1n = y.expand(a, 1, n) if self.one_truth else y[:, None]
        self.penalty_aq = penalty_a[:, None].repeat(1, q)
        self.penalty_aq[:, -1] = 0
        self.points = z_cnq.new_zeros(a, n_classes * q)
        self.logits_akn = z_cnq.new_zeros(a, n_classes, n)
        # what is a parabola of the length: the penalty, less the mean logit of the right class
        self.parabola_a = torch.zeros_like(penalty_a, dtype=torch.float64)
        self.values = self.parabola_a + math.log(n_classes)
        ones = torch.ones_like(self.logits_akn)
        self.gradient, self.inverse_aq = self._derivatives(ones, ones.sum(1))

    def _sort(self, set_a: Tensor) -> None:
        """Which rows are of which set."""
        self.set_a = set_a
        ends = torch.bincount(set_a, minlength=len(self.z)).cumsum(0).tolist()
        self.rows = [slice(*pair) for pair in zip([0, *ends], ends, strict=False)]

    def _times(self, vectors_axi: Tensor, matrices_cij: Tensor) -> Tensor:
        """Each head's vectors times the matrix of its set: [a, x, j]."""
        out = vectors_axi.new_empty(*vectors_axi.shape[:2], matrices_cij.shape[2])
        for rows, matrix_ij in zip(self.rows, matrices_cij, strict=True):
            torch.mm(vectors_axi[rows].flatten(0, 1), matrix_ij, out=out[rows].flatten(0, 1))
        return out

    def begin_at(self, points_ap: Tensor) -> None:
        """Go from zero, where all begin, to other points."""
        whole_a = torch.ones_like(self.values)
        self.aim(points_ap)
        self.attempt(None, whole_a)
        self.move(whole_a.to(points_ap.dtype))

    def _derivatives(self, exp_akn: Tensor, sums_an: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient [a, p], and the inverse diagonal of the Hessian [a, q].

        The diagonal is averaged over classes, and exact where all are equally likely. Uses up
        ``exp_akn``.
        """
        k = self.k
        scale_an = self.shares_an / sums_an
        spread_an = self.shares_an - exp_akn.square().sum(1) * (scale_an / sums_an)
        curvature_aq = self._times(spread_an[:, None], self.squares)[:, 0].div_(max(1, k - 1))
        curvature_aq.clamp_min_(1e-8)
        residual = exp_akn.mul_(scale_an[:, None])
        residual.scatter_add_(1, self.y_a1n, -self.shares_an[:, None])
        gradient = self._times(residual, self.z)
        gradient.addcmul_(self._by_class(self.points), self.penalty_aq[:, None])
        return gradient.flatten(1), (curvature_aq + self.penalty_aq).reciprocal_()

    def _by_class(self, vectors_ap: Tensor) -> Tensor:
        return vectors_ap.view(len(vectors_ap), self.k, -1)

    def precondition(self, vectors_ap: Tensor) -> Tensor:
        return (self._by_class(vectors_ap) * self.inverse_aq[:, None]).flatten(1)

    def bound(self) -> Tensor:
        """The duality gap at the probabilities that the points give: |gradient|^2 / (2 penalty).

        Exact but for the bias, which has no penalty: it counts as if it had one.
        """
        return self.gradient.square().sum(1) / (2 * self.penalty_aq[:, 0])

    def aim(self, direction_ap: Tensor) -> None:
        points, direction = self._by_class(self.points), self._by_class(direction_ap)
        self.direction = direction_ap
        self.ahead_akn = self._times(direction, self.transposed)
        penalised = direction * self.penalty_aq[:, None]
        right_an = self.ahead_akn.gather(1, self.y_a1n)[:, 0]
        pull_a = (penalised * points).sum((1, 2), dtype=torch.float64)
        self.pull_a = pull_a - (self.shares_an * right_an).sum(1, dtype=torch.float64)
        self.bend_a = (penalised * direction).sum((1, 2), dtype=torch.float64)

    def attempt(self, which_w: Tensor | None, length_w: Tensor) -> tuple[Tensor, Tensor]:
        w = slice(None) if which_w is None else which_w
        ahead, shares = self.ahead_akn[w], self.shares_an[w]
        logits = torch.addcmul(self.logits_akn[w], ahead, length_w.to(ahead.dtype)[:, None, None])
        top_w1n = logits.amax(1, keepdim=True)
        exp = (logits - top_w1n).exp_()
        sums = exp.sum(1)
        whole = (shares * (sums.log() + top_w1n[:, 0])).sum(1, dtype=torch.float64)
        rise = (shares * (exp * ahead).sum(1) / sums).sum(1, dtype=torch.float64)
        turn = self.bend_a[w] * length_w
        parabola = self.parabola_a[w] + length_w * (self.pull_a[w] + 0.5 * turn)
        value = whole + parabola
        if which_w is None:
            self.tried = logits, exp, sums, parabola, value
        else:
            new = logits, exp, sums, parabola, value
            for kept, part in zip(self.tried, new, strict=True):
                kept[which_w] = part
        return value, rise + self.pull_a[w] + turn

    def move(self, length_a: Tensor) -> None:
        self.points = torch.addcmul(self.points, self.direction, length_a[:, None])
        self.logits_akn, exp, sums, self.parabola_a, self.values = self.tried
        self.gradient, self.inverse_aq = self._derivatives(exp, sums)

    def keep(self, open_a: Tensor) -> None:
        self._sort(self.set_a[open_a])
        self.shares_an, self.penalty_aq = self.shares_an[open_a], self.penalty_aq[open_a]
        own = slice(len(self.shares_an)) if self.one_truth else open_a
        self.y_a1n = self.y_a1n[own]
        self.points, self.gradient = self.points[open_a], self.gradient[open_a]
        self.inverse_aq, self.logits_akn = self.inverse_aq[open_a], self.logits_akn[open_a]
        self.parabola_a, self.values = self.parabola_a[open_a], self.values[open_a]
