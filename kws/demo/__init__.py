"""The demonstration recording: what it holds and how it was made is in README.md beside it."""

from pathlib import Path

RECORDING = Path(__file__).parent / "commands.opus"
SPOKEN = Path(__file__).parent / "commands.json"  # what is said in it, from when to when
