"""In what a score is counted, and how people read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """How a score and a difference of scores are written.

    times: what a score is multiplied by; after: what stands behind a score; apart: behind a
    difference; digits: after the decimal point.

    >>> Unit(times=100, after=" %", apart=" points", digits=1).written(0.9521)
    '95.2 %'
    """

    times: float = 1.0
    after: str = ""
    apart: str = ""
    digits: int = 3

    def written(self, score: float) -> str:
        """A score with its unit: ``95.2 %``, ``3.21 degrees``."""
        return f"{self.number(score)}{self.after}"

    @property
    def is_short(self) -> bool:
        """Whether it takes no more room than a sign: in a table it stands in every cell."""
        return len(self.after.strip()) <= 1

    def number(self, score: float) -> str:
        """A score without its unit: ``95.2``."""
        return f"{self.times * score:.{self.digits}f}"

    def difference(self, value: float) -> str:
        """A difference of scores, with its sign: ``+3.5 points``."""
        return f"{self.signed(value)}{self.apart}"

    def signed(self, value: float) -> str:
        """A difference of scores without its unit: ``+3.5``."""
        return f"{self.times * value:+.{self.digits}f}"

    def distance(self, value: float) -> str:
        """A difference of scores without its sign: ``3.5 points``."""
        return f"{self.number(abs(value))}{self.apart}"

    def roughly(self, value: float) -> str:
        """A difference with one digit less: ``4 points``."""
        return f"{self.times * value:.{max(0, self.digits - 1)}f}{self.apart}"

    def rounded(self, value: float) -> str:
        """A round number of a difference: ``2 points``."""
        return f"{self.times * value:g}{self.apart}"


PERCENT = Unit(times=100.0, after=" %", apart=" points", digits=1)
SHARE = Unit(digits=3)  # of what lies between 0 and 1 and is not a share of examples
