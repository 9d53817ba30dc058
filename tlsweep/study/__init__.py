"""Optuna: search space, storage, asking and telling, pruning. The only room that imports it."""
