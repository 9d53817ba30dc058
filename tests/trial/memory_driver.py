"""Trains one plan with only so many MB more than it has before: MB, then overrides."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil
from hydra import compose, initialize_config_dir

from tlsweep.config.read import read
from tlsweep.errors import is_out_of_memory
from tlsweep.trial import checked
from tlsweep.trial.train import train

CONF = Path(__file__).parents[2] / "conf"
more, overrides = int(sys.argv[1]), sys.argv[2:]
with initialize_config_dir(str(CONF), version_base="1.3"):
    warm, asked = (
        read(compose("config", overrides=[*overrides, *also]))
        for also in (["train.batch_size=16"], [])
    )
epochs: list[int] = []


def hear(epoch: int, metrics: dict[str, float], least: int) -> bool:
    epochs.append(epoch)
    return False


train(warm, checked(warm), lambda *told: False)  # all that is loaded and stored once is there
has = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (has + more * 2**20, -1))
try:
    found = train(asked, checked(asked), hear)
except RuntimeError as error:
    if not is_out_of_memory(error):
        raise
    sys.stdout.write(f"failed: {str(error).splitlines()[0]}\n")
else:
    sys.stdout.write(f"trained in epochs {epochs}: {found.start}\n")
