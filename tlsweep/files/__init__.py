"""Files: paths that mean the same everywhere, whole writes, and the databases that lie in files."""

from tlsweep.files.paths import (
    absolute,
    absolute_url,
    at_home,
    cache_folder,
    in_words,
    make_folder,
    sqlite_url,
    write_whole,
)

__all__ = [
    "absolute",
    "absolute_url",
    "at_home",
    "cache_folder",
    "in_words",
    "make_folder",
    "sqlite_url",
    "write_whole",
]
