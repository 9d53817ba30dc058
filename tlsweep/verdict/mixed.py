"""A head on a mix of the features of all cut points, told beside the plans: it is none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlsweep.verdict.evidence import Table
from tlsweep.verdict.told import Told


@dataclass(frozen=True)
class Mixed:
    """What such a head answers. out_of_fold_n, report_n: example scores, [examples]."""

    source: str
    features: int
    of: int
    flops: int
    out_of_fold_n: Table
    report_n: Table

    def row(self, recommended_rn: Table, told: Told) -> dict[str, Any]:
        """As a verdict holds it. recommended_rn: the recommended plan's scores, report split."""
        own = told.model_score(self.report_n)
        less = told.difference(recommended_rn, self.report_n[None])
        return {
            "source": self.source,
            "features": self.features,
            "of": self.of,
            "flops": self.flops,
            "out_of_fold": told.measure.value(float(self.out_of_fold_n.mean())),
            "score": own.score,
            "interval": own.as_list(),
            "recommended_minus_this": less.score,
            "difference_interval": less.as_list(),
        }
