"""What a sweep refuses before anything trains: each with its value, its rule and its mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict
from prefix_only import Asked

from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.jobs import grammar
from tlsweep.jobs.bench import Bench
from tlsweep.question import Question
from tlsweep.stages import check
from tlsweep.study.space import Space
from tlsweep.trial import question_of

Lines = tuple[str, ...]


@contextmanager
def refused(*faults: Fault) -> Iterator[None]:
    """Within: these faults are told, in this order, and no other."""
    with pytest.raises(Refusal) as caught:
        yield
    assert caught.value.faults == faults


def test_a_launcher_that_no_trial_of_a_sweep_would_go_through_is_refused(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    check.refuse_launcher(made)
    with open_dict(made.config):
        made.config.hydra.launcher._target_ = "hydra_plugins.joblib.JoblibLauncher"
    with refused(Fault(
        "hydra.launcher=JoblibLauncher with a sweep",
        "Hydra's launchers run the jobs of grids; a sweep's trials are run by workers",
        "sweep.n_jobs=N for N workers here, engine=slurm, or leave it out",
    )):  # fmt: skip
        check.refuse_launcher(made)


@pytest.mark.parametrize(
    ("studies", "record"),
    [
        ("sqlite:////data/a.db", "sqlite+pysqlite:////data/a.db"),
        ("postgresql+psycopg://me:hunter2@host/db", "postgresql://you@host/db"),
    ],
)
def test_one_database_for_studies_and_record_is_refused_before_either_writes(
    settings: Callable[..., Settings], studies: str, record: str
) -> None:
    both = settings(
        "record=mlflow", f"sweep.storage='{studies}'", f"record.tracking_uri='{record}'"
    )
    with pytest.raises(Refusal, match="each have a database of their own") as caught:
        check.refuse_one_database(both)
    assert "hunter2" not in str(caught.value)
    for other in (record.replace("db", "other"), "http://host:5000"):
        check.refuse_one_database(
            settings(
                "record=mlflow", f"sweep.storage='{studies}'", f"record.tracking_uri='{other}'"
            )
        )
    check.refuse_one_database(settings("record=none", f"sweep.storage='{studies}'"))


# ---------------------------------------------------------------------- what a sweep sets itself
ALONE = "without -m it trains one plan"


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("fold", "target.folds and target.split_seed say how the pool is cut"),
        ("train_on", "sweep.final=all trains the model to take home on all labels"),
        ("keep_weights", ALONE),
        ("stage", ALONE),
        ("trial", ALONE),
    ],
)
def test_what_a_sweep_sets_in_its_trials_is_refused(key: str, instead: str) -> None:
    with refused(
        Fault(
            f"{key} with -m",
            "a whole sweep sets it in each of its trials",
            f"leave {key} out; {instead}",
        )
    ):
        check.refuse_its_own(["train.lr", key, "seed"])


def test_all_that_a_sweep_sets_itself_is_told_at_once_and_nothing_else() -> None:
    with pytest.raises(Refusal) as caught:
        check.refuse_its_own(["stage", "train.lr", "fold"])
    assert [f.value for f in caught.value.faults] == ["stage with -m", "fold with -m"]
    check.refuse_its_own(["train.lr", "seed", "plan", "target.folds", "study"])


# ---------------------------------------------------------------------- beside a grid
WHOLE = (
    "sweep.n_trials=3", "sweep.minutes=5", "sweep.sampler={name: random}", "+sweep.params={a: b}",
    "sweep.fixed=[]", "sweep.stages=[survey]", "sweep.survey.seeds=2", "sweep.explore=0.5",
    "sweep.confirm.top=1", "~sweep.final",
)  # fmt: skip


@pytest.mark.parametrize("line", WHOLE)
def test_a_setting_of_a_whole_sweep_is_refused_beside_a_grid(line: str) -> None:
    with refused(
        Fault(
            f"{line} beside lists",
            "lists without sweep=... are a grid: exactly these trials, and no search",
            f"sweep=tpe {line}, which searches the lists, or leave it out",
        )
    ):
        check.refuse_without_effect(["seed=1", line])


def test_all_settings_without_effect_are_told_at_once() -> None:
    with pytest.raises(Refusal) as caught:
        check.refuse_without_effect(WHOLE)
    assert [f.value for f in caught.value.faults] == [f"{line} beside lists" for line in WHOLE]


def test_what_a_grid_has_a_use_for_stands_beside_it() -> None:
    check.refuse_without_effect(
        ["sweep.n_jobs=2", "sweep.storage=sqlite:///a.db", "sweep.resume=false", "train.lr=1"]
    )


# ---------------------------------------------------------------------- keys
def parsed(*lines: str) -> list[grammar.Override]:
    return grammar.parse(lines, OverridesParser.create())


def test_a_key_with_a_list_is_given_once() -> None:
    lists = parsed("seed=1,2", "plan=scratch", "train.lr=1", "plan=truncate,finetune", "seed=3")
    rule = "a key with a list is given once"
    with refused(
        Fault("plan=scratch plan=truncate,finetune", rule, "plan=truncate,finetune"),
        Fault("seed=1,2 seed=3", rule, "seed=3"),
    ):
        check.refuse_twice(lists)


def test_a_key_without_a_list_may_be_given_again_and_one_with_a_list_alone() -> None:
    check.refuse_twice(parsed("seed=1", "seed=2", "plan=truncate,finetune", "plan.keep=1,2"))


@pytest.mark.parametrize("key", ["seed", "source", "source.model", "target.fit_size", "record"])
def test_what_makes_another_question_is_refused_in_a_search_space(key: str) -> None:
    grid = f"a grid compares them: leave sweep=... out, and keep {key}=A,B"
    with refused(
        Fault(
            f"{key} in a search space",
            "a study has one target and one seed; it searches plan, train and schedule",
            "sweep.sources=[A,B] compares sources" if key.startswith("source") else grid,
        )
    ):
        check.check_keys(["plan.keep", key, "train.lr"])


def test_plan_train_and_schedule_are_searched() -> None:
    check.check_keys(["plan", "plan.keep", "train.lr", "schedule", "schedule.epochs"])


# ---------------------------------------------------------------------- every job of it
@pytest.fixture
def of(bench: Callable[..., Bench], lines: Lines) -> Callable[..., tuple[Bench, Question]]:
    """The bench and the question of a sweep with these overrides."""

    def make(*overrides: str) -> tuple[Bench, Question]:
        made = bench(*lines, *overrides)
        return made, question_of(read(made.compose(lines)))

    return make


Of = Callable[..., tuple[Bench, Question]]


def no_cut(index: int) -> Fault:
    rule = "the index of a cut point lies between 0 (none) and 20 (all)"
    return Fault(f"plan.keep={index}", rule, "plan.keep=20")


NO_FOLD = Fault(
    "fold=7", "the pool has 5 folds, counted from 0", "fold=4 or less, or target.folds=8"
)
NO_EPOCH = Fault(
    "schedule=two_phase schedule.epochs=3 train.epochs=2",
    "a phase ends before training does",
    "train.epochs=4 or more, or schedule.epochs=1 or less",
)
PHASES = ("plan=finetune", "schedule=two_phase")


def test_every_job_of_a_grid_is_tried_and_each_fault_is_told_once(of: Of, lines: Lines) -> None:
    jobs = [("plan.keep=99",), ("plan.keep=3",), ("fold=7",), PHASES, ("plan.keep=99", "seed=1")]
    with refused(no_cut(99), NO_FOLD, NO_EPOCH):
        check.check_combinations(of()[0], lines, jobs)


def test_a_grid_that_can_run_is_not_refused(of: Of, lines: Lines) -> None:
    jobs = [("plan.keep=0",), ("plan.keep=20", "fold=4"), (*PHASES, "schedule.epochs=1")]
    check.check_combinations(of()[0], lines, jobs)


def test_no_more_faults_are_told_than_a_screen_holds(of: Of, lines: Lines) -> None:
    with refused(*(no_cut(90 + i) for i in range(check.MOST))):
        check.check_combinations(of()[0], lines, [(f"plan.keep={90 + i}",) for i in range(9)])


def space_of(*texts: str) -> Space:
    return grammar.build(parsed(*texts), lambda key: ["input"])


def test_every_value_of_a_space_is_tried_and_every_fixed_trial(of: Of, lines: Lines) -> None:
    space = space_of("plan.keep=choice(3,99)", "train.lr=interval(0.001,0.01)")
    fixed: list[Sequence[str]] = [("plan=scratch",), ("plan.keep=98",), PHASES]
    with refused(no_cut(99), no_cut(98), NO_EPOCH):
        check.check_space(*of(), lines, space, fixed)


def test_what_no_plan_uses_is_refused_once_and_what_one_plan_uses_is_not(
    of: Of, lines: Lines
) -> None:
    sizes, crop = "train.head_sizes=[64]", "train.crop=0.5"
    rules = (
        Fault(sizes, "train.head=linear has no hidden layers whose widths are chosen",
              f"train.head=mlp {sizes}"),
        Fault(crop, "train.crop is of train.augment, which is none", f"train.augment=views {crop}"),
    )  # fmt: skip
    space, plain = space_of("train.lr=choice(0.1,0.01)"), (*lines, sizes, crop)
    with refused(*rules):
        check.check_space(*of(), plain, space, [("plan=scratch",)])
    with refused(*rules):
        check.check_combinations(of()[0], plain, [("plan.keep=0",), ("plan.keep=3",)])
    check.check_space(*of(), plain, space_of("train.head=choice(linear,mlp)"),
                      [("plan=finetune", "train.augment=views")])  # fmt: skip
    check.check_space(*of(), lines, space_of("train.head_sizes=choice([64],[512,128])"), [])


def test_a_space_that_can_be_searched_is_not_refused(of: Of, lines: Lines) -> None:
    space = space_of("plan.keep=choice(3,5)", "train.lr=interval(0.001,0.01)")
    check.check_space(*of(), lines, space, [("plan=scratch",), ("plan=finetune",)])


def test_a_plan_that_would_start_a_part_at_a_cut_point_for_a_prefix_only_is_not_searched(
    bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Asked(tmp_path, monkeypatch).lines
    made = bench(*lines)
    question = question_of(read(made.compose(lines)))
    plans, kept = "plan=choice(truncate_tuned,transfer_tuned)", "plan.keep=choice(layers.1,last)"
    with refused(
        Fault(
            "plan=transfer_tuned: layers.1 is tuned and layers.2 is fresh",
            "layers.1 is good for its prefix only: a head may stand on it, and no other part may"
            " start there",
            "a plan that changes at input or layers.2, or plan=truncate plan.keep=layers.1",
        )
    ):
        check.check_space(made, question, lines, space_of(plans, kept), [])


def test_a_fixed_trial_with_a_plan_of_its_own_takes_none_of_the_command_line(
    of: Of, lines: Lines
) -> None:
    plain = (*lines, "plan=last_layers", "plan.freeze=3")
    check.check_space(*of(), plain, space_of("train.lr=choice(0.1,0.01)"), [("plan=truncate",)])


@pytest.mark.parametrize("searched", ["schedule.epochs=choice(1,3)", "train.epochs=choice(2,8)"])
def test_where_epochs_are_searched_a_trial_tells_how_far_its_schedule_came(
    of: Of, lines: Lines, searched: str
) -> None:
    check.check_space(*of(), (*lines, *PHASES), space_of(searched), [])


def test_a_schedule_that_no_value_of_the_space_changes_is_refused_once(
    of: Of, lines: Lines
) -> None:
    with refused(NO_EPOCH):
        check.check_space(*of(), (*lines, *PHASES), space_of("train.lr=choice(0.1,0.01)"), [])
