"""Activations of blocks, computed in one pass or found in the store."""
