"""The embedded source "glyphs": a small network that tlsweep trains itself, once, and keeps.

It needs no download, so a first sweep works anywhere, and it is small enough to sweep in minutes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlsweep.files import cache_folder, make_folder, write_whole
from tlsweep.section import Place, SourceSettings
from tlsweep.source.base import Progress, Source

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.source.glyph_pretraining import Pretrained, Recipe

log = logging.getLogger(__name__)


class Settings(SourceSettings):
    """conf/source/glyphs.yaml."""

    name: Literal["glyphs"]
    cache_dir: Place | None


class GlyphSource(Source):
    """The glyph network with pre-trained weights.

    accuracy: on unseen renderings of the letters, 0..1; seconds: wall-clock of the pre-training
    run, whether this process ran it or another one did before.
    """

    licence = "yours: tlsweep trained it on this machine, on drawings of letters"

    def __init__(self, pretrained: Pretrained) -> None:
        from tlsweep.glyphs.images import IMAGE, LETTERS
        from tlsweep.source.glyph_network import ARCHITECTURE

        super().__init__(
            name="glyphs",
            spec=IMAGE,
            trained_on="printed capital letters",
            architecture=ARCHITECTURE,
            weights=pretrained.weights,
        )
        self.class_names = tuple(LETTERS)
        self.accuracy = pretrained.accuracy
        self.seconds = pretrained.seconds

    def sample(self, n: int, seed: int) -> Tensor:
        """``n`` renderings of random letters: normalised float32 [n, 1, 32, 32]."""
        import torch

        from tlsweep.glyphs.images import draw_sheets, render
        from tlsweep.source.glyph_pretraining import Recipe

        generator = torch.Generator().manual_seed(seed)
        return render(draw_sheets(), n, Recipe().warp, generator)[0]

    def _build(self) -> nn.Module:
        from tlsweep.glyphs.images import LETTERS
        from tlsweep.source.glyph_network import GlyphNetwork

        return GlyphNetwork(len(LETTERS))


def check(
    *,
    cache_dir: str | Path | None = None,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> None:
    """Raise Refusal if the fonts are not there, or the cache lacks it and cannot be written to."""
    from tlsweep.glyphs.fonts import font_files
    from tlsweep.source.glyph_pretraining import Recipe

    font_files()
    if _files(cache_dir, recipe or Recipe()).read() is None:
        make_folder(_folder(cache_dir))


def open(  # noqa: A001  (always called as glyphs.open)
    *,
    cache_dir: str | Path | None = None,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> GlyphSource:
    """The glyph source from the cache; pre-trained first if the cache has none made this way.

    cache_dir: default as files.cache_folder; recipe: how to pre-train, default Recipe(). Two
    processes that open it at the same moment train once: the second waits for the first. Raises
    Refusal where the cache lacks it and cannot be written to.
    """
    from filelock import FileLock

    from tlsweep.source.glyph_pretraining import Recipe, pretrain

    recipe = recipe or Recipe()
    files = _files(cache_dir, recipe)
    kept = files.read()
    if kept is None:
        make_folder(_folder(cache_dir))
        with FileLock(files.record.with_suffix(".lock")):
            # Another process may have made it while this one waited. Only here, under the lock,
            # can damaged files be dropped: outside they may be another process's new ones.
            kept = files.read(drop_damaged=True)
            if kept is None:
                kept = pretrain(recipe, progress)
                files.write(kept, _making(recipe))
    return GlyphSource(kept)


def architecture(*, cache_dir: str | Path | None = None) -> tuple[nn.Module, Tensor]:
    """The network with random weights, and zeros [2, 1, 32, 32] to feed it."""
    import torch

    from tlsweep.glyphs.images import IMAGE, LETTERS
    from tlsweep.source.glyph_network import GlyphNetwork

    shape = (2, IMAGE.channels, IMAGE.size, IMAGE.size)
    return GlyphNetwork(len(LETTERS)), torch.zeros(shape)


def _folder(cache_dir: str | Path | None) -> Path:
    return cache_folder(cache_dir) / "glyphs"


def _files(cache_dir: str | Path | None, recipe: Recipe) -> _Files:
    text = json.dumps(_making(recipe), sort_keys=True)
    place = _folder(cache_dir) / hashlib.sha256(text.encode()).hexdigest()[:20]
    return _Files(place.with_suffix(".safetensors"), place.with_suffix(".json"))


def _making(recipe: Recipe) -> dict[str, object]:
    """Everything that the weights depend on; its digest is the key that they are kept under."""
    import PIL
    import torch

    from tlsweep.glyphs import images
    from tlsweep.glyphs.fonts import font_digest
    from tlsweep.source import glyph_network, glyph_pretraining

    return {
        "architecture": glyph_network.ARCHITECTURE,
        "recipe": dataclasses.asdict(recipe),
        "code_version": glyph_pretraining.CODE_VERSION,
        "sheets": [images.SHEET_SIZE, images.FONT_SIZE, images.LETTERS],
        "fonts": font_digest(),
        "image": dataclasses.asdict(images.IMAGE),
        "torch": torch.__version__,
        "pillow": PIL.__version__,
    }


@dataclasses.dataclass(frozen=True)
class _Files:
    """Weights and, beside them, the record of how they were made and what they must hash to."""

    weights: Path
    record: Path

    def read(self, drop_damaged: bool = False) -> Pretrained | None:
        """What is kept, or None. Damaged files count as not there; dropped ones leave a message."""
        try:
            # The record is written last, so its absence means that nothing was finished.
            record = json.loads(self.record.read_bytes())
            return _parse(record, self.weights.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            if not self.record.exists():
                return None
            reason = f"{self.weights.name} is not there"
        except (ValueError, KeyError, TypeError) as error:
            reason = str(error)
        if drop_damaged:
            log.warning("kept glyph weights are damaged (%s): dropped and made again", reason)
            self.record.unlink(missing_ok=True)
            self.weights.unlink(missing_ok=True)
        return None

    def write(self, made: Pretrained, making: Mapping[str, object]) -> None:
        from safetensors.torch import save

        content = save(made.weights)
        record = {
            "made_by": making,
            "sha256": hashlib.sha256(content).hexdigest(),
            "accuracy": made.accuracy,
            "seconds": made.seconds,
        }
        write_whole(self.weights, content)
        write_whole(self.record, json.dumps(record, indent=1).encode())


def _parse(record: dict[str, object], content: bytes) -> Pretrained:
    from safetensors.torch import load

    from tlsweep.source.glyph_pretraining import Pretrained

    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise ValueError("the weights are not the bytes that were written")
    weights: dict[str, Tensor] = load(content)
    accuracy, seconds = record["accuracy"], record["seconds"]
    if not isinstance(accuracy, float) or not isinstance(seconds, float):
        raise TypeError("the record holds no numbers")
    return Pretrained(weights, accuracy, seconds)
