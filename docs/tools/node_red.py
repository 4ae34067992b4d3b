"""Draw the flow of docs/node-red.md in Node-RED's editor, with what `kws listen` has posted to it.

npm install --prefix DIR node-red
python docs/tools/node_red.py DIR [--out docs/pictures/node-red.png]

Node-RED runs at this machine's loopback address while the picture is taken. The browser is that of
web_page.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from web_page import Browser, answers, free_port, wait, write_recording

from kws.demo import RECORDING

PAGE = Path(__file__).parent.parent / "node-red.md"
SETTINGS = """module.exports = {{
  uiHost: "127.0.0.1", uiPort: {port}, flowFile: "flows.json",
  telemetry: {{ enabled: false, updateNotification: false }}, editorTheme: {{ tours: false }},
}};
"""


def flow() -> list[dict[str, Any]]:
    """The nodes that the page shows."""
    found = re.search(r"^```json\n(\[.*?^\])$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    nodes: list[dict[str, Any]] = json.loads(found.group(1))
    return nodes


@contextlib.contextmanager
def node_red(program: Path, folder: Path) -> Iterator[str]:
    """Node-RED with the flow deployed; its address."""
    port = free_port()
    (folder / "settings.js").write_text(SETTINGS.format(port=port))
    tab = {"id": "tab", "type": "tab", "label": "kws"}
    nodes = [tab, *({**node, "z": "tab"} for node in flow())]
    (folder / "flows.json").write_text(json.dumps(nodes))
    command = ["node", program, "-s", folder / "settings.js", "-u", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        wait(lambda: process.poll() is not None or answers(url), "Node-RED")
        yield url
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    """Take the picture and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="in which npm has installed node-red")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/node-red.png"))
    options = parser.parse_args()
    program = options.folder / "node_modules" / "node-red" / "red.js"
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_recording(folder / "microphone.wav")
        with (
            node_red(program, folder) as url,
            contextlib.closing(Browser(folder / "user", folder / "microphone.wav", 520)) as page,
        ):
            page.open(url)
            page.wait("window.RED && RED.nodes.node('kws-in')")
            page.run("RED.sidebar.show('debug'); RED.menu.setSelected('menu-item-palette', false)")
            command = [sys.executable, "-m", "kws", "listen", "--quiet", "--keywords", "stop,go"]
            command += ["--input", str(RECORDING), "--webhook", f"{url}kws"]
            subprocess.run(command, check=True)
            page.wait("document.querySelectorAll('.red-ui-debug-msg').length >= 2")
            time.sleep(1.0)  # while it is drawn
            options.out.write_bytes(page.picture())
    print(f"{options.out}: {options.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
