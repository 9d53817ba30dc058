"""What an attacker would have run: each makes a marker file, if anything runs it at all."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch


class Payload:
    """Makes the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class Trap:
    """Files that make a marker when they are unpickled."""

    def __init__(self, folder: Path) -> None:
        self.marker = folder / "was_run"

    @property
    def sprung(self) -> bool:
        """Whether any of it was run."""
        return self.marker.exists()

    def pickled(self) -> bytes:
        """A pickle."""
        return pickle.dumps(Payload(self.marker))

    def saved(self, file: Path, **beside: Any) -> Path:
        """A file of torch.save, with weights beside it, so that it looks like a checkpoint."""
        torch.save({**beside, "own": Payload(self.marker)}, file)
        return file
