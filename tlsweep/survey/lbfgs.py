"""L-BFGS over many independent problems of one shape at once.

Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization". Each
problem has its own history, step length and end; they share the evaluations, which is what makes
hundreds of small problems as cheap as one large one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 8  # pairs of steps and gradient changes that are kept
SUFFICIENT = 1e-4  # Armijo: share of the promised decrease that a step has to bring
HALVINGS = 20  # of a step, before its problem counts as solved to rounding

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(which problems [a], their points [a, p]) to (values [a], gradients [a, p])."""


@dataclass(frozen=True)
class Minima:
    """points [h, p]; values [h]; converged [h]: whether each came as near as was asked."""

    points: Tensor
    values: Tensor
    converged: Tensor
    evaluations: int


class _History:
    """The last steps and gradient changes of the problems that are still open."""

    def __init__(self, precondition_hp: Tensor) -> None:
        self.precondition = precondition_hp
        self.scale = torch.ones_like(precondition_hp[:, :1])  # what the last pair says of it
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverse: list[Tensor] = []  # 1 / (step . change), 0 where the pair says nothing

    def push(self, step_ap: Tensor, change_ap: Tensor) -> None:
        curvature = (step_ap * change_ap).sum(1)
        says = curvature > 1e-10 * (change_ap.square().sum(1) + 1e-30)
        self.steps.append(step_ap)
        self.changes.append(change_ap)
        self.inverse.append(torch.where(says, 1 / curvature.clamp_min(1e-30), 0.0))
        expected = (self.precondition * change_ap.square()).sum(1)
        scale = torch.where(says, curvature / expected.clamp_min(1e-30), self.scale[:, 0])
        self.scale = scale[:, None]
        for kept in (self.steps, self.changes, self.inverse):
            del kept[:-MEMORY]

    def keep(self, open_a: Tensor) -> None:
        """Forget the problems that are solved."""
        self.precondition, self.scale = self.precondition[open_a], self.scale[open_a]
        for kept in (self.steps, self.changes, self.inverse):
            kept[:] = [rows[open_a] for rows in kept]

    def direction(self, gradient_ap: Tensor) -> Tensor:
        """The two-loop recursion, started from the preconditioner."""
        q = gradient_ap.clone()
        weights = []
        pairs = list(zip(self.steps, self.changes, self.inverse, strict=True))
        for step, change, inverse in reversed(pairs):
            weight = inverse * (step * q).sum(1)
            q -= weight[:, None] * change
            weights.append(weight)
        q *= self.precondition * self.scale
        for (step, change, inverse), weight in zip(pairs, reversed(weights), strict=True):
            q += (weight - inverse * (change * q).sum(1))[:, None] * step
        return -q


def minimise(
    objective: Objective,
    start_hp: Tensor,
    precondition_hp: Tensor,
    *,
    gap: float,
    max_iterations: int = 500,
) -> Minima:
    """The minima of h smooth convex functions of p variables.

    start_hp: where to begin; precondition_hp: a guess of each Hessian's inverse diagonal;
    gap: a problem is solved once its value is estimated to lie at most this much above its minimum
    (half the Newton decrement, with the inverse Hessian that the history stands for; Boyd and
    Vandenberghe 2004, 9.5.1).
    """
    points, open_a = start_hp.clone(), torch.arange(len(start_hp), device=start_hp.device)
    values_a, gradient_ap = objective(open_a, points)
    values, evaluations = values_a.clone(), 1
    converged = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    history = _History(precondition_hp)
    for _ in range(max_iterations):
        direction_ap = history.direction(gradient_ap)
        solved = -(gradient_ap * direction_ap).sum(1) <= 2 * gap
        converged[open_a[solved]] = True
        if solved.any():
            going = ~solved
            open_a, values_a, gradient_ap = open_a[going], values_a[going], gradient_ap[going]
            direction_ap = direction_ap[going]
            history.keep(going)
        if not len(open_a):
            break
        moved = _search(objective, open_a, points[open_a], direction_ap, values_a, gradient_ap)
        evaluations += moved.evaluations
        history.push(moved.points - points[open_a], moved.gradient - gradient_ap)
        points[open_a], values[open_a] = moved.points, moved.values
        values_a, gradient_ap = moved.values, moved.gradient
        if moved.stuck.any():  # no step brings less: solved as far as rounding allows
            going = ~moved.stuck
            open_a, values_a, gradient_ap = open_a[going], values_a[going], gradient_ap[going]
            history.keep(going)
    return Minima(points, values, converged, evaluations)


@dataclass(frozen=True)
class _Moved:
    points: Tensor
    values: Tensor
    gradient: Tensor
    stuck: Tensor
    evaluations: int


def _search(
    objective: Objective,
    open_a: Tensor,
    points_ap: Tensor,
    direction_ap: Tensor,
    values_a: Tensor,
    gradient_ap: Tensor,
) -> _Moved:
    """Along each direction, the first of the steps 1, 1/2, 1/4 ... that brings enough."""
    slope = (direction_ap * gradient_ap).sum(1)
    uphill = slope >= 0  # the history has gone stale: go down the plain gradient
    direction_ap = torch.where(uphill[:, None], -gradient_ap, direction_ap)
    slope = torch.where(uphill, -gradient_ap.square().sum(1), slope)
    length = torch.ones_like(values_a)
    new_points, new_values, new_gradient = points_ap.clone(), values_a.clone(), gradient_ap.clone()
    waiting = torch.ones_like(values_a, dtype=torch.bool)
    evaluations = 0
    for _ in range(HALVINGS):
        w = waiting.nonzero().squeeze(1)
        tried = points_ap[w] + length[w, None].to(points_ap.dtype) * direction_ap[w]
        value, gradient = objective(open_a[w], tried)
        evaluations += 1
        enough = value <= values_a[w] + SUFFICIENT * length[w] * slope[w]
        hit = w[enough]
        new_points[hit], new_values[hit] = tried[enough], value[enough]
        new_gradient[hit] = gradient[enough]
        waiting[hit] = False
        if not waiting.any():
            break
        length[waiting] *= 0.5
    return _Moved(new_points, new_values, new_gradient, waiting, evaluations)
