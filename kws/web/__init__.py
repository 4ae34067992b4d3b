"""Keyword spotting in web pages: the npm package kws-web, and the page of `kws serve --http`.

The JavaScript modules in this folder are the npm package; README.md beside them is its own.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
# What `python -m kws.web.bundle` fetches, beside the environment's packages: the same place whether
# kws is run from its source or installed.
RUNTIME = Path(sys.prefix) / "share" / "kws" / "web"
