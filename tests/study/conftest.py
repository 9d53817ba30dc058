"""Studies in a real database, and jobs that run in this process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from optuna.distributions import BaseDistribution

from tlsweep.jobs.grammar import build, parse
from tlsweep.study import choice
from tlsweep.study.crew import Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Job
from tlsweep.study.space import Space


@pytest.fixture(autouse=True)
def _quiet() -> None:
    choice.silence_experimental()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database of this test's own."""
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def parsed() -> Callable[..., list[Override]]:
    """Overrides as Hydra reads them."""
    return lambda *texts: parse(list(texts), OverridesParser.create())


@pytest.fixture
def space(parsed: Callable[..., list[Override]]) -> Callable[..., Space]:
    """The space that overrides span, over a source with five cut points."""
    names = ["input", "stem", "layer1.0", "layer1.1", "layer2"]
    return lambda *texts: build(parsed(*texts), lambda key: names)


@pytest.fixture
def open_ledger(url: str) -> Callable[..., Ledger]:
    """The study "s" of this test's database, opened as a new session would."""

    def open_it(
        facts: Mapping[str, Any] | None = None,
        *,
        resume: bool = True,
        seed: int = 0,
        pruner: Mapping[str, Any] | None = None,
        typed: Mapping[str, BaseDistribution] | None = None,
        minutes: float = math.inf,
        patience: float = 1.0,
    ) -> Ledger:
        return Ledger(
            storage=url,
            name="s",
            sampling=Sampling({"name": "random"}, seed),
            pruner=pruner or {"name": "none"},
            typed=typed or {},
            facts=facts or {"question": 1},
            minutes=minutes,
            patience=patience,
        ).open(resume=resume)

    return open_it


class Jobs:
    """A launcher: calls ``act`` with each job's overrides and keeps what it was given."""

    def __init__(self, act: Callable[[Sequence[str]], Any] = lambda overrides: 0.5) -> None:
        self.act = act
        self.batches: list[list[Job]] = []

    @property
    def overrides(self) -> list[tuple[str, ...]]:
        return [job.overrides for batch in self.batches for job in batch]

    def __call__(self, jobs: Sequence[Job]) -> list[Ended]:
        self.batches.append(list(jobs))
        ends = []
        for job in jobs:
            try:
                ends.append(Ended(self.act(job.overrides)))
            except Exception as error:
                ends.append(Ended(error=error))
        return ends


@pytest.fixture
def jobs() -> type[Jobs]:
    """The launcher's class."""
    return Jobs
