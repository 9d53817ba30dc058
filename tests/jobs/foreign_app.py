"""A Hydra app that knows nothing of tlsweep: a parabola with its lowest point at x=2, kind=b."""

from __future__ import annotations

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

ConfigStore.instance().store(
    name="config",
    node={
        "x": 0.0,
        "kind": "a",
        "returns": "number",
        "defaults": [{"override hydra/sweeper": "tlsweep"}, "_self_"],
        "hydra": {"sweeper": {"direction": "minimize", "params": {"kind": "choice(a,b)"}}},
    },
)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config: DictConfig) -> float | None:
    """The value at a point; ``returns`` says how this app misbehaves."""
    print(f"point {config.x} {config.kind}")  # noqa: T201
    if config.returns == "error":
        raise RuntimeError("this app is broken")
    if config.returns == "nothing":
        return None
    return float((config.x - 2.0) ** 2 + (config.kind == "a"))


if __name__ == "__main__":
    main()
