"""Our heads pass their suite."""

from __future__ import annotations

from tlsweep.conformance import HeadSuite


class TestLinear(HeadSuite):
    kind = "linear"


class TestMlp(HeadSuite):
    kind = "mlp"
