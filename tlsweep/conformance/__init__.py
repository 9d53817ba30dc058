"""Tests that every component passes, ours and those of other packages: one suite a kind.

A suite is a class whose methods are tests. Subclass it in a test file, say which component is
meant, and pytest runs them all:

>>> from tlsweep.conformance import SourceSuite
>>> class TestMySource(SourceSuite):
...     name, options = "my_source", {"width": 4}

pytest is no dependency of tlsweep, and only a test that has to be skipped imports it. What a test
needs of a fixture is set on ``self`` by an autouse fixture of the subclass. To see the values of
an assertion that fails, write ``pytest.register_assert_rewrite("tlsweep.conformance")`` into
``conftest.py``.
"""

from tlsweep.conformance.component import ComponentSuite as ComponentSuite
from tlsweep.conformance.head import HeadSuite as HeadSuite
from tlsweep.conformance.record import RecordSuite as RecordSuite
from tlsweep.conformance.schedule import ScheduleSuite as ScheduleSuite
from tlsweep.conformance.source import SourceSuite as SourceSuite
from tlsweep.conformance.target import TargetSuite as TargetSuite
from tlsweep.conformance.task import TaskSuite as TaskSuite
