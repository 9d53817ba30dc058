"""Hydra's own suites for launchers and sweepers, run with our sweeper over the basic launcher.

What of ``hydra.test_utils.launcher_common_tests`` applies to a sweeper:

- LauncherTestSuite: all of it; only a sweeper starts a launcher, so each of its tests runs one.
  Its jobs are expected in one batch of two; the size of ours is ``n_jobs``.
- BatchedSweeperTestSuite: all of it; its "3 batches of 2" are n_jobs=2.
- IntegrationTestSuite: all of it; it asks where jobs run and what they are called.

Nothing is left out, and nothing of it says anything of a search: that is in test_foreign.py.
"""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase
from packaging.version import Version


@pytest.fixture(autouse=True)
def _no_version_base(monkeypatch: pytest.MonkeyPatch) -> None:
    # the suites are written for the behaviour of Hydra where no version_base was ever set (jobs
    # change into their folder), and a test that ran before in this process may have set one
    monkeypatch.setattr(VersionBase.instance(), "version_base", Version("1.1"))


def test_hydra_discovers_the_sweeper() -> None:
    assert "TlsweepSweeper" in [plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [pytest.param("basic", ["hydra/sweeper=tlsweep", "hydra.sweeper.n_jobs=2"], id="tlsweep")],
)
class TestTlsweepSweeper(LauncherTestSuite):
    """Every job is run once, in order, with the config of its overrides."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [pytest.param("basic", ["hydra/sweeper=tlsweep", "hydra.sweeper.n_jobs=2"], id="tlsweep")],
)
class TestTlsweepSweeperInBatches(BatchedSweeperTestSuite):
    """Jobs come in batches of n_jobs."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        pytest.param(
            {},
            [
                "-m",
                "hydra/sweeper=tlsweep",
                "hydra/launcher=basic",
                "hydra/hydra_logging=disabled",
                "hydra/job_logging=disabled",
            ],
            id="tlsweep",
        )
    ],
)
class TestTlsweepSweeperIntegration(IntegrationTestSuite):
    """Jobs run where the config says and under the name that it says."""
