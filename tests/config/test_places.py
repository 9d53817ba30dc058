"""A path means the folder that its command was typed in, wherever it is read afterwards."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from tlsweep.config.read import read, to_yaml
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.files import absolute_url, sqlite_url
from tlsweep.section import AS_TYPED, TYPED_IN, Place, TargetSettings

CONF = (Path(__file__).parents[2] / "conf").resolve()
TYPED = Path("/where/it/was typed")
PATHS = (
    "output_dir=runs",
    "features.cache_dir=kept",
    "record.tracking_uri=sqlite:///m.db",
    "sweep.storage=sqlite:///s.db",
    "source=torchvision",
    "source.checkpoint=../w.pt",
    "target=image_folder",
    "target.root=pets/",
)


def settings(*overrides: str, typed_in: Path | None = TYPED) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read(compose("config", overrides=list(overrides)), typed_in)


def test_every_path_of_the_config_is_absolute() -> None:
    found = settings(*PATHS)
    assert found.output_dir == f"{TYPED}/runs"
    assert found.features.cache_dir == f"{TYPED}/kept"
    assert found.source.checkpoint == f"{TYPED}/../w.pt"  # type: ignore[attr-defined]
    assert found.target.root == f"{TYPED}/pets/"  # type: ignore[attr-defined]
    assert make_url(str(found.sweep.storage)).database == f"{TYPED}/s.db"
    assert make_url(str(found.record.tracking_uri)).database == f"{TYPED}/m.db"  # type: ignore[union-attr]
    assert settings("source.cache_dir=own").source.cache_dir == f"{TYPED}/own"  # type: ignore[attr-defined]
    assert "runs" not in to_yaml(found).replace(f"{TYPED}/runs", "")


def test_by_default_paths_are_seen_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings("output_dir=runs", typed_in=None).output_dir == str(tmp_path / "runs")


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    found = settings("target=image_folder", "target.root='~/pets'", "record.tracking_uri='~/ml'")
    assert found.target.root == "/home/ada/pets"  # type: ignore[attr-defined]
    assert found.record.tracking_uri == "/home/ada/ml"  # type: ignore[union-attr]


def test_a_study_knows_its_question_by_the_paths_as_they_were_typed() -> None:
    here, there = settings(*PATHS), settings(*PATHS, typed_in=Path("/elsewhere"))
    assert here.question() == there.question()
    assert here.question()["source.checkpoint"] == "../w.pt"
    assert not [v for v in here.question().values() if str(TYPED) in str(v)]


def test_a_name_stays_a_name_unless_there_is_a_folder_of_it(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    for typed, meant in (("small", f"{tmp_path}/small"), ("owner/name", "owner/name")):
        given = ("source=transformers", f"source.model={typed}")
        found = settings(*given, typed_in=tmp_path)
        assert found.source.model_dump()["model"] == meant
        assert found.question()["source.model"] == typed


def test_the_name_of_a_target_is_still_that_of_its_folder_as_typed() -> None:
    for typed, name in (("my pets/", "my_pets"), (".", "images"), ("/a/b", "b")):
        found = settings("target=image_folder", f"target.root='{typed}'")
        assert found.target.title == name


class Own(TargetSettings):
    """Settings of a target of another package."""

    name: Literal["own"]
    files: list[Place]
    more: Place | None


def test_paths_of_another_packages_component_are_absolute_too() -> None:
    usual: dict[str, Any] = {"metric": None, "fit_size": None, "folds": "auto", "split_seed": 0}
    shares = {"select_fraction": 0.2, "report_fraction": 0.2}
    written = {"name": "own", "files": ["a", "/b"], "more": "c", **usual, **shares}
    own = Own.model_validate(written, context={TYPED_IN: TYPED})
    assert own.files == [f"{TYPED}/a", "/b"]
    again = pickle.loads(pickle.dumps(own))
    for found in (own, again):
        assert found.model_dump()["more"] == f"{TYPED}/c"
        assert found.model_dump(context={AS_TYPED: True})["files"] == ["a", "/b"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mlruns", "/t/mlruns"),
        ("./mlruns", "/t/./mlruns"),
        ("file:mlruns", "file:///t/mlruns"),
        ("file:///mlruns", "file:///mlruns"),
        ("sqlite:///m.db", "sqlite:////t/m.db"),
        ("sqlite:////m.db", "sqlite:////m.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("databricks", "databricks"),
        ("postgresql+psycopg://me:s3@host/db", "postgresql+psycopg://me:s3@host/db"),
    ],
)
def test_an_address_is_absolute_where_it_is_in_a_file(written: str, meant: str) -> None:
    assert absolute_url(written, Path("/t")) == meant


@given(st.text("ab #%25{}[]'+=&é~.", min_size=1, max_size=20))
def test_the_url_of_a_database_leads_to_its_file_whatever_is_in_its_name(name: str) -> None:
    file = Path("/folder") / name
    assert make_url(sqlite_url(file)).database == str(file)
    assert make_url(absolute_url(sqlite_url(file), Path("/t"))).database == str(file)


def test_a_path_that_is_no_text_is_refused_with_a_link_as_the_mend() -> None:
    with pytest.raises(Refusal) as caught:
        settings("target=image_folder", "target.root='caf\udce9'")
    (fault,) = caught.value.faults
    assert fault.rule == "the path is UTF-8: another name, or a link to it (ln -s)"
