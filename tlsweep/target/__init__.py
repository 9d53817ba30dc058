"""Targets: the data that is transferred to.

A target is one file that yields a partitioned dataset.
"""

from tlsweep.target.augment import Augmentation
from tlsweep.target.base import Progress, Target
from tlsweep.target.images import ImageTarget
from tlsweep.target.partition import Partition, partition
from tlsweep.target.registry import asked, check_target, open_target

__all__ = [
    "Augmentation",
    "ImageTarget",
    "Partition",
    "Progress",
    "Target",
    "asked",
    "check_target",
    "open_target",
    "partition",
]
