"""Our heads, and that of another package, pass their suite."""

from __future__ import annotations

import pytest

from tlsweep.conformance import HeadSuite


class TestLinear(HeadSuite):
    name = "linear"


class TestMlp(HeadSuite):
    name = "mlp"


class TestAttention(HeadSuite):
    name = "attention"


class TestConv(HeadSuite):
    name = "conv"


class TestLstm(HeadSuite):
    name = "lstm"


@pytest.mark.usefixtures("beside")
class TestNormed(HeadSuite):
    name = "normed"
