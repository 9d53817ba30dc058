"""A recorded run is run again, and every number of it is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tlsweep import trial
from tlsweep.commands.reproduce import NotReproduced, compare, run
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.record import Recorded, open_record

Make = Callable[..., Settings]
CONF = (Path(__file__).parents[2] / "conf").resolve()


@pytest.fixture
def recorded(settings: Make, tmp_path: Path) -> Callable[..., str]:
    """Trains a plan that MLflow records, and gives the id of its run."""

    def train(*overrides: str) -> str:
        asked = settings(*overrides)
        trial.run(asked)
        record = open_record(asked.record, tmp_path)
        (run_,) = record.client.search_runs([record.experiment_id])  # type: ignore[attr-defined]
        return str(run_.info.run_id)

    return train


@pytest.mark.parametrize("plan", [("plan=truncate", "plan.keep=3"), ("plan=finetune",)])
def test_a_run_comes_out_as_it_was_recorded(
    recorded: Callable[..., str], tmp_path: Path, plan: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run([f"run={recorded(*plan)}", f"output_dir={tmp_path}"], CONF)
    shown = capsys.readouterr().out
    assert "select_score" in shown
    count = len([line for line in shown.splitlines() if "equal" in line and "│" in line])
    assert f"{count} of {count} numbers are equal to the last digit" in shown


def test_a_number_that_comes_out_otherwise_is_named(
    recorded: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded("plan=truncate", "plan.keep=3")
    told = trial.run_unrecorded

    def otherwise(settings: Settings) -> dict[tuple[str, int], float]:
        return {**told(settings), ("select_score", 0): 0.123}

    monkeypatch.setattr(trial, "run_unrecorded", otherwise)
    with pytest.raises(NotReproduced, match=r"1 of .* numbers differ: select_score"):
        run([f"run={run_id}", f"output_dir={tmp_path}"], CONF)


def test_a_run_that_is_not_there_is_refused(recorded: Callable[..., str], tmp_path: Path) -> None:
    recorded("plan=truncate", "plan.keep=1")
    with pytest.raises(Refusal, match="run=nowhere"):
        run(["run=nowhere", f"output_dir={tmp_path}"], CONF)


def test_a_run_whose_images_have_changed_is_refused(
    recorded: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded("plan=truncate", "plan.keep=1")
    from tlsweep.record import mlflow as room

    kept = room.MlflowLedger.recorded

    def changed(self: room.MlflowLedger, run_id: str) -> Recorded:
        found = kept(self, run_id)
        return replace(found, tags={**found.tags, "tlsweep.target_fingerprint": "another"})

    monkeypatch.setattr(room.MlflowLedger, "recorded", changed)
    with pytest.raises(Refusal, match="put back the images"):
        run([f"run={run_id}", f"output_dir={tmp_path}"], CONF)


def test_without_an_id_nothing_is_run(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="reproduce run=ID"):
        run([f"output_dir={tmp_path}"], CONF)


def test_a_number_that_is_not_there_any_more_counts_as_different() -> None:
    (one,) = compare({("fit_loss", 1): 0.5, ("seconds", 0): 3.0}, {})
    assert one.difference == float("inf")
