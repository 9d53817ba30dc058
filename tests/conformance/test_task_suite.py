"""Our tasks, and that of another package, pass their suite."""

from __future__ import annotations

import pytest

from tlsweep.conformance import TaskSuite
from tlsweep.task import Classes, Labels, Numbers


class TestClasses(TaskSuite):
    own = Classes(12)


class TestTwoClasses(TaskSuite):
    own = Classes(2)


class TestLabels(TaskSuite):
    own = Labels(4)


class TestOneLabel(TaskSuite):
    own = Labels(1)


class TestNumber(TaskSuite):
    own = Numbers(1, spread=12.0, unit="degrees")


class TestTwoNumbers(TaskSuite):
    own = Numbers(2, spread=12.0, unit="degrees")


@pytest.mark.usefixtures("beside")
class TestGrades(TaskSuite):
    name, options, own = "grades", {"near": 2}, Classes(6)
