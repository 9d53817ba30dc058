"""A whole sweep: its story, its stages, and what they share."""
