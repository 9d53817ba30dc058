"""Any number of labelled images and any batch size trains, or is refused before it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.terms import Split
from tlsweep.trial import checked, train_plan

Make = Callable[..., Settings]
# a fifth is held out: 16 and 17 images are trained on
SIZES = (20, 21)
LATER = [pytest.param(n, marks=pytest.mark.slow) for n in (8, 15, 16, 64)]


@pytest.mark.parametrize("plan", ["finetune", "scratch"])
@pytest.mark.parametrize("statistics", ["source", "batch"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 17, *LATER])
def test_batches_of_any_size_train_where_the_last_maps_are_of_one_pixel(
    settings: Make, plan: str, statistics: str, batch_size: int
) -> None:
    for n in SIZES:
        asked = settings(
            f"plan={plan}", f"target.fit_size={n}", "target.folds=1", "train.epochs=1",
            f"train.batch_norm={statistics}", f"train.batch_size={batch_size}",
            "train.settle=false",
        )  # fmt: skip
        if batch_size == 1 and (plan == "scratch" or statistics == "batch"):
            with pytest.raises(Refusal) as caught:
                checked(asked)
            (fault,) = caught.value.faults
            assert (fault.value, fault.mend) == ("train.batch_size=1", "train.batch_size=2 or more")
            continue
        found = train_plan(checked(asked), None)
        assert np.isfinite(found.logits[Split.SELECT]).all()
        assert np.isfinite(found.history[-1]["fit_loss"])
