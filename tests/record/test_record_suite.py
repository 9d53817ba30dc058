"""Our records pass their suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsweep.conformance import RecordSuite


class TestNone(RecordSuite):
    name, keeps = "none", False


class TestMlflow(RecordSuite):
    name = "mlflow"

    @pytest.fixture(autouse=True)
    def _database(self, record_folder: Path) -> None:
        self.folder = record_folder
