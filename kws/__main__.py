"""`python -m kws`, the same as `kws`."""

from kws.cli import script

script()
