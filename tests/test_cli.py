"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_model import tone, write_model

from kws import __version__
from kws.cli import COMMANDS, main
from kws.config import SAMPLE_RATE


@pytest.fixture(scope="module")
def model(tones: Path) -> str:
    """The folder of a model that knows two pitches."""
    return str(tones)


@pytest.fixture(scope="module")
def signal_of_two() -> np.ndarray:
    """Two words with pauses around them, (samples,) int16."""
    pause = np.zeros(SAMPLE_RATE, np.int16)
    return np.concatenate([pause, tone("low"), pause, tone("high"), pause])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, signal_of_two: np.ndarray) -> str:
    """The two words as a WAV file."""
    path = tmp_path_factory.mktemp("audio") / "two words.wav"
    soundfile.write(path, signal_of_two, SAMPLE_RATE)
    return str(path)


def kws(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """`kws` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kws", *arguments], capture_output=True, timeout=60, **settings
    )


class TestFront:
    def test_help_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`kws --help` lists the commands with what they are for."""
        with pytest.raises(SystemExit) as stopped:
            main(["--help"])
        assert stopped.value.code == 0
        output = capsys.readouterr().out
        assert all(name in output and summary in output for name, summary in COMMANDS.items())

    @pytest.mark.parametrize("command", COMMANDS)
    def test_help_of_each_command(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        """`kws COMMAND --help` works for each."""
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert f"usage: kws {command}" in capsys.readouterr().out

    @pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["listen", "--help"]])
    def test_help_loads_nothing_heavy(self, arguments: list[str]) -> None:
        """Help and version need no NumPy, so that they are fast."""
        program = (
            "import sys\nfrom kws.cli import main\n"
            f"try: main({arguments!r})\n"
            "except SystemExit: pass\n"
            "heavy = {'numpy', 'onnxruntime', 'sounddevice', 'soundfile', 'rich', 'torch'}\n"
            "print('loaded:', sorted(heavy & sys.modules.keys()))"
        )
        output = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        assert output.endswith("loaded: []\n")

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`kws --version` is one line."""
        with pytest.raises(SystemExit):
            main(["--version"])
        assert capsys.readouterr().out == f"kws {__version__}\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["lissen"],
            ["listen", "--loud"],
            ["listen", "--threshold", "0"],
            ["listen", "--threshold", "1.5"],
            ["listen", "--threshold", "high"],
            ["listen", "--threshold", "nan"],
            ["listen", "--demo", "--input", "a.wav"],
            ["listen", "--device", "1", "--demo"],
            ["devices", "extra"],
        ],
    )
    def test_usage_errors(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """Wrong usage exits with 2 and says so on standard error."""
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "error:" in captured.err


class TestListen:
    def test_lines(self, model: str, recording: str, capsys: pytest.CaptureFixture[str]) -> None:
        """In a pipe: one line per detection on stdout, the rest on stderr."""
        assert main(["listen", "--input", recording, "--model", model]) == 0
        captured = capsys.readouterr()
        assert ["low", "high"] == [line.split()[2] for line in captured.out.splitlines()]
        assert "Listening to" in captured.err
        assert "5.0 s of audio, 2 keywords detected" in captured.err

    def test_json(self, model: str, recording: str, capsys: pytest.CaptureFixture[str]) -> None:
        """--json prints one object per event and nothing else."""
        assert main(["listen", "--input", recording, "--model", model, "--json"]) == 0
        captured = capsys.readouterr()
        ready, *detections, end = [json.loads(line) for line in captured.out.splitlines()]
        assert ["low", "high"] == [d["keyword"] for d in detections]
        assert (1, "ready", "tones") == (ready["v"], ready["event"], ready["model"])
        assert ("end", "end", 5.0, 2) == tuple(
            end[name] for name in ("event", "reason", "seconds", "detections")
        )
        assert captured.err == ""
        assert [(0.0, 0.0), (0.0, 5.0)] == [(each["start"], each["end"]) for each in (ready, end)]
        for spoken, detection in zip((1.0, 3.0), detections, strict=True):
            assert detection["event"] == "detection"
            assert 0.0 < detection["score"] <= 1.0
            assert detection["start"] <= spoken + 0.5 <= detection["end"] + 0.5
            assert spoken < detection["end"] <= spoken + 1.7

    @pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (8_000, 1), (48_000, 6)])
    def test_other_rates(
        self,
        model: str,
        signal_of_two: np.ndarray,
        tmp_path: Path,
        rate: int,
        channels: int,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Stereo, 8 and 44.1 kHz give the same words."""
        import soxr

        audio = soxr.resample(signal_of_two.astype("f4") / 32768, SAMPLE_RATE, rate)
        path = tmp_path / "a.wav"
        soundfile.write(path, np.repeat(audio[:, None], channels, axis=1), rate)
        assert main(["listen", "--input", str(path), "--model", model]) == 0
        output = capsys.readouterr().out
        assert ["low", "high"] == [line.split()[2] for line in output.splitlines()]

    def test_pipe(self, model: str, signal_of_two: np.ndarray) -> None:
        """Raw samples on standard input; an odd byte at the end is reported, not fatal."""
        content = signal_of_two.astype("<i2").tobytes() + b"\x00"
        done = kws("listen", "--input", "-", "--model", model, "--json-plain", input=content)
        assert done.returncode == 0
        words = [json.loads(line)["keyword"] for line in done.stdout.splitlines()]
        assert words == ["low", "high"]
        assert done.stderr.decode().startswith("kws: warning: standard input ended in the middle")

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (None, "No such file"),
            (b"", "is empty"),
            (b"no audio in here", "is not audio"),
        ],
        ids=["missing", "empty", "text"],
    )
    def test_bad_files(
        self,
        content: bytes | None,
        says: str,
        model: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A file that is no audio is one line on stderr and exit 1."""
        path = tmp_path / "a.wav"
        if content is not None:
            path.write_bytes(content)
        assert main(["listen", "--input", str(path), "--model", model]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("kws: error: ")
        assert captured.err.count("\n") == 1
        assert says in captured.err

    def test_garbage_in_a_float_file(
        self, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """NaN and huge floats are made harmless, with a warning."""
        audio = tone("low", seconds=3.0).astype("f4") / 32768
        audio[: SAMPLE_RATE // 2], audio[40_000:] = np.nan, 1e30
        soundfile.write(tmp_path / "a.wav", audio, SAMPLE_RATE, subtype="FLOAT")
        assert main(["listen", "--input", str(tmp_path / "a.wav"), "--model", model]) == 0
        captured = capsys.readouterr()
        assert "low" in captured.out
        assert "not numbers" in captured.err
        assert "times full scale" in captured.err

    @pytest.mark.parametrize("pipe", [b"", b"RIFF\x00\x00\x00\x00WAVE"], ids=["empty", "WAV"])
    def test_bad_pipes(self, pipe: bytes, model: str) -> None:
        """An empty pipe and a file in the pipe are one line and exit 1."""
        done = kws("listen", "--input", "-", "--model", model, input=pipe)
        assert done.returncode == 1
        assert b"kws: error: standard input" in done.stderr
        assert b"Traceback" not in done.stderr

    def test_missing_model(self, recording: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A model that is not there is one line and exit 1."""
        assert main(["listen", "--input", recording, "--model", "nothing"]) == 1
        assert capsys.readouterr().err.startswith("kws: error: there is no model 'nothing'")

    def test_no_microphone(self, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A device that is not there, on a machine with or without microphones and PortAudio."""
        assert main(["listen", "--device", "no such microphone", "--model", model]) == 1
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("kws: error: ")

    def test_reader_goes_away(self, model: str, signal_of_two: np.ndarray, tmp_path: Path) -> None:
        """`kws listen | head -1` ends without a traceback."""
        soundfile.write(tmp_path / "a.wav", np.tile(signal_of_two, 20), SAMPLE_RATE)
        arguments = ["listen", "--input", str(tmp_path / "a.wav"), "--model", model, "--json"]
        with subprocess.Popen(
            [sys.executable, "-m", "kws", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0

    def test_ctrl_c(self, model: str, signal_of_two: np.ndarray) -> None:
        """Ctrl-C ends listening cleanly: what was detected stands, exit 0, no traceback."""
        with subprocess.Popen(
            [sys.executable, "-m", "kws", "listen", "--input", "-", "--model", model, "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(signal_of_two.astype("<i2").tobytes())
            process.stdin.flush()
            ready, first = process.stdout.readline(), process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            assert json.loads(ready)["event"] == "ready"
            assert json.loads(first)["keyword"] == "low"
            assert process.stderr.read() == b""


class TestInfo:
    def test_text(self, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A model's labels, files, hashes and whether it runs here."""
        assert main(["info", "--model", model]) == 0
        output = capsys.readouterr().out
        for expected in (f"kws {__version__}", "onnxruntime", "m.onnx", "sha256", "low 0.9"):
            assert expected in output

    def test_json(self, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        """--json gives the same as one object."""
        assert main(["info", "--model", model, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["kws"] == __version__
        assert facts["models"][0]["runs"] == "window.onnx"

    def test_damaged_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A model whose file was changed is shown with the reason, and the exit code is 1."""
        write_model(tmp_path)
        (tmp_path / "m.onnx").write_bytes(b"something else")
        assert main(["info", "--model", str(tmp_path)]) == 1
        assert "is not the file that the manifest describes" in capsys.readouterr().out
