"""L-BFGS over many independent convex problems of one shape at once.

Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization". Each
problem has its own history, step length and end; they share the evaluations, which is what makes
hundreds of small problems as cheap as one large one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

MEMORY = 5  # pairs of steps and gradient changes that are kept; the preconditioner knows the rest
SUFFICIENT = 1e-4  # Armijo: share of the promised decrease that a step has to bring
FLAT = 0.5  # share of its first slope that may be left where a line search ends
TRIES = 20  # of step lengths, before rounding is taken to hide where it goes down
SURE = 500  # times the gap that was asked for, which the bound of a solved problem is below
SECANTS = 4  # tries that are the secant's own
LONGEST = 4.0  # times its last length that a step may be tried next


class Problems(Protocol):
    """Convex functions of p variables, each at a point of its own; a of them are still open.

    points, gradient: [a, p] at the points; values [a], float64.
    """

    points: Tensor
    gradient: Tensor
    values: Tensor

    def precondition(self, vectors_ap: Tensor) -> Tensor:
        """A guess of each inverse Hessian at the points times the vectors: [a, p]."""

    def bound(self) -> Tensor:
        """How far each value lies above its minimum at most: [a]. It may be far less."""

    def aim(self, direction_ap: Tensor) -> None:
        """Where the next steps go."""

    def attempt(self, which_w: Tensor | None, length_w: Tensor) -> tuple[Tensor, Tensor]:
        """Values [w] and slopes [w] of some problems, or all, so many directions away: float64."""

    def move(self, length_a: Tensor) -> None:
        """Take the steps: each problem's last attempt, or none where its length is 0."""

    def keep(self, open_a: Tensor) -> None:
        """Forget the problems that are not open any more."""


@dataclass(frozen=True)
class Minima:
    """points [h, p]; converged [h]: whether each came as near as was asked; iterations: of all."""

    points: Tensor
    converged: Tensor
    iterations: int


class _History:
    """The last steps and gradient changes of the problems that are still open."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverse: list[Tensor] = []  # 1 / (step . change), 0 where the pair says nothing

    def push(self, step_ap: Tensor, change_ap: Tensor) -> None:
        curvature_a = _dot(step_ap, change_ap)
        says = curvature_a > 1e-10 * (_dot(change_ap, change_ap) + 1e-30)
        self.steps.append(step_ap)
        self.changes.append(change_ap)
        self.inverse.append(torch.where(says, 1 / curvature_a.clamp_min(1e-30), 0.0))
        for kept in (self.steps, self.changes, self.inverse):
            del kept[:-MEMORY]

    def keep(self, open_a: Tensor) -> None:
        for kept in (self.steps, self.changes, self.inverse):
            kept[:] = [rows[open_a] for rows in kept]

    def direction(self, problems: Problems) -> Tensor:
        """The two-loop recursion, started from the preconditioner in the scale of the last pair."""
        q = problems.gradient.clone()
        weights = []
        pairs = list(zip(self.steps, self.changes, self.inverse, strict=True))
        for step, change, inverse in reversed(pairs):
            weight = inverse * _dot(step, q)
            q.addcmul_(change, weight[:, None], value=-1)
            weights.append(weight)
        q = problems.precondition(q)
        if pairs:
            q *= self._scale(problems)[:, None]
        for (step, change, inverse), weight in zip(pairs, reversed(weights), strict=True):
            q.addcmul_(step, (weight - inverse * _dot(change, q))[:, None])
        return q.neg_()

    def _scale(self, problems: Problems) -> Tensor:
        change, inverse = self.changes[-1], self.inverse[-1]
        expected_a = _dot(problems.precondition(change), change)
        return torch.where(inverse > 0, 1 / (inverse * expected_a).clamp_min(1e-30), 1.0)


def _dot(a_ap: Tensor, b_ap: Tensor) -> Tensor:
    return (a_ap * b_ap).sum(1)


def minimise(problems: Problems, *, gap: float, max_iterations: int = 500) -> Minima:
    """The minima of all problems, which are used up.

    gap: a problem is solved once its value is estimated to lie at most this much above its minimum
    (half the Newton decrement, with the inverse Hessian that the history stands for; Boyd and
    Vandenberghe 2004, 9.5.1), and is known to lie at most ``SURE`` times as much above it.
    """
    points_hp = problems.points.clone()
    open_a = torch.arange(len(points_hp), device=points_hp.device)
    converged_h = torch.zeros_like(open_a, dtype=torch.bool)
    history = _History()
    iterations = 0

    def close(ended_a: Tensor) -> None:
        nonlocal open_a
        points_hp[open_a[ended_a]] = problems.points[ended_a]
        open_a = open_a[~ended_a]
        problems.keep(~ended_a)
        history.keep(~ended_a)

    while len(open_a) and iterations < max_iterations:
        direction_ap = history.direction(problems)
        slope_a = _dot(direction_ap, problems.gradient)
        solved_a = _solved(problems, -slope_a / 2, gap)
        if solved_a.any():
            converged_h[open_a[solved_a]] = True
            close(solved_a)
            direction_ap, slope_a = direction_ap[~solved_a], slope_a[~solved_a]
            if not len(open_a):
                break
        length_a = _search(problems, direction_ap, slope_a)
        before_ap = problems.gradient
        problems.move(length_a)
        iterations += 1
        history.push(direction_ap.mul_(length_a[:, None]), problems.gradient - before_ap)
        stuck_a = length_a == 0  # no step brings less, as far as rounding allows to see
        if stuck_a.any():
            converged_h[open_a[stuck_a & (problems.bound() <= SURE * gap)]] = True
            close(stuck_a)
    points_hp[open_a] = problems.points
    return Minima(points_hp, converged_h, iterations)


def _solved(problems: Problems, estimate_a: Tensor, gap: float) -> Tensor:
    """Which problems are near enough to their minimum.

    The history of a few steps says little of directions that none of them took: where the function
    is flat along one, the estimate was seen to be a thousandth of the truth.
    """
    solved_a = estimate_a <= gap
    return solved_a & (problems.bound() <= SURE * gap) if solved_a.any() else solved_a


def _search(problems: Problems, direction_ap: Tensor, slope_a: Tensor) -> Tensor:
    """How far to go along each direction: lengths [a], 0 where no step brings less.

    Where the slope has lost part of what it was: a step that only brings less teaches too little.
    """
    problems.aim(direction_ap)
    first, start = slope_a.double(), problems.values
    chosen_a, which = torch.ones_like(start), None
    tried = _Tried.none(first)
    for tries in range(TRIES):
        length = tried.length
        value, slope = problems.attempt(which, length)
        # to rounding: the last steps change hardly anything
        less = value <= start + SUFFICIENT * length * first + 1e-7 * start.abs()
        waiting = ~(less & (slope.abs() <= -FLAT * first))
        if not waiting.any():
            break
        # where the secant comes down slowly, from a step far too long, halves do it
        most = 0.9 if tries < SECANTS else 0.5
        tried.learn(slope, short=less & (slope < 0), most=most)
        w = waiting.nonzero().squeeze(1)
        first, start, tried = first[w], start[w], tried.of(w)
        which = w if which is None else which[w]
        chosen_a[which] = tried.length
    else:
        chosen_a[which] = 0
    return chosen_a.to(direction_ap.dtype)


@dataclass
class _Tried:
    """What is known of some searches [w]: the next length to try, and what lengths bound it.

    low, high: the longest that was too short and the shortest that was too long; slope_low,
    slope_high: there. Slopes of a convex function only grow: where one is zero is found by the
    secant, within these bounds (Nocedal and Wright 2006, 3.5).
    """

    length: Tensor
    low: Tensor
    high: Tensor
    slope_low: Tensor
    slope_high: Tensor

    @staticmethod
    def none(slope_w: Tensor) -> _Tried:
        zero = torch.zeros_like(slope_w)
        return _Tried(zero + 1, zero, zero + math.inf, slope_w, zero)

    def of(self, w: Tensor) -> _Tried:
        return _Tried(
            self.length[w], self.low[w], self.high[w], self.slope_low[w], self.slope_high[w]
        )

    def learn(self, slope_w: Tensor, *, short: Tensor, most: float) -> None:
        """From the slope at ``length``, and whether that was too short.

        most: share of the way between the bounds that the next length may lie at.
        """
        length = self.length
        beyond = length + (length - self.low) * slope_w / (self.slope_low - slope_w)
        beyond = torch.minimum(torch.maximum(beyond, 1.1 * length), LONGEST * length)
        self.low = torch.where(short, length, self.low)
        self.slope_low = torch.where(short, slope_w, self.slope_low)
        self.high = torch.where(short, self.high, length)
        self.slope_high = torch.where(short, self.slope_high, slope_w.clamp_min(0))
        share = self.slope_low / (self.slope_low - self.slope_high)
        within = self.low + share.clamp(0.1, most) * (self.high - self.low)
        self.length = torch.where(self.high.isinf(), beyond, within)
