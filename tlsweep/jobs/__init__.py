"""What knows Hydra below the door: overrides, the launcher, other apps."""
