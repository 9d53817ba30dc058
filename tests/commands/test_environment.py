"""What a command sets for itself and for the processes that it starts, it leaves to nobody else."""

from __future__ import annotations

import os

import pytest

from tlsweep import cli


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("source=module", "source.build=own:build", "source.image_size=99999"), 2),
        (("source.widht=3",), 2),
        (("--cfg", "job"), 0),
        (("cache", "source.build=own:build"), 2),
    ],
)
@pytest.mark.parametrize("before", [None, "0"])
def test_a_command_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...], code: int, before: str | None
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if before is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", before)
    kept = dict(os.environ)
    monkeypatch.setattr("sys.argv", ["tlsweep", *line])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"} == {
        k: v for k, v in kept.items() if k != "GOMP_SPINCOUNT"
    }
