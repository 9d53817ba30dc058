"""Freeze schedules, one file each: which blocks are frozen in which phase of a training."""
