"""Where a trial's data enters its plan, phase by phase: images, or activations that are stored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tlsweep.extract import activations
from tlsweep.features import size_text
from tlsweep.terms import Split, Stage
from tlsweep.trial.resolved import Resolved

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.schedule.base import FreezeSchedule
    from tlsweep.target.batch import Side
    from tlsweep.train.feed import Fed
    from tlsweep.train.loading import Rows

# To weigh computing against reading, on two cores: FLOPs of a forward pass a second, and bytes a
# second of a file that is in memory already. Not timed anew: a choice that hung on the load of the
# machine would change the last digits of a trial that is run again.
COMPUTED_PER_SECOND = 3e10
READ_PER_SECOND = 1e9


class Starts:
    """A feed (``train/feed.py``): the highest activations worth storing below what is frozen.

    As a schedule thaws, it goes down to the store of the next boundary, or to images. Nothing is
    computed before it is asked for. why: what was chosen, for people.
    """

    def __init__(self, trial: Resolved, schedule: FreezeSchedule) -> None:
        from tlsweep.heads.whole import reads

        self.trial, self.question, self.plan = trial, trial.question, trial.plan
        self.schedule, self.inputs = schedule, trial.inputs
        self.pools = not reads(trial.train.head)  # else a head is given whole activations
        self.variant = activations.Variant.of(trial.plan, trial.seed)
        self._chosen: dict[int, tuple[int, str]] = {}
        self._frozen: int | None = None
        self._fit: tuple[int, Any] | None = None  # view, and its data
        self._select: Any = None
        self._given: dict[Split, Rows] = {}  # the last of each

    def __call__(self, frozen: int, epoch: int) -> Fed:
        """The fit and select splits where the blocks before ``frozen`` are frozen."""
        from tlsweep.train.feed import Fed

        if frozen != self._frozen:  # let go of one phase before room is sought for the next
            self.close()
            self._frozen = frozen
        view = activations.view_of(self.trial.train, epoch)
        held_out = self.trial.fold is not None
        if self._select is None and held_out:
            self._select = self.split(frozen, Split.SELECT)
        if self._fit is None or self._fit[0] != view:
            self._fit = view, self.split(frozen, Split.FIT, view)
        if self._fit[1] is None or (self._select is None and held_out):
            self._chosen[frozen] = 0, f"the activations could not be stored: {self._from}"
            self.close()
            return self(frozen, epoch)
        return Fed(self._fit[1], self._select, self.entry(frozen))

    def close(self) -> None:
        """Let go of all data: what is in use takes room in the store. It may be asked again."""
        for rows in self._given.values():
            rows.release()
        self._given.clear()
        self._frozen = self._fit = self._select = None

    def entry(self, frozen: int) -> int:
        """The cut point that the data comes from where the blocks before ``frozen`` are frozen."""
        if frozen not in self._chosen:
            self._chosen[frozen] = self._choose(frozen)
        return self._chosen[frozen][0]

    @property
    def why(self) -> str:
        """What the data was taken from, phase by phase, and why."""
        return "; then ".join(dict.fromkeys(why for _, why in self._chosen.values()))

    # ------------------------------------------------------------------ data
    def scored(self, frozen: int, split: Split) -> tuple[int, Any]:
        """The cut point that the data of one split comes from, and the data."""
        found = self.split(frozen, split)
        if found is None:
            return 0, self.question.examples(split, self.trial.fold)
        return self.entry(frozen), found

    def split(self, frozen: int, split: Split, view: int = activations.PLAIN) -> Any:
        """The data of one split; None where it was to be stored and could not be."""
        entry, variant = self.entry(frozen), replace(self.variant, view=view)
        whole = Split.REPORT if split == Split.REPORT else Split.POOL
        if frozen == self.plan.regrow and self.pools and self.trial.train.augment != "live":
            (z,) = self.inputs.pooled(whole, [entry], variant)
            return self._rows(z, split, {})
        if entry == 0:
            return self.question.examples(split, self.trial.fold, self.inputs.drawn(view))
        stored = self.inputs.whole(whole, entry, variant)
        return None if stored is None else self._rows(stored, split, self.inputs.side(whole))

    def _rows(self, z: Tensor, split: Split, side: Side) -> Rows:
        import torch

        from tlsweep.train.loading import Rows

        if split in self._given:  # another view is not read any more
            self._given[split].release()
        places = None
        if split != Split.REPORT:
            places = torch.from_numpy(self.question.partition.places(split, self.trial.fold))
        self._given[split] = Rows(z, self.inputs.labels(split), places, side)
        return self._given[split]

    # ------------------------------------------------------------------ planning
    @property
    def _from(self) -> str:
        return f"from {self.question.task.things}"

    def _choose(self, frozen: int) -> tuple[int, str]:
        if self.trial.train.augment == "live":
            return 0, f"augmented anew in every epoch: {self._from}"
        if frozen == self.plan.regrow and self.pools:
            return frozen, "only a head trains: from pooled features"
        if frozen == 0:
            what = "the first block is trained" if self.plan.regrow else "no block is kept"
            return 0, f"{what}: {self._from}"
        return self._boundary(frozen if self._read_again(frozen) else self.plan.freeze)

    def _read_again(self, frozen: int) -> bool:
        """Whether what is stored for a phase is read more than once: later, or by other trials."""
        last, views = frozen == self.plan.freeze, activations.views_of(self.trial.train)
        more = self.schedule.ending.epochs > len(views)
        return last or more or self.trial.stage != Stage.SINGLE

    def _boundary(self, frozen: int) -> tuple[int, str]:
        """The cut point up to ``frozen`` whose activations are worth storing most; 0 for none.

        Storing at the freeze boundary saves the whole prefix; at an earlier, smaller cut point part
        of it, for less space. Of those that the budget and the disk allow, the one that saves most
        time in an epoch.
        """
        if frozen == 0:
            return 0, f"a phase that short reads nothing twice: {self._from}"
        question, train = self.question, self.trial.train
        n_pool = len(question.partition.pool)
        n_kept = n_pool * len(activations.views_needed(train))
        store = self.inputs.store
        costs, flops = question.costs, question.flops

        def saved(index: int) -> float:
            seconds = flops(self.plan, index) / COMPUTED_PER_SECOND
            return n_pool * (seconds - costs[index].activation_bytes / READ_PER_SECOND)

        # a part starts at what is stored below the boundary
        places = [i for i in range(1, frozen + 1) if i == frozen or question.cuts[i].starts]
        sizes = {i: costs[i].activation_bytes * n_kept for i in places}
        for index in sorted(sizes, key=lambda i: (-saved(i), i)):
            if saved(index) <= 0:
                break
            missing = self.inputs.bytes_to_store(index, self.variant)
            if store.room(missing).fits:
                share = flops(self.plan, index) / max(1, flops(self.plan, frozen))
                part = f", {share:.0%} of the frozen blocks' work" if index < frozen else ""
                name, size = question.cuts[index].name, size_text(sizes[index])
                return index, f"from {name}, stored in {size}{part}"
        size, name = size_text(sizes[frozen]), question.cuts[frozen].name
        if max(map(saved, sizes)) > 0:
            return 0, f"no room to store {size} at {name}: {self._from}"
        return 0, f"to read {size} stored at {name} takes longer than to compute it: {self._from}"
