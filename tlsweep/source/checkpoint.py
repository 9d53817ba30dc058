"""Weights from a file: what it is told by its content, and none of its code is run."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlsweep.errors import Fault, Refusal, nearest

KEY = "source.checkpoint"
_USUAL = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar")  # endings of such files
_SAVE = "torch.save(model.state_dict(), FILE), or a .safetensors file of the same weights"


def check_file(path: str | Path) -> Path:
    """``path`` as a Path. Raises Refusal if there is no such file."""
    path = Path(path)
    if not path.is_file():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        known = [other.name for other in beside if other.suffix.lower() in _USUAL]
        guess = nearest(path.name, known)
        mend = f"{KEY}={path.parent / guess}" if guess else f"{KEY}=FILE, a path that exists"
        raise refusal(path, "the checkpoint is an existing file", mend)
    return path


def read_file(path: str | Path) -> Any:
    """What is in ``path``, on the CPU: a dict of tensors, or of such dicts and other values.

    Safetensors, an index of several of them (``model.safetensors.index.json``), or what torch.save
    wrote (read with weights_only=True), whatever the file is called. Raises Refusal for a file that
    is missing or damaged, and for one that holds code: TorchScript, a whole pickled model.
    """
    path = check_file(path)
    with path.open("rb") as stream:
        begin = stream.read(9)
    if begin[:1] == b"{":
        return _read_index(path)
    if begin[8:] == b"{":  # behind the length of its head
        return _read_safetensors(path)
    if _is_torchscript(path):
        rule = "the file holds weights alone; this one is TorchScript, a program, which is not run"
        raise refusal(path, rule, f"torch.jit.load it yourself, then {_SAVE}")
    return _read_torch(path)


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise refusal(
            path, f"the file is whole safetensors ({_first_line(error)})", "copy or export it again"
        ) from error


def _read_index(path: Path) -> object:
    """The weights of all files that an index names; they lie beside it."""
    try:
        shards = sorted(set(json.loads(path.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        rule = "a JSON file of weights is an index, with the files of each (weight_map)"
        raise refusal(path, rule, "model.safetensors.index.json, or one file of weights") from error
    found: dict[str, Any] = {}
    for name in shards:
        content = read_file(path.parent / Path(str(name)).name)
        found |= content if isinstance(content, dict) else {}
    return found


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _read_torch(path: Path) -> object:
    import pickle

    import torch

    try:
        # opened here: torch would go by the file's name
        with path.open("rb") as file, torch.serialization.safe_globals(_harmless()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise refusal(
            path,
            "the file holds weights alone; one that holds code or other objects is not run"
            f" ({_unwanted(error)})",
            _SAVE,
        ) from error
    except Exception as error:
        # What a damaged file makes torch.load raise is open-ended: RuntimeError, EOFError,
        # KeyError, struct.error and more, by where the damage is.
        raise refusal(
            path,
            f"the file is a whole torch.save file ({type(error).__name__}: {_first_line(error)})",
            "copy or download it again: it is empty, truncated or of another kind",
        ) from error


def _harmless() -> list[Any]:
    """What training scripts keep beside weights, and what making one of them does nothing else."""
    import argparse

    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    array = np.zeros(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "efdg?"}
    old = [(scalar, "numpy.core.multiarray.scalar"), (array, "numpy.core.multiarray._reconstruct")]
    return [argparse.Namespace, scalar, array, np.ndarray, np.dtype, *kinds, *old]


def _unwanted(error: BaseException) -> str:
    """What a file holds besides weights, as torch names it."""
    named = re.search(r"(?:GLOBAL|global|class|function) `?([A-Za-z_][\w.]*\.\w+)", str(error))
    return f"here {named[1]}" if named else "here an object of its own"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else "no further word"


def refusal(path: str | Path, rule: str, mend: str) -> Refusal:
    """The refusal of a checkpoint."""
    return Refusal(Fault(f"{KEY}={path}", rule, mend))


def tensors_of(content: Any, path: str | Path) -> dict[str, dict[str, Any]]:
    """The dicts of tensors in a file, each by its place in it (``teacher``, "" for the outermost).

    Raises Refusal where there is none.
    """
    import torch

    if not isinstance(content, Mapping):
        rule = f"a checkpoint is a dict of names and tensors, this is a {type(content).__name__}"
        raise refusal(path, rule, _SAVE)
    found: dict[str, dict[str, Any]] = {}

    def note(tree: Mapping[Any, Any], place: tuple[str, ...]) -> None:
        tensors = {str(k): v.detach() for k, v in tree.items() if isinstance(v, torch.Tensor)}
        if tensors:
            found[".".join(place)] = tensors
        for key, inner in tree.items():
            if isinstance(inner, Mapping) and len(place) < _DEPTH and key not in _NO_WEIGHTS:
                note(inner, (*place, str(key)))

    note(content, ())
    if not found:
        others = ", ".join(map(str, list(content)[:3])) or "nothing"
        raise refusal(path, f"a checkpoint holds tensors by name; this one holds {others}", _SAVE)
    return found


_DEPTH = 3  # dicts inside dicts
_NO_WEIGHTS = ("optimizer", "optimizer_states", "optim", "lr_schedulers", "callbacks", "loops")
