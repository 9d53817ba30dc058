"""Bad input: one screen with the value, the rule and the mend; exit code 2; nothing trained."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from short_sweep import Run

FOLDER = ("target=image_folder", "target.root=images")
RESNET = ("source=torchvision", "source.model=resnet18")


def images(root: Path, classes: tuple[str, ...] = ("ant", "bee"), each: int = 12) -> Path:
    """A folder of small images, some of them of each class."""
    draw = np.random.default_rng(0)
    for name in classes:
        folder = root / "images" / name
        folder.mkdir(parents=True)
        for i in range(each):
            pixels = draw.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root / "images"


def corrupt(root: Path) -> None:
    file = images(root) / "ant" / "0.png"
    file.write_bytes(file.read_bytes()[:60])
    (root / "images" / "bee" / "0.png").write_bytes(b"")


def one_class(root: Path) -> None:
    images(root, ("ant",))


def no_images(root: Path) -> None:
    (root / "images" / "ant").mkdir(parents=True)


def not_weights(root: Path) -> None:
    with (root / "weights.pt").open("wb") as stream:
        pickle.dump({"a": Path("x")}, stream)


def other_architecture(root: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3, 3)}, root / "weights.pt")


def output_is_a_file(root: Path) -> None:
    (root / "out").write_text("")


def nothing(root: Path) -> None:
    """The command alone is at fault."""


CASES: list[tuple[str, Callable[[Path], None], tuple[str, ...], tuple[str, ...]]] = [
    ("unknown source", nothing, ("source=glyph",), ("source=glyph", "mend: source=glyphs")),
    ("unknown cut point", nothing, ("plan.keep=blok3",), ("plan.keep=blok3", "block3")),
    ("unknown plan", nothing, ("plan=truncat",), ("mend: plan=truncate",)),
    ("unknown dataset", nothing, ("target=minst",), ("mend: target=mnist",)),
    ("unknown key", nothing, ("train.epoch=3",), ("unknown key", "mend: train.epochs=VALUE")),
    ("freeze above keep", nothing, ("plan.keep=2", "plan.freeze=5"), ("freeze <= keep",)),
    ("fit_size too large", nothing, ("target.fit_size=5000",), ("target.fit_size=5000",)),
    ("fit_size too small", nothing, ("target.fit_size=4",), ("target.fit_size=4", "10")),
    ("no such fold", nothing, ("fold=5",), ("fold=5", "5 folds")),
    ("no such fold in a grid", nothing, ("-m", "fold=0,6"), ("fold=6", "5 folds")),
    ("what a sweep sets itself", nothing, ("-m", "fold=1"), ("fold with -m", "target.split_seed")),
    ("more than all frozen", nothing, ("plan.freeze=150%",), ("plan.freeze=150%", "100%")),
    ("no such number of folds", nothing, ("target.folds=many",), ("target.folds=many", "auto")),
    ("unknown model", nothing, ("source=torchvision", "source.model=resnet19"), ("resnet18",)),
    ("no weights", nothing, RESNET, ("source.weights=DEFAULT", "source.checkpoint=FILE")),
    ("two devices without ddp", nothing, ("train.devices=2",), ("train.strategy=ddp",)),
    ("one class only", one_class, FOLDER, ("class",)),
    ("no images", no_images, FOLDER, ("images",)),
    ("no folder", nothing, FOLDER, ("target.root=/", "/images\n")),
    ("corrupt and empty images", corrupt, FOLDER, ("0.png", "2 of 24")),
    ("root not given", nothing, ("target=image_folder",), ("target.root is not set",)),
    ("not weights", not_weights, (*RESNET, "source.checkpoint=weights.pt"), ("weights.pt",)),
    (
        "another architecture",
        other_architecture,
        (*RESNET, "source.checkpoint=weights.pt"),
        ("weights.pt", "none of its 120 names"),
    ),
    ("no checkpoint", nothing, (*RESNET, "source.checkpoint=no.pt"), ("no.pt",)),
    ("unwritable output", output_is_a_file, ("output_dir=out",), ("output_dir=",)),
    ("unwritable output of a sweep", output_is_a_file, ("-m", "output_dir=out"), ("output_dir=",)),
    ("dead server", nothing, ("record.tracking_uri=http://127.0.0.1:9",), ("record=none",)),
    ("bad grid value", nothing, ("-m", "plan.keep=2,99"), ("plan.keep=99",)),
    ("a list and a value", nothing, ("-m", "seed=1,2", "seed=3"), ("seed=1,2 seed=3", "once")),
    ("a study in a database's place", nothing, ("study=optuna.db",), ("another one",)),
    ("a name that is too long", nothing, (f"output_dir={'a' * 300}",), ("shorter name",)),
    ("an idle setting", nothing, ("plan.rank=4",), ("plan.adapt=all plan.rank=4",)),
    ("another sweeper", nothing, ("hydra/sweeper=basic",), ("leave it out",)),
    ("a late sub-command", nothing, ("seed=1", "cuts"), ("python -m tlsweep cuts seed=1",)),
    ("interval in a grid", nothing, ("-m", "train.lr=interval(1e-3,1e-2)"), ("sweep=tpe",)),
    (
        "another source in a search space",
        nothing,
        (
            "-m",
            "sweep=tpe",
            "source=torchvision",
            "source.weights=DEFAULT",
            "source.model=resnet18,vgg11",
        ),
        ("source.model in a search space",),
    ),
    ("bad sampler", nothing, ("-m", "sweep.sampler={name: tpee}"), ("tpe",)),
    ("unknown sub-command", nothing, ("cust",), ("python -m tlsweep cuts",)),
    ("unreadable override", nothing, ("train.lr=[1",), ("train.lr=[1",)),
]


@pytest.mark.parametrize(
    ("prepare", "arguments", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_it_is_refused_before_any_training(
    prepare: Callable[[Path], None],
    arguments: tuple[str, ...],
    said: tuple[str, ...],
    tlsweep: Run,
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    done = tlsweep(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    for text in (*said, "rule: ", "mend: "):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 40
    assert not list(tmp_path.rglob("outcomes"))


def test_every_fault_of_a_command_is_listed_at_once(tlsweep: Run) -> None:
    done = tlsweep("train.epochs=0", "train.lr=-1", "target.fit_size=0", "study=a/b")
    assert done.returncode == 2
    for key in ("train.epochs", "train.lr", "target.fit_size", "study"):
        assert f"{key}=" in done.stderr


def test_faults_of_source_target_and_plan_are_listed_together(tlsweep: Run, tmp_path: Path) -> None:
    corrupt(tmp_path)
    done = tlsweep(*RESNET, "source.checkpoint=no.pt", *FOLDER)
    assert done.returncode == 2
    assert "no.pt" in done.stderr
    assert "0.png" in done.stderr
