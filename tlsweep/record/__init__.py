"""The record of runs. The only room that imports MLflow.

``open_record`` gives a Record; everything a sweep tells it goes through that class, so that a
sweep without a record (``record=none``) is the same code.
"""

from tlsweep.record.base import NoRecord, Record, Recorded, TrialRun
from tlsweep.record.logged_model import ToLog
from tlsweep.record.registry import open_record

__all__ = ["NoRecord", "Record", "Recorded", "ToLog", "TrialRun", "open_record"]
