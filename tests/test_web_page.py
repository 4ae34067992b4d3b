"""The page in a real browser, whose microphone is a recording: it detects what Python detects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from test_documents import script

pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'kws[web]'")

from kws import AudioFile, Detector, load_model
from kws.app.events import Paused, Ready, Resumed
from kws.app.servers import Servers
from kws.app.servers.address import Address
from kws.app.servers.http import HttpServer
from kws.app.servers.site import read_site
from kws.decision import Detection

SECONDS = 7  # of the demonstration, with three of its words
tool = script("web_page")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the demonstration, and silence."""
    audio = tool.demonstration()[: SECONDS * 16_000]
    path = tmp_path_factory.mktemp("microphone") / "words.wav"
    soundfile.write(path, np.concatenate([audio, np.zeros(32_000, np.int16)]), 16_000)
    return path


@pytest.fixture(scope="module")
def page(
    web_runtime: Path, recording: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Servers, list[bool]]]:
    """A browser with the page open, the server, and how its mute switch was used."""
    if not tool.available():
        pytest.skip("no Chromium; on Debian: apt-get install chromium chromium-driver")
    muted: list[bool] = []

    def mute(value: bool) -> None:
        muted.append(value)
        servers.put(Paused(1.0) if value else Resumed(1.0))

    site = read_site(None, {}, web_runtime)
    servers = Servers([HttpServer(Address("127.0.0.1", 0), None, *site)], mute)
    (url,) = servers.start()
    folder = tmp_path_factory.mktemp("user")
    with (
        contextlib.closing(servers),
        contextlib.closing(tool.Browser(folder, recording)) as browser,
    ):
        browser.open(url)
        yield browser, servers, muted


def texts(browser: Any, selector: str) -> list[str]:
    found: list[str] = browser.run(
        f"return [...document.querySelectorAll('{selector}')].map((each) => each.textContent)"
    )
    return found


def test_the_device(page: tuple[Any, Servers, list[bool]]) -> None:
    """Words, detections and the switch; the page follows the device, and the device the page."""
    browser, servers, muted = page
    manifest = load_model().manifest
    servers.put(Ready(1.0, "a microphone", manifest, manifest.thresholds))
    browser.wait("document.querySelector('#device .words span')")
    assert list(manifest.thresholds) == texts(browser, "#device .words span")
    servers.put(Detection("stop", 0.87, 1.0, 2.0, time=1_800_000_000.0))
    browser.wait("document.querySelector('#device li strong')")
    assert ["stop", "0.87"] == texts(browser, "#device ol :not(li, time)")
    for word in ("Unmute", "Mute"):
        browser.click("#mute")
        browser.wait(f"document.getElementById('mute').textContent === '{word}'")
    assert [True, False] == muted


def test_the_browsers_own_microphone(
    page: tuple[Any, Servers, list[bool]], recording: Path
) -> None:
    """The words of the recording, in their order, and nothing that the policy forbids."""
    browser, _, _ = page
    with Detector() as detector, AudioFile(recording) as source:
        expected = [found.keyword for found in detector.listen(source)]
    assert len(expected) >= 2
    browser.wait("!document.getElementById('listen').disabled")
    browser.click("#listen")
    browser.wait(f"document.querySelectorAll('#browser li strong').length >= {len(expected)}")
    assert expected == texts(browser, "#browser li strong")[::-1]
    browser.click("#listen")
    browser.wait("document.getElementById('listen').textContent === 'Listen'")
    assert [] == browser.messages()
