"""Files are numbers and text: one that was replaced by a pickle is not unpickled."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from payload import Payload, Trap
from safetensors.torch import load_file

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal, TlsweepError, TrialFailure
from tlsweep.features import Key, Spec, Store, rows_digest
from tlsweep.model import load_model, write_model
from tlsweep.model.card import CARD, SNIPPET, WEIGHTS
from tlsweep.source.checkpoint import read_file
from tlsweep.target import open_target
from tlsweep.target.decoded import decoded_folder
from tlsweep.task import Classes
from tlsweep.task.outcome import Outcome, read, write
from tlsweep.trial import resolve, train_plan
from tlsweep.trial.first_phase import FirstPhase

Make = Callable[..., Settings]
TASK = Classes(4)
TWO_PHASES = (
    "plan=transfer_tuned", "plan.keep=4", "schedule=two_phase", "schedule.epochs=1",
    "train.epochs=3",
)  # fmt: skip


# ---------------------------------------------------------------------- checkpoints
@pytest.mark.parametrize("name", ["weights.pt", "model.safetensors", "pytorch_model.bin", "a"])
def test_a_checkpoint_that_holds_code_is_refused_by_the_name_of_it(
    name: str, trap: Trap, tmp_path: Path
) -> None:
    file = trap.saved(tmp_path / name, weight=torch.ones(3))
    with pytest.raises(
        Refusal, match=r"holds code or other objects is not run \(here posix.system"
    ):
        read_file(file)


def test_a_bare_pickle_is_no_checkpoint(trap: Trap, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(trap.pickled())
    with pytest.raises(Refusal, match=r"source\.checkpoint"):
        read_file(tmp_path / "weights.pt")


def test_an_index_names_files_beside_it_and_no_others(trap: Trap, tmp_path: Path) -> None:
    trap.saved(tmp_path / "outside.bin")
    (tmp_path / "inside").mkdir()
    torch.save({"weight": torch.ones(3)}, tmp_path / "inside" / "outside.bin")
    index = tmp_path / "inside" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": "../outside.bin"}}))
    assert torch.equal(read_file(index)["weight"], torch.ones(3))


def test_a_source_whose_weights_hold_code_is_refused(
    settings: Make, trap: Trap, checkpoint: Path, tmp_path: Path
) -> None:
    file = trap.saved(tmp_path / "own.pt", **torch.load(checkpoint, weights_only=True))
    with pytest.raises(Refusal, match="is not run"):
        resolve(settings(f"source.checkpoint={file}"))


def test_the_state_that_a_run_goes_on_from_is_not_unpickled(settings: Make, trap: Trap) -> None:
    asked = settings("plan=finetune", "train.epochs=1")
    train_plan(resolve(asked), None)
    trial = resolve(settings("plan=finetune", "train.epochs=1", "train.resume=true"))
    (file,) = trial.folder.glob("last-*.ckpt")
    trap.saved(file, **torch.load(file, weights_only=True))
    with pytest.raises(TrialFailure, match="holds code, which is not run"):
        train_plan(trial, None)


def test_a_first_phase_that_trials_share_is_not_unpickled(
    settings: Make, trap: Trap, tmp_path: Path
) -> None:
    trial = resolve(settings(*TWO_PHASES))
    file = trap.saved(tmp_path / "stage.ckpt", state_dict={}, epoch=1, global_step=1)
    FirstPhase(trial).keep(file)  # with checksums that fit, as an attacker would
    with pytest.raises(TrialFailure, match="cache action=clear"):
        train_plan(trial, None)


# ---------------------------------------------------------------------- what is stored
def objects(trap: Trap) -> bytes:
    """A .npy of an object, which numpy would unpickle."""
    stream = io.BytesIO()
    np.save(stream, np.array([Payload(trap.marker)], dtype=object), allow_pickle=True)
    return stream.getvalue()


def zipped(trap: Trap) -> bytes:
    """The same in a .npz."""
    stream = io.BytesIO()
    np.savez(stream, fold0=np.array([Payload(trap.marker)], dtype=object))
    return stream.getvalue()


@pytest.mark.parametrize("content", [objects, zipped, Trap.pickled])
def test_what_a_trial_answered_is_numbers(
    content: Callable[[Trap], bytes], trap: Trap, tmp_path: Path
) -> None:
    file = tmp_path / "a.npz"
    write(file, Outcome({0: np.zeros((3, 4), dtype=np.float32)}), TASK)
    file.write_bytes(content(trap))
    with pytest.raises(TlsweepError, match=r"a\.npz"):
        read(file, TASK)


@pytest.mark.parametrize("content", [objects, zipped, Trap.pickled])
def test_a_target_of_arrays_is_numbers(
    content: Callable[[Trap], bytes], settings: Make, trap: Trap, tmp_path: Path
) -> None:
    file = tmp_path / "own.npz"
    file.write_bytes(content(trap))
    with pytest.raises(Refusal, match=r"own\.npz"):
        resolve(settings("target=arrays", f"target.file={file}"))


def test_decoded_images_on_disk_are_numbers(
    settings: Make, trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for i in range(40):
        place = tmp_path / "images" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{i}.png")
    lines = ("target=image_folder", f"target.root={tmp_path / 'images'}", "target.ram_gb=1e-6")
    asked = settings(*lines, "target.fit_size=20", "plan=truncate", "plan.keep=1")
    whole = train_plan(resolve(asked), None)
    files = [file for file in decoded_folder().rglob("*") if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(objects(trap))
    again = train_plan(resolve(asked), None)
    assert again.history[-1]["fit_loss"] == pytest.approx(whole.history[-1]["fit_loss"])


def test_stored_activations_are_bytes_that_nobody_unpickles(trap: Trap, tmp_path: Path) -> None:
    content = trap.pickled()
    told = {"source": "5f1d", "target": "77aa", "spec": {}, "pooling": "none", "view": 0}
    key = Key.of(cut="block3", dtype=torch.uint8, rows=rows_digest([1]), **told)
    store = Store(tmp_path / "features", 2**20, lambda text: None)
    rows = torch.frombuffer(bytearray(content), dtype=torch.uint8)[None]
    with store.writing([Spec(key, tuple(rows.shape), torch.uint8)]) as writers:
        writers[key].append(rows)
    found = store.find(key)
    assert found is not None
    assert found.tensor().numpy().tobytes() == content
    del found
    (store.folder / key.digest / "meta.json").write_bytes(trap.pickled())
    assert store.find(key) is None


# ---------------------------------------------------------------------- model folders
@pytest.fixture
def taken(settings: Make, tmp_path: Path) -> Path:
    """A model folder as a sweep writes it."""
    trial = resolve(settings("plan=truncate", "plan.keep=2"))
    network = trial.question.network(trial.plan, trial.train, 0).eval()
    return write_model(tmp_path / "study", trial, network, {})


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the card, and make all checksums fit again: they are no signature."""
    fields = json.loads((folder / CARD).read_text())
    fields.pop("sha256")
    change(fields)
    fields["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in fields["files"]
        if (folder / name).is_file()
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    fields["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / CARD).write_text(json.dumps(fields))


def test_a_folder_that_was_forged_to_no_end_is_read(taken: Path) -> None:
    forge(taken, lambda fields: fields["about"].update(note="hello"))
    assert load_model(taken).card.about["note"] == "hello"


def test_a_pickle_in_the_place_of_weights_is_not_unpickled(taken: Path, trap: Trap) -> None:
    trap.saved(taken / WEIGHTS, **load_file(taken / WEIGHTS))
    with pytest.raises(Refusal, match="was changed"):
        load_model(taken)
    forge(taken, lambda fields: None)
    with pytest.raises(Refusal, match="exactly the weights"):
        load_model(taken)


def test_the_script_in_the_folder_is_for_people_and_is_not_run(taken: Path, trap: Trap) -> None:
    line = f"open({str(trap.marker)!r}, 'w')\n"
    for name in (SNIPPET, "__init__.py", "conftest.py", "sitecustomize.py", "requirements.txt"):
        (taken / name).write_text(line)
    forge(taken, lambda fields: None)
    load_model(taken)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["source"].update(
            name="module", options={"build": "planted:made", "image_size": 32}
        ),
        lambda fields: fields["source"].update(name="os"),
        lambda fields: fields["source"].update(carried={"model": "../../elsewhere"}),
        lambda fields: fields["source"].update(carried={"model": "/etc"}),
        lambda fields: fields["source"].update(carried={"model": "local-dir:../../elsewhere"}),
        lambda fields: fields["head"].update(kind="os"),
        lambda fields: fields["head"].update(kind="../../planted"),
        lambda fields: fields.update(requirements=["planted"]),
        lambda fields: fields.update(_target_="os.system"),
        lambda fields: fields["plan"].update(_target_="os.system"),
    ],
    ids=["code", "a module", "out", "absolute", "local-dir", "head", "path", "more",
         "target", "in"],
)  # fmt: skip
def test_a_card_that_names_code_or_leads_out_of_its_folder_is_refused(
    change: Callable[[dict[str, Any]], Any], taken: Path, trap: Trap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = trap.marker.parent
    (folder / "planted.py").write_text(f"open({str(trap.marker)!r}, 'w')\ndef made(): ...\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("TLSWEEP_BUILD", raising=False)
    (folder / "elsewhere").mkdir(exist_ok=True)
    forge(taken, change)
    with pytest.raises(Refusal):
        load_model(taken)


def test_a_model_folder_of_transformers_brings_no_code(
    settings: Make, trap: Trap, tmp_path: Path
) -> None:
    from small_text_models import write

    from tlsweep.source import open_source

    folder = write(tmp_path / "small", "bert")
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoModel": "own.Own", "AutoConfig": "own.Own", "AutoTokenizer": ["own.Own", None]}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": names}))
    (folder / "own.py").write_text(f"open({str(trap.marker)!r}, 'w')\nclass Own: ...\n")
    open_source("transformers", model=str(folder), length=8)
    shutil.move(folder / "model.safetensors", tmp_path)
    trap.saved(folder / "pytorch_model.bin", **load_file(tmp_path / "model.safetensors"))
    with pytest.raises(Refusal):
        open_source("transformers", model=str(folder), length=8)


@pytest.mark.parametrize("replaced", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_file_of_cifar_that_is_not_the_published_one_is_not_unpickled(
    replaced: str, trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        rows = {"data": np.zeros((10, 3072), dtype=np.uint8), "labels": list(range(10))}
        content = pickle.dumps({**rows, "label_names": list("abcdefghij")})
        sums[name] = hashlib.md5(content).hexdigest()
        (folder / name).write_bytes(content)
    monkeypatch.setattr(CIFAR10, "train_list", list(sums.items())[:5])
    monkeypatch.setattr(CIFAR10, "test_list", [("test_batch", sums["test_batch"])])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    open_target("cifar10", root=tmp_path)  # these are, as far as torchvision knows
    (folder / replaced).write_bytes(trap.pickled())
    with pytest.raises(Refusal, match="damaged ones"):
        open_target("cifar10", root=tmp_path)
