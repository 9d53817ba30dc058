"""Whether activations of a known size may be stored: the budget, and what the disk has free."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from tlsweep.errors import Fault
from tlsweep.features import shelf
from tlsweep.features.refused import size_text

_MOST_SPARED = 2**30


@dataclass(frozen=True)
class Room:
    """The decision about ``needed`` more bytes.

    budget: most that all entries take together; busy: of that, what is being read or written now
    and cannot be evicted; disk: what the disk has free once all that can be evicted is; evictable:
    how much that is.
    """

    needed: int
    budget: int
    busy: int
    disk: int
    evictable: int

    @property
    def fits(self) -> bool:
        """Whether they can be stored."""
        return self.within_budget and self.needed <= self.disk

    @property
    def within_budget(self) -> bool:
        """Whether the budget allows them; the disk may still be too full."""
        return self.needed + self.busy <= self.budget

    @property
    def to_evict(self) -> int:
        """How many bytes have to be evicted before they are written."""
        too_many = self.needed + self.busy + self.evictable - self.budget
        return max(0, too_many, self.needed - (self.disk - self.evictable))

    def fault(self, folder: Path) -> Fault:
        """Why they do not fit, with the sizes and what to change."""
        if self.within_budget:
            return Fault(
                f"activations of {size_text(self.needed)} are not stored but computed anew:"
                f" the disk of {folder} can spare {size_text(max(0, self.disk))}",
                "activations are stored where the disk keeps some space free after it",
                "free some space on that disk, or features.cache_dir=FOLDER on another one",
            )
        busy = f", {size_text(self.busy)} of it in use" if self.busy else ""
        enough = math.ceil((self.needed + self.busy) / 2**30 * 10) / 10
        return Fault(
            f"activations of {size_text(self.needed)} are not stored but computed anew:"
            f" the budget is {size_text(self.budget)}{busy}",
            "all activations that are kept fit into features.budget_gb together",
            f"features.budget_gb={enough:g}",
        )


def measure(folder: Path, needed: int, budget: int) -> Room:
    """The room for ``needed`` more bytes in ``folder``, which need not be there yet."""
    entries = shelf.kept(folder)
    busy = sum(entry.nbytes for entry in entries if entry.in_use)
    evictable = sum(entry.nbytes for entry in entries) - busy
    promised, not_written = shelf.promised(folder)
    disk = shutil.disk_usage(_nearest(folder))
    # results and databases are often on the same disk: a cache never takes the last of it
    spared = min(disk.total // 50, _MOST_SPARED)
    free = disk.free - not_written - spared
    return Room(needed, budget, busy + promised, free + evictable, evictable)


def _nearest(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
