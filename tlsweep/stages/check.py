"""Everything about a sweep that can be refused before its first trial trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from tlsweep.config.idle import idle
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal, together
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.grammar import Override
from tlsweep.question import Question
from tlsweep.stages.first_trials import inherited
from tlsweep.study.space import Space
from tlsweep.trial import check_batch, check_fold, check_schedule, resolve

MOST = 6  # faults shown: a screenful
# what a whole sweep sets in each trial
ITS_OWN = ("fold", "train_on", "keep_weights", "stage", "trial")


def refuse_launcher(bench: Bench) -> None:
    """Raise Refusal for another launcher of Hydra's with a whole sweep: nothing goes through it."""
    if bench.has_launcher:
        raise Refusal(
            Fault(
                f"hydra.launcher={bench.launcher} with a sweep",
                "Hydra's launchers run the jobs of grids; a sweep's trials are run by workers",
                "sweep.n_jobs=N for N workers here, engine=slurm, or leave it out",
            )
        )


def refuse_one_database(settings: Settings) -> None:
    """Raise Refusal where the studies and the record would share a database."""
    from tlsweep.files.database import same  # SQLAlchemy takes a while to import

    record, studies = getattr(settings.record, "tracking_uri", None), settings.sweep.storage
    if record is None or studies is None or "://" not in studies or record.startswith("http"):
        return
    if same(record, studies):
        rule = "Optuna and MLflow each have a database of their own: both name their tables alike"
        value = f"sweep.storage={studies} record.tracking_uri={record}"
        raise Refusal(Fault(value, rule, "another database in one of the two, or leave it out"))


_INSTEAD = {
    "fold": "target.folds and target.split_seed say how the pool is cut",
    "train_on": "sweep.final=all trains the model to take home on all labels",
}


def refuse_its_own(keys: Iterable[str]) -> None:
    """Raise Refusal for keys that a whole sweep sets itself: another value would blur stages."""
    faults = [
        Fault(
            f"{key} with -m",
            "a whole sweep sets it in each of its trials",
            f"leave {key} out; {_INSTEAD.get(key, 'without -m it trains one plan')}",
        )
        for key in keys
        if key in ITS_OWN
    ]
    if faults:
        raise Refusal(*faults)


# of a whole sweep: a list of trials has no use for them
_OF_A_SWEEP = (
    *(f"sweep.{name}" for name in (
        "n_trials", "minutes", "sampler", "params", "fixed", "stages", "survey", "explore",
        "confirm", "final", "sources", "trained_sources", "pool_sizes",
    )),
    "target.shift",
)  # fmt: skip


def refuse_without_effect(plain: Sequence[str]) -> None:
    """Raise Refusal for settings of a whole sweep beside lists that make a grid."""
    faults = [
        Fault(
            f"{override} beside lists",
            "lists without sweep=... are a grid: exactly these trials, and no search",
            f"sweep=tpe {override}, which searches the lists, or leave it out",
        )
        for override in plain
        if override.lstrip("+~").startswith(_OF_A_SWEEP)
    ]
    if faults:
        raise Refusal(*faults)


def refuse_twice(overrides: Sequence[Override]) -> None:
    """Raise Refusal for a key that has a list and another value too: one of them does nothing."""
    keys = Counter(o.key_or_group for o in overrides)
    listed = {o.key_or_group for o in overrides if o.is_sweep_override()}
    faults = []
    for key in sorted(k for k in listed if keys[k] > 1):
        given = [str(o.input_line) for o in overrides if o.key_or_group == key]
        faults.append(Fault(" ".join(given), "a key with a list is given once", given[-1]))
    if faults:
        raise Refusal(*faults)


def check_keys(keys: Iterable[str]) -> None:
    """Raise Refusal for keys that make another question: trials of a study are compared."""
    allowed = ("plan", "train.", "schedule")
    faults = [
        Fault(
            f"{key} in a search space",
            "a study has one target and one seed; it searches plan, train and schedule",
            "sweep.sources=[A,B] compares sources"
            if key.split(".")[0] == "source"
            else f"a grid compares them: leave sweep=... out, and keep {key}=A,B",
        )
        for key in keys
        if not key.startswith(allowed)
    ]
    if faults:
        raise Refusal(*faults)


def check_combinations(
    bench: Bench, plain: Sequence[str], combinations: Sequence[Sequence[str]]
) -> None:
    """Compose every job of a grid and resolve its plan. Raises Refusal with all faults."""
    faults, unused = [], list[list[Fault]]()
    for overrides in combinations:
        try:
            settings = read(bench.compose([*plain, *overrides]))
            unused.append(idle(settings, plain))
            one = resolve(settings)
            check_fold(one)
            check_batch(one)
            check_schedule(one)
        except Refusal as refusal:
            faults.append(refusal)
    _raise_if([*faults, *_idle_in_all(unused)])


def check_space(
    bench: Bench,
    question: Question,
    plain: Sequence[str],
    space: Space,
    fixed: Sequence[Sequence[str]],
) -> None:
    """Compose each value of a space, and each fixed trial. Raises Refusal with all faults."""
    faults, unused = [], list[list[Fault]]()
    values = space.samples()
    tried = [*([value] for value in values), *_at_prefixes(question, space)]
    samples = [[*plain, *space.fixed, *some] for some in tried]
    # where these are searched, one value says nothing of another: a trial tells how far it came
    searched = any(value.startswith(("schedule", "train.epochs")) for value in values)
    for overrides in [*samples, *([*inherited(plain, named), *named] for named in fixed)]:
        try:
            settings = read(bench.compose(overrides))
            unused.append(idle(settings, plain))
            one = resolve(settings, question)
            check_batch(one)
            if not searched:
                check_schedule(one)
        except Refusal as refusal:
            faults.append(refusal)
    _raise_if([*faults, *_idle_in_all(unused)])


def _at_prefixes(question: Question, space: Space) -> list[list[str]]:
    """Each listed plan with each listed cut point that is good for its prefix only."""
    only = []
    for value in space.listed("plan.keep"):
        with suppress(Refusal):  # an unknown one is told where it is tried alone
            only += [] if question.cuts.resolve(value).starts else [value]
    return [
        [f"plan={plan}", f"plan.keep={value}"] for plan in space.listed("plan") for value in only
    ]


def _idle_in_all(unused: Sequence[Sequence[Fault]]) -> list[Refusal]:
    """What the command line gives and no plan uses. unused: of each plan."""
    first, *others = unused or [[]]
    named = [{fault.value for fault in other} for other in others]
    return [Refusal(fault) for fault in first if all(fault.value in one for one in named)]


def _raise_if(refusals: Sequence[Refusal]) -> None:
    if refusals:
        unique = list(dict.fromkeys(together(*refusals).faults))
        raise Refusal(*unique[:MOST])
