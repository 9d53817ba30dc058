"""Whether a training takes longer than it may, as its epochs tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Pace:
    """How fast the epochs of a training go. room: seconds that it may take."""

    room: float
    _first: tuple[int, float] | None = field(default=None, init=False)

    def too_long(self, seconds: float, done: int, least: int) -> float | None:
        """Seconds that the training takes at least, where those are more than it may; else None.

        seconds: so far; done: epochs so far; least: epochs that it takes at least. The first epoch
        opens the data, so what it took says nothing of the others.
        """
        if self._first is None:
            self._first = done, seconds
        before, then = self._first
        pace = (seconds - then) / max(1, done - before)
        takes = seconds + pace * (least - done)
        return takes if takes > self.room and least > done else None
