"""A trial as it stands in its study, for whoever takes it: settings as plain values, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlsweep.config.read import checked
from tlsweep.config.settings import Settings
from tlsweep.errors import masked
from tlsweep.section import AS_TYPED
from tlsweep.study.queue import Job

_OWN = ("parent_run", "room")  # of a trial, beside its settings


@dataclass(frozen=True)
class Brief:
    """What the trials of one sweep have in common.

    plain: the sweep's settings; typed_in: the folder that relative paths are seen from; storage:
    the URL of the study's database.

    Example:
        >>> brief = Brief.of(settings, storage)                              # doctest: +SKIP
        >>> brief.settings("s", job).trial.number                            # doctest: +SKIP
    """

    plain: Mapping[str, Any] = field(repr=False)  # with passwords, as the next but one
    typed_in: str
    storage: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings, storage: str) -> Brief:
        """What trials of a sweep with these settings have in common."""
        return cls(_plain(settings), str(Path.cwd()), storage)

    def note(self) -> dict[str, Any]:
        """What stands of it in the study, for workers that join: no password does."""
        sweep = {**self.plain["sweep"], "storage": None}  # they were told it
        text = masked(json.dumps({**self.plain, "sweep": sweep}))
        return {"settings": json.loads(text), "typed_in": self.typed_in}

    @classmethod
    def noted(cls, note: Mapping[str, Any], storage: str, **own: Any) -> Brief:
        """The brief that a study holds. own: sections that this worker was given itself."""
        return cls({**note["settings"], **own}, str(note["typed_in"]), storage)

    def asks(self, settings: Settings, **own: Any) -> dict[str, Any]:
        """What one trial is told: where its settings differ from the sweep's.

        own: parent_run, the record's id of the sweep; room, seconds that its training may take.
        """
        plain = _plain(settings)
        changed = {name: value for name, value in plain.items() if value != self.plain.get(name)}
        return {"settings": changed, **{k: v for k, v in own.items() if v is not None}}

    def settings(self, study: str, job: Job) -> Settings:
        """The settings of a trial that was taken. Raises Refusal where they cannot be read."""
        identity = {"study": study, "storage": self.storage, "number": job.number}
        identity |= {name: job.asks[name] for name in _OWN if name in job.asks}
        asked = {**self.plain, **job.asks.get("settings", {}), "trial": identity}
        return checked(asked, Path(self.typed_in))


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values, with paths as they were typed: a study knows its question by it."""
    return settings.model_dump(mode="json", context={AS_TYPED: True})
