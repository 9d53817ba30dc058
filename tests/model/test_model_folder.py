"""The model that is taken home answers as the one that was trained, in any process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import ABOUT, Made, Make, probe, trained
from PIL import Image
from prefix_only import Asked
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from warm import Warm

import tlsweep
from tlsweep.errors import Refusal
from tlsweep.model import write_model
from tlsweep.source.glyph_network import ARCHITECTURE, GlyphNetwork
from tlsweep.source.glyph_pretraining import Pretrained
from tlsweep.source.glyphs import GlyphSource
from tlsweep.target.image_folder import list_images
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve

FRESH = """
import sys, torch, tlsweep
model, x = tlsweep.load_model(sys.argv[1]), torch.load(sys.argv[2])
with torch.no_grad():
    torch.save(model(x), sys.argv[2])
"""


@pytest.mark.parametrize(
    "kind", [pytest.param("tuned_folder", marks=pytest.mark.slow), "probe_folder"]
)
def test_a_fresh_process_gives_the_same_outputs_bit_for_bit(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    environment: dict[str, str],
    python: Warm,
) -> None:
    made: Made = request.getfixturevalue(kind)
    file = tmp_path / "x.pt"
    torch.save(made.x, file)
    done = python(["-c", FRESH, str(made.folder), str(file)], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(file), made.logits)


def test_image_files_are_prepared_as_the_study_prepared_its_own(
    probe_folder: Made, images: Path
) -> None:
    question, model = probe_folder.question, tlsweep.load_model(probe_folder.folder)
    rows = question.partition.rows(Split.REPORT)[:9]
    files = [list_images(images).files[i] for i in rows]
    expected = probe_folder.logits.softmax(1)
    assert torch.equal(model.predict(files), expected)
    assert torch.equal(model.predict([Image.open(file) for file in files]), expected)
    assert model.output_names == ("bee=blue", "red ant")
    assert model.about == ABOUT


def test_images_of_a_target_of_arrays_are_resized_as_arrays(asked: Make, tmp_path: Path) -> None:
    made = probe(asked("target=digits", "target.fit_size=60", "plan.keep=2"), tmp_path)
    rows = made.question.partition.rows(Split.REPORT)[:9]
    files = [tmp_path / f"{i}.png" for i in rows]
    for file, i in zip(files, rows, strict=True):
        ink = load_digits().images[i]  # 0..16
        Image.fromarray(np.round(ink * (255 / 16)).astype(np.uint8)).save(file)
    model = tlsweep.load_model(made.folder)
    assert torch.equal(model.predict(files), made.logits.softmax(1))


def test_images_of_12_bits_are_read_by_the_range_of_the_studys_own(
    asked: Make, tmp_path: Path
) -> None:
    draw, root = np.random.default_rng(0), tmp_path / "scans"
    for i in range(80):
        file = root / ("dark", "light")[i % 2] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(1000 * (i % 2), 3096 + 999 * (i % 2), (40, 40), np.uint16)
        Image.fromarray(pixels).save(file)
    asked_of = ("target=image_folder", f"target.root={root}", "target.fit_size=null", "plan.keep=2")
    made = probe(asked(*asked_of), tmp_path)
    rows = made.question.partition.rows(Split.REPORT)[:9]
    files = [list_images(root).files[i] for i in rows]
    model = tlsweep.load_model(made.folder)
    assert model.card.image.levels == (0, 4094)
    assert torch.equal(model.predict(files), made.logits.softmax(1))


PLANS = {
    "raw pixels": ("plan=truncate", "plan.keep=0"),
    "fresh blocks": ("plan=transfer", "plan.keep=2"),
    "random weights": ("plan=random_features", "plan.keep=3"),
    "mlp": ("plan=truncate", "plan.keep=3", "train.head=mlp"),
    "conv": ("plan=truncate", "plan.keep=3", "train.head=conv"),
    "one region": ("plan=surgical", "plan.tune=stage3.1..stage3.2"),
    "adapters": ("plan=adapters", "plan.rank=2"),
    "blocks left out": ("plan=finetune", "plan.drop=stage3.1..stage3.4"),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_every_kind_of_plan_comes_back_as_it_was(
    asked: Make, tmp_path: Path, plan: tuple[str, ...]
) -> None:
    made = trained(asked(*plan), tmp_path)
    model = tlsweep.load_model(made.folder)
    with torch.no_grad():
        assert torch.equal(model(made.x), made.logits)


@pytest.mark.slow
def test_a_checkpoint_with_another_number_of_classes_needs_not_be_there_again(
    asked: Make, tmp_path: Path
) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    file = tmp_path / "seven.pt"
    torch.manual_seed(1)
    torch.save(shufflenet_v2_x0_5(weights=None, num_classes=7).state_dict(), file)
    made = probe(asked(f"source.checkpoint={file}", "plan=feature_extractor"), tmp_path)
    file.unlink()
    model = tlsweep.load_model(made.folder)
    with torch.no_grad():
        assert torch.equal(model(made.x), made.logits)
    assert str(tmp_path) not in (made.folder / "model.json").read_text()  # no path of a machine


def test_glyphs_are_rebuilt_without_being_trained_again(
    asked: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from tlsweep.cut import cut_points

    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "none"))
    torch.manual_seed(0)
    source = GlyphSource(Pretrained(GlyphNetwork().state_dict(), 0.9, 1.0))
    settings = asked("target=digits", "target.fit_size=60", "plan=truncate", "plan.keep=4")
    cuts = cut_points(source.model(), source.example())
    question = replace(question_of(settings), source=source, cuts=cuts)
    opening = question.opening.model_copy(update={"source": _glyphs()})
    trial = resolve(settings, replace(question, opening=opening))
    network = question.network(trial.plan, settings.train, 0).eval()
    folder = write_model(tmp_path, trial, network, {})
    x = question.examples(Split.REPORT).batch(range(4))[0]
    with torch.no_grad():
        assert torch.equal(tlsweep.load_model(folder)(x), network(x))
    assert ARCHITECTURE
    assert not (tmp_path / "none").exists()


def _glyphs() -> object:
    from tlsweep.source.glyphs import Settings

    return Settings(name="glyphs", cache_dir="/somewhere")


def test_the_folder_holds_what_the_plan_uses_and_no_more(probe_folder: Made) -> None:
    names = {file.name for file in probe_folder.folder.iterdir()}
    assert names == {"model.json", "model.safetensors", "model.pt2", "load.py"}
    written = load_file(probe_folder.folder / "model.safetensors")
    assert written.keys() == probe_folder.network.state_dict().keys()
    whole = sum(p.nbytes for p in probe_folder.question.source.model().parameters())
    assert (probe_folder.folder / "model.safetensors").stat().st_size < whole / 2
    modes = {file.stat().st_mode for file in probe_folder.folder.iterdir()}
    assert len(modes) == 1  # who may read one file may read all


def test_the_card_says_what_a_person_needs_to_know(tuned_folder: Made) -> None:
    card = json.loads((tuned_folder.folder / "model.json").read_text())
    states = [block["state"] for block in card["plan"]["blocks"]]
    assert states == ["frozen"] * 3 + ["tuned"] * (len(states) - 3)
    assert [b["name"] for b in card["plan"]["blocks"]] == list(tuned_folder.question.cuts.names[1:])
    assert card["source"]["fingerprint"] == tuned_folder.question.source.fingerprint
    assert card["source"]["licence"] == "unknown"
    assert card["preprocessing"]["size"] == 32
    assert "the shorter side resized to" in card["preprocessing"]["in_words"]
    assert card["about"] == ABOUT
    assert card["versions"]["torch"] == torch.__version__
    assert card["files"].keys() == {"model.safetensors", "model.pt2", "load.py"}


@pytest.mark.parametrize("target", ["image_folder", "digits"])
def test_the_loading_snippet_answers_alike_without_tlsweep(
    target: str,
    probe_folder: Made,
    asked: Make,
    images: Path,
    tmp_path: Path,
    environment: dict[str, str],
    python: Warm,
) -> None:
    made = probe_folder
    if target == "digits":
        made = probe(asked("target=digits", "target.fit_size=60", "plan.keep=2"), tmp_path)
    files = sorted(images.rglob("*.jpg"))[::13]
    code = "import sys, runpy; sys.modules['tlsweep'] = None; sys.argv = sys.argv[1:];"
    code += "runpy.run_path(sys.argv[0])"
    snippet = ["-c", code, str(made.folder / "load.py"), *map(str, files)]
    done = python(snippet, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = tlsweep.load_model(made.folder).predict(files)
    found = torch.tensor([[float(value) for value in row[2:]] for row in rows])
    assert [row[0] for row in rows] == [str(file) for file in files]
    assert torch.allclose(found, expected, atol=1e-4)
    assert len((made.folder / "load.py").read_text().splitlines()) <= 30


def test_a_model_that_cannot_be_written_leaves_the_one_before(asked: Make, tmp_path: Path) -> None:
    settings = asked("plan=truncate", "plan.keep=2")
    made = probe(settings, tmp_path)
    before = {file.name: file.read_bytes() for file in made.folder.iterdir()}
    trial = resolve(settings, made.question)
    with pytest.raises(ValueError, match="serialize"):
        write_model(tmp_path, trial, made.network, {"score": object()})
    assert {file.name: file.read_bytes() for file in made.folder.iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    write_model(tmp_path, trial, made.network, {"score": 0.5})
    assert tlsweep.load_model(made.folder).about == {"score": 0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


# ---------------------------------------------------------------------- bad input
def _weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def _classes(folder: Path) -> None:
    file = folder / "model.json"
    file.write_text(file.read_text().replace("red ant", "red cat"))


def _cut_short(folder: Path) -> None:
    file = folder / "model.json"
    file.write_bytes(file.read_bytes()[:200])


def _a_list(folder: Path) -> None:
    (folder / "model.json").write_text("[]")


def _missing(folder: Path) -> None:
    (folder / "load.py").unlink()


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (_weights, "model.safetensors was changed"),
    (_classes, "model.json was changed"),
    (_cut_short, "model.json cannot be read"),
    (_a_list, "model.json cannot be read"),
    (_missing, "load.py cannot be read"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_a_folder_whose_files_were_changed_is_refused(
    change: Callable[[Path], None], said: str, probe_folder: Made, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(probe_folder.folder, folder)
    tlsweep.load_model(folder)
    change(folder)
    with pytest.raises(Refusal, match=said):
        tlsweep.load_model(folder)


def test_a_folder_that_is_no_model_is_refused_and_the_one_inside_is_named(
    probe_folder: Made, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=f"mend: model={probe_folder.folder}"):
        tlsweep.load_model(probe_folder.folder.parent)
    with pytest.raises(Refusal, match="no such folder"):
        tlsweep.load_model(tmp_path / "none")


def test_a_model_of_another_layout_is_refused_with_the_version_that_wrote_it(
    probe_folder: Made, tmp_path: Path
) -> None:
    from tlsweep.model.card import read_card, write_card

    folder = tmp_path / "copy"
    shutil.copytree(probe_folder.folder, folder)
    write_card(folder, read_card(folder).model_copy(update={"layout": 99}))
    with pytest.raises(Refusal, match=f"tlsweep=={tlsweep.__version__}"):
        tlsweep.load_model(folder)


def test_every_image_that_cannot_be_decoded_is_named(probe_folder: Made, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"not an image")
    model = tlsweep.load_model(probe_folder.folder)
    with pytest.raises(Refusal) as refusal:
        model.predict([tmp_path / "a.jpg", tmp_path / "b.png", tmp_path / "c.png"])
    assert [fault.value.split(" (")[0][-5:] for fault in refusal.value.faults] == [
        "a.jpg",
        "b.png",
        "c.png",
    ]
    assert model.predict([]).shape == (0, 2)
    assert np.isfinite(model.predict([Image.new("L", (5, 300))]).numpy()).all()


@pytest.mark.parametrize("plan", ["truncate", "truncate_tuned"])
def test_a_head_at_a_cut_point_for_a_prefix_only_comes_back_as_it_was_and_its_program_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: str
) -> None:
    asked = Asked(tmp_path, monkeypatch)
    settings = asked(f"plan={plan}", "plan.keep=layers.1", "train.epochs=1")
    made = (probe if plan == "truncate" else trained)(settings, tmp_path)
    model = tlsweep.load_model(made.folder)
    program = torch.export.load(made.folder / "model.pt2").module()
    with torch.no_grad():
        assert torch.equal(model(made.x), made.logits)
        off = (program(made.x) - made.logits).abs().max()
    assert off <= 1e-4 * made.logits.abs().max()
    names = set(load_file(made.folder / "model.safetensors"))
    assert not {name for name in names if "last" in name or "layers.2" in name}
