"""Every cut point at once: taps in one pass, heads in batches, transferability scores."""
