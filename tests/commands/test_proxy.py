"""A proxy listens on this machine alone, unless it is told otherwise, and then it says the risk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tlsweep.commands import proxy
from tlsweep.errors import Refusal

CONF = (Path(__file__).parents[2] / "conf").resolve()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been served: database, host, port."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(proxy, "serve", lambda *told: found.append(told))
    return found


def test_it_listens_on_this_machine_alone(
    served: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.run([f"output_dir={tmp_path}"], CONF)
    assert [told[1:] for told in served] == [("localhost", proxy.PORT)]
    assert "careful" not in capsys.readouterr().out


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "cluster-head"])
def test_told_to_listen_elsewhere_it_warns_that_all_may_change_and_read_it(
    host: str, served: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.run([f"output_dir={tmp_path}", f"host={host}", "port=13001"], CONF)
    assert [told[1:] for told in served] == [(host, 13001)]
    said = " ".join(capsys.readouterr().out.split())
    assert f"careful: whoever reaches {host}:13001 can read and change these studies" in said
    assert "nothing is encrypted on the way" in said


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused(
    port: str, served: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match="a port is a number"):
        proxy.run([f"output_dir={tmp_path}", f"port={port}"], CONF)
    assert not served
