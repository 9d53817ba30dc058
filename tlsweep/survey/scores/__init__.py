"""Transferability scores: pure functions from features to one number, computed in float64.

A survey calls ``Spectrum.of(z_nd)`` once for each cut point and hands the result to the scores, so
that they share its products and its decomposition.
"""

from tlsweep.survey.scores.cka import linear_cka, unbiased_linear_cka
from tlsweep.survey.scores.frechet import frechet_distance
from tlsweep.survey.scores.h_score import h_score, shrunk_h_score
from tlsweep.survey.scores.leep import leep
from tlsweep.survey.scores.log_me import log_me, log_me_numeric
from tlsweep.survey.scores.spectrum import Spectrum

__all__ = [
    "Spectrum",
    "frechet_distance",
    "h_score",
    "leep",
    "linear_cka",
    "log_me",
    "log_me_numeric",
    "shrunk_h_score",
    "unbiased_linear_cka",
]
