"""How pytest-xdist shares the tests out: by file, and some files together."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Files whose tests never run beside each other, the longest first. Microphones of software keep
# real time, and what the web page needs is fetched into one folder.
TOGETHER = {
    "microphones": ("test_virtual_microphone", "test_doctor", "test_listen_microphone"),
    "web": ("test_web_module", "test_web_page"),
}
GROUPS = {file: group for group, files in TOGETHER.items() for file in files}


class Scheduling(LoadFileScheduling):
    """The tests of a file, or of files that belong together, run in one process."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # the most tests are not the longest
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).stem
        return GROUPS.get(file, file)


def sort(items: list[pytest.Item]) -> None:
    """Those that belong together come first: the last to begin should not be the longest."""
    order = list(GROUPS)
    items.sort(key=lambda item: order.index(item.path.stem) if item.path.stem in GROUPS else 99)
