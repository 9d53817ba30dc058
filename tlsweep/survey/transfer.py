"""The transferability scores of every cut point, from features that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tlsweep.survey.scores import (
    Spectrum,
    frechet_distance,
    leep,
    log_me,
    log_me_numeric,
    shrunk_h_score,
    unbiased_linear_cka,
)
from tlsweep.task import Task

LEAST = 4  # rows that all scores can be told from


def transfer_scores(
    names: Sequence[str],
    features: Sequence[Tensor],
    y_n: Tensor,
    task: Task,
    source_probabilities_nk: Tensor | None,
    source_features: Sequence[Tensor] | None,
) -> list[dict[str, Any]]:
    """For each cut point, from the input up: its name, index and scores; None for one not known.

    features: [n, d] of the fit split at each cut point; source_probabilities_nk: what the source's
    own classifier says of the same images, which gives the last cut point its LEEP;
    source_features: [m, d] of the source's own images, which give the Frechet distances.
    ``cka_below``: unbiased linear CKA with the cut point below. LogME of labels and numbers is that
    of regression; what only classes have is None for them. No scores where the split has fewer than
    four images.
    """
    if len(y_n) < LEAST:
        return []
    of_classes = task.kind == "classes"
    found: list[dict[str, Any]] = []
    below: Spectrum | None = None
    for index, (name, z_nd) in enumerate(zip(names, features, strict=True)):
        twin = index > 0 and z_nd.equal(features[index - 1])  # a source's own pooling often is
        spectrum = below if twin and below is not None else Spectrum.of(z_nd)
        own = source_features[index] if source_features is not None else None
        found.append(
            {
                "cut": name,
                "index": index,
                "log_me": _log_me(spectrum, y_n, task),
                "h_score": shrunk_h_score(spectrum, y_n) if of_classes else None,
                "cka_below": None if below is None else unbiased_linear_cka(below, spectrum),
                "leep": None,
                "frechet": None if own is None else frechet_distance(own, z_nd),
            }
        )
        below = spectrum
    if source_probabilities_nk is not None and of_classes:
        found[-1]["leep"] = leep(source_probabilities_nk, y_n)
    return found


def _log_me(spectrum: Spectrum, y_n: Tensor, task: Task) -> float | None:
    """LogME of the task's targets; None where none of them varies."""
    if task.kind == "classes":
        return log_me(spectrum, y_n, task.n_outputs)
    t_nm = y_n.double()
    t_nm = (t_nm - t_nm.mean(0))[:, (t_nm != t_nm[0]).any(0)]
    return log_me_numeric(spectrum, t_nm / t_nm.std(0)) if t_nm.shape[1] else None
