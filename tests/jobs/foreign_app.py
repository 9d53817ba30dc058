"""A Hydra app that knows nothing of tlsweep: a parabola with its lowest point at x=2, kind=b."""

from __future__ import annotations

from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

ConfigStore.instance().store(
    name="foreign_app",
    node={
        "x": 0.0,
        "kind": "a",
        "returns": "number",
        "defaults": [{"override hydra/sweeper": "tlsweep"}, "_self_"],
        "hydra": {"sweeper": {"params": {"kind": "choice(a,b)"}}},
    },
)


@hydra.main(version_base="1.3", config_path=None, config_name="foreign_app")
def main(config: DictConfig) -> Any:
    """The value at a point; ``returns`` says what else, or how this app misbehaves."""
    print(f"point {config.x} {config.kind}")  # noqa: T201
    if config.returns == "error" or (config.returns == "error at 1" and config.x == 1):
        raise RuntimeError("this app is broken")
    value = float((config.x - 2.0) ** 2 + (config.kind == "a"))
    returned = {
        "number": value,
        "nothing": None,
        "no number": float("nan"),
        "text": "a word",
        "two": [value, abs(config.x)],  # lower and nearer: the best lie at x from 0 to 2
    }
    return returned.get(config.returns, value)


if __name__ == "__main__":
    main()
