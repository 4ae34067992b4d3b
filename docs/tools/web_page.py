"""Draw the page of `kws serve --http` in a real browser: the picture in docs/web.md.

python docs/tools/web_page.py [--out docs/pictures/web.png]

Chromium and its driver (Debian: chromium chromium-driver) are the browser. Both microphones are the
demonstration recording: the device's through a pipe, the browser's as Chromium's fake one. The page
needs its runtime: python -m kws.web.bundle
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from kws import AudioFile
from kws.demo import RECORDING

TIMEOUT = 120.0  # seconds, for anything
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)


def available() -> bool:
    """Whether Chromium and its driver are here."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """A headless Chromium whose microphone is a recording, driven by the WebDriver protocol."""

    def __init__(self, folder: Path, recording: Path, height: int = 960) -> None:
        """`folder` is empty and stays with it; `recording` is a WAV file, played once.

        `height` is that of the window, in pixels.
        """
        port = free_port()
        self._base = f"http://127.0.0.1:{port}"
        self._session = ""
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait(self._is_ready, "chromedriver")
            flags = [
                *FLAGS,
                f"--window-size=1040,{height}",
                f"--user-data-dir={folder}",
                f"--use-file-for-fake-audio-capture={recording}%noloop",
            ]
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"args": flags},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            value = self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self._session = f"/{value['sessionId']}"
        except BaseException:
            self.close()
            raise

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """What a script that returns something returns in the page."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        """Click an element, as a person does."""
        (place,) = self._call(
            "POST", "/element", {"using": "css selector", "value": selector}
        ).values()
        self._call("POST", f"/element/{place}/click", {})

    def wait(self, condition: str) -> None:
        """Until this expression is true in the page; else the error has what the page shows."""
        try:
            wait(lambda: self.run(f"return {condition}"), condition)
        except RuntimeError as error:
            shown = self.run("return document.body.innerText")
            raise RuntimeError(f"{error}; the page: {shown!r}, {self.messages()}") from error

    def messages(self) -> list[str]:
        """What the console has shown since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError):
            if self._session:
                self._call("DELETE", "")
        self._driver.terminate()
        self._driver.wait()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base}/status", timeout=TIMEOUT) as response:
                return bool(json.load(response)["value"]["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        url = f"{self._base}/session{self._session}{path}"
        request = urllib.request.Request(url, body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode(errors="replace")[:500]) from error


@contextlib.contextmanager
def served() -> Iterator[str]:
    """`kws serve --http` at a free port, listening to the demonstration again and again."""
    url = f"http://127.0.0.1:{free_port()}/"
    command = [sys.executable, "-m", "kws", "serve", "--input", "-", "--quiet", "--http", url[7:-1]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    threading.Thread(target=speak, args=(process.stdin,), daemon=True).start()
    try:
        wait(lambda: process.poll() is not None or answers(url), "kws serve")
        if process.returncode is not None:
            raise RuntimeError(f"kws serve ended with {process.returncode}")
        yield url
    finally:
        process.terminate()
        process.wait()


def speak(pipe: IO[bytes]) -> None:
    """Write the demonstration at its own pace until the other end is closed."""
    audio = demonstration()
    with contextlib.suppress(OSError):
        while True:
            for block in np.array_split(audio, len(audio) // 1_280):
                pipe.write(block.tobytes())
                pipe.flush()
                time.sleep(len(block) / 16_000)


def demonstration() -> NDArray[np.int16]:
    """The demonstration recording, 16 kHz."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT):
            return True
    except OSError:
        return False


def write_recording(path: Path) -> None:
    """The demonstration recording as a WAV file, with silence before and after it."""
    silence = np.zeros(16_000, np.int16)
    soundfile.write(path, np.concatenate([silence, demonstration(), silence]), 16_000)


def wait(done: Callable[[], Any], what: str) -> Any:
    """Until it returns something true, which is returned; `what` names it in the error."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        value = done()
        if value:
            return value
        time.sleep(0.05)
    raise RuntimeError(f"{what}: waited {TIMEOUT:.0f} s in vain")


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Take the picture and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/web.png"))
    parser.add_argument("--words", type=int, default=4, help="that the browser has detected")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        recording = Path(folder) / "microphone.wav"
        write_recording(recording)
        with served() as url, contextlib.closing(Browser(Path(folder) / "user", recording)) as page:
            page.open(url)
            page.wait("!document.getElementById('listen').disabled")
            page.click("#listen")
            page.wait(f"document.querySelectorAll('#browser li strong').length >= {options.words}")
            options.out.write_bytes(page.picture())
    print(f"{options.out}: {os.stat(options.out).st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
