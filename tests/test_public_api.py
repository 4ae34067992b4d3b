"""What `import kws` offers: the same names to people, to programs and to type checkers."""

from __future__ import annotations

import io
import os
import pydoc
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import kws

ROOT = Path(__file__).parent.parent
NAMES = {
    *("Detector", "DetectorPool", "Detection", "Listener", "Model", "load_model", "__version__"),
    *("Microphone", "AudioFile", "AudioFeed", "Gap"),
    *("KwsError", "AudioError", "BackendUnavailable", "DataError", "ModelError", "SettingError"),
}


def test_names() -> None:
    """Every public name is there, and no other is made up."""
    assert set(kws.__all__) == NAMES
    for name in NAMES:
        assert getattr(kws, name)
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        kws.Detektor  # noqa: B018


def test_errors_are_kws_errors() -> None:
    """One except clause catches whatever is raised on purpose."""
    errors = [getattr(kws, name) for name in NAMES if name.endswith(("Error", "Unavailable"))]
    assert len(errors) == 6
    assert all(issubclass(error, kws.KwsError) for error in errors)


def test_seen_before_they_are_loaded() -> None:
    """`dir` lists every name in a fresh interpreter, and loads none."""
    code = "import kws, sys; print(*dir(kws)); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, numpy = done.stdout.splitlines()
    assert set(names.split()) >= NAMES
    assert "False" == numpy


def test_help() -> None:
    """`help(kws)` explains every class and function, its parameters included."""
    shown = io.StringIO()
    with redirect_stdout(shown):
        pydoc.Helper(output=shown).help(kws)
    text = shown.getvalue()
    for name in NAMES - {"__version__", "load_model"}:
        assert f"class {name}(" in text, name
    assert "load_model(model: " in text
    assert "sensitivity: 'Sensitivity | None' = None" in text


USER = """
from kws import AudioFile, Detection, Detector, DetectorPool, Gap, KwsError, Listener, load_model
import numpy as np

model = load_model("commands")
detector = Detector(model, threshold={"stop": 0.5}, keywords=("stop", "go"), sensitivity="high")
audio = np.zeros(320, np.int16)
reveal_type(detector)
reveal_type(model)
reveal_type(detector.keywords)
reveal_type(detector.thresholds)
reveal_type(detector.process(audio))
reveal_type(detector.process(audio / np.float32(32768)))
reveal_type(detector.skip(100))
with AudioFile("words.wav") as source, detector as same:
    reveal_type(source)
    reveal_type(same)
    for detection in same.listen(source):
        reveal_type(detection.keyword)
        reveal_type(detection.time)
reveal_type(DetectorPool(model, 2).process([audio, None]))
reveal_type(KwsError("no"))
reveal_type(list(detector.listen([audio, Gap(3)])))
for counted in Listener([audio, Gap(3)]):
    reveal_type(counted)
"""
REVEALED = [
    "kws.detector.Detector",
    "kws.model.load.Model",
    "tuple[str, ...]",
    "typing.Mapping[str, float]",
    *["list[kws.decision.Detection]"] * 3,
    "kws.audio.file.AudioFile",
    "kws.detector.Detector",
    "str",
    "float | None",
    "list[list[kws.decision.Detection]]",
    "kws.errors.KwsError",
    "list[kws.decision.Detection]",
    "kws.decision.Detection",
]
WRONG = """
from kws import Detector, Listener
import numpy as np

Detector(sensitivity="hi")
Detector(threshold="high")
Detector().process([0, 1])
Detector().process(np.zeros(3, np.int32))
Listener(["words.wav"])
"""


def checked(tmp_path: Path, text: str) -> list[str]:
    """What mypy, at its strictest, says of a user's file."""
    pytest.importorskip("mypy", reason="mypy is not installed: `pip install kws[dev]`")
    path = tmp_path / "user.py"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "user.py"]
    done = subprocess.run(
        [*command, "--config-file", os.devnull, "--cache-dir", str(ROOT / ".mypy_cache" / "user")],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("user.py")]


def test_types_of_a_users_file(tmp_path: Path) -> None:
    """mypy --strict knows the type of everything, and none of it is Any."""
    said = checked(tmp_path, USER)
    revealed = [line.split('"')[1] for line in said if "Revealed type" in line]
    assert [line for line in said if "Revealed type" not in line] == []
    assert [name.replace("builtins.", "") for name in revealed] == REVEALED


def test_wrong_types_are_found(tmp_path: Path) -> None:
    """A misspelt sensitivity and audio of the wrong kind are found before the program runs."""
    said = checked(tmp_path, WRONG)
    assert [5, 6, 7, 8, 9] == [int(line.split(":")[1]) for line in said if "error:" in line]
