"""``python -m tlsweep predict``: what a taken model says of image files, or of texts."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep.errors import Fault, Refusal, TlsweepError, nearest, unknown_name
from tlsweep.files import at_home, write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.model import TakenModel
    from tlsweep.target.zipped import AnyPath

FORMATS = ("csv", "json")
EVERY_CLASS = 20  # classes, at most, that have a column each; of more the best are told
BEST = 5
MANY = 200  # images: a bar is shown
_OWN = ("model", "format", "output", "input")
Answer = tuple[str, list[float]]  # of a file, by its path, or of a text


def run(arguments: Sequence[str], conf: Path) -> None:
    """Print class and probabilities of what ``arguments`` name: images, folders, zips, or texts.

    ``model=DIR``, ``format=csv|json``, ``output=FILE`` and ``input=COLUMN`` are options; all else
    is a path, so that a file may have "=" in its name (``./model=2.jpg`` where it begins like an
    option). For a model of texts it is a table of texts, a ``.txt`` file with a text a line, or,
    where no such file is there, a text itself. An image that cannot be decoded is named on stderr
    and left out. Raises Refusal for what is unknown or not there, TlsweepError if no image could be
    decoded.
    """
    own, given = _asked(arguments)
    from tlsweep.model import load_model, read_card
    from tlsweep.model.card import TokenPreprocessing

    try:
        card = read_card(Path(at_home(own["model"])))
    except Refusal as refusal:
        _images(given, refusal)
        raise
    of_texts = isinstance(card.preprocessing, TokenPreprocessing)
    if own["input"] and not of_texts:
        rule = "input=COLUMN names the texts of a table; this is a model of images"
        raise Refusal(Fault(f"input={own['input']}", rule, "leave it out"))
    asked: Sequence[Any] = _texts(given, own["input"]) if of_texts else _images(given)
    model = load_model(own["model"])
    answers: Iterator[Answer] = (_of_texts if of_texts else _of_images)(model, asked)
    if own["output"]:
        text = io.StringIO()
        some = _write(model, answers, own["format"], text)
        if some:
            _save(Path(at_home(own["output"])), text.getvalue())
    else:
        some = _print(model, answers, own["format"])
    if not some:
        raise TlsweepError(f"none of {len(asked)} images could be decoded")


# ---------------------------------------------------------------------- arguments
def _asked(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    own, given = {"model": "", "format": "csv", "output": "", "input": ""}, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in own:
            own[key] = value
        else:
            given.append(argument)
    faults = [] if own["model"] else [_no_model()]
    if own["format"] not in FORMATS:
        faults.append(unknown_name("format", "format", own["format"], FORMATS))
    if faults:
        raise Refusal(*faults)
    return own, given


def _images(given: Sequence[str], before: Refusal | None = None) -> list[AnyPath]:
    """The files that are named, and those of folders and zips.

    Raises Refusal where there are none, with what was refused before.
    """
    places = [_place(text) for text in given]
    faults = [
        _not_there(text)
        for text, place in zip(given, places, strict=True)
        if not (place.is_file() or place.is_dir())
    ]
    files = [file for place in places for file in _files(place)]
    if not files and not faults:
        faults.append(_no_images(given))
    if faults:
        raise Refusal(*faults, *(before.faults if before else ()))
    return files


def _texts(given: Sequence[str], column: str) -> list[str]:
    """The texts of tables and files, and those that are given themselves."""
    from tlsweep.target.table import READERS
    from tlsweep.target.text import texts_of

    if not given:
        rule = "texts are given themselves, or in a table, or in a .txt file, a text a line"
        raise Refusal(Fault("predict without texts", rule, 'predict model=DIR "A TEXT" FILE.csv'))
    found: list[str] = []
    for text in given:
        path = Path(at_home(text))
        ends = path.suffix.lower()
        key, equals, _ = text.partition("=")
        option = equals and nearest(key, _OWN) is not None
        if (option or ends in (*READERS, ".txt")) and " " not in text and not path.is_file():
            raise Refusal(_not_there(text))
        if ends in READERS and path.is_file():
            found += texts_of(path, column or None)
        elif ends == ".txt" and path.is_file():
            found += [
                line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
        else:
            found.append(text)
    return found


def _place(text: str) -> AnyPath:
    """A file or a folder, which may lie in a zip; a zip is the folder that it holds."""
    from tlsweep.target.zipped import file_of, place_of

    path = Path(at_home(text))
    return (place_of if path.suffix.lower() == ".zip" else file_of)(path)


def _files(place: AnyPath) -> Sequence[AnyPath]:
    from tlsweep.target.image_folder import images_below

    return list(images_below(place)) if place.is_dir() else [place]


def _no_model() -> Fault:
    return Fault(
        "predict without model=",
        "predict uses the model folder that a sweep wrote",
        "python -m tlsweep predict model=outputs/STUDY/model image.jpg",
    )


def _not_there(text: str) -> Fault:
    key, equals, value = text.partition("=")
    if equals and (near := nearest(key, _OWN)):
        return Fault(
            f"{text}: no such option or file", f"options: {', '.join(_OWN)}", f"{near}={value}"
        )
    folder = Path(at_home(text)).parent
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    near = nearest(Path(text).name, beside, alike=0.75)
    rule = "what is to be predicted is in files that are there: images, or of texts a table"
    return Fault(
        f"{text}: no such file", rule, str(folder / near) if near else "a path that exists"
    )


def _no_images(given: Sequence[str]) -> Fault:
    from tlsweep.target.decode import USUAL

    return Fault(
        f"no images in {', '.join(given)}" if given else "predict without images",
        f"images are given as files, or lie in folders or zips: {USUAL}",
        "python -m tlsweep predict model=DIR image.jpg FOLDER",
    )


# ---------------------------------------------------------------------- answers
def _of_texts(model: TakenModel, texts: Sequence[str]) -> Iterator[Answer]:
    """Each text and its probabilities, batch by batch."""
    from tlsweep.model.taken import BATCH

    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        yield from zip(batch, model.predict(batch).tolist(), strict=True)


def _of_images(model: TakenModel, files: Sequence[AnyPath]) -> Iterator[Answer]:
    """File and probabilities of every image that can be decoded, in order, batch by batch."""
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from tlsweep.model.taken import BATCH

    bar = Progress(console=Console(stderr=True), transient=True, disable=len(files) < MANY)
    with bar, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow leaves the GIL
        task = bar.add_task("predicting", total=len(files))
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            read = [
                (file, x)
                for file, x in zip(batch, pool.map(_reader(model), batch), strict=True)
                if _decoded(file, x)
            ]
            if read:
                p = model.answers(torch.stack([x for _, x in read]))
                yield from zip((str(file) for file, _ in read), p.tolist(), strict=True)
            bar.update(task, advance=len(batch))


def _reader(model: TakenModel) -> Any:
    from tlsweep.target.decode import why_not

    def read(file: AnyPath) -> Tensor | str:
        try:
            return model.prepare(file)
        except Exception as error:  # Pillow's decoders raise many kinds: see target/look.py
            return why_not(error)

    return read


def _decoded(file: AnyPath, found: Tensor | str) -> bool:
    if isinstance(found, str):
        print(f"tlsweep: left out {file}: {found}", file=sys.stderr)  # noqa: T201
        return False
    return True


# ---------------------------------------------------------------------- output
def _print(model: TakenModel, answers: Iterator[Answer], form: str) -> int:
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape", newline="")  # file names of any bytes
    try:
        some = _write(model, answers, form, stream)
        stream.flush()
    except BrokenPipeError:  # as with ``| head``: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 1
    return some


def _save(file: Path, text: str) -> None:
    try:
        write_whole(file, text.encode(errors="surrogateescape"))
    except OSError as error:
        rule, mend = "the output is a file that can be written", "output=FILE in another folder"
        raise Refusal(Fault(f"output={file} ({error.strerror})", rule, mend)) from error


def _write(model: TakenModel, answers: Iterator[Answer], form: str, stream: Any) -> int:
    """Write all answers; returns how many there were."""
    from tlsweep.model.card import Preprocessing

    names, kind, count = model.output_names, model.card.target.kind, 0
    of = "file" if isinstance(model.card.preprocessing, Preprocessing) else "text"
    if form == "json":
        found = [{of: asked, **_as_json(kind, names, p)} for asked, p in answers]
        if found:
            stream.write(json.dumps(found, indent=1) + "\n")
        return len(found)
    table = csv.writer(stream, lineterminator="\n")
    for count, answer in enumerate(answers, start=1):
        if count == 1:
            table.writerow([of, *_header(kind, names)])
        table.writerow([answer[0], *_row(kind, names, answer[1])])
    return count


def _best(p: Sequence[float]) -> list[int]:
    return sorted(range(len(p)), key=lambda i: -p[i])[:BEST]


def _holding(names: Sequence[str], p: Sequence[float]) -> list[str]:
    """The labels that are more likely than not."""
    return [name for name, one in zip(names, p, strict=True) if one > 0.5]


def _as_json(kind: str, names: Sequence[str], p: list[float]) -> dict[str, Any]:
    by_name = dict(zip(names, p, strict=True))
    if kind == "numbers":
        return {"numbers": by_name}
    if kind == "labels":
        return {"labels": _holding(names, p), "probabilities": by_name}
    told = range(len(p)) if len(p) <= EVERY_CLASS else _best(p)
    first = _best(p)[0]
    return {
        "class": names[first],
        "probability": p[first],
        "probabilities": {names[i]: p[i] for i in told},
    }


def _header(kind: str, names: Sequence[str]) -> list[str]:
    if kind == "numbers":
        return [*names]
    more = [f"p({name})" for name in names]
    if kind == "labels":
        return ["labels", *more]
    if len(names) > EVERY_CLASS:
        more = [f"{what}_{i}" for i in range(2, BEST + 1) for what in ("class", "probability")]
    return ["class", "probability", *more]


def _row(kind: str, names: Sequence[str], p: list[float]) -> list[str]:
    more = [f"{value:.6g}" for value in p]
    if kind == "numbers":
        return more
    if kind == "labels":
        return ["; ".join(_holding(names, p)), *more]
    first, *others = _best(p)
    if len(names) > EVERY_CLASS:
        more = [text for i in others for text in (names[i], f"{p[i]:.6g}")]
    return [names[first], f"{p[first]:.6g}", *more]
