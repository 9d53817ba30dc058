"""A cut point at which no part can start: a head stands on it, and nothing else starts there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prefix_only import NAMES, Asked

from tlsweep.cut import section, split
from tlsweep.errors import Refusal
from tlsweep.heads.head import pool
from tlsweep.question import Question
from tlsweep.survey import surveyor
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve, train_plan
from tlsweep.trial.probe import fit_heads

ONLY = NAMES[1:4]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path, monkeypatch)


def test_its_cut_points_say_which_of_them_are_for_a_prefix_only(asked: Asked) -> None:
    cuts = question_of(asked()).cuts
    assert (cuts.names, cuts.way) == (NAMES, "calls")
    assert tuple(cut.name for cut in cuts if not cut.starts) == ONLY[:2]
