"""model.json: what a taken model is, in words and numbers, and what its files must hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tlsweep.errors import Fault, Refusal
from tlsweep.files import write_whole
from tlsweep.plan import TransferPlan
from tlsweep.source import carried
from tlsweep.task import Kind
from tlsweep.terms import BlockState, ImageSpec, Interpolation, Levels, Resampling

LAYOUT = 4  # raise it when a folder of before can no longer be read as one of now
CARD, WEIGHTS, PROGRAM, SNIPPET = "model.json", "model.safetensors", "model.pt2", "load.py"
SOURCE = "source"  # folder of what is read to build the source's architecture
_OWN_DIGEST = "sha256"
_RULE = f"a model folder is one that a sweep wrote, unchanged: {CARD}, {WEIGHTS} and {SNIPPET}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Block(_Part):
    """One block of the source. name: of the cut point where it ends."""

    name: str
    state: BlockState


class PlanCard(_Part):
    """The plan, block by block.

    frozen: how many blocks from the input up were frozen when training ended. What was added to
    adapted blocks is part of their weights.
    """

    name: str
    random_weights: bool
    frozen: int
    blocks: tuple[Block, ...]

    @property
    def plan(self) -> TransferPlan:
        """The plan itself."""
        return TransferPlan(tuple(block.state for block in self.blocks), self.random_weights)


class SourceCard(_Part):
    """Where the weights are from.

    name, options: what ``open_architecture`` takes; carried: of them, those that name files which
    lie in the folder ``source``, seen from there; model: what reports call it; licence: of its
    weights.
    """

    name: str
    options: dict[str, str | int | float | bool | tuple[float, ...]]
    model: str
    trained_on: str
    fingerprint: str
    licence: str
    carried: dict[str, str] = {}

    def at(self, folder: Path) -> SourceCard:
        """As it is used where the model folder lies. Raises ValueError for a path outside of it."""
        options = {**self.options, **carried(folder / SOURCE, self.carried)}
        return self.model_copy(update={"options": options})


class TargetCard(_Part):
    """What the model was made for.

    kind: of its answers, classes, labels or numbers; unit: that numbers are in, "" without one.
    """

    name: str
    fingerprint: str
    kind: Kind
    unit: str


class Preprocessing(_Part):
    """How an image becomes the network's input; the fields of ImageSpec, and how to resize.

    levels: what is black and what is white in images of more than 8 bits; None of a model that was
    trained without such ones.
    """

    in_words: str
    channels: int
    resize: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation
    squash: bool
    resampling: Resampling
    levels: Levels | None = None

    @property
    def image(self) -> ImageSpec:
        """As targets are told it."""
        return ImageSpec(**self.model_dump(exclude={"in_words", "resampling", "levels"}))


class TokenPreprocessing(_Part):
    """How a text becomes the network's input; the fields of TokenSpec but for the tokenizer."""

    in_words: str
    tokenizer: str
    vocabulary: int
    length: int


class HeadCard(_Part):
    """The new layers on top.

    shape: of what they are given, without batch; sizes: of hidden layers, None for what the kind
    has; the others: of Pooling.
    """

    kind: str
    shape: tuple[int, ...]
    channel_dim: int
    grid: int
    tokens: tuple[int, ...] | None
    bag: int | None = None
    sizes: tuple[int, ...] | None = None


class Card(_Part):
    """Everything but the weights.

    versions: of the libraries that wrote it; output_names: of its classes, labels or numbers;
    precision: that it was trained and scored at; about: what the sweep says of it (score, interval,
    seeds, epochs); not_exported: format to why not; files: path in the folder
    to sha256.
    """

    layout: int
    versions: dict[str, str]
    plan: PlanCard
    source: SourceCard
    target: TargetCard
    preprocessing: Preprocessing | TokenPreprocessing
    head: HeadCard
    output_names: tuple[str, ...]
    precision: str
    about: dict[str, Any]
    not_exported: dict[str, str]
    files: dict[str, str]

    @property
    def image(self) -> Preprocessing:
        """How an image becomes the input. Raises Refusal for a model of something else."""
        if isinstance(self.preprocessing, Preprocessing):
            return self.preprocessing
        rule = "images are given to a model of images; this one takes texts"
        mend = "tlsweep.load_model(FOLDER).predict([TEXT, ...]) in Python"
        raise Refusal(Fault(f"a model of {self.source.model}", rule, mend))

    @property
    def tokens(self) -> TokenPreprocessing:
        """How a text becomes the input. Raises Refusal for a model of something else."""
        if isinstance(self.preprocessing, TokenPreprocessing):
            return self.preprocessing
        rule = "texts are given to a model of texts; this one takes images"
        mend = "tlsweep.load_model(FOLDER).predict([FILE, ...]) in Python"
        raise Refusal(Fault(f"a model of {self.source.model}", rule, mend))


def at(card: Card, folder: Path) -> Card:
    """The card as it is used where the model folder lies."""
    return card.model_copy(update={"source": card.source.at(folder)})


def write_card(folder: Path, card: Card) -> None:
    """Write model.json, with a digest of its own content in it."""
    fields = card.model_dump(mode="json")
    text = json.dumps({**fields, _OWN_DIGEST: _digest_of(fields)}, indent=1, allow_nan=False)
    write_whole(folder / CARD, text.encode())


def read_card(folder: Path) -> Card:
    """What model.json says. Raises Refusal unless the folder is whole and as it was written."""
    if not (folder / CARD).is_file():
        raise Refusal(_no_model(folder))
    try:
        fields = json.loads((folder / CARD).read_bytes())
        whole = fields.pop(_OWN_DIGEST) == _digest_of(fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Refusal(_changed(folder, f"{CARD} cannot be read, {reason}")) from error
    if not whole:
        raise Refusal(_changed(folder, f"{CARD} was changed"))
    if fields.get("layout") != LAYOUT:
        raise Refusal(_other_layout(folder, fields))
    try:
        card = at(Card.model_validate_json(json.dumps(fields)), folder)
    except ValueError as error:  # pydantic's too
        raise Refusal(_changed(folder, f"{CARD} lacks what a model needs")) from error
    wrong = [text for name, digest in card.files.items() if (text := _fault(folder, name, digest))]
    if wrong:
        raise Refusal(_changed(folder, ", ".join(wrong)))
    return card


def file_digest(file: Path) -> str:
    """Hex sha256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fault(folder: Path, name: str, digest: str) -> str:
    try:
        return "" if file_digest(folder / name) == digest else f"{name} was changed"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"


def _no_model(folder: Path) -> Fault:
    inside = sorted(folder.glob(f"*/{CARD}")) if folder.is_dir() else []
    near = inside[0].parent if inside else None
    what = "" if folder.is_dir() else " (no such folder)"
    return Fault(
        f"model={folder}{what}",
        _RULE,
        f"model={near}" if near else "model=OUTPUT_DIR/STUDY/model, which a sweep (-m) writes",
    )


def _changed(folder: Path, what: str) -> Fault:
    return Fault(
        f"model={folder} ({what})",
        f"{_RULE}; {CARD} holds the checksums",
        "copy the whole folder again, or have the sweep write it again: the same command",
    )


def _other_layout(folder: Path, fields: Mapping[str, Any]) -> Fault:
    wrote = dict(fields.get("versions") or {}).get("tlsweep", "another version")
    return Fault(
        f"model={folder} (layout {fields.get('layout')}, written by tlsweep {wrote})",
        f"this tlsweep reads layout {LAYOUT}",
        f"pip install tlsweep=={wrote}",
    )
