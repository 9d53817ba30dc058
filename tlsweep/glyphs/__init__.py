"""Letters drawn on the spot: what the embedded source and targets are made of."""
