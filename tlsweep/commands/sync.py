"""``python -m tlsweep sync``: tells MLflow what it was not told while it did not answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.errors import Fault, Refusal, TlsweepError
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config
from tlsweep.record import open_record, waits

PATIENCE = 60.0  # seconds


class NotTold(TlsweepError):  # noqa: N818 - a word of the project
    """Something could not be told."""


def run(arguments: Sequence[str], conf: Path) -> None:
    """Tell the record of ``output_dir`` all that waits for it on disk.

    A run whose process is gone is closed as killed. Raises Refusal where there are no results,
    NotTold where MLflow does not answer for a minute.
    """
    refuse_others(parted(arguments), "sync", ("output_dir", "record"))
    chosen = read(compose_config(arguments, conf))
    folder = Path(chosen.output_dir)
    if not folder.is_dir():
        rule = "what waits for a record lies in the results of its sweep"
        raise Refusal(Fault(f"output_dir={folder}, which is not there", rule, "output_dir=DIR"))
    before = waits(folder)
    record = open_record(chosen.record, folder)
    with screen.shown() as shown:
        most = max(1, sum(before.values()))
        left = record.close(PATIENCE, lambda left: shown.step(most - left, most, "telling MLflow"))
    after = waits(folder)
    told = sum(before.values()) - sum(after.values())
    screen.console.print(f"{told} {_things(told)} told of what waited in {folder}")
    for place, count in after.items():
        screen.console.print(f"{count} {_things(count)} wait for {place}: record.tracking_uri=URI")
    if left:
        raise NotTold(f"MLflow was not told {left} {_things(left)}: it does not answer")


def _things(count: int) -> str:
    return "thing" if count == 1 else "things"
