"""``python -m tlsweep export``: a taken model in other formats, checked against the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsweep import screen
from tlsweep.errors import Fault, Refusal, TlsweepError, nearest, unknown_name
from tlsweep.files import at_home

_OWN = ("model", "format", "output")


def run(arguments: Sequence[str], conf: Path) -> None:
    """Write the model of ``model=DIR`` in every format of ``format=onnx,torch_export,timm``.

    ``output``: a file for one format, a folder for several; default the current folder, with the
    formats' usual names. Raises Refusal for what is unknown and for missing packages, before
    anything is written; TlsweepError, after the other formats are written, where the model does
    not allow one.
    """
    own = _asked(arguments)
    from tlsweep.model import FORMATS, export_all, load_model
    from tlsweep.model.export import TOLERANCE
    from tlsweep.model.inputs import TEXTS, examples, how_made

    forms = _forms(own["format"], tuple(FORMATS))
    files = _files(own["output"], forms, Path(at_home(own["model"])))
    try:
        model = load_model(own["model"])
        written, refused = export_all(model, files)
    except OSError as error:
        raise Refusal(_unwritable(error)) from error
    for form, off in written.items():
        screen.console.print(
            f"{files[form]}: checked at 1 and 3 {examples(model.card)}, its logits differ from the"
            f" model's by at most {off:.1e} of the largest one ({TOLERANCE:.0e} is allowed)",
            soft_wrap=True,
        )
    if written and examples(model.card) == TEXTS:
        screen.console.print(how_made(model.card, own["model"]), soft_wrap=True)
    if refused:
        lines = [
            f"format={f}: not written, the model does not allow it. {refused[f]}" for f in refused
        ]
        raise TlsweepError("\n".join(lines))


def _asked(arguments: Sequence[str]) -> dict[str, str]:
    own, faults = dict.fromkeys(_OWN, ""), []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in own:
            own[key] = value
            continue
        near = nearest(key, _OWN) or "model"
        fault = unknown_name("key of export", "", key, _OWN)
        faults.append(Fault(f"unknown key {key}", fault.rule, f"{near}={value or 'VALUE'}"))
    for key, mend in (("model", "outputs/STUDY/model"), ("format", "onnx")):
        if not own[key]:
            rule = "export is told which model folder to write in which format"
            faults.append(Fault(f"export without {key}=", rule, f"{key}={mend}"))
    if faults:
        raise Refusal(*faults)
    return own


def _forms(text: str, known: Sequence[str]) -> list[str]:
    """The formats asked for, each once. Raises Refusal for unknown ones and missing packages."""
    from tlsweep.model.export import refuse_missing

    forms = list(dict.fromkeys(text.strip("[]").replace(" ", "").split(",")))
    wrong = [form for form in forms if form not in known]
    if wrong:
        raise Refusal(*(unknown_name("format", "format", form, known) for form in wrong))
    for form in forms:
        refuse_missing(form)
    return forms


def _files(output: str, forms: Sequence[str], model: Path) -> dict[str, Path]:
    """Where each format goes. Raises Refusal for a file that the model folder itself needs."""
    from tlsweep.model import FORMATS
    from tlsweep.model.card import CARD, PROGRAM, SNIPPET, WEIGHTS

    place = Path(at_home(output or "."))
    inside = len(forms) > 1 or place.is_dir()
    folder = place if inside else place.parent
    if not folder.is_dir():
        rule = "several formats go into a folder, one into a file; the folder exists"
        raise Refusal(Fault(f"output={output}", rule, f"mkdir {folder}, or output=FOLDER"))
    files = {form: place / FORMATS[form][0] if inside else place for form in forms}
    for file in files.values():
        if file.resolve() in [model.resolve() / n for n in (CARD, PROGRAM, SNIPPET, WEIGHTS)]:
            raise Refusal(_own_file(file))
    return files


def _own_file(file: Path) -> Fault:
    rule = "an export leaves the model folder's own files as they are: it holds their checksums"
    return Fault(f"output={file}", rule, "output=FILE in another folder")


def _unwritable(error: OSError) -> Fault:
    rule, mend = "the output is a file that can be written", "output=FILE in a folder of your own"
    return Fault(f"output: {error.filename} ({error.strerror})", rule, mend)
