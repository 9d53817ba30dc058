"""Heads: pooling and the new layers, and heads fitted to their optimum without epochs."""
