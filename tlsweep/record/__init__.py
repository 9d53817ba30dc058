"""The record of runs. The only room that imports MLflow.

``open_record`` gives a Record; everything a sweep tells it goes through that class, so that a
sweep without a record (``record=none``) is the same code.
"""

import os

# read by MLflow when it is imported. A record of research is nobody else's business; and a server
# that does not answer is noticed in seconds, not in four minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")

from tlsweep.record.base import NoRecord, Record, Recorded, TrialRecord, TrialRun
from tlsweep.record.logged_model import ToLog
from tlsweep.record.registry import join_record, open_record
from tlsweep.record.spool import waits

__all__ = [
    "NoRecord",
    "Record",
    "Recorded",
    "ToLog",
    "TrialRecord",
    "TrialRun",
    "join_record",
    "open_record",
    "waits",
]
