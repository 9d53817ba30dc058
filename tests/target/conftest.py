"""Properties are checked without a time limit an example: the machine may be a busy one."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
