"""Names that lead out of their folder are refused; what is read elsewhere is never written to."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlsweep.commands.worker import run as work
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.trial import resolve, train_plan

Make = Callable[..., Settings]
CONF = (Path(__file__).parents[2] / "conf").resolve()
OUT = ("../../x", "/x", "..", ".hidden", "a/b", "a/../../x", "a\\\\b", "optuna.db", "artifacts")


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files below a folder: when each was written, and what is in it."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def images(folder: Path, n: int = 40) -> list[Path]:
    """Images of noise, in a folder of their own."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    made = [folder / f"{i}.png" for i in range(n)]
    for file in made:
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)
    return made


@pytest.mark.parametrize("name", OUT)
def test_a_study_has_a_folder_in_its_output_folder_and_no_other(name: str, settings: Make) -> None:
    with pytest.raises(Refusal, match="study"):
        settings(f"study='{name}'")


@pytest.mark.parametrize("name", OUT[:4])
def test_a_worker_joins_no_study_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="study"):
        work([f"study='{name}'", f"output_dir={tmp_path}"], CONF)


@pytest.mark.parametrize(
    "name", ["../../out/a/1.png", "/out/a/1.png", "a/../../1.png", "c:\\1.png"]
)
def test_a_zip_whose_names_lead_out_of_it_is_refused_and_nothing_is_unpacked(
    name: str, settings: Make, tmp_path: Path
) -> None:
    (image, *_) = images(tmp_path / "there", 1)
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as made:
        made.write(image, "a/0.png")
        made.writestr(zipfile.ZipInfo(name), image.read_bytes())  # as it is written
    before = content(tmp_path)
    with pytest.raises(Refusal, match="leads out of the zip"):
        resolve(settings("target=image_folder", f"target.root={tmp_path / 'own.zip'}"))
    assert content(tmp_path) == before


def test_a_table_may_name_files_anywhere_which_are_read_and_not_written_to(
    settings: Make, tmp_path: Path
) -> None:
    files = images(tmp_path / "elsewhere" / "images")
    lines = [f"{file},{'ab'[i % 2]}" for i, file in enumerate(files)]
    lines[1] = f"../elsewhere/images/1.png,{lines[1][-1]}"
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "own.csv"
    table.write_text("\n".join(["path,label", *lines]) + "\n")
    before = content(tmp_path / "elsewhere"), content(tmp_path / "tables")
    out = tmp_path / "out"
    asked = settings(
        "target=manifest", f"target.file={table}", "target.fit_size=20", "plan=truncate",
        "plan.keep=1", f"output_dir={out}", f"features.cache_dir={out}",
    )  # fmt: skip
    train_plan(resolve(asked), None)
    assert (content(tmp_path / "elsewhere"), content(tmp_path / "tables")) == before
