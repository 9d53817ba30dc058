"""What every target promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlsweep.conformance.component import ComponentSuite
from tlsweep.section import TargetSettings
from tlsweep.target import Target, check_target, open_target
from tlsweep.terms import ImageSpec, InputSpec, Split, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.target.dataset import TargetDataset

IMAGE = ImageSpec(channels=3, size=24, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), resize=28)
FEW = 6  # examples that are looked at


class TargetSuite(ComponentSuite):
    """One target.

    >>> class TestMyTarget(TargetSuite):
    ...     name, options = "my_target", {"images": 30}
    """

    kind = "target"
    asked_of = {"check": (), "open": ("progress",)}  # noqa: RUF012
    ours = tuple(key for key in TargetSettings.model_fields if key != "name")

    def opened(self) -> Target:
        """The target, opened anew."""
        return open_target(self.name, **self.given())

    @property
    def target(self) -> Target:
        """The target, opened once."""
        return self.once("target", self.opened)

    @property
    def spec(self) -> InputSpec:
        """What a source might want to see of its examples."""
        return IMAGE if self.target.reads is ImageSpec else TOKENS

    def some(self) -> list[int]:
        """Indices of a few examples, in no order, one of them twice."""
        last = len(self.target.labels) - 1
        return [last, 0, last // 2, 1, last // 3, last][:FEW]

    def dataset(self, indices: Sequence[int]) -> TargetDataset:
        """These examples as a source might want to see them."""
        return self.target.dataset(indices, self.spec)

    # ------------------------------------------------------------------ opening
    def test_what_can_be_opened_passes_its_check(self) -> None:
        check_target(self.name, **self.given())

    def test_it_is_the_same_each_time_it_is_opened(self) -> None:
        again = self.opened()
        assert self.target.fingerprint
        assert again.fingerprint == self.target.fingerprint
        assert np.array_equal(again.labels, self.target.labels)
        one, other = (t.dataset(self.some(), self.spec).tensors() for t in (self.target, again))
        assert bool((one.z == other.z).all())

    # ------------------------------------------------------------------ what is true
    def test_labels_are_in_the_type_of_its_task_and_within_its_range(self) -> None:
        task, labels = self.target.task, self.target.labels
        own = task.truth(labels)
        assert (labels.dtype, labels.shape[1:]) == (own.dtype, own.shape[1:])
        assert np.array_equal(labels, own)
        wide = () if task.kind == "classes" else (task.n_outputs,)
        assert labels.shape == (len(labels), *wide)
        assert task.regressed(labels).shape == (len(labels), task.n_outputs)
        assert np.isfinite(labels).all()
        assert labels.min() >= 0 or task.kind == "numbers"

    def test_labels_differ_between_its_examples(self) -> None:
        assert (self.target.labels != self.target.labels[0]).any()

    def test_it_names_each_output_of_its_task(self) -> None:
        names = self.target.output_names
        assert len({*names}) == len(names) == self.target.task.n_outputs
        assert all(names)

    def test_examples_are_called_by_names_of_their_own(self) -> None:
        called = [self.target.called(i) for i in range(min(FEW, len(self.target.labels)))]
        assert len({*called}) == len(called)
        assert all(called)
        assert all(self.target.truth_of(i) for i in self.some())

    def test_every_example_has_a_stratum(self) -> None:
        strata = self.target.strata
        assert strata.dtype == np.int64
        assert strata.shape == (len(self.target.labels),)
        assert strata.min() >= 0

    def test_given_splits_have_no_example_in_common_and_none_that_is_not_there(self) -> None:
        given = self.target.given
        assert {*given} <= {Split.FIT, Split.SELECT, Split.REPORT}
        together = np.concatenate([*given.values(), np.empty(0, np.int64)])
        assert len(np.unique(together)) == len(together)
        assert np.array_equal(self.target.places(together), together)

    def test_equal_examples_are_known_by_the_first_of_them(self) -> None:
        first = self.target.same_as
        assert first.shape == (len(self.target.labels),)
        assert (first <= np.arange(len(first))).all()
        assert np.array_equal(first[first], first)

    def test_near_copies_are_known_by_the_first_of_them(self) -> None:
        same, like = self.target.same_as, self.target.like
        assert (like <= same).all()
        assert np.array_equal(like[like], like)
        assert np.array_equal(like[same], like)

    def test_every_example_has_a_group_where_there_are_groups(self) -> None:
        groups = self.target.groups
        assert groups is None or len(groups) == len(self.target.labels)
        assert groups is None or all(groups)

    def test_what_it_took_for_granted_is_said_in_sentences(self) -> None:
        said = self.target.said
        assert isinstance(said, tuple)
        assert all(isinstance(sentence, str) and sentence.strip() for sentence in said)

    # ------------------------------------------------------------------ examples
    def test_examples_are_as_a_source_wants_to_see_them(self) -> None:
        import torch

        z, side, y = self.dataset(self.some()).tensors()
        if isinstance(spec := self.spec, ImageSpec):
            assert z.shape[1:] == (spec.channels, spec.size, spec.size)
            assert z.dtype is torch.float32
            assert bool(z.isfinite().all())
            assert side == {}
        else:
            assert z.shape[1:] == (spec.length,)
            assert z.dtype is torch.int64
            assert (side["mask"].shape, side["mask"].dtype) == (z.shape, torch.bool)
        assert len(z) == len(y) == len(self.some())

    def test_examples_come_in_the_order_that_is_asked_for(self) -> None:
        ids = self.some()
        data = self.dataset(ids)
        assert data.indices.tolist() == ids
        assert np.array_equal(data.labels, self.target.labels[ids])
        assert np.array_equal(data.tensors().y.numpy(), self.target.labels[ids])
        z = data.tensors().z
        for position, index in enumerate(ids):
            assert bool((self.dataset([index]).tensors().z[0] == z[position]).all())

    def test_rows_of_a_dataset_are_those_of_its_batches(self) -> None:
        from torch.utils.data import DataLoader

        data = self.dataset(self.some())
        (loaded,) = DataLoader(data, batch_size=len(data))
        for batch in (loaded, data.batch(np.arange(len(data))), data.tensors()):
            assert batch.side.keys() == loaded.side.keys()
            for position in range(len(data)):
                row = data[position]
                assert bool((row.z == batch.z[position]).all())
                assert np.array_equal(np.asarray(row.y), batch.y[position].numpy())
                assert all(bool((row.side[k] == batch.side[k][position]).all()) for k in row.side)

    def test_an_index_that_is_not_there_is_an_error(self) -> None:
        n = len(self.target.labels)
        assert _refuses(lambda: self.dataset([n])), f"index {n} of {n} examples"
        assert _refuses(lambda: self.dataset([-1])), "index -1"
        assert _refuses(lambda: self.dataset([0])[1]), "item 1 of a dataset of one"

    def test_no_examples_are_an_empty_dataset(self) -> None:
        z, _, y = self.dataset([]).tensors()
        shown = self.dataset([0]).tensors().z
        assert z.shape == (0, *shown.shape[1:])
        assert y.shape == (0, *self.target.labels.shape[1:])


def _refuses(action: Any) -> bool:
    try:
        action()
    except IndexError:
        return True
    return False


def _encode(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Texts as bytes, and a mask of those that are no filling."""
    import torch

    codes = [list(text.encode()[:12].ljust(12, b"\0")) for text in texts]
    ids_nt = torch.tensor(codes, dtype=torch.int64).reshape(-1, 12)
    return ids_nt, ids_nt != 0


TOKENS = TokenSpec("bytes", vocabulary=256, length=12, encode=_encode)
