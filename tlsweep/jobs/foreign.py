"""Our sweeper under any other Hydra app: a grid of what is listed, or a search for the best value.

The app knows nothing of studies, so its jobs do not tell their own end: their return value does.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from tlsweep.errors import Fault, Refusal, TlsweepError, masked, nearest, unknown_name
from tlsweep.jobs import grammar
from tlsweep.jobs.bench import Bench, ended
from tlsweep.study import choice, space
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger, Trial, reason_of_failure
from tlsweep.study.queue import Job
from tlsweep.study.space import Space
from tlsweep.study.storage import default_url

_log = logging.getLogger(__name__)
_SECTION = "hydra.sweeper"
# keys of the published sweeper that have no meaning here
_REFUSED = {
    "custom_search_space": "a config names no code to run; the space is in hydra.sweeper.params",
    "search_space": "the space is in hydra.sweeper.params, in Hydra's grammar",
}


def sweep_foreign_app(bench: Bench, arguments: Sequence[str]) -> list[list[JobReturn]]:
    """Search where ``hydra.sweeper.params`` or an interval asks for it, else run the grid.

    Returns the jobs' returns batch by batch (``n_jobs`` each), as Hydra's own sweeper does.
    Exits as tlsweep's own commands do: 2 where it refuses, 1 where it fails, without a traceback.
    """
    choice.silence_experimental()
    try:
        _refuse(bench.options)
        OmegaConf.save(bench.config, bench.folder() / "multirun.yaml")
        overrides = _latest(grammar.parse([*bench.options.searches, *arguments], bench.parser()))
        if bench.options.searches or any(isinstance(o.value(), IntervalSweep) for o in overrides):
            return _search(bench, overrides)
        return _grid(bench, overrides)
    except TlsweepError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        _exit(error)


def _exit(error: TlsweepError) -> NoReturn:
    # Hydra prints a traceback of what it does not know
    print(f"tlsweep: {masked(str(error))}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2 if isinstance(error, Refusal) else 1) from error


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
    where = _space(overrides)
    points = _points(where) if options.sampler.get("name") == "grid" else None
    bench.compose(_example(where))  # a key that the app does not have: Hydra says so
    ledger = _ledger(options, where, options.storage or default_url(bench.folder()))
    bench.launched = ledger.begun()  # jobs of a study that goes on have folders of their own
    launches = _Launches(bench)
    ledger.on_trial = launches.tell
    ledger.reclaim()
    n_trials = options.n_trials
    if points is not None:
        n_trials = min(n_trials, ledger.queue_points(points[:n_trials]))
    ledger.search(
        where,
        Batches(launches, options.n_jobs),
        n_trials=n_trials,
        max_failure_rate=options.max_failure_rate,
        failed_count=True,
    )
    results = OmegaConf.create({"name": "tlsweep", **_best(ledger)})
    OmegaConf.save(results, bench.folder() / "optimization_results.yaml")
    return launches.batches


class _Launches:
    """Launches batches of jobs, keeps what they returned, and logs why one failed."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.batches: list[list[JobReturn]] = []
        self.errors: dict[int, BaseException | None] = {}

    def __call__(self, jobs: Sequence[Job]) -> list[Ended]:
        self.batches.append(self.bench.launch([job.overrides for job in jobs]))
        ends = [ended(job) for job in self.batches[-1]]
        self.errors = {job.number: end.error for job, end in zip(jobs, ends, strict=True)}
        return ends

    def tell(self, trial: Trial) -> None:
        """Log the reason of a failed trial, with the app's own traceback."""
        if reason := reason_of_failure(trial):
            error = self.errors.get(trial.number)
            _log.warning("trial %d failed: %s", trial.number, reason, exc_info=error)


# ---------------------------------------------------------------------- the search space
def _space(overrides: Sequence[Override]) -> Space:
    where = grammar.build(overrides, names=lambda key: [])
    if not where.searched:
        raise Refusal(
            Fault(
                f"{_SECTION}.params with {' '.join(where.fixed)}",
                "a search has a key with several values; here each has one",
                f"leave one of them out, or take {_SECTION}.params out, to run this one job",
            )
        )
    listed = {
        o.get_key_element(): space.listed(values)
        for o in overrides
        if where.listed(o.get_key_element()) and (values := _values(o))
    }
    return replace(where, searched={**where.searched, **listed})


def _values(override: Override) -> list[Any]:
    """A list's values: numbers, booleans and null as such, the rest as Hydra writes it."""
    texts = list(override.sweep_string_iterator())
    values = [
        value if value is None or isinstance(value, int | float) else text
        for value, text in zip(override.sweep_iterator(Transformer.identity), texts, strict=True)
    ]
    return values if len(set(values)) == len(values) else texts  # 1 and true are equal


def _points(where: Space) -> list[dict[str, Any]]:
    """Every point of a space of lists and ranges. Raises Refusal for an interval."""
    lists = {key: where.values(key) for key in where.searched}
    faults = [
        Fault(
            f"{key}=interval(...) with {_SECTION}.sampler.name=grid",
            "a grid has lists and ranges; an interval has no list of values",
            f"{key}=choice(...), or {_SECTION}.sampler.name=tpe",
        )
        for key, values in lists.items()
        if not values
    ]
    if faults:
        raise Refusal(*faults)
    return [dict(zip(lists, point, strict=True)) for point in itertools.product(*lists.values())]


def _example(where: Space) -> list[str]:
    first: dict[str, str] = {}
    for sample in where.samples():
        first.setdefault(sample.partition("=")[0], sample)
    return [*where.fixed, *first.values()]


# ---------------------------------------------------------------------- the study
def _ledger(options: Any, where: Space, storage: str) -> Ledger:
    searched = {f"params.{key}": text for key, text in where.fingerprint().items()}
    return Ledger(
        storage=storage,
        name=options.study_name or "study",
        sampling=_sampling(options),
        pruner=options.pruner,
        facts={**searched, "fixed": sorted(where.fixed)},
        directions=_directions(options.direction),
        where=_SECTION,
        called=f"{_SECTION}.study_name",
    ).open(resume=options.resume)


def _sampling(options: Any) -> Sampling:
    return Sampling(options.sampler, options.seed, f"{_SECTION}.sampler", choice.OTHER_SAMPLERS)


def _directions(direction: Any) -> list[str]:
    return list(direction) if isinstance(direction, list) else [direction]


def _best(ledger: Ledger) -> dict[str, Any]:
    """The best trial, or of several values those that no other is better than in all."""
    if not ledger.completed():
        raise TlsweepError(
            "no trial ended with a value, so that none is the best; the log says why each failed"
        )
    if len(ledger.directions) > 1:
        found = [{"params": dict(t.params), "values": t.values} for t in ledger.study.best_trials]
        return {"solutions": found}
    best = ledger.study.best_trial
    params, value = dict(best.params), best.value
    # as the sweepers for Optuna and for Ax call them
    return {
        "best_params": params,
        "best_value": value,
        "best_evaluated_params": dict(params),
        "best_evaluated_value": value,
    }


# ---------------------------------------------------------------------- refusals
def _refuse(options: Any) -> None:
    """Raise Refusal with all that is wrong in ``hydra.sweeper``."""
    faults = [
        Fault(f"{_SECTION}.{key}={getattr(options, key)}", rule, f"leave {_SECTION}.{key} out")
        for key, rule in _REFUSED.items()
        if getattr(options, key) is not None
    ]
    faults += _directions_faults(options.direction)
    faults += [
        Fault(f"{_SECTION}.{key}={getattr(options, key)}", "it is 1 or more", f"{_SECTION}.{key}=1")
        for key in ("n_trials", "n_jobs")
        if getattr(options, key) < 1
    ]
    rate = options.max_failure_rate
    if not 0 <= rate <= 1:
        key = f"{_SECTION}.max_failure_rate"
        faults.append(Fault(f"{key}={rate}", "a share is from 0 to 1", f"{key}=1.0"))
    faults += _sampler_faults(options)
    faults += _faults_of(lambda: choice.pruner(options.pruner, where=f"{_SECTION}.pruner"))
    if faults:
        raise Refusal(*faults)


def _faults_of(action: Callable[[], Any]) -> Sequence[Fault]:
    try:
        action()
    except Refusal as refusal:
        return refusal.faults
    return ()


def _directions_faults(direction: Any) -> list[Fault]:
    key, known = f"{_SECTION}.direction", ("minimize", "maximize")
    if direction == []:
        rule = "a list of directions has one for each value that the app returns"
        return [Fault(f"{key}=[]", rule, f"{key}=minimize")]
    wrong = [d for d in _directions(direction) if d not in known]
    return [unknown_name("direction", key, str(d), known) for d in wrong]


def _sampler_faults(options: Any) -> Sequence[Fault]:
    code, known, key = options.sampler.get("_target_"), choice.OTHER_SAMPLERS, f"{_SECTION}.sampler"
    if code is None:
        return _faults_of(lambda: _sampling(options))
    guess = nearest(str(code).rpartition(".")[2].lower().removesuffix("sampler"), known) or "tpe"
    rule = f"a sampler is given by its name: {', '.join(known)}"
    return [Fault(f"{key}._target_={code}", rule, f"{key}.name={guess}")]
