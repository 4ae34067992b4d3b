"""`python -m kws`, the same as `kws`."""

import sys

from kws.cli import main

sys.exit(main())
