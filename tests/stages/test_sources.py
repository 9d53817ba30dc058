"""The sources of one study: what chooses each, what they are called, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlsweep.errors import Refusal
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.sources import Overrides, chosen_by
from tlsweep.stages.sources import StudySource, open_sources, recorded, settings_of_each

Make = Callable[..., Bench]
SMALL = ("source=torchvision", "source.image_size=32", "target.fit_size=60")


def silent(done: int, total: int, message: str) -> None:
    """No progress is shown."""


@pytest.fixture
def chosen(bench: Make, tmp_path: Path) -> Callable[..., list[Overrides]]:
    def choose(*overrides: str) -> list[Overrides]:
        arguments = (f"output_dir={tmp_path}", *overrides)
        return chosen_by(bench(*arguments), arguments)

    return choose


@pytest.fixture
def opened(bench: Make, tmp_path: Path) -> Callable[..., tuple[StudySource, ...]]:
    def open_all(*overrides: str) -> tuple[StudySource, ...]:
        arguments = (f"output_dir={tmp_path}", *overrides)
        made = bench(*arguments)
        each = chosen_by(made, arguments)
        return open_sources(settings_of_each(made, arguments, each), each, silent)

    return open_all


def test_without_a_list_the_one_source_is_as_the_command_line_has_it(
    chosen: Callable[..., list[Overrides]],
) -> None:
    assert chosen() == [()]


def test_an_entry_is_a_model_of_the_zoo_an_option_of_source_or_settings_of_one(
    chosen: Callable[..., list[Overrides]],
) -> None:
    written = "sweep.sources=[resnet18,glyphs,{model: vgg11, checkpoint: /a b/c.pt, preset: null}]"
    assert chosen("source=torchvision", written) == [
        ("source.model=resnet18",),
        ("source=glyphs",),
        ("source.model=vgg11", "source.checkpoint='/a b/c.pt'", "source.preset=null"),
    ]
    assert chosen("sweep.sources=[{name: torchvision, model: vgg11}]") == [
        ("source=torchvision", "source.model=vgg11")
    ]


@pytest.mark.parametrize(
    ("overrides", "value", "mend"),
    [
        (
            ("sweep.sources=[resnet18]",),
            "sweep.sources: resnet18",
            "source=torchvision 'sweep.sources=[resnet18]'",
        ),
        (("sweep.sources=[glyph]",), "sweep.sources: glyph", "sweep.sources=[glyphs]"),
        (
            ("source=torchvision", "sweep.sources=[{modle: vgg11}]"),
            "sweep.sources: modle",
            "model: VALUE",
        ),
        (
            ("sweep.sources=[glyphs,{model: vgg11}]",),
            "sweep.sources: model",
            "leave it out",
        ),
        (
            ("source=torchvision", "sweep.sources=[vgg11,vgg11]"),
            "sweep.sources: source.model=vgg11 twice",
            "leave one out",
        ),
    ],
)
def test_an_entry_that_chooses_nothing_or_twice_the_same_is_refused(
    chosen: Callable[..., list[Overrides]], overrides: tuple[str, ...], value: str, mend: str
) -> None:
    with pytest.raises(Refusal) as caught:
        chosen(*overrides)
    assert [(fault.value, fault.mend) for fault in caught.value.faults] == [(value, mend)]


def entry(model: str, checkpoint: Path, **more: str) -> str:
    """A model with its weights, as an entry of the list."""
    given = {"model": model, "checkpoint": str(checkpoint), "preset": "IMAGENET1K_V1", **more}
    return f"{{{', '.join(f'{key}: {value}' for key, value in given.items())}}}"


def test_sources_share_the_target_and_each_has_its_own_cut_points(
    opened: Callable[..., tuple[StudySource, ...]], checkpoint: Path, other_checkpoint: Path
) -> None:
    both = entry("shufflenet_v2_x0_5", checkpoint), entry("squeezenet1_1", other_checkpoint)
    first, second = opened(*SMALL, f"sweep.sources=[{','.join(both)}]")
    assert (first.called, second.called) == ("shufflenet_v2_x0_5", "squeezenet1_1")
    assert first.question.target is second.question.target
    assert first.question.partition.pool.tolist() == second.question.partition.pool.tolist()
    assert first.question.cuts.names != second.question.cuts.names
    names = {one.settings.study_name for one in (first, second)}
    assert names == {"shufflenet_v2_x0_5_or_squeezenet1_1_to_digits"}


@pytest.mark.slow
def test_one_model_with_two_preparations_is_called_by_what_tells_them_apart(
    opened: Callable[..., tuple[StudySource, ...]], checkpoint: Path
) -> None:
    both = [entry("shufflenet_v2_x0_5", checkpoint, image_size=size) for size in ("32", "40")]
    first, second = opened(*SMALL, f"sweep.sources=[{','.join(both)}]")
    assert first.called == "shufflenet_v2_x0_5 (32)"
    assert second.called == "shufflenet_v2_x0_5 (40)"
    assert first.settings.study_name == "2_sources_to_digits"
    assert (first.file_name, second.file_name) == (
        "shufflenet_v2_x0_5_32", "shufflenet_v2_x0_5_40"
    )  # fmt: skip
    facts = recorded((first, second))
    assert facts["sources.1.source.image_size"] == 40
    assert facts["sources.1.source.fingerprint"] == second.question.source.fingerprint


def test_faults_of_all_sources_are_told_at_once(
    opened: Callable[..., tuple[StudySource, ...]], checkpoint: Path
) -> None:
    both = entry("resnet81", checkpoint), entry("vgg12", checkpoint)
    with pytest.raises(Refusal) as caught:
        opened(*SMALL, f"sweep.sources=[{','.join(both)}]")
    told = [fault.value for fault in caught.value.faults]
    assert told == ["source.model=resnet81", "source.model=vgg12"]
