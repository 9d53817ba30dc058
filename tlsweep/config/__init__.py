"""The door: conf/ composed, read, and refused with every fault at once."""
