"""What MLflow shows is what the sweep told it, and a record that breaks does not break training."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded_runs import shown

from tlsweep.errors import Refusal
from tlsweep.record.mlflow import MlflowLedger
from tlsweep.record.opening import open_mlflow
from tlsweep.record.spooled import Spooled


def test_a_trial_is_a_child_of_its_sweep_with_its_params_and_tags(ledger: MlflowLedger) -> None:
    parent = ledger.start_sweep("family", {"source": "glyphs"})
    run = ledger.start_trial(parent, "001 truncate", {"lr": 0.1, "keep": "b3"}, {"mine": "x"})
    assert parent is not None
    assert run.run_id is not None
    child, mother = (shown(ledger, i) for i in (run.run_id, parent))
    assert child.data.params == {"lr": "0.1", "keep": "b3"}
    assert child.data.tags["mlflow.parentRunId"] == mother.info.run_id
    assert (child.data.tags["tlsweep.run"], mother.data.tags["tlsweep.run"]) == (run.run_id, parent)
    assert (child.data.tags["mine"], child.data.tags["tlsweep.role"]) == ("x", "trial")
    assert child.info.run_name == "001 truncate"
    assert mother.data.params == {"source": "glyphs"}
    assert mother.data.tags["tlsweep.role"] == "sweep"
    assert {child.info.status, mother.info.status} == {"RUNNING"}


def test_metrics_stand_at_their_epochs_from_one_and_the_summary_beside_them(
    ledger: MlflowLedger,
) -> None:
    run = ledger.start_trial(None, "t", {}, {})
    for epoch in (1, 2, 3):
        run.log_epoch(epoch, {"accuracy": 0.1 * epoch, "loss": 1 / epoch})
    run.end("finished", {"select_score": 0.9})
    assert run.run_id is not None
    history = ledger.client.get_metric_history(shown(ledger, run.run_id).info.run_id, "accuracy")
    assert [(m.step, m.value) for m in history] == [
        (1, pytest.approx(0.1)),
        (2, pytest.approx(0.2)),
        (3, pytest.approx(0.3)),
    ]
    assert shown(ledger, run.run_id).data.metrics["select_score"] == 0.9
    assert "mlflow.parentRunId" not in shown(ledger, run.run_id).data.tags


@pytest.mark.parametrize(
    ("status", "end"),
    [("finished", "FINISHED"), ("pruned", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")],
)
def test_a_run_ends_as_its_trial_did_and_the_tag_tells_pruned_from_finished(
    ledger: MlflowLedger, status: str, end: str
) -> None:
    run = ledger.start_trial(None, "t", {}, {})
    run.end(status, {}, reason="why", tags={"tlsweep.trial.start": "from images"})  # type: ignore[arg-type]
    assert run.run_id is not None
    found = shown(ledger, run.run_id)
    assert found.info.status == end
    assert found.info.end_time is not None
    assert found.data.tags["tlsweep.status"] == status
    assert found.data.tags["tlsweep.reason"] == "why"
    assert found.data.tags["tlsweep.trial.start"] == "from images"


def test_the_run_of_a_lost_trial_is_closed_and_says_why(ledger: MlflowLedger) -> None:
    run = ledger.start_trial(None, "t", {}, {})
    assert run.run_id is not None
    ledger.end_lost(run.run_id)
    found = shown(ledger, run.run_id)
    assert found.info.status == "KILLED"
    assert found.data.tags["tlsweep.status"] == "killed"
    assert "its process ended before it did" in found.data.tags["tlsweep.reason"]


def test_a_sweep_that_is_taken_up_goes_on_in_the_same_run(ledger: MlflowLedger) -> None:
    first = ledger.start_sweep("again", {})
    other = ledger.start_sweep("another", {})
    assert first is not None
    ledger.end_sweep(first, "killed", {})
    assert shown(ledger, first).info.status == "KILLED"
    assert ledger.start_sweep("again", {}, first) == first != other
    with pytest.warns(RuntimeWarning, match="the runs of again until now are not in this record"):
        assert ledger.start_sweep("again", {}, "0" * 32) not in (first, other, None)
    assert shown(ledger, first).info.status == "RUNNING"
    ledger.end_sweep(first, "finished", {"report_score": 0.9})
    run = shown(ledger, first)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"report_score": 0.9})
    assert run.data.tags["tlsweep.status"] == "finished"


def test_files_are_kept_with_the_run_beside_the_database(ledger: MlflowLedger) -> None:
    folder = Path(ledger.uri.removeprefix("sqlite:///")).parent
    file = folder / "s" / "verdict.json"
    file.parent.mkdir()
    file.write_text("{}")
    run_id = ledger.start_sweep("files", {})
    assert run_id is not None
    ledger.keep_files(run_id, [file])
    found = shown(ledger, run_id).info.run_id
    assert [f.path for f in ledger.client.list_artifacts(found)] == ["verdict.json"]
    assert list((folder / "artifacts").rglob("verdict.json"))
    assert ledger.where_to_look() == f"mlflow ui --backend-store-uri {ledger.uri}"


def test_a_verdict_is_the_description_tags_and_curves_of_its_sweep(ledger: MlflowLedger) -> None:
    """Told again it changes what has changed, and doubles no point."""
    run_id = ledger.start_sweep("told", {})
    assert run_id is not None
    for last in (0.9, 0.9, 0.8):
        curves = {"frozen_curve_report": {0: 0.5, 3: last}}
        tags = {"recommended.plan": "truncate"}
        ledger.tell_verdict(run_id, "Keep 3 blocks.", tags, curves)
    found = shown(ledger, run_id)
    told = found.data.tags
    assert told["mlflow.note.content"] == "Keep 3 blocks."
    assert told["recommended.plan"] == "truncate"
    points = ledger.client.get_metric_history(found.info.run_id, "frozen_curve_report")
    assert sorted((m.step, m.value) for m in points) == [(0, 0.5), (3, 0.8), (3, 0.9)]
    ledger.tell_verdict(None, "nobody hears it", {}, {})


def test_a_run_that_was_stopped_early_says_so_in_its_name(ledger: MlflowLedger) -> None:
    names = {}
    for status in ("pruned", "finished"):
        run = ledger.start_trial(None, "block3 finetune", {}, {})
        run.end(status, {})  # type: ignore[arg-type]
        assert run.run_id is not None
        names[status] = shown(ledger, run.run_id).info.run_name
    assert names == {"pruned": "block3 finetune (stopped early)", "finished": "block3 finetune"}


@pytest.mark.parametrize(
    ("uri", "look"),
    [
        ("sqlite:////data/a b/m.db", "mlflow ui --backend-store-uri 'sqlite:////data/a b/m.db'"),
        ("http://host:5000/", "http://host:5000/#/experiments/7"),
        ("https://me:secret@host/x", "https://host/x/#/experiments/7"),
        (
            "postgresql://me:secret@host/db",
            "mlflow ui --backend-store-uri postgresql://host/db",
        ),
    ],
)
def test_where_to_look_is_an_address_or_a_command_without_passwords(
    ledger: MlflowLedger, tmp_path: Path, uri: str, look: str
) -> None:
    record = MlflowLedger(ledger.client, "7", uri, Spooled(tmp_path, "place"))
    assert record.where_to_look() == look
    assert record.close() == 0


def test_no_usage_is_sent_to_anybody() -> None:
    code = (
        "import os; os.environ.pop('MLFLOW_DISABLE_TELEMETRY', None);"
        "import tlsweep.record.mlflow, mlflow.telemetry.client as c;"
        "print(os.environ['MLFLOW_DISABLE_TELEMETRY'], c.get_telemetry_client())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["true", "None"]


# ------------------------------------------------------------------ a server that is away
def test_a_server_that_does_not_answer_is_refused_in_seconds(
    closed_port: int, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(Refusal) as caught:
        open_mlflow(f"http://127.0.0.1:{closed_port}", "tests", tmp_path)
    assert time.monotonic() - began < 15
    (fault,) = caught.value.faults
    assert fault.value.startswith(f"record.tracking_uri=http://127.0.0.1:{closed_port}: ")
    assert "record=none" in fault.mend
    assert len(str(fault).splitlines()) == 3
