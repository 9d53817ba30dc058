"""What MLflow holds, for tests to look at."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tlsweep.record.mlflow import MlflowLedger


def shown(ledger: MlflowLedger, run_id: str) -> Any:
    """MLflow's run of one of our ids, after all was told."""
    assert ledger.flush() == 0
    return ledger.client.get_run(str(ledger.delivery.id_of(run_id)))


def trials(ledger: MlflowLedger) -> dict[str, Any]:
    """MLflow's runs of trials by our id. Fails where one is there twice."""
    runs = ledger.client.search_runs([ledger.experiment_id], "tags.`tlsweep.role` = 'trial'")
    count = Counter(run.data.tags["tlsweep.run"] for run in runs)
    assert set(count.values()) <= {1}
    return {run.data.tags["tlsweep.run"]: run for run in runs}


def points(ledger: MlflowLedger, run: Any, name: str) -> list[tuple[int, float]]:
    """A metric's points by step, doubled ones too."""
    history = ledger.client.get_metric_history(run.info.run_id, name)
    return sorted((m.step, m.value) for m in history)
