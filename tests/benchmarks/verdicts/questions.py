"""The questions: real sources, real targets, and what has to be made of the files first."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Lines = Sequence[str]
Tlsweep = Callable[[list[str]], str]
SURVEY = "sweep.stages=[survey]"
IMAGENET = "mobilenet_v2_imagenet.pt"
BIRD = "mobilenet_v2_inat_bird.pt"
SMALL = ("source=module", "source.build=nets:small", "source.image_size=28", "source.channels=1",
         "source.mean=[0.5]", "source.std=[0.5]")  # fmt: skip


@dataclass(frozen=True)
class Question:
    """prepare: makes files in the work folder, and gives the arguments of the sweep."""

    name: str
    prepare: Callable[[Path, Path, Tlsweep], Lines]

    @property
    def folder(self) -> str:
        """Its name as a folder."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


def _folder(real: Path, work: Path, name: str) -> Path:
    """An image set, unpacked: the folder that holds train."""
    place = work.parent / "data" / name
    if not place.exists():
        with zipfile.ZipFile(real / name / f"{name}.zip") as archive:
            archive.extractall(place)
    return next(path.parent for path in sorted(place.rglob("train")))


def _two_sources(data: str, *more: str) -> Question:
    """MobileNetV2 of ImageNet or of birds: which of them, and how much of it?"""

    def prepare(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
        files = [real / "weights" / name for name in (IMAGENET, BIRD)]
        entries = ",".join(f"{{model: mobilenet_v2, checkpoint: {file}}}" for file in files)
        target = _target(real, work, data)
        return ["source=torchvision", "source.image_size=96", f"sweep.sources=[{entries}]",
                *target, *more]  # fmt: skip

    return Question(f"MobileNetV2, ImageNet or bird, on {data}", prepare)


def _target(real: Path, work: Path, data: str) -> Lines:
    if (real / data / f"{data}.zip").exists():
        return ["target=image_folder", f"target.root={_folder(real, work, data)}"]
    return ["target=arrays", f"target.file={next((real / data).glob('*.npz'))}"]


def _cifar(real: Path) -> Lines:
    file = real / "weights" / "cifar_resnet20.pt"
    return ["source=module", "source.build=nets:cifar_resnet20", f"source.checkpoint={file}",
            "source.image_size=32"]  # fmt: skip


def _on_signs(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    return [*_cifar(real), *_target(real, work, "sign_digits"), "target.fit_size=300"]


def _corruptions(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    own = _target(real, work, "cifar10")
    return [*_cifar(real), *own, "target.fit_size=1000", "target.shift=corruptions", SURVEY]


def _pretrained(tlsweep: Tlsweep, source: Lines, target: Lines, *more: str) -> Lines:
    """The source, with the weights that it learns on a target first."""
    said = tlsweep(["pretrain", *source, *target, *more])
    found = re.search(r"source\.checkpoint=(\S+)", said)
    assert found is not None, said
    return [*source, f"source.checkpoint={found.group(1).strip(chr(39))}"]


def _fashion(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    mnist, fashion = (_target(real, work, name) for name in ("mnist", "fashion_mnist"))
    source = _pretrained(tlsweep, SMALL, mnist, "train.epochs=5")
    return [*source, *fashion, "target.fit_size=300"]


def _halves(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    """Classes 0 to 4 of Fashion-MNIST first, then classes 5 to 9 (Yosinski et al. 2014)."""
    files = []
    with np.load(next((real / "fashion_mnist").glob("*.npz"))) as arrays:
        for first in (0, 5):
            own = {}
            for part in ("train", "test"):
                y = arrays[f"y_{part}"]
                rows = (y >= first) & (y < first + 5)
                own |= {f"x_{part}": arrays[f"x_{part}"][rows], f"y_{part}": y[rows]}
            files.append(work / f"from_{first}.npz")
            np.savez(files[-1], **own)
    a, b = (["target=arrays", f"target.file={file}"] for file in files)
    return [*_pretrained(tlsweep, SMALL, a, "train.epochs=8"), *b, "target.fit_size=100"]


def _texts(real: Path, name: str) -> Lines:
    return ["target=text", f"target.file={real / name}"]


def _words(name: str) -> Callable[[Path, Path, Tlsweep], Lines]:
    def prepare(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
        file = next((real / "glove_50d_5k").glob("*.npz"), None)
        file = file or next((real / "glove_50d_5k").glob("*.txt"))
        return ["source=word_vectors", f"source.file={file}", *_texts(real, name)]

    return prepare


def _encoder(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    """A text encoder that learns SST-2's films here, and is cut for TREC-6's questions."""
    from nets import write_encoder

    with (real / "text_sst2" / "train.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="	", quoting=csv.QUOTE_NONE)
        texts = [row["text"] for row in rows]
    folder = write_encoder(work / "encoder", texts)
    source = ["source=transformers", f"source.model={folder}", "source.length=48"]
    more = ("train.epochs=5", "train.lr=5e-4")
    return [*_pretrained(tlsweep, source, _texts(real, "text_sst2"), *more),
            *_texts(real, "text_trec6"), "target.fit_size=600"]  # fmt: skip


def _numbers(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    """Which digit a hand shows, as a number: how far off is the answer?"""
    root, file = _folder(real, work, "sign_digits"), work / "signs.csv"
    with file.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["path", "digit", "split"])
        for part in ("train", "test"):
            for image in sorted((root / part).rglob("*.[jJ][pP]*[gG]")):
                rows.writerow([image, f"{int(image.parent.name)}.0", part])
    weights = real / "weights" / IMAGENET
    return ["source=torchvision", "source.model=mobilenet_v2", f"source.checkpoint={weights}",
            "source.image_size=96", "target=manifest", f"target.file={file}",
            "target.label=digit", "target.kind=numbers", "target.fit_size=300", SURVEY]  # fmt: skip


def _several_labels(real: Path, work: Path, tlsweep: Tlsweep) -> Lines:
    """Three properties of Fashion-MNIST's things: sleeves, worn on feet, closed in front."""
    sleeves, feet, closed = (0, 2, 3, 4, 6), (5, 7, 9), (4, 6)
    own = {}
    with np.load(next((real / "fashion_mnist").glob("*.npz"))) as arrays:
        for part in ("train", "test"):
            y = arrays[f"y_{part}"]
            columns = [np.isin(y, which) for which in (sleeves, feet, closed)]
            own |= {f"x_{part}": arrays[f"x_{part}"], f"y_{part}": np.stack(columns, 1)}
    np.savez(work / "properties.npz", **own)
    weights = real / "weights" / IMAGENET
    return ["source=torchvision", "source.model=mobilenet_v2", f"source.checkpoint={weights}",
            "source.image_size=64", "target=arrays", f"target.file={work / 'properties.npz'}",
            "target.fit_size=300", SURVEY]  # fmt: skip


QUESTIONS = (
    _two_sources("hymenoptera", "sweep.minutes=8"),
    _two_sources("caltech101_25", "target.fit_size=300", "sweep.minutes=8"),
    _two_sources("rsscn7_128", "target.fit_size=300", "sweep.minutes=8"),
    _two_sources("pneumoniamnist", "target.fit_size=300", "sweep.minutes=8"),
    Question("CIFAR ResNet-20 on sign_digits", _on_signs),
    Question("CIFAR ResNet-20 on cifar10 and its corruptions, survey", _corruptions),
    Question("MNIST, trained here, on Fashion-MNIST", _fashion),
    Question("Fashion-MNIST, classes 0 to 4, trained here, on classes 5 to 9", _halves),
    Question("GloVe on TREC-6", _words("text_trec6")),
    Question("GloVe on SST-2", _words("text_sst2")),
    Question("a small BERT, trained here on SST-2, on TREC-6", _encoder),
    Question("numbers: which digit a hand shows, survey", _numbers),
    Question("labels: properties of Fashion-MNIST, survey", _several_labels),
)
