"""What the new layers on top of what is kept promise, of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsweep.errors import Refusal
from tlsweep.heads.head import Head, Pooling
from tlsweep.heads.whole import is_own, reads, unread

if TYPE_CHECKING:
    from torch import Tensor

BATCH, OUTPUTS = 64, 3
Activations = dict[tuple[int, ...], Pooling]
"""The shape of one example's activations, and how they are pooled."""
MAPS: Activations = {(5, 4, 4): Pooling(1, 2), (4, 4, 5): Pooling(3, 2)}
TOKENS: Activations = {(7, 5): Pooling(2, 2), (5, 7): Pooling(1, 2)}
SHAPES: Activations = {**MAPS, **TOKENS, (5,): Pooling(1, 2)}
VOCABULARY = 11
IDS, COUNTED = (7,), Pooling(1, 2, bag=VOCABULARY)


class HeadSuite:
    """One kind of head: its new layers, in what pools and standardises for them.

    name: what ``train.head`` calls it.

    >>> class TestMyHead(HeadSuite):
    ...     name = "my_head"
    """

    name: str

    def head(self, shape: tuple[int, ...], pooling: Pooling, *, scaled: bool = False) -> Head:
        """A head of three outputs. Arguments as of ``tlsweep.heads.head.Head``."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return Head(shape, pooling, OUTPUTS, kind=self.name, scaled=scaled).eval()

    def fitting(self, shapes: Activations) -> Activations:
        """Those of ``shapes`` that such a head reads; one on pooled features reads all."""
        return {s: rule for s, rule in shapes.items() if unread(self.name, s, ids=False) is None}

    # ------------------------------------------------------------------ outputs
    def test_every_example_has_its_outputs_whatever_it_is_made_of(self) -> None:
        for shape, pooling in self.fitting(SHAPES).items():
            z, head = _activations(shape), self.head(shape, pooling)
            assert head(z).shape == (BATCH, OUTPUTS), shape
            assert bool(head(z).isfinite().all()), shape

    def test_an_example_is_answered_the_same_in_any_company(self) -> None:
        import torch

        for shape, pooling in self.fitting(SHAPES).items():
            z, head = _activations(shape), self.head(shape, pooling)
            torch.testing.assert_close(head(z[:5]), head(z)[:5], msg=str(shape))
            torch.testing.assert_close(head(z.flip(0)), head(z).flip(0), msg=str(shape))

    def test_unlike_examples_are_answered_unlike(self) -> None:
        for shape, pooling in self.fitting(SHAPES).items():
            outputs = self.head(shape, pooling)(_activations(shape))
            assert float(outputs.detach().std(0).min()) > 0, shape

    def test_what_it_cannot_read_is_refused_by_its_name(self) -> None:
        others = {s: rule for s, rule in SHAPES.items() if s not in self.fitting(SHAPES)}
        if reads(self.name):
            others[IDS] = COUNTED
            assert is_own(self.name) or (5,) in others  # what is pooled already is not whole
        for shape, pooling in others.items():
            said = ""
            try:
                self.head(shape, pooling)
            except Refusal as refusal:
                said = refusal.faults[0].value
            assert said.startswith(f"train.head={self.name} "), shape

    def test_texts_as_they_are_read_are_counted_not_measured(self) -> None:
        import torch

        if reads(self.name):
            return  # refused, as the test above says
        ids_bt = torch.randint(VOCABULARY, (BATCH, 7), generator=torch.Generator().manual_seed(0))
        head = self.head(IDS, COUNTED)
        assert head(ids_bt).shape == (BATCH, OUTPUTS)
        torch.testing.assert_close(head(ids_bt.flip(1)), head(ids_bt))

    # ------------------------------------------------------------------ tokens
    def test_tokens_that_a_mask_leaves_out_do_not_count(self) -> None:
        import torch

        there = torch.arange(7) < 3
        side = {"mask": there.expand(BATCH, 7)}
        for shape, pooling in self.fitting(TOKENS).items():
            z, head = _activations(shape), self.head(shape, pooling)
            across = there if pooling.channel_dim == 1 else there[:, None]
            filled = torch.where(across, z, torch.nan)
            torch.testing.assert_close(head(filled, side), head(z, side), msg=str(shape))
            assert not torch.equal(head(z, side), head(z)), shape

    def test_a_head_that_pools_reads_the_chosen_token_alone_and_another_reads_all(self) -> None:
        chosen = [reads(self.name) != () or token == 2 for token in range(7)]
        for shape, rule in self.fitting(TOKENS).items():
            z = _activations(shape).requires_grad_()
            self.head(shape, Pooling(rule.channel_dim, 2, (2,)))(z).square().sum().backward()
            assert z.grad is not None
            read_t = z.grad.movedim(rule.channel_dim, 1).ne(0).any(0).any(0)
            assert read_t.tolist() == chosen, shape

    # ------------------------------------------------------------------ training
    def test_a_calibrated_head_does_not_feel_the_scale_and_the_middle_of_its_features(self) -> None:
        import torch

        if is_own(self.name):
            return  # a source's own layers know the scale that they were trained with
        for shape, pooling in self.fitting(SHAPES).items():
            answers = []
            for scale, middle in ((1.0, 0.0), (1000.0, 3000.0)):
                z, head = scale * _activations(shape) + middle, self.head(shape, pooling)
                head.calibrate([head.features(part) for part in (z[:10], z[10:])])
                answers.append(head(z))
            torch.testing.assert_close(*answers, rtol=1e-2, atol=2e-3, msg=str(shape))

    def test_a_head_of_numbers_begins_around_their_mean_as_far_as_they_vary(self) -> None:
        import torch

        shape, pooling = next(iter(self.fitting(SHAPES).items()))
        z, draw = _activations(shape), torch.Generator().manual_seed(1)
        middle, spread = torch.tensor([0.0, 50.0, -9.0]), torch.tensor([1.0, 20.0, 0.1])
        truth_no = middle + spread * torch.randn(BATCH, OUTPUTS, generator=draw)
        head = self.head(shape, pooling, scaled=True)
        head.calibrate([head.features(z)])
        head.calibrate_outputs(truth_no)
        off_no = (head(z).detach() - truth_no.mean(0)) / truth_no.std(0)
        assert float(off_no.mean(0).abs().max()) < 2
        assert float(off_no.std(0).min()) > 0.01
        assert float(off_no.std(0).max()) < 3

    def test_every_weight_is_trained(self) -> None:
        for shape, pooling in self.fitting(SHAPES).items():
            head = self.head(shape, pooling)
            head(_activations(shape)).square().sum().backward()
            gradients = {name: p.grad for name, p in head.named_parameters()}
            assert gradients, shape
            for name, gradient in gradients.items():
                assert gradient is not None, (shape, name)
                assert float(gradient.abs().sum()) > 0, (shape, name)

    def test_a_head_that_is_loaded_answers_as_the_one_that_was_saved(self) -> None:
        import torch

        shape, pooling = next(iter(self.fitting(SHAPES).items()))
        z, saved = _activations(shape), self.head(shape, pooling, scaled=True)
        saved.calibrate([saved.features(z)])
        saved.calibrate_outputs(torch.arange(2.0 * OUTPUTS).reshape(2, OUTPUTS))
        loaded = self.head(shape, pooling, scaled=True)
        loaded.load_state_dict(saved.state_dict())
        assert torch.equal(loaded(z), saved(z))


def _activations(shape: tuple[int, ...]) -> Tensor:
    import torch

    z = torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))
    return z + 0.3 * torch.arange(BATCH).reshape(-1, *[1] * len(shape)) / BATCH
