"""The model to take home as MLflow knows models: exported program, signature and input example."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PROGRAM = "data/model.pt2"  # where MLflow's pytorch flavour looks for an exported program
_EXAMPLE = "input_example.json"
_SERVED = "serving_input_example.json"  # the same, as a served model is asked


@dataclass(frozen=True)
class ToLog:
    """A model folder for a record.

    program: its exported program; digest: of its weights, by which a record knows it again;
    example: a batch of prepared images, float32 [1, channels, size, size]; classes: how many
    numbers it answers for each image; requirements: libraries that run it, as pip wants them;
    about: texts to show beside it.
    """

    program: Path
    digest: str
    example: NDArray[np.float32]
    classes: int
    requirements: tuple[str, ...]
    about: Mapping[str, str]


def write_mlflow_model(model: ToLog, into: Path) -> Path:
    """Write the folder that ``mlflow.pytorch.load_model`` and ``mlflow.pyfunc.load_model`` open.

    No code is written, and none is pickled: the program is torch.export's. Returns ``into``.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    (into / _PROGRAM).parent.mkdir(parents=True)
    shutil.copyfile(model.program, into / _PROGRAM)
    example = model.example.tolist()
    (into / _EXAMPLE).write_text(json.dumps(example))
    (into / _SERVED).write_text(json.dumps({"inputs": example}))
    (into / "requirements.txt").write_text("\n".join(model.requirements) + "\n")
    number = np.dtype(np.float32)
    images = TensorSpec(number, (-1, *model.example.shape[1:]))
    logits = TensorSpec(number, (-1, model.classes))
    signature = ModelSignature(Schema([images]), Schema([logits]))
    card = Model(signature=signature)
    card.saved_input_example_info = {
        "artifact_path": _EXAMPLE,
        "serving_input_path": _SERVED,
        "type": "ndarray",
    }
    version = next(r.partition("==")[2] for r in model.requirements if r.startswith("torch=="))
    card.add_flavor("pytorch", model_data="data", pytorch_version=version, code=None)
    options: dict[str, Any] = {"loader_module": "mlflow.pytorch", "data": "data"}
    pyfunc.add_to_model(card, **options, model_config={"device": None})
    card.save(str(into / "MLmodel"))
    return into
