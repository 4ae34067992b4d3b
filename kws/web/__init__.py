"""Keyword spotting in web pages: the npm package kws-web, and the page of `kws serve --http`.

The JavaScript modules in this folder are the npm package; README.md beside them is its own.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
RUNTIME = FOLDER / "runtime"  # what `python -m kws.web.bundle` fetches
