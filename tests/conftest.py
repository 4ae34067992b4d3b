"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from kws.errors import KwsError
from kws.model.runtimes import disable_telemetry
from kws.web import bundle

if TYPE_CHECKING:
    from export_model import Exported
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

disable_telemetry()  # some tests import ONNX Runtime by themselves, and start programs


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes test: what takes long begins early."""
    if hasattr(config, "workerinput"):
        from scheduling import sort

        sort(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Some files share a process."""
    from scheduling import Scheduling

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Programs that the tests start get Ctrl-C, even where a background shell ignores it, and a
    hang-up, even under nohup."""
    handlers = {"SIGINT": signal.default_int_handler, "SIGHUP": lambda *_: None}
    before = {
        number: signal.signal(number, handler)
        for name, handler in handlers.items()
        if (number := getattr(signal, name, None)) is not None
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings in the layout of Speech Commands."""
    root = os.environ.get("KWS_DATA")
    if not root:
        pytest.skip("KWS_DATA names no recordings")
    return Path(root) / "speech_commands"


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ONNX model that knows the tones of tone_model."""
    pytest.importorskip("onnx", reason="the test model is made with onnx")
    from tone_model import write_model

    return write_model(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="session")
def exported() -> Exported:
    """A network of random weights and all its files."""
    pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
    from export_model import Exported

    return Exported()


@pytest.fixture
def few_made_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training gets a hundredth of the sounds that are made from nothing, which take seconds."""
    from kws.train import materials

    few = {name: (make, count // 100) for name, (make, count) in materials.MADE.items()}
    monkeypatch.setattr(materials, "MADE", few)


@pytest.fixture(scope="session")
def noise() -> NDArray[np.int16]:
    """Four seconds of noise whose colour and level wander as a room's do."""
    generator = np.random.default_rng(7)
    white = generator.normal(size=4 * 16_000)
    level = np.exp(np.cumsum(generator.normal(0, 0.02, white.shape))) * 300
    return np.clip((white + np.roll(white, 1)) * level, -32768, 32767).astype(np.int16)


@pytest.fixture(scope="session")
def web_runtime() -> Path:
    """The files that run networks in JavaScript, kept in build/ from one run to the next."""
    if not shutil.which("npm"):
        pytest.skip("no npm; on Debian: apt-get install npm")
    folder = Path(__file__).parent.parent / "build" / "web"
    if bundle.missing(folder):
        try:
            bundle.fetch(folder)
        except KwsError as error:
            pytest.skip(f"the runtime cannot be fetched: {error}")
    return folder
