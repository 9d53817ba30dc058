"""A survey's findings become finished trials, guide the search, and are found again in its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlsweep import guide
from tlsweep.guide import SURVEY_FILE, Surveyed
from tlsweep.survey.rows import Findings, Row

ROW = Row("block", 0, "source", "logistic", 0.01, 60, 0, 0.0)


def findings_of(scores: list[float]) -> Findings:
    rows = [replace(ROW, cut=f"c{i}", index=i, score=score) for i, score in enumerate(scores)]
    random = [replace(row, weights="random", score=0.1) for row in rows]
    return Findings((*rows, *random), (), 1.0)


def test_all_cut_points_enter_where_there_is_room_best_first() -> None:
    plans = guide._frozen_plans(findings_of([0.5, 0.9, 0.7]), room=10)
    assert [plan[1] for plan in plans] == [
        "plan.keep=c1", "plan.keep=c2", "plan.keep=c0", "plan.keep=c1",
    ]  # fmt: skip
    assert plans[-1][0] == "plan=random_features"


@pytest.mark.parametrize("room", [2, 3, 4])
def test_where_room_is_short_the_best_and_the_last_enter(room: int) -> None:
    plans = guide._frozen_plans(findings_of([0.5, 0.9, 0.7, 0.8, 0.3]), room)
    assert len(plans) == room
    kept = [plan[1] for plan in plans if plan[0] == "plan=truncate"]
    assert kept[0] == "plan.keep=c1"
    assert room == 2 or "plan.keep=c4" in kept


def test_of_equal_heads_the_most_penalised_and_of_equal_cut_points_the_lowest_leads() -> None:
    rows = [
        replace(ROW, cut=f"c{i}", index=i, score=0.5, regularisation=penalty)
        for i in range(2)
        for penalty in (1e-3, 1e-1, 1e-2)
    ]
    findings = Findings(tuple(rows), (), 1.0)
    assert findings.ranking() == [0, 1]
    assert {row.regularisation for row in findings.best().values()} == {1e-1}


# ------------------------------------------------------------------ kept for the next session
def surveyed() -> Surveyed:
    findings = findings_of([0.5, 0.9, 0.7])
    draw = np.random.default_rng(0)
    places = [(weights, i) for weights in ("source", "random") for i in range(3)]
    return Surveyed(findings, {place: draw.random(20) < 0.7 for place in places})


def test_a_session_that_goes_on_finds_what_the_first_one_found(tmp_path: Path) -> None:
    first = surveyed()
    guide._keep(tmp_path, "asked", first)
    found = guide._kept(tmp_path, "asked")
    assert found is not None
    assert found.findings == first.findings
    assert set(found.hits) == set(first.hits)
    assert all(np.array_equal(found.hits[place], first.hits[place]) for place in first.hits)


@pytest.mark.parametrize("damage", ["nothing", "asked", "json", "rows", "hits", "half"])
def test_what_was_asked_otherwise_or_is_damaged_is_surveyed_anew(
    damage: str, tmp_path: Path
) -> None:
    if damage != "nothing":
        guide._keep(tmp_path, "asked otherwise" if damage == "asked" else "asked", surveyed())
    file, hits = tmp_path / SURVEY_FILE, guide._hits_file(tmp_path)
    if damage == "json":
        file.write_text(file.read_text()[:100])
    if damage == "rows":
        content = json.loads(file.read_text())
        del content["rows"][0]["score"]
        file.write_text(json.dumps(content))
    if damage == "hits":
        hits.unlink()
    if damage == "half":
        hits.write_bytes(hits.read_bytes()[:100])
    assert guide._kept(tmp_path, "asked") is None


def test_others_may_read_the_file(tmp_path: Path) -> None:
    (tmp_path / "as made").touch()
    guide._keep(tmp_path, "asked", surveyed())
    assert (tmp_path / SURVEY_FILE).stat().st_mode == (tmp_path / "as made").stat().st_mode
