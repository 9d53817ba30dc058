"""The first phase of a freeze schedule, trained once for all trials in which it is the same.

It is kept in the activation store, under a key of all that it depends on: source and cut point,
head, data, seed, and the settings that act while no kept block is trained.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from tlsweep import screen
from tlsweep.extract import activations
from tlsweep.features import Key, NotStored, Spec, rows_digest
from tlsweep.schedule.settings import PhasedSettings
from tlsweep.terms import Split
from tlsweep.trial.probe import probe_kind, starts_at_probe
from tlsweep.trial.resolved import Resolved

LAYOUT = 4  # raise it when what is trained, or what a checkpoint holds, changes
_FILE = "first-phase.ckpt"
# how and where, or of layers that the phase does not train
_WITHOUT_EFFECT = (
    "accelerator", "num_workers", "resume", "probe", "probe_penalty", "lr_ratio", "block_decay",
    "out_of_memory",
)  # fmt: skip


class FirstPhase:
    """A shelf (``train/stage.py``) for one trial's first phase. taken: whether it was there."""

    def __init__(self, trial: Resolved) -> None:
        self.trial, self.inputs = trial, trial.inputs
        self.store = self.inputs.store
        self.taken = False

    @contextmanager
    def found(self) -> Iterator[Path | None]:
        """The checkpoint as a file, for as long as the block lasts; None where there is none."""
        stored = self.store.find(self.key)
        if stored is None:
            yield None
            return
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tlsweep-stage-"))
                file = Path(folder) / _FILE
                file.write_bytes(stored.tensor().numpy().tobytes())
            except OSError as error:
                screen.say(f"a first phase that is stored is trained again: {error}")
                yield None
                return
            self.taken = True
            yield file

    def keep(self, file: Path) -> None:
        """Store a checkpoint, unless another trial has just done so, or there is no room."""
        import torch

        content = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)[None]
        spec = Spec(self.key, tuple(content.shape), torch.uint8, self._about)
        if not self.store.room(spec.nbytes).fits:
            return
        with suppress(NotStored), self.store.writing([spec]) as writers:
            for writer in writers.values():
                writer.append(content)

    @property
    def may_be_shared(self) -> bool:
        """Whether it trains new layers alone, so that it is the same for other plans above them.

        On one device: one of several could find what another one did not find yet.
        """
        first = self.trial.freezing.thawed[0]
        return self.trial.train.devices == 1 and first.isdisjoint(self.trial.plan.kept)

    @property
    def key(self) -> Key:
        """What the checkpoint is kept under."""
        import torch

        from tlsweep.train.loading import device_of

        trial, question, plan = self.trial, self.trial.question, self.trial.plan
        train, source, missing = trial.train, question.source, plan.left_out
        return Key.of(
            source=f"{source.fingerprint} random" if plan.random_weights else source.fingerprint,
            cut=question.cuts[plan.keep].name,
            spec=source.spec,
            target=question.target.fingerprint,
            rows=rows_digest(question.partition.rows(Split.FIT, trial.fold)),
            chosen_on=rows_digest(question.partition.rows(Split.SELECT, trial.fold)),
            dtype=torch.uint8,
            pooling=question.pooling(plan.regrow, train),
            view=[self.inputs.drawn(activations.view_of(train, 0)), activations.views_of(train)],
            holds=f"first phase, layout {LAYOUT}",
            computed=activations.COMPUTED,
            lightning=metadata.version("pytorch-lightning"),
            regrow=question.cuts[plan.regrow].name,
            **({"without": [question.cuts[i + 1].name for i in missing]} if missing else {}),
            seed=trial.seed,
            train=self._acting,
            head_init=self._head_init,
            phase=self._phase,
            device=device_of(train).type,
        )

    @property
    def _acting(self) -> dict[str, Any]:
        """The training settings that change what the first phase ends with."""
        train = self.trial.train
        without = [*_WITHOUT_EFFECT]
        if train.augment != "views":
            without.append("views")
        if train.augment == "none":
            without += ["crop", "flip"]
        return train.model_dump(mode="json", exclude=set(without))

    @property
    def _head_init(self) -> list[Any]:
        """What the head starts from, and how fast it goes on where that is its own affair."""
        train = self.trial.train
        if not starts_at_probe(self.trial.plan, train):
            return ["random"]
        kind = probe_kind(self.trial.question.task, train)
        return [kind, train.probe_penalty, train.lr_ratio]

    @property
    def _phase(self) -> dict[str, Any] | None:
        schedule = self.trial.schedule
        if not isinstance(schedule, PhasedSettings):
            return None
        return schedule.model_dump(mode="json", exclude={"name", "begin", "phases"})

    @property
    def _about(self) -> dict[str, str]:
        question = self.trial.question
        names = {"source": question.source.name, "target": question.target.name}
        return {**names, "split": "first phase"}
