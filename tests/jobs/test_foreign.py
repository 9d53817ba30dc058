"""Our sweeper under an app of somebody else.

What the tests of the published Optuna sweeper assert of one is asserted here; where ours answers in
another way, the name of the test says so, and tlsweep/manual/search.md does.
"""

from __future__ import annotations

import itertools
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tlsweep.errors import Refusal
from tlsweep.study import choice

APP = Path(__file__).parent / "foreign_app.py"
KIND = "~hydra.sweeper.params.kind"  # the one range that the app's config has
SAMPLER = "hydra.sweeper.sampler.name"


@dataclass(frozen=True)
class Answer:
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def points(self) -> list[str]:
        return [line.removeprefix("point ") for line in self.out.splitlines() if "point " in line]


Run = Callable[..., Answer]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The app's command line with ``-m``, in this process; its folder is the test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def answer(*overrides: str) -> Answer:
        argv = [str(APP), "-m", f"hydra.sweep.dir={tmp_path}", *overrides]
        monkeypatch.setattr(sys, "argv", argv)
        code: Any = 0
        try:
            runpy.run_path(str(APP), run_name="__main__")
        except SystemExit as error:
            code = error.code
        GlobalHydra.instance().clear()
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return answer


@pytest.fixture
def results(tmp_path: Path) -> Callable[[], Any]:
    """What ``optimization_results.yaml`` holds."""
    file = tmp_path / "optimization_results.yaml"
    return lambda: OmegaConf.to_container(OmegaConf.load(file))


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., optuna.Study]:
    """A study of the sweep's own database, as Optuna opens it."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    return lambda name="study": optuna.load_study(study_name=name, storage=url)


def value(x: float, kind: str) -> float:
    return (x - 2) ** 2 + (kind == "a")


# ---------------------------------------------------------------------- the search
def test_a_search_finds_the_lowest_point_and_running_it_again_runs_no_further_trial(
    run: Run, results: Callable[[], Any], study: Callable[[], optuna.Study]
) -> None:
    command = ("hydra.sweeper.n_trials=4", "x=interval(-4,4)", "hydra.sweeper.seed=1")
    first = run(*command)
    assert first.code == 0, first.err
    points = [(float(x), kind) for x, kind in map(str.split, first.points)]
    assert len(points) == 4
    x, kind = min(points, key=lambda p: value(*p))
    lowest = pytest.approx(value(x, kind))
    params = {"x": x, "kind": kind}
    assert results() == {
        "name": "tlsweep",
        "best_params": params,
        "best_value": lowest,
        "best_evaluated_params": params,
        "best_evaluated_value": lowest,
    }
    assert study().best_trial.params == params
    assert study().best_value == lowest
    assert run(*command).points == []
    more = run(*command, "hydra.sweeper.n_trials=5").points
    assert len({*first.points, *more}) == 5


@pytest.mark.parametrize(
    ("direction", "best", "kept"), [(None, 1.0, "MINIMIZE"), ("maximize", 36.0, "MAXIMIZE")]
)
def test_the_study_has_the_direction_that_was_asked_for_which_is_to_minimize_by_default(
    run: Run, results: Callable[[], Any], study: Callable[[], optuna.Study],
    direction: str | None, best: float, kept: str,
) -> None:  # fmt: skip
    asked = [f"hydra.sweeper.direction={direction}"] if direction else []
    done = run("x=choice(-4,1,8)", "kind=b", f"{SAMPLER}=grid", *asked)
    assert done.code == 0, done.err
    assert results()["best_value"] == best
    assert [d.name for d in study().directions] == [kept]
    assert study().trials[0].values == [36.0]  # as the app returned it


def test_several_directions_give_the_solutions_that_no_other_is_better_than_in_all(
    run: Run, results: Callable[[], Any]
) -> None:
    done = run(
        "x=-1,0,2,3", "kind=b", "returns=two", f"{SAMPLER}=grid",
        "hydra.sweeper.direction=[minimize,minimize]",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = results()
    assert found["name"] == "tlsweep"
    solutions = [{"params": {"x": x}, "values": [(x - 2.0) ** 2, float(x)]} for x in (0, 2)]
    assert sorted(found["solutions"], key=lambda s: s["params"]["x"]) == solutions


def test_directions_may_differ(run: Run, results: Callable[[], Any]) -> None:
    run("x=0,2,3", "kind=b", "returns=two", f"{SAMPLER}=grid",
        "hydra.sweeper.direction=[minimize,maximize]")  # fmt: skip
    assert sorted(s["params"]["x"] for s in results()["solutions"]) == [2, 3]


# ---------------------------------------------------------------------- samplers
@pytest.mark.parametrize("name", choice.OTHER_SAMPLERS)
def test_every_sampler_searches_in_two_directions(
    run: Run, study: Callable[[], optuna.Study], name: str
) -> None:
    done = run(f"{SAMPLER}={name}", "hydra.sweeper.direction=[minimize,maximize]", "returns=two",
               "hydra.sweeper.n_trials=2", "x=range(0,4)")  # fmt: skip
    assert done.code == 0, done.err
    assert [t.state.name for t in study().trials] == ["COMPLETE"] * 2


def test_a_grid_is_every_point_once_and_the_budget_is_no_larger(
    run: Run, results: Callable[[], Any]
) -> None:
    command = (f"{SAMPLER}=grid", "x=range(0.1,0.35,0.1)", "hydra.sweeper.n_jobs=4")
    done = run(*command, "hydra.sweeper.n_trials=20")
    listed = itertools.product("ab", ("0.1", "0.2", "0.3"))
    assert done.points == [f"{x} {kind}" for kind, x in listed], done.err
    assert done.out.count("Launching") == 2  # batches of 4 and 2
    assert results()["best_params"] == {"kind": "b", "x": 0.3}


def test_a_grid_that_was_cut_short_goes_on_with_the_points_that_are_left(run: Run) -> None:
    command = (f"{SAMPLER}=grid", "x=1,2,3", "kind=b")
    assert run(*command, "hydra.sweeper.n_trials=1").points == ["1 b"]
    assert run(*command).points == ["2 b", "3 b"]


def test_a_grid_after_a_search_of_the_same_study_runs_what_that_left_out(run: Run) -> None:
    command = ("x=0,1,2,3", "kind=b")
    drawn = run(*command, f"{SAMPLER}=random", "hydra.sweeper.n_trials=2").points
    rest = run(*command, f"{SAMPLER}=grid").points
    assert sorted({*drawn, *rest}) == ["0 b", "1 b", "2 b", "3 b"]
    assert len(rest) == 4 - len(set(drawn))


def test_a_grid_tries_a_failed_point_again_at_the_next_command(run: Run) -> None:
    command = (f"{SAMPLER}=grid", "x=1,2", "kind=b", "returns=error at 1")
    first = run(*command, "hydra.sweeper.max_failure_rate=0.5")
    assert (first.code, first.points) == (0, ["1 b", "2 b"]), first.err
    assert run(*command).points == ["1 b"]


def test_a_seed_of_the_sampler_stands_above_that_of_the_sweep(run: Run, tmp_path: Path) -> None:
    def drawn(name: str, *overrides: str) -> list[str]:
        return run(
            f"hydra.sweeper.study_name={name}", f"{SAMPLER}=random", "x=interval(0,1)",
            "hydra.sweeper.n_trials=2", *overrides,
        ).points  # fmt: skip

    assert (
        drawn("a", "hydra.sweeper.seed=7")
        == drawn("b", "+hydra.sweeper.sampler.seed=7")
        != drawn("c")
    )


# ---------------------------------------------------------------------- the search space
def test_params_are_read_as_hydra_reads_them_with_the_end_of_a_range_left_out(
    run: Run, study: Callable[[], optuna.Study]
) -> None:
    params = {
        "a": "choice(1,2)",
        "b": "0.5,true,null",
        "c": "choice('hello','a,b')",
        "d": "interval(1, 5)",
        "e": "int(interval(1, 5))",
        "f": "tag(log, interval(1, 5))",
        "g": "tag(log, int(interval(1, 5)))",
        "h": "range(1,3)",
        "i": "range(0.5, 5.5, step=1)",
    }
    listed = ",".join(f'+{key}:"{value}"' for key, value in params.items())
    done = run(KIND, f"++hydra.sweeper.params={{{listed}}}", "hydra.sweeper.n_trials=1")
    assert done.code == 0, done.err
    assert study().trials[0].distributions == {
        "+a": CategoricalDistribution([1, 2]),
        "+b": CategoricalDistribution([0.5, True, None]),
        "+c": CategoricalDistribution(["hello", r"a\,b"]),
        "+d": FloatDistribution(1, 5),
        "+e": IntDistribution(1, 5),
        "+f": FloatDistribution(1, 5, log=True),
        "+g": IntDistribution(1, 5, log=True),
        "+h": IntDistribution(1, 2),
        "+i": FloatDistribution(0.5, 4.5, step=1),
    }


def test_the_command_line_replaces_the_same_key_of_the_search_space(
    run: Run, results: Callable[[], Any]
) -> None:
    done = run("hydra.sweeper.n_trials=3", "kind=b", "x=range(0,3)")
    assert len(done.points) == 3, done.err
    assert all(p.endswith(" b") for p in done.points)
    assert list(results()["best_params"]) == ["x"]  # what is fixed is no parameter


def test_lists_alone_are_a_grid(run: Run) -> None:
    done = run(KIND, "x=1,2", "kind=a,b")
    assert done.points == ["1 a", "1 b", "2 a", "2 b"], done.err


# ---------------------------------------------------------------------- study and storage
def test_a_study_of_the_users_own_database_is_gone_on_with_by_its_name(
    run: Run, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/mine.db"
    command = (f"hydra.sweeper.storage={url}", "hydra.sweeper.study_name=mine", "x=interval(0,1)")
    assert len(run(*command, "hydra.sweeper.n_trials=2").points) == 2
    assert len(run(*command, "hydra.sweeper.n_trials=3").points) == 1
    assert len(optuna.load_study(study_name="mine", storage=url).trials) == 3
    assert not (tmp_path / "optuna.db").exists()
    assert (tmp_path / "2").is_dir()  # each trial has its own folder, whatever the session


def test_batches_have_n_jobs(run: Run) -> None:
    done = run("hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2", "x=interval(0,1)")
    assert re.findall("Launching (.) jobs", done.out) == ["2", "1"]


@pytest.mark.parametrize(
    ("changed", "value", "mend"),
    [
        ("hydra.sweeper.direction=maximize",
         "hydra.sweeper.direction=maximize; study study has minimize",
         "hydra.sweeper.study_name=study_2, or hydra.sweeper.direction=minimize"),
        ("x=interval(0,2)", 'params.x={"name": "FloatDistribution"',
         "hydra.sweeper.study_name=study_2 to ask another one"),
        ("+y=1", "fixed=['+y=1']; study study has []",
         "hydra.sweeper.study_name=study_2 to ask another one"),
        ("hydra.sweeper.resume=false", "hydra.sweeper.study_name=study",
         "hydra.sweeper.study_name=study_2, or hydra.sweeper.resume=true"),
    ],
)  # fmt: skip
def test_a_study_that_asked_another_question_is_refused(
    run: Run, changed: str, value: str, mend: str
) -> None:
    assert run("x=interval(0,1)", "hydra.sweeper.n_trials=1").code == 0
    refused = run("x=interval(0,1)", "hydra.sweeper.n_trials=2", changed)
    assert (refused.code, refused.points) == (2, [])
    assert refused.err.startswith(f"tlsweep: {value}")
    assert f"mend: {mend}" in refused.err


def test_a_database_that_cannot_be_opened_is_refused_under_the_apps_own_key(run: Run) -> None:
    refused = run("hydra.sweeper.storage=mine.db", "x=interval(0,1)")
    assert refused.code == 2
    assert refused.err.startswith("tlsweep: hydra.sweeper.storage=mine.db: ")
    assert "mend: hydra.sweeper.storage=sqlite:///mine.db" in refused.err


# ---------------------------------------------------------------------- failures
@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ("nothing", "the job returned None, not a finite number"),
        ("no number", "the job returned nan, not a finite number"),
        ("text", "the job returned a word, not a finite number"),
        ("two", "0], not a finite number"),
        ("error", "RuntimeError: this app is broken"),
    ],
)
def test_an_app_that_returns_no_number_ends_the_search_with_the_reason(
    run: Run, returns: str, reason: str
) -> None:
    done = run("hydra.sweeper.n_trials=3", f"returns={returns}", "x=choice(0.0,1.0)")
    assert (done.code, len(done.points)) == (1, 1)
    assert done.err.startswith("tlsweep: 1 trials failed, more than hydra.sweeper.max_failure_rate")
    assert reason in done.err
    assert "Traceback" not in done.err


def test_an_app_that_returns_too_few_values_for_its_directions_ends_the_search(run: Run) -> None:
    done = run("hydra.sweeper.direction=[minimize,minimize]", "x=choice(0.0,2.0)", "kind=b")
    assert done.code == 1
    assert "not a list of 2 finite numbers" in done.err


def test_the_log_shows_where_the_app_failed(run: Run) -> None:
    done = run("hydra.sweeper.n_trials=1", "returns=error", "x=1")
    assert "trial 0 failed: RuntimeError: this app is broken" in done.out
    assert 'foreign_app.py", line ' in done.out


def test_a_failure_rate_of_one_never_stops_a_search(run: Run) -> None:
    all_fail = ("hydra.sweeper.max_failure_rate=1.0", "x=1,2", "returns=error")
    done = run("hydra.sweeper.n_trials=4", *all_fail)
    assert (done.code, len(done.points)) == (1, 4)
    assert done.err == (
        "tlsweep: no trial ended with a value, so that none is the best; the log says why each"
        " failed\n"
    )


def test_failures_that_the_rate_puts_up_with_leave_a_best_trial(
    run: Run, results: Callable[[], Any]
) -> None:
    done = run("hydra.sweeper.max_failure_rate=0.5", "x=0,1,2", "kind=b",
               "returns=error at 1", f"{SAMPLER}=grid")  # fmt: skip
    assert done.code == 0, done.err
    assert results()["best_params"] == {"x": 2}


def test_a_grid_raises_what_its_job_raised(run: Run) -> None:
    done = run(KIND, "x=1,2", "returns=error")
    assert done.code == 1
    assert "RuntimeError: this app is broken" in done.err


# ---------------------------------------------------------------------- refusals
KNOWN = "tpe, random, gp, qmc, nsgaii, grid"


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        ([f"{SAMPLER}=cmaes"],
         (f"{SAMPLER}=cmaes", f"a sampler is one of: {KNOWN}",
          f"{SAMPLER}=tpe, or another of that list")),
        (["+hydra.sweeper.sampler._target_=optuna.samplers.NSGAIISampler"],
         ("hydra.sweeper.sampler._target_=optuna.samplers.NSGAIISampler",
          f"a sampler is given by its name: {KNOWN}", f"{SAMPLER}=nsgaii")),
        (["hydra.sweeper.direction=[]"],
         ("hydra.sweeper.direction=[]",
          "a list of directions has one for each value that the app returns",
          "hydra.sweeper.direction=minimize")),
        (["kind=b"],
         ("hydra.sweeper.params with kind=b",
          "a search has a key with several values; here each has one",
          "leave one of them out, or take hydra.sweeper.params out, to run this one job")),
        (["x=range(3,3)"],
         ("x=range(3,3)", "a range is not empty (its end is excluded)", "x=range(0,4)")),
        ([f"{SAMPLER}=grid", "x=interval(0,1)"],
         (f"x=interval(...) with {SAMPLER}=grid",
          "a grid has lists and ranges; an interval has no list of values",
          f"x=choice(...), or {SAMPLER}=tpe")),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_before_a_job_runs(
    run: Run, overrides: list[str], fault: tuple[str, str, str]
) -> None:
    refused = run(*overrides)
    value, rule, mend = fault
    assert refused == Answer(2, "", f"tlsweep: {value}\n    rule: {rule}\n    mend: {mend}\n")


def test_all_that_is_wrong_with_the_sweeper_is_told_at_once(run: Run) -> None:
    refused = run(
        f"{SAMPLER}=motpe", "hydra.sweeper.pruner.name=medium", "hydra.sweeper.n_jobs=0",
        "hydra.sweeper.n_trials=-1", "hydra.sweeper.max_failure_rate=1.5",
        "hydra.sweeper.direction=minimise", "hydra.sweeper.search_space={}",
        "hydra.sweeper.custom_search_space=app.extend",
    )  # fmt: skip
    assert refused.code == 2
    faults = [f"    mend: {line}" for line in (
        "leave hydra.sweeper.custom_search_space out",
        "leave hydra.sweeper.search_space out",
        "hydra.sweeper.direction=minimize",
        "hydra.sweeper.n_trials=1",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.max_failure_rate=1.0",
        f"{SAMPLER}=tpe",
        "hydra.sweeper.pruner.name=median",
    )]  # fmt: skip
    assert [line for line in refused.err.splitlines() if "mend: " in line] == faults
    assert (
        "hydra.sweeper.custom_search_space=app.extend\n    rule: a config names no" in refused.err
    )


def test_a_key_that_the_app_does_not_have_is_refused_by_hydra_before_there_is_a_study(
    run: Run, tmp_path: Path
) -> None:
    refused = run("nokey=interval(0,1)")
    assert (refused.code, refused.points) == (1, [])
    assert "Could not override 'nokey'" in refused.err
    assert not (tmp_path / "optuna.db").exists()


def test_hydra_full_error_shows_where_a_refusal_came_from(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Refusal):
        run("hydra.sweeper.n_jobs=0")


def test_the_apps_own_process_ends_with_the_code_of_a_refusal_and_no_traceback(
    tmp_path: Path,
) -> None:
    command = [sys.executable, str(APP), "-m", f"hydra.sweep.dir={tmp_path}", f"{SAMPLER}=tp"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(f"tlsweep: {SAMPLER}=tp\n    rule: a sampler is one of")
    assert "Traceback" not in done.stderr
