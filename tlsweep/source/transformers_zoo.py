"""The source "transformers": models of texts or of images, from a folder or the hub."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tlsweep.errors import Fault, Refusal
from tlsweep.section import NameOrFolder, Place, SourceSettings, Whole
from tlsweep.source.base import Progress, Source, private_rng
from tlsweep.source.checkpoint import check_file
from tlsweep.source.hub import quiet_hub
from tlsweep.source.tokenizer import Tokenizer
from tlsweep.source.trunk import find_weights, fit_weights
from tlsweep.terms import ImageSpec, InputSpec, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.cut import CutPoints
    from tlsweep.source.image_families import ImageFamily
    from tlsweep.source.own_classifiers import Classes, Own
    from tlsweep.source.text_families import Family

_LENGTH = 128  # tokens that a text is cut to where nothing is said
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TOKENIZER = (  # beside its vocabulary
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_NO_ARCHITECTURE = (  # of a config: what changes no number of the model
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "id2label",
    "label2id",
    "use_cache",
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal, in some texts of errors
_SHOWN = 3  # names in a sentence
_OTHER_SIZE = "source.model=FOLDER, with the config.json of the model that was trained"


class Settings(SourceSettings):
    """conf/source/transformers.yaml."""

    name: Literal["transformers"]
    model: NameOrFolder
    checkpoint: Place | None
    part: str | None
    length: Annotated[Whole, Field(ge=8, le=8192)] | None

    @property
    def title(self) -> str:
        """The source's name in file names and records: the model's."""
        return _label(self.model)


class TransformersSource(Source):
    """One model of texts or images. config: of transformers; own: its classifier, None without."""

    def __init__(
        self,
        name: str,
        spec: InputSpec,
        trained_on: str,
        config: Any,
        weights: Mapping[str, Tensor],
        said: tuple[str, ...],
        own: Own | None,
        classes: Classes,
    ) -> None:
        self.said, self._config, self._own = said, config, own
        self.class_names, self.no_classes = classes.names, classes.why_none
        super().__init__(name, spec, trained_on, f"transformers {_digest(config)}", weights)

    def _build(self) -> nn.Module:
        return build(self._config, self._own)


def build(config: Any, own: Own | None = None) -> nn.Module:
    """The model of a config of transformers with random weights from the global generator.

    own: the classifier that it has, None without one.
    """
    with _quiet():
        return (own or families()[config.model_type]).build(copy.deepcopy(config))


def families() -> Mapping[str, Family | ImageFamily]:
    """What is known of each kind of model, by the name that its config has for it."""
    from tlsweep.source import image_families, text_families

    return {**text_families.FAMILIES, **image_families.FAMILIES}


def check(
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    length: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Raise one Refusal with every fault of these options; reads no weights.

    Of a model on the hub, config and tokenizer are downloaded where they are not in its cache.
    """
    _asked(model, length)
    if checkpoint is not None:
        check_file(checkpoint)
    elif Path(model).is_dir() and not any((Path(model) / name).is_file() for name in _WEIGHTS):
        rule = f"a folder of a model holds its weights: {' or '.join(_WEIGHTS)}"
        mend = "download them into it, model.save_pretrained(FOLDER), or source.checkpoint=FILE"
        raise Refusal(Fault(f"source.model={model}", rule, mend))


def open(  # noqa: A001  (always called with its module)
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    length: int | None = None,
    progress: Progress | None = None,
) -> TransformersSource:
    """A model of texts with its weights and its tokenizer, or one of images with its processor's.

    model: a folder as ``save_pretrained`` writes it (of any class: a head is left out, but for a
    classifier whose classes have names), or ``OWNER/NAME`` on the hub; checkpoint: a file of other
    weights of that architecture, with any head or none; part: which set of weights of the file,
    where it holds several; length: tokens that a text is cut, or filled up, to, default 128, or
    less where the model takes less. Raises Refusal for every fault of these, for a download that
    is not possible, and for weights that do not fit.
    """
    check(model=model, checkpoint=checkpoint, part=part, length=length)
    asked, name = _asked(model, length, checkpoint), _label(model)
    classes = asked.classes
    if progress is not None:
        progress(0, 1, f"weights of {name}")
    if checkpoint is None:
        trained_on = f"weights in the folder {name}" if Path(model).is_dir() else model
        weights, said, lost = _read(model, asked)
        classes = lost or classes
    else:
        trained_on = f"checkpoint {Path(checkpoint).name}"
        weights, said = _read_checkpoint(name, asked, Path(checkpoint), part)
    if progress is not None:
        progress(1, 1, f"weights of {name}")
    how = asked.config, weights, said, asked.own, classes
    return TransformersSource(name, asked.spec, trained_on, *how)


def architecture(
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    length: int | None = None,
) -> tuple[nn.Module, Tensor]:
    """The model with random weights, and zeros to feed it: [2, length], or [2, C, size, size].

    Raises Refusal for an unknown model or a length that it does not take.
    """
    import torch

    asked = _asked(model, length, checkpoint)
    built = build(asked.config, asked.own)
    if isinstance(spec := asked.spec, ImageSpec):
        return built, torch.zeros(2, spec.channels, spec.size, spec.size)
    return built, torch.zeros(2, spec.length, dtype=torch.int64)


def spec(
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    length: int | None = None,
) -> InputSpec:
    """Its tokenizer and the length that texts are brought to, or how images are prepared."""
    return _asked(model, length).spec


def carry(
    folder: Path,
    *,
    model: str,
    checkpoint: str | Path | None = None,
    part: str | None = None,
    length: int | None = None,
) -> dict[str, str]:
    """The config, and the tokenizer's files or the image processor's, into ``folder``."""
    from transformers.utils.hub import cached_file

    from tlsweep.source.image_families import PREPROCESSOR

    files = {"config.json", PREPROCESSOR, *_TOKENIZER}
    encode = getattr(_asked(model, length).spec, "encode", None)
    if isinstance(encode, Tokenizer):
        files |= set(type(encode.own).vocab_files_names.values())
    how = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    for file in sorted(files):
        with _quiet():
            found = cached_file(model, file, **how)
        if found is not None:
            shutil.copyfile(found, folder / file)
    return {"model": "."}


def dissect(model: nn.Module, example: Tensor) -> CutPoints:
    """Cut points after the embeddings and after each layer."""
    from tlsweep.cut import Classified, classified
    from tlsweep.source import image_families, text_families

    if isinstance(model, Classified):
        return classified(dissect(model.trunk, example), model.run)
    kind: Any = model.config
    if kind.model_type in image_families.FAMILIES:
        return image_families.dissect(model, example)
    return text_families.dissect(model, example)


# ---------------------------------------------------------------------- what lies there
@dataclass(frozen=True)
class _Asked:
    """own: the classifier, None where its classes have no names."""

    family: Family | ImageFamily
    config: Any
    spec: InputSpec
    own: Own | None
    classes: Classes


def _asked(model: str, length: int | None, checkpoint: str | Path | None = None) -> _Asked:
    """Config, and how examples are prepared. Raises Refusal with every fault of them."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        rule = "models of transformers need the package transformers"
        raise Refusal(Fault("source=transformers", rule, "pip install 'tlsweep[text]'")) from error
    from tlsweep.source import image_families
    from tlsweep.source.own_classifiers import OWN, Classes, classes_of

    config = _config(model)
    images = config.model_type in image_families.FAMILIES
    spec = _images(model, config, length) if images else _texts(model, config, length)
    classes = classes_of(config, spec)
    if checkpoint is not None:
        classes = Classes(why_none="source.checkpoint is a file of weights, and may be of others")
    own = OWN[config.model_type] if classes.names else None
    return _Asked(families()[config.model_type], config, spec, own, classes)


def _images(model: str, config: Any, length: int | None) -> ImageSpec:
    """How its image processor prepares images. Raises Refusal with every fault."""
    from transformers.utils.hub import cached_file

    from tlsweep.source.image_families import PREPROCESSOR, image_spec

    if length is not None:
        rule = "source.length cuts texts; this model takes images"
        raise Refusal(Fault(f"source.length={length}", rule, "leave it out"))
    how = {"_raise_exceptions_for_missing_entries": False}
    found = _loaded(lambda *_, **__: cached_file(model, PREPROCESSOR, **how), model, PREPROCESSOR)
    return image_spec(model, None if found is None else Path(found), config)


def _texts(model: str, config: Any, length: int | None) -> TokenSpec:
    """Its tokenizer. Raises Refusal with every fault."""
    from transformers import AutoTokenizer

    tokenizer: Any = _loaded(AutoTokenizer.from_pretrained, model, "tokenizer.json")
    most = _most(config, tokenizer)
    cut = length if length is not None else min(_LENGTH, most or _LENGTH)
    faults = _tokenizer_faults(model, tokenizer, config.vocab_size)
    if most is not None and cut > most:
        rule = f"this model takes texts of at most {most} tokens"
        faults.append(Fault(f"source.length={cut}", rule, f"source.length={min(_LENGTH, most)}"))
    if faults:
        raise Refusal(*faults)
    return Tokenizer(tokenizer, cut).spec()


def _config(model: str) -> Any:
    """The config of a model that can be cut. Raises Refusal for another."""
    from transformers import AutoConfig, PretrainedConfig

    from tlsweep.source import image_families, text_families

    value, here = f"source.model={model}", Path(model)
    if not here.is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise Refusal(Fault(value, "there is a folder of this name", "source.model=FOLDER"))
    if here.is_dir() and not (here / "config.json").is_file():
        rule = "a folder of a model has a config.json"
        raise Refusal(Fault(value, rule, "the folder that model.save_pretrained(FOLDER) wrote"))
    # the family first: a config of another may need code or packages to be read at all
    kind = _loaded(PretrainedConfig.get_config_dict, model, "config.json")[0].get("model_type")
    if kind not in families():
        rule = f"models that are cut: {', '.join(families())}"
        raise Refusal(Fault(f"{value} ({kind})", rule, "source.model=FOLDER of one of these"))
    config: Any = _loaded(AutoConfig.from_pretrained, model, "config.json")
    config = getattr(config, "vision_config", config)  # of a tower beside one of texts
    if why := (image_families if kind in image_families.FAMILIES else text_families).why_not(
        config
    ):
        raise Refusal(Fault(f"{value} ({kind})", why, "source.model=FOLDER of such a model"))
    config.use_cache = False  # of generation, which is not done here
    config._attn_implementation = "eager"  # runs on tensors without numbers, and counts its work
    return config


def _tokenizer_faults(model: str, tokenizer: Any, known: int) -> list[Fault]:
    from transformers.utils.hub import cached_file

    value, mend = f"source.model={model}", "the tokenizer's files of this model beside config.json"
    # without any of them transformers makes a tokenizer that knows no word
    folder = Path(cached_file(model, "config.json") or model).parent
    files = list(type(tokenizer).vocab_files_names.values())
    if files and not any((folder / file).is_file() for file in files):
        rule = f"a tokenizer has its vocabulary in {' or '.join(files)}"
        return [Fault(f"{value} (no tokenizer)", rule, mend)]
    if len(tokenizer) > known:
        rule = f"a tokenizer knows at most the {known} tokens of the model"
        return [Fault(f"{value} (a tokenizer of {len(tokenizer)} tokens)", rule, mend)]
    return []


def _most(config: Any, tokenizer: Any) -> int | None:
    """How many tokens the model takes; None where nothing is said."""
    most: int | None = getattr(config, "max_position_embeddings", None)
    if most is None:
        said = int(tokenizer.model_max_length)
        return said if said < 1_000_000 else None  # transformers writes 1e30 for no limit
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        most -= config.pad_token_id + 1  # their places are counted from there
    return most


def _loaded(load: Callable[..., Any], model: str, what: str, **how: Any) -> Any:
    """What ``load`` gives of a model. Nothing of what lies there is run."""
    try:
        with _quiet(), private_rng(0):
            return load(model, trust_remote_code=False, **how)
    except Exception as error:  # the hub's, the network's and the files' errors are of many kinds
        lines = _COLOURS.sub("", str(error)).strip().splitlines()
        value = f"source.model={model} ({lines[0][:160] if lines else type(error).__name__})"
        rule = f"{what} is whole, and holds nothing but data"
        mend = f"download {what} of this model again into that folder"
        if not Path(model).is_dir():
            rule = "a model is a folder, or OWNER/NAME in the hub's cache or to be downloaded"
            mend = (
                "download config.json, model.safetensors and the tokenizer's files from"
                f" https://huggingface.co/{model} into a folder, and source.model=FOLDER"
            )
        raise Refusal(Fault(value, rule, mend)) from error


# ---------------------------------------------------------------------- its weights
def _read(model: str, asked: _Asked) -> tuple[dict[str, Tensor], tuple[str, ...], Classes | None]:
    """The weights, what was left out, and, where the file lacks the classifier's, that it does.

    Raises Refusal for what is missing of the trunk.
    """
    import torch
    import transformers

    own, options = asked.own, {} if asked.own else asked.family.options
    how = {
        "config": copy.deepcopy(asked.config),
        "dtype": torch.float32,
        "attn_implementation": "eager",
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
        **options,
    }
    kind = getattr(transformers, own.kind if own else asked.family.model)
    whole, info = _loaded(kind.from_pretrained, model, "the file of weights", **how)
    lost = own.lost(whole, info) if own else None
    faults = _unfit(model, info)
    weights = dict((own.parted(whole) if own else asked.family.trunk(whole)).state_dict())
    broken = [name for name, value in weights.items() if not bool(value.isfinite().all())]
    if broken:
        rule = f"weights are finite numbers; NaN or infinite here: {_some(broken)}"
        faults.append(Fault(f"source.model={model}", rule, "weights from before it diverged"))
    if faults:
        raise Refusal(*faults)
    left_out = sorted(info["unexpected_keys"])
    said = f"{len(left_out)} tensors of {_label(model)} are left out: {_some(left_out)}"
    return weights, (said,) if left_out else (), lost


def _read_checkpoint(
    name: str, asked: _Asked, path: Path, part: str | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The trunk in a file, and what was left out. Raises Refusal as trunk.py does."""
    with private_rng(0):
        expected = build(asked.config).state_dict()  # a classifier in it is left out
    found = find_weights(path, expected, (), part)
    weights = fit_weights(found.weights, expected, path, name, other_size=_OTHER_SIZE)
    return weights, found.said(path)


def _unfit(model: str, info: Mapping[str, Any]) -> list[Fault]:
    said = []
    if missing := sorted(info["missing_keys"]):
        said.append(f"{len(missing)} missing: {_some(missing)}")
    if misshapen := [
        f"{n} {list(has)} for {list(wants)}" for n, has, wants in info["mismatched_keys"]
    ]:
        said.append(f"{len(misshapen)} of another shape: {_some(misshapen)}")
    if not said:
        return []
    rule = f"the file has every weight of the model, in its shape; {'; '.join(said)}"
    mend = "the config.json and the weights of one and the same model"
    return [Fault(f"source.model={model}", rule, mend)]


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _label(model: str) -> str:
    return Path(model).name


def _digest(config: Any) -> str:
    """The architecture: what of a config changes a number of the model."""
    told = {k: v for k, v in config.to_dict().items() if k not in _NO_ARCHITECTURE}
    text = json.dumps(told, sort_keys=True, default=str)
    return f"{config.model_type} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what transformers and the hub tell of their loading."""
    from transformers.utils import logging as told

    before, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with quiet_hub():
            yield
    finally:
        told.set_verbosity(before)
        if bars:
            told.enable_progress_bar()  # type: ignore[no-untyped-call]
