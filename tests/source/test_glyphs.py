"""The embedded source is trained once, kept whole, and made again when damaged."""

from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path

import pytest
import torch

from tlsweep.errors import Refusal
from tlsweep.glyphs.fonts import FONTS
from tlsweep.glyphs.images import LETTERS, Warp, draw_sheets, render
from tlsweep.source import check_source, open_source
from tlsweep.source.glyph_pretraining import Recipe, pretrain

TINY = Recipe(steps=4, batch_size=8, holdout=16)


class Steps:
    """Counts the steps that were trained."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int, message: str) -> None:
        self.seen.append((done, total))


def opened(folder: Path, recipe: Recipe = TINY) -> tuple[str, int]:
    steps = Steps()
    source = open_source("glyphs", cache_dir=folder, recipe=recipe, progress=steps)
    return source.fingerprint, len(steps.seen)


def test_every_letter_of_every_font_is_drawn_in_another_way() -> None:
    sheets = draw_sheets()
    assert sheets.shape == (len(FONTS) * len(LETTERS), 1, 64, 64)
    assert len({sheet.numpy().tobytes() for sheet in sheets}) == len(sheets)


def test_no_letter_is_cut_off_at_the_edge_of_its_sheet() -> None:
    sheets = draw_sheets().clone()
    sheets[:, :, 1:-1, 1:-1] = 0
    assert int(sheets.max()) == 0


def test_renderings_follow_their_generator_alone() -> None:
    sheets = draw_sheets()
    one, letters = render(sheets, 6, Warp(), torch.Generator().manual_seed(1))
    two, same = render(sheets, 6, Warp(), torch.Generator().manual_seed(1))
    other, _ = render(sheets, 6, Warp(), torch.Generator().manual_seed(2))
    assert torch.equal(one, two)
    assert torch.equal(letters, same)
    assert not torch.equal(one, other)


def test_training_reports_each_step(tmp_path: Path) -> None:
    steps = Steps()
    open_source("glyphs", cache_dir=tmp_path, recipe=TINY, progress=steps)
    assert steps.seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_second_opening_trains_nothing(tmp_path: Path) -> None:
    first, trained = opened(tmp_path)
    assert trained == TINY.steps
    assert opened(tmp_path) == (first, 0)


def test_another_recipe_is_kept_beside_the_first(tmp_path: Path) -> None:
    first, _ = opened(tmp_path)
    other, trained = opened(tmp_path, Recipe(steps=5, batch_size=8, holdout=16))
    assert other != first
    assert trained == 5
    assert opened(tmp_path) == (first, 0)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_a_damaged_file_is_dropped_with_a_message_and_made_again(
    tmp_path: Path, suffix: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = opened(tmp_path)
    (file,) = (tmp_path / "glyphs").glob(f"*{suffix}")
    whole = file.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "empty": b"", "garbage": b"x" * len(whole)}
    file.write_bytes(content[damage])
    with caplog.at_level(logging.WARNING):
        again, trained = opened(tmp_path)
    assert trained == TINY.steps
    assert again == first
    assert "damaged" in caplog.text
    assert opened(tmp_path)[1] == 0


def test_weights_that_were_deleted_are_made_again(tmp_path: Path) -> None:
    opened(tmp_path)
    (file,) = (tmp_path / "glyphs").glob("*.safetensors")
    file.unlink()
    assert opened(tmp_path)[1] == TINY.steps


def test_a_record_that_is_valid_json_of_another_shape_is_made_again(tmp_path: Path) -> None:
    opened(tmp_path)
    (file,) = (tmp_path / "glyphs").glob("*.json")
    file.write_text(json.dumps(["not", "a", "record"]))
    assert opened(tmp_path)[1] == TINY.steps


def test_two_processes_at_once_train_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(opened, [tmp_path, tmp_path], chunksize=1)
    assert results[0][0] == results[1][0]
    assert sorted(trained for _, trained in results) == [0, TINY.steps]


def test_training_works_where_gradients_are_switched_off(tmp_path: Path) -> None:
    with torch.inference_mode():
        inside, _ = opened(tmp_path / "inside")
    assert inside == opened(tmp_path / "outside")[0]


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="TLSWEEP_CACHE=FOLDER"):
        opened(tmp_path / "file")


def test_a_cache_that_cannot_be_written_to_is_enough_where_it_has_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(tmp_path)
    monkeypatch.setattr("tlsweep.source.glyphs.make_folder", lambda _: pytest.fail("written to"))
    check_source("glyphs", cache_dir=tmp_path, recipe=TINY)
    assert opened(tmp_path) == (made[0], 0)


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "own"))
    open_source("glyphs", recipe=TINY)
    assert list((tmp_path / "own" / "glyphs").glob("*.safetensors"))


def test_a_minute_fraction_of_the_recipe_already_learns_letters() -> None:
    short = pretrain(Recipe(steps=60, batch_size=64, holdout=500))
    assert short.accuracy > 0.3  # guessing gives 1 / 26
