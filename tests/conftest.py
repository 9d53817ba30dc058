"""Shared by all tests."""

from __future__ import annotations

import os

# before torch is imported: threads that spin starve each other when other processes compute
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
