"""The source "word_vectors": a table of words as GloVe and word2vec publish them.

Its one block looks each word up. What comes after it (``train.head``) is always new.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tlsweep.errors import Fault, Refusal
from tlsweep.section import Place, Positive, SourceSettings, Whole
from tlsweep.source.base import Progress, Source
from tlsweep.terms import TokenSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.cut import CutPoints

_WORDS_ALONE = ".json"  # of a model that was taken home, which has the vectors itself
_CARRIED = f"words{_WORDS_ALONE}"
LENGTH = 64  # words that a text is cut to where nothing is said
_PARTS = re.compile(r"\w+|[^\w\s]")
_BAD = 3  # words named in a refusal


class Settings(SourceSettings):
    """conf/source/word_vectors.yaml."""

    name: Literal["word_vectors"]
    file: Place
    words: Positive | None
    length: Annotated[Whole, Field(ge=2, le=8192)]

    @property
    def title(self) -> str:
        """The file's name, without its ending."""
        return Path(self.file).stem


@dataclass(frozen=True, eq=False)
class Table:
    """Words, each once, and their vectors float32 [words, numbers]."""

    words: tuple[str, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Words:
    """Texts to the places of their words in a table: 0 fills up and stands for an unknown word.

    A word is taken as it stands between spaces; one that is not in the table in its parts, letters
    apart from signs. cased: whether the table tells capitals apart; without, all are small.
    """

    place: dict[str, int]
    length: int
    cased: bool

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Places int64 [n, length], and which of them are words of the table."""
        import torch

        ids_bt = torch.zeros(len(texts), self.length, dtype=torch.int64)
        for row, text in enumerate(texts):
            ids = [self.place.get(word, 0) for word in self.parted(text)[: self.length]]
            ids_bt[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return ids_bt, ids_bt > 0

    def parted(self, text: str) -> list[str]:
        """The words of a text."""
        found: list[str] = []
        for word in (text if self.cased else text.lower()).split():
            found += [word] if word in self.place else _PARTS.findall(word)
        return found

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many words each text has, whole."""
        return [len(self.parted(text)) for text in texts]

    def unknown(self, texts: Sequence[str]) -> tuple[int, int]:
        """How many words of the texts are not in the table, and how many there are."""
        words = [word for text in texts for word in self.parted(text)]
        return sum(word not in self.place for word in words), len(words)


class WordVectors(Source):
    """A table of word vectors."""

    def __init__(self, name: str, spec: TokenSpec, vectors: NDArray[np.float32]) -> None:
        import torch

        self._shape = (len(vectors) + 1, vectors.shape[1])
        none = np.zeros((1, vectors.shape[1]), np.float32)
        weights = {"vectors.weight": torch.from_numpy(np.concatenate([none, vectors]))}
        trained_on = f"{len(vectors):,} word vectors of {vectors.shape[1]} numbers"
        super().__init__(name, spec, trained_on, f"word vectors {spec.tokenizer}", weights)

    def _build(self) -> nn.Module:
        return _network(*self._shape)


def _network(words: int, numbers: int) -> nn.Module:
    """[batch, words] of places to [batch, words, numbers]."""
    from torch import nn

    network = nn.Sequential()
    network.add_module("vectors", nn.Embedding(words, numbers, padding_idx=0))
    return network


def check(
    *, file: str, words: int | None = None, length: int = LENGTH, progress: Progress | None = None
) -> None:
    """Raise Refusal where the file is no table of word vectors."""
    if Path(file).suffix == _WORDS_ALONE:
        raise Refusal(_no_table(f"source.file={file} (words without vectors)"))
    _table(file, words)


def open(  # noqa: A001  (always called with its module)
    *, file: str, words: int | None = None, length: int = LENGTH, progress: Progress | None = None
) -> WordVectors:
    """The word vectors in a file.

    file: text (a word and its numbers a line, as GloVe; word2vec's first line of two counts is left
    out), .npz with ``words`` and ``vectors``, or .safetensors with one tensor and its words, a JSON
    list, in the metadata ``words``; words: the first ones that are taken, the most frequent mostly,
    None for all; length: words that a text is cut, or filled up, to. Raises Refusal for a file that
    is not such a table, or that has a word twice.
    """
    check(file=file, words=words, length=length)
    if progress is not None:
        progress(0, 1, f"words of {Path(file).name}")
    table = _table(file, words)
    return WordVectors(Path(file).stem, _spec(table, length), table.vectors)


def architecture(
    *, file: str, words: int | None = None, length: int = LENGTH
) -> tuple[nn.Module, Tensor]:
    """The table with random numbers, and zeros [2, length] to feed it. Raises as ``open`` does."""
    import torch

    table = _table(file, words)
    network = _network(len(table.words) + 1, table.vectors.shape[1])
    return network, torch.zeros(2, length, dtype=torch.int64)


def spec(*, file: str, words: int | None = None, length: int = LENGTH) -> TokenSpec:
    """The words, and the length that texts are brought to."""
    return _spec(_table(file, words), length)


def carry(
    folder: Path, *, file: str, words: int | None = None, length: int = LENGTH
) -> dict[str, str]:
    """The words, and how many numbers each has, into ``folder``."""
    table = _table(file, words)
    told = {"words": table.words, "numbers": table.vectors.shape[1]}
    (folder / _CARRIED).write_text(json.dumps(told))
    return {"file": _CARRIED}


def dissect(model: nn.Module, example: Tensor) -> CutPoints:
    """One cut point: after the table."""
    from tlsweep.cut import layered

    return layered(model, example, layers=None, stem=look_up, stem_uses=["vectors"])


def look_up(part: Any, ids_bt: Tensor, side: Any) -> Tensor:
    """The vectors of words."""
    found: Tensor = part.vectors(ids_bt)
    return found


def _spec(table: Table, length: int) -> TokenSpec:
    cased = any(word != word.lower() for word in table.words)
    words = Words({word: i for i, word in enumerate(table.words, start=1)}, length, cased)
    digest = hashlib.sha256("\n".join(table.words).encode()).hexdigest()[:16]
    return TokenSpec(
        f"words {digest}", len(table.words) + 1, length, words, words.lengths, words.unknown
    )


# ---------------------------------------------------------------------- files
@lru_cache(maxsize=2)  # asked for by each of the functions above
def _table(file: str, most: int | None) -> Table:
    path, where = Path(file), f"source.file={file}"
    if not path.is_file():
        raise Refusal(Fault(where, "a file of word vectors that is there", "source.file=FILE"))
    try:
        words, vectors = _read(path, most)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refusal(_no_table(f"{where} ({what})")) from error
    faults = _faults(where, words, vectors)
    if faults:
        raise Refusal(*faults)
    return Table(tuple(words), np.ascontiguousarray(vectors, np.float32))


def _no_table(value: str) -> Fault:
    rule = "text of a word and its numbers a line; .npz with words and vectors; .safetensors"
    return Fault(value, rule, "a file of GloVe or word2vec")


def _read(path: Path, most: int | None) -> tuple[list[str], NDArray[Any]]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return [str(w) for w in arrays["words"][:most]], arrays["vectors"][:most]
    if path.suffix == _WORDS_ALONE:
        told = json.loads(path.read_bytes())
        return told["words"], np.broadcast_to(np.float32(0), (len(told["words"]), told["numbers"]))
    if path.suffix == ".safetensors":
        return _safetensors(path, most)
    return _text(path, most)


def _safetensors(path: Path, most: int | None) -> tuple[list[str], NDArray[Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            told = json.loads((file.metadata() or {}).get("words", "null"))
            if len(names) != 1 or not isinstance(told, list):
                raise ValueError(f"tensors {', '.join(names)}; one, and its words in the metadata")
            return [str(w) for w in told[:most]], file.get_tensor(names[0])[:most]
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _text(path: Path, most: int | None) -> tuple[list[str], NDArray[Any]]:
    """A word and its numbers a line; numbers are counted from behind, a word may hold spaces."""
    with path.open(encoding="utf-8", errors="strict") as lines:
        first = next(lines, "").rstrip("\n").split(" ")
        counts = len(first) == 2 and all(part.isdigit() for part in first)  # of word2vec
        rest = lines if counts else (line for part in ([" ".join(first)], lines) for line in part)
        width = int(first[1]) if counts else len(first) - 1
        if width < 1:
            raise ValueError("its first line is no word with numbers")
        words: list[str] = []
        rows = []
        for line in islice(rest, most):
            word, *numbers = line.rstrip("\n ").rsplit(" ", width)
            if len(numbers) != width:
                raise ValueError(f"line {len(words) + 1 + counts} has not {width} numbers")
            words.append(word)
            rows.append(np.array(numbers, dtype=np.float32))
    return words, np.stack(rows)


def _faults(where: str, words: Sequence[str], vectors: NDArray[Any]) -> list[Fault]:
    faults = []
    if vectors.ndim != 2 or len(words) != len(vectors) or not len(words):
        value = f"{where}: {len(words)} words, vectors {list(vectors.shape)}"
        return [Fault(value, "each word has one vector: [words, numbers]", "a whole file")]
    if twice := [word for word, count in Counter(words).items() if count > 1]:
        shown = ", ".join(twice[:_BAD])
        faults.append(Fault(f"{where}: {shown} twice", "a word stands once", "leave one out"))
    if not np.isfinite(np.asarray(vectors, np.float64)).all():
        rule = "vectors are finite numbers"
        faults.append(Fault(f"{where}: NaN or infinite", rule, "the file as it was published"))
    return faults
