"""Our sweeper under any other Hydra app: a grid of what is listed, or a search for the best value.

The app knows nothing of studies, so its jobs do not tell their own end: their return value does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from tlsweep.jobs import grammar
from tlsweep.jobs.bench import Bench, ended
from tlsweep.study import choice
from tlsweep.study.ledger import Ended, Job, Ledger
from tlsweep.study.storage import default_url


def sweep_foreign_app(bench: Bench, arguments: Sequence[str]) -> list[list[JobReturn]]:
    """Search where ``hydra.sweeper.params`` or an interval asks for it, else run the grid.

    Returns the jobs' returns batch by batch (``n_jobs`` each), as Hydra's own sweeper does.
    """
    OmegaConf.save(bench.config, bench.folder() / "multirun.yaml")
    overrides = _latest(grammar.parse([*bench.options.searches, *arguments], bench.parser()))
    if bench.options.searches or any(isinstance(o.value(), IntervalSweep) for o in overrides):
        return _search(bench, overrides)
    return _grid(bench, overrides)


def _latest(overrides: Sequence[Override]) -> list[Override]:
    # what is written on the command line replaces the same key of hydra.sweeper.params
    return list({override.get_key_element(): override for override in overrides}.values())


def _grid(bench: Bench, overrides: Sequence[Override]) -> list[list[JobReturn]]:
    jobs, size = grammar.grid(overrides, names=lambda rest, key: []), bench.options.n_jobs
    batches = []
    for start in range(0, len(jobs), size):
        batch = bench.launch(jobs[start : start + size])
        for job in batch:
            _ = job.return_value  # raises what the job raised
        batches.append(batch)
    return batches


def _search(bench: Bench, overrides: Sequence[Override]) -> list[list[JobReturn]]:
    options = bench.options
    choice.silence_experimental()
    where = grammar.build(overrides, names=lambda key: [])
    sign = 1.0 if options.direction == "maximize" else -1.0
    choice.pruner(options.pruner, where="hydra.sweeper.pruner")
    ledger = Ledger(
        storage=options.storage or default_url(bench.folder()),
        name=options.study_name or "study",
        sampler=choice.sampler(options.sampler, options.seed, where="hydra.sweeper.sampler"),
        pruner=options.pruner,
        facts={"space": where.fingerprint(), "direction": options.direction},
    ).open(resume=options.resume)
    batches: list[list[JobReturn]] = []

    def launch(jobs: Sequence[Job]) -> list[Ended]:
        batches.append(bench.launch([job.overrides for job in jobs]))
        ends = [ended(job) for job in batches[-1]]
        return [Ended(sign * e.value) if isinstance(e.value, int | float) else e for e in ends]

    ledger.reclaim()
    ledger.search(
        where,
        launch,
        n_trials=options.n_trials,
        n_jobs=options.n_jobs,
        max_failure_rate=options.max_failure_rate,
    )
    best = ledger.study.best_trial
    results: dict[str, Any] = {
        "name": "tlsweep",
        "best_evaluated_params": dict(best.params),
        "best_evaluated_value": sign * float(best.value or 0.0),
    }
    OmegaConf.save(OmegaConf.create(results), bench.folder() / "optimization_results.yaml")
    return batches
