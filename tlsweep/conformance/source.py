"""What every source promises."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tlsweep.conformance.component import ComponentSuite
from tlsweep.cut import CutPoints, section, through
from tlsweep.source import (
    Source,
    carried,
    carry_files,
    check_source,
    dissect,
    input_spec,
    open_architecture,
    open_source,
)
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 3  # examples; the batch that a source shows has two


class SourceSuite(ComponentSuite):
    """One source.

    other: options that give it other weights, None where it has no others.

    >>> class TestMySource(SourceSuite):
    ...     name, options, other = "my_source", {"width": 4}, {"width": 5}
    """

    kind = "source"
    asked_of = {"check": (), "open": ("progress",), "architecture": ()}  # noqa: RUF012
    other: Mapping[str, object] | None = None

    def opened(self, options: Mapping[str, object] | None = None) -> Source:
        """The source, opened anew. options: in place of those of the suite."""
        return open_source(self.name, **self.given(options))

    @property
    def source(self) -> Source:
        """The source, opened once."""
        return self.once("source", self.opened)

    @property
    def cuts(self) -> CutPoints:
        """Where its architecture is cut."""
        return self.once("cuts", lambda: dissect(self.name, *self._architecture()))

    def batch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Three examples that it may be given, and what rides along with them."""
        import torch

        spec, generator = self.source.spec, torch.Generator().manual_seed(0)
        if isinstance(spec, ImageSpec):
            shape = (BATCH, spec.channels, spec.size, spec.size)
            return torch.randn(shape, generator=generator), {}
        ids_bt = torch.randint(spec.vocabulary, (BATCH, spec.length), generator=generator)
        mask_bt = torch.arange(spec.length) < torch.tensor([[spec.length], [3], [1]])
        return ids_bt, {"mask": mask_bt}

    def _architecture(self) -> tuple[nn.Module, Tensor]:
        section = self.settings().model_dump(exclude={"name"})
        return open_architecture(self.name, **section)

    # ------------------------------------------------------------------ opening
    def test_what_can_be_opened_passes_its_check(self) -> None:
        check_source(self.name, **self.given())

    def test_it_wants_to_see_what_its_example_is(self) -> None:
        source, (_, shown) = self.source, self._architecture()
        example = source.example()
        assert (example.shape, example.dtype) == (shown.shape, shown.dtype)
        assert len(example) == 2
        if isinstance(spec := source.spec, ImageSpec):
            assert spec.channels in (1, 3)
            assert len(spec.mean) == len(spec.std) == spec.channels
            assert min(spec.std) > 0
            assert spec.resize >= spec.size
        else:
            assert input_spec(self.name, **self.settings().model_dump(exclude={"name"})) == spec

    def test_what_it_carries_describes_the_same_architecture(self) -> None:
        """What a model folder holds of its files builds what they build, wherever it is."""
        options = self.settings().model_dump(exclude={"name"})
        with TemporaryDirectory() as folder:
            written = carry_files(self.name, Path(folder), **options)
            if not written:  # its options alone say what it is
                return
            options |= carried(Path(folder), written)
            model, example = open_architecture(self.name, **options)
            mine, shown = self._architecture()
            assert dissect(self.name, model, example).names == self.cuts.names
            assert {name: value.shape for name, value in model.state_dict().items()} == {
                name: value.shape for name, value in mine.state_dict().items()
            }
            assert example.shape == shown.shape
            if not isinstance(spec := self.source.spec, ImageSpec):
                assert input_spec(self.name, **options) == spec

    def test_its_model_answers_its_example_with_finite_numbers(self) -> None:
        import torch

        with torch.no_grad():
            answers = _tensors(self.source.model()(self.source.example()))
        assert answers[0].shape[0] == 2
        assert all(bool(answer.isfinite().all()) for answer in answers)

    def test_it_names_each_class_of_its_classifier_or_none(self) -> None:
        import torch

        with torch.no_grad():
            answers = _tensors(self.source.model()(self.source.example()))[0]
        if names := self.source.class_names:
            assert tuple(answers.shape) == (2, len(names))

    def test_it_can_be_sent_to_another_process(self) -> None:
        sent: Source = pickle.loads(pickle.dumps(self.source))
        assert sent.fingerprint == self.source.fingerprint
        assert same_weights(sent.model(), self.source.model())

    # ------------------------------------------------------------------ fingerprint
    def test_its_fingerprint_is_the_same_each_time_it_is_opened(self) -> None:
        assert self.source.fingerprint
        assert self.opened().fingerprint == self.source.fingerprint

    def test_its_fingerprint_tells_other_weights_apart(self) -> None:
        if self.other is None:
            import pytest

            pytest.skip("no options that give other weights (other=)")
        assert self.opened(self.other).fingerprint != self.source.fingerprint

    # ------------------------------------------------------------------ weights
    def test_each_model_has_the_same_weights_and_memory_of_its_own(self) -> None:
        import torch

        one, untouched = self.source.model(), self.source.model()
        assert same_weights(one, untouched)
        with torch.no_grad():
            for tensor in one.state_dict().values():
                tensor.add_(1)
        assert not same_weights(one, untouched)
        assert same_weights(self.source.model(), untouched)

    def test_models_are_in_eval_mode(self) -> None:
        for model in (self.source.model(), self.source.fresh(0), self._architecture()[0]):
            assert not any(module.training for module in model.modules())

    def test_fresh_weights_follow_from_their_seed_alone(self) -> None:
        import torch

        made = []
        for state in (1, 2):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(state)
                made.append(self.source.fresh(3))
        assert same_weights(*made)
        assert not same_weights(self.source.fresh(4), made[0])

    def test_fresh_weights_are_others_in_the_same_shapes(self) -> None:
        fresh, own = self.source.fresh(99), self.source.model()
        assert not same_weights(fresh, own)
        assert _shapes(fresh) == _shapes(own)

    def test_making_models_leaves_every_global_random_state_as_it_was(self) -> None:
        with _seen_random_states() as states:
            source = self.opened()
            source.model()
            source.fresh(1)
            self._architecture()
        assert states[0] == states[1]

    # ------------------------------------------------------------------ cut points
    def test_prefix_then_suffix_is_the_model_at_every_cut_point(self) -> None:
        import torch

        (x, _), model, cuts = self.batch(), self.source.model(), self.cuts
        with torch.no_grad():
            wanted = _tensors(model(x.clone()))
            for cut in cuts:
                z = section(model, cuts, 0, cut)(x.clone())
                assert z.shape == (BATCH, *cut.shape), cut.name
                if not cut.starts:
                    continue
                answers = _tensors(section(model, cuts, cut, None)(z))
                pairs = zip(answers, wanted, strict=False)
                assert all(torch.equal(one, other) for one, other in pairs), cut.name

    def test_what_rides_along_reaches_every_part_and_filling_changes_nothing(self) -> None:
        import torch

        (x, side), model, cuts = self.batch(), self.source.model(), self.cuts
        if not side:  # of images nothing rides along
            return
        there, whole = side["mask"], section(model, cuts, 0, None)
        with torch.no_grad():
            wanted = through(whole, x, side)
            for cut in cuts:
                z = through(section(model, cuts, 0, cut), x, side)
                answer = through(section(model, cuts, cut, None), z, side)
                assert torch.equal(answer, wanted), cut.name
            other = through(whole, torch.where(there, x, 0), side)
            # of a classifier the answer is one a text, and else one a token
            seen = there if wanted.ndim == 3 else slice(None)
            assert torch.equal(other[seen], wanted[seen])

    def test_cut_points_begin_at_the_input_and_have_names_of_their_own(self) -> None:
        assert len(self.cuts) > 1
        assert self.cuts[0].shape == tuple(self.source.example().shape[1:])
        assert all(self.cuts.resolve(name) is cut for cut in self.cuts for name in cut.all_names)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same numbers under the same names."""
    import torch

    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def _shapes(model: nn.Module) -> dict[str, Any]:
    return {name: value.shape for name, value in model.state_dict().items()}


def _tensors(answer: Any) -> list[Tensor]:
    """The tensors of what a model answers: one, or several in a tuple or a dictionary."""
    from torch import Tensor
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]


@contextmanager
def _seen_random_states() -> Iterator[list[Any]]:
    """The global random states before and after: torch's, NumPy's and Python's."""
    import torch

    def seen() -> Any:
        numpys = np.random.get_state(legacy=True)  # noqa: NPY002
        return torch.get_rng_state().tolist(), [str(part) for part in numpys], random.getstate()

    states = [seen()]
    yield states
    states.append(seen())
