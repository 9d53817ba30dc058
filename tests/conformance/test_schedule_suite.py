"""Our schedules, and that of another package, pass their suite."""

from __future__ import annotations

import pytest

from tlsweep.conformance import ScheduleSuite


class TestConstant(ScheduleSuite):
    name = "constant"


class TestTwoPhase(ScheduleSuite):
    name, options = "two_phase", {"until": "plateau", "patience": 3}


class TestGradual(ScheduleSuite):
    name = "gradual"


class TestGradualFromTheBottom(ScheduleSuite):
    name, options = "gradual", {"begin": "bottom", "epochs": 2}


class TestPhases(ScheduleSuite):
    name, options = "phases", {"phases": ["none", "all"]}


@pytest.mark.usefixtures("beside")
class TestPairs(ScheduleSuite):
    name = "pairs"


@pytest.mark.usefixtures("beside")
class TestPairsOfOne(ScheduleSuite):
    name, options = "pairs", {"blocks": 1}
