"""Weights from a file: read without running its code, fitted to an architecture by name."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlsweep.errors import Fault, Refusal, nearest

if TYPE_CHECKING:
    from torch import Tensor

KEY = "source.checkpoint"
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
# Where training scripts put the state dict inside a bigger one.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
# What DataParallel, wrapper modules and torch.compile put before every name.
_PREFIXES = ("module.", "model.", "_orig_mod.")
# torchvision's DenseNets once had dots in module names, and their published files still do.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)$")
_SHOWN = 3  # names of each kind in a refusal


def check_file(path: str | Path) -> Path:
    """``path`` as a Path. Raises Refusal if there is no such file or its ending is not known."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise _refusal(path, f"a checkpoint ends in {', '.join(SUFFIXES)}", "a file of that kind")
    if not path.is_file():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        known = (other.name for other in beside if other.suffix.lower() in SUFFIXES)
        guess = nearest(path.name, known)
        mend = f"{KEY}={path.parent / guess}" if guess else f"{KEY}=FILE, a path that exists"
        raise _refusal(path, "the checkpoint is an existing file", mend)
    return path


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in ``path``, on the CPU, unwrapped, without a common prefix.

    Accepts what torch.save wrote (read with weights_only=True, so that no code of the file runs)
    and safetensors. Raises Refusal for a file that is missing, damaged, or holds no weights.
    """
    path = check_file(path)
    content = (
        _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    )
    weights = _strip_prefixes(_unwrap(content, path))
    broken = [key for key, value in weights.items() if _has_nonfinite(value)]
    if broken:
        raise _refusal(
            path,
            f"weights are finite numbers; NaN or infinite here: {_some(broken)}",
            "a checkpoint from before the training run diverged",
        )
    return weights


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _refusal(
            path, f"the file is whole safetensors ({_first_line(error)})", "copy or export it again"
        ) from error


def _read_torch(path: Path) -> object:
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(
            path,
            "the file holds weights alone; one that holds code or other objects is not run",
            "torch.save(model.state_dict(), FILE), or a .safetensors file of the same weights",
        ) from error
    except Exception as error:
        # What a damaged file makes torch.load raise is open-ended: RuntimeError, EOFError,
        # KeyError, struct.error and more, by where the damage is.
        raise _refusal(
            path,
            f"the file is a whole torch.save file ({type(error).__name__}: {_first_line(error)})",
            "copy or download it again: it is empty, truncated or of another kind",
        ) from error


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    import torch

    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        found = type(content).__name__
        raise _refusal(
            path,
            f"a checkpoint is a dict of names and tensors, this is a {found}",
            "torch.save(model.state_dict(), FILE)",
        )
    others = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if others or not content:
        what = f"not tensors here: {_some(others)}" if others else "this one is empty"
        raise _refusal(
            path,
            f"a checkpoint is a dict of names and tensors, plain or under "
            f"{' or '.join(_WRAPPERS[:3])}; {what}",
            "torch.save(model.state_dict(), FILE)",
        )
    return {str(key): value.detach() for key, value in content.items()}


def _strip_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in (*_PREFIXES, *_PREFIXES):  # twice: module.model. and model.module. both occur
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _has_nonfinite(value: Tensor) -> bool:
    return value.is_floating_point() and not bool(value.isfinite().all())


def rename_old_names(weights: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """``weights`` under the names in ``expected`` where they have the older DenseNet names."""
    known = set(expected)
    renamed = {}
    for key, value in weights.items():
        match = _OLD_DENSENET.match(key)
        new = match.group(1) + match.group(2) if match else key
        renamed[new if new in known else key] = value
    return renamed


def fit_weights(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path, model: str
) -> dict[str, Tensor]:
    """``weights`` in the order and the dtypes of ``expected``, a state dict of ``model``.

    Batch counters (num_batches_tracked) that old files lack are taken from ``expected``. Raises one
    Refusal that carries the missing, the unexpected and the misshapen names, each kind counted.
    """
    missing = [key for key in expected if key not in weights and not _is_counter(key)]
    unexpected = [key for key in weights if key not in expected]
    misshapen = [
        key for key in expected if key in weights and weights[key].shape != expected[key].shape
    ]
    if missing or unexpected or misshapen:
        guess = _explain(missing, unexpected, misshapen, len(expected))
        raise Refusal(
            *_name_faults(path, model, guess, missing, unexpected),
            *_shape_faults(path, model, guess, misshapen, weights, expected),
        )
    fitted: OrderedDict[str, Tensor] = OrderedDict()
    for key, wanted in expected.items():
        fitted[key] = weights.get(key, wanted).to(wanted.dtype).contiguous().clone()
    return fitted


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _explain(missing: list[str], unexpected: list[str], misshapen: list[str], n: int) -> str:
    """What most likely is the matter, as a mend."""
    another = "looks like another architecture: give source.model the one that the file is of"
    if len(missing) > n // 2:
        return another
    if misshapen and not missing and not unexpected:
        return "looks like the same architecture in another width or size: check source.model"
    if missing and not unexpected and not misshapen and len(missing) <= 4:
        return "looks like weights without their classifier: save the whole model's state dict"
    if unexpected and not missing and not misshapen:
        return (
            "looks like a bigger model, or one with extra parts: save the plain model's state dict"
        )
    return another


def _name_faults(
    path: str | Path, model: str, guess: str, missing: list[str], unexpected: list[str]
) -> list[Fault]:
    faults = []
    if missing:
        rule = f"every weight of {model} is in the file; {len(missing)} missing: {_some(missing)}"
        faults.append(Fault(f"{KEY}={path}", rule, guess))
    if unexpected:
        rule = f"every name is one of {model}; {len(unexpected)} unexpected: {_some(unexpected)}"
        faults.append(Fault(f"{KEY}={path}", rule, guess))
    return faults


def _shape_faults(
    path: str | Path,
    model: str,
    guess: str,
    misshapen: list[str],
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> list[Fault]:
    if not misshapen:
        return []
    shown = [
        f"{key} {list(weights[key].shape)} instead of {list(expected[key].shape)}"
        for key in misshapen
    ]
    rule = f"every weight has the shape that {model} has; {len(shown)} do not: {_some(shown)}"
    return [Fault(f"{KEY}={path}", rule, guess)]


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else "no further word"


def _refusal(path: Path, rule: str, mend: str) -> Refusal:
    return Refusal(Fault(f"{KEY}={path}", rule, mend))
