"""The model to take home is one that MLflow itself loads, with its signature and an example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.models import Model
from recorded_runs import shown
from torch import nn

from tlsweep.record import ToLog
from tlsweep.record.mlflow import MlflowLedger

Make = Callable[..., ToLog]


@pytest.fixture
def to_log(record_folder: Path) -> Make:
    """A small exported program that answers 4 classes, and what goes with it."""

    def make(digest: str = "a") -> ToLog:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        batch = {0: torch.export.Dim("batch")}
        file = record_folder / "model.pt2"
        program = torch.export.export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=(batch,))
        torch.export.save(program, file)
        example = torch.rand(1, 3, 8, 8).numpy()
        version = torch.__version__.partition("+")[0]
        return ToLog(file, digest, example, 4, (f"torch=={version}", "numpy"), {"my": "x"})

    return make


def test_mlflow_loads_what_was_kept_and_it_answers_the_same(
    ledger: MlflowLedger, to_log: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, model = str(ledger.start_sweep("s", {})), to_log()
    ledger.keep_model(sweep, model)
    run = shown(ledger, sweep).info.run_id
    (kept,) = ledger.client.search_logged_models(
        [ledger.experiment_id], filter_string=f"source_run_id = '{run}'"
    )
    assert kept.tags["my"] == "x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ledger.uri)
    expected = torch.export.load(model.program).module()(torch.from_numpy(model.example))
    loaded = mlflow.pyfunc.load_model(f"models:/{kept.model_id}")
    assert np.array_equal(loaded.predict(model.example), expected.detach().numpy())
    folder = mlflow.artifacts.download_artifacts(f"models:/{kept.model_id}")
    example = Model.load(folder).load_input_example(folder)
    assert np.array_equal(example, model.example)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 3, 8, 8)
    assert loaded.metadata.signature.outputs.inputs[0].shape == (-1, 4)
    three = np.repeat(model.example, 3, axis=0)
    assert loaded.predict(three).shape == (3, 4)
    outputs = ledger.client.get_run(run).outputs
    assert [o.model_id for o in outputs.model_outputs] == [kept.model_id]


def test_a_sweep_that_goes_on_keeps_one_model_the_last(ledger: MlflowLedger, to_log: Make) -> None:
    sweep = str(ledger.start_sweep("t", {}))
    found = []
    for digest in ("a", "a", "b"):
        ledger.keep_model(sweep, to_log(digest))
        run = shown(ledger, sweep).info.run_id
        (kept,) = ledger.client.search_logged_models(
            [ledger.experiment_id], filter_string=f"source_run_id = '{run}'"
        )
        found.append((kept.model_id, kept.tags["tlsweep.weights"]))
    assert found[0] == found[1]
    assert found[2][1] == "b"


def test_no_run_keeps_nothing(ledger: MlflowLedger, to_log: Make) -> None:
    ledger.keep_model(None, to_log())
