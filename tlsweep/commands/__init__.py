"""Sub-commands of ``python -m tlsweep``, one file each."""
