"""The JavaScript module gives what Python gives: features, decisions and detections."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import AudioFile, Detector, __version__, load_model
from kws.config import DecisionConfig
from kws.decision import Decider, Detection
from kws.demo import RECORDING, SPOKEN
from kws.frontend import log_mel
from kws.model.load import Model
from kws.model.manifest import Manifest
from kws.recordings.data import read_recording
from kws.web import FOLDER, bundle

ROOT = Path(__file__).parent.parent
Int16Array = NDArray[np.int16]
MODELS = ROOT / "kws" / "models"
HOP = 0.08  # seconds


Results = tuple["Jobs", dict[str, Any], dict[str, Any]]


@dataclass
class Jobs:
    """What one run of node does."""

    folder: Path
    model: Model = field(default_factory=load_model)
    streams: list[dict[str, Any]] = field(default_factory=list)
    expected: list[list[Detection]] = field(default_factory=list)
    open_steps: list[list[int]] = field(default_factory=list)

    def raw(self, name: str, samples: NDArray[Any]) -> str:
        """A file of these samples."""
        path = self.folder / f"{name}.raw"
        samples.tofile(path)
        return str(path)

    def add(self, name: str, audio: Int16Array, block: int, gate: bool, **options: Any) -> None:
        """A recording for both sides; `options` are those of both detectors."""
        seen: list[int] = []

        class Observer:
            def observe(self, _audio: Any, rows: Sequence[Any], _found: Any) -> None:
                seen.append(sum(map(len, rows)))

        detector = Detector(self.model, vad=gate, observer=Observer(), **options)
        self.expected.append([*detector.process(audio), *detector.finish()])
        self.open_steps.append(seen)
        self.streams.append(
            {
                "audio": self.raw(name, audio),
                "gate": gate,
                "block": block,
                "options": options,
            }
        )


def speech_behind(audio: Int16Array, db: float) -> Int16Array:
    """A recording with itself backwards behind it, so many dB below: other speech in the pauses."""
    mixed = audio + np.roll(audio[::-1], 9_000) * 10.0 ** (-db / 20.0)
    return np.clip(np.rint(mixed), -32768, 32767).astype(np.int16)


def talk_behind(audio: Int16Array, folder: Path) -> Int16Array:
    """A recording with people who read aloud 12 dB below, and then those alone, as loud."""
    talk = np.concatenate([read_recording(path) for path in sorted(folder.glob("*.opus"))[:5]])
    level = np.sqrt(np.mean(audio.astype(float) ** 2) / np.mean(talk.astype(float) ** 2))
    mixed = talk * level
    mixed[: len(audio)] = audio + mixed[: len(audio)] * 10.0 ** (-12.0 / 20.0)
    return np.clip(np.rint(mixed), -32768, 32767).astype(np.int16)


def word_again(audio: Int16Array) -> Int16Array:
    """The first word of the demonstration four times, 0.9 s from each onset to the next."""
    first = json.loads(SPOKEN.read_text(encoding="utf-8"))[0]
    begin = int(16_000 * first["start"])
    word = audio[begin : begin + 14_400].copy()
    word[10_000:] //= 50
    return np.concatenate([np.zeros(8_000, np.int16), *[word] * 4, np.zeros(16_000, np.int16)])


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


def decisions(manifest: Manifest) -> list[dict[str, Any]]:
    """Random rows that come near every rule: words, words again, noise, speech, and rests."""
    random = np.random.default_rng(7)
    jobs = []
    for number in range(16):
        config = replace(
            manifest.decision,
            hold_ms=int(random.choice([0, 500, manifest.decision.hold_ms])),
            longest_ms=int(random.choice([600, 1_400])),
            rearm_ms=int(random.choice([0, 100, 300])),
            isolation=float(random.choice([0.0, 0.5, 1.0])),
            smoothing_ms=int(random.choice([40, 240, 440])),
        )
        if number % 4 == 0:
            config = replace(config, faint_db=0.0, loud_db=0.0)
        steps = 400
        heights = np.full((steps, len(manifest.labels)), 0.01)
        levels = random.uniform(0, 6, steps)
        place = 0
        while place < steps:
            length, label = int(random.integers(5, 90)), int(random.integers(len(manifest.labels)))
            heights[place : place + length, label] += random.uniform(0.2, 8.0)
            loud = int(random.integers(5, 40))
            levels[place : place + loud] += random.uniform(0, 50)
            if place % 3 == 0:  # as before the t of "stop"
                levels[place + 5 : place + 9] = 0.0
            place += length + int(random.integers(0, 60))
        posteriors = (heights / heights.sum(axis=1, keepdims=True)).astype(np.float32)
        if number % 5 == 0:
            posteriors[100, 3] = np.nan
        jobs.append(
            {
                "labels": manifest.labels,
                "thresholds": dict(manifest.thresholds),
                "config": asdict(config),
                "keywords": manifest.keywords[:6] if number % 3 == 0 else manifest.keywords,
                "rested": [int(x) if x > 15 else 0 for x in random.integers(0, 20, steps // 4)],
                "posteriors": [
                    [[None if np.isnan(v) else float(v) for v in row] for row in some]
                    for some in posteriors.reshape(steps // 4, 4, -1)
                ],
                "levels": levels.astype(np.float32).reshape(-1, 4).tolist(),
            }
        )
    return jobs


@pytest.fixture(scope="module")
def jobs(
    demonstration: Int16Array, tmp_path_factory: pytest.TempPathFactory, web_runtime: Path
) -> Results:
    """The jobs, the other parts of what node was given, and what it returned."""
    if not shutil.which("node"):
        pytest.skip("no node; on Debian: apt-get install nodejs")
    jobs = Jobs(tmp_path_factory.mktemp("web"))
    noise = (np.random.default_rng(3).standard_normal(80_000) * 400).astype(np.int16)
    again = word_again(demonstration)
    jobs.add("demo_gated", demonstration, 1_000, True)
    jobs.add("demo_open", demonstration, 48_000, False, isolated=False)
    part = demonstration[:160_000]
    jobs.add("faint", (part // 12).astype(np.int16), 1_280, True, sensitivity="high")
    jobs.add("behind", speech_behind(part, 9.0), 7_777, True)
    jobs.add("again", again, 333, True)
    jobs.add(
        "some",
        demonstration[160_000:],
        16_000,
        False,
        keywords=["stop", "go"],
        threshold={"go": 0.7},
    )
    jobs.add("noise", noise, 4_000, True)
    jobs.add("unverified", speech_behind(part, 9.0), 7_777, True, verify=False)
    jobs.add("unverified_low", part, 7_777, False, verify=False, sensitivity="low")
    if data := os.environ.get("KWS_DATA"):
        talk = talk_behind(demonstration, Path(data) / "speech" / "librispeech")
        jobs.add("talk", talk, 1_280, True, sensitivity="high", isolated=False)
        jobs.add("talk_isolated", talk, 1_280, True)
    manifest = jobs.model.manifest
    assert manifest.verifier
    time = np.arange(30_000)
    other = {
        "manifest": str(MODELS / "commands.json"),
        "graph": str(MODELS / manifest.artefacts["stream.onnx"].file),
        "verifier": str(MODELS / manifest.verifier.artefact.file),
        "rows": decisions(manifest),
        "features": {
            "config": asdict(manifest.features),
            "frames": 8,
            "hop": 8 * manifest.features.hop,
            "audio": jobs.raw("features", demonstration[:32_000]),
        },
        "resampled": [
            {"rate": rate, "audio": jobs.raw(f"{rate}", tone.astype(np.float32))}
            for rate in (44_100, 48_000)
            for tone in [np.sin(2 * np.pi * 1_000 * time / rate)]
        ],
    }
    path = jobs.folder / "jobs.json"
    path.write_text(json.dumps({"streams": jobs.streams, **other}))
    command = ["node", ROOT / "tests" / "web_detections.mjs", FOLDER, web_runtime, path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    return jobs, other, json.loads(done.stdout)


def assert_same(
    expected: Sequence[Detection], found: Sequence[dict[str, Any]], within: float
) -> None:
    """The same words in the same order, at the same times and with the same scores."""
    assert [each.keyword for each in expected] == [each["keyword"] for each in found]
    for one, other in zip(expected, found, strict=True):
        # What the verifier multiplies may be rounded either way, and a row more or less go in.
        same = other["end"] == pytest.approx(one.end, abs=1e-6)
        assert other["score"] == pytest.approx(one.score, abs=0.02 if same else 0.1)
        assert other["start"] == pytest.approx(one.start, abs=within)
        assert other["end"] == pytest.approx(one.end, abs=within)


def test_detections_of_recordings(jobs: Results) -> None:
    """Gated and open, isolated and connected, faint, over talk, repeated, in noise, unverified."""
    job, _, results = jobs
    for expected, result in zip(job.expected, results["streams"], strict=True):
        assert_same(expected, result["found"], HOP)
    words = [len(each) for each in job.expected]
    assert min(words[:2]) >= 8  # the demonstration has words to find
    assert words[4] >= 3  # and the same one again is found again
    assert 0 == words[6]  # and noise has none
    assert min(words[9:], default=8) >= 8  # nor does talk hide them


def test_the_verifier_decides(jobs: Results) -> None:
    """Its thresholds hold by default, and its scores differ from those of the first network."""
    job, _, results = jobs
    manifest = job.model.manifest
    assert manifest.verifier
    thresholds = [each["thresholds"] for each in results["streams"]]
    assert dict(manifest.verifier.thresholds) == thresholds[0]
    assert dict(manifest.verifier.presets["isolated"]["high"]) == thresholds[2]
    assert dict(manifest.thresholds) == thresholds[7]
    assert dict(manifest.presets["isolated"]["low"]) == thresholds[8]
    verified, unverified = (results["streams"][number]["found"] for number in (3, 7))
    assert [each["score"] for each in verified] != [each["score"] for each in unverified]


def test_the_gate_opens_and_closes_alike(jobs: Results) -> None:
    """In each hop the network makes as many rows as in Python: the same gate, the same pre-roll."""
    job, _, results = jobs
    for expected, result in zip(job.open_steps, results["streams"], strict=True):
        assert expected == result["rows"]
    assert 0 in job.open_steps[0]  # it is closed at times


def test_decisions_on_rows(jobs: Results) -> None:
    """The decision alone, on rows near every rule: each detection in the same row."""
    _, other, results = jobs
    total = 0
    for job, found in zip(other["rows"], results["rows"], strict=True):
        decider = Decider(
            job["labels"], job["thresholds"], DecisionConfig(**job["config"]), job["keywords"]
        )
        expected = []
        for rested, posteriors, levels in zip(
            job["rested"], job["posteriors"], job["levels"], strict=True
        ):
            if rested:
                decider.rest(rested)
            rows = np.array(posteriors, np.float32)
            expected += decider.update(rows, np.array(levels, np.float32))
        assert_same(expected, found, 0.0)
        total += len(expected)
    assert total > 40


def test_features(jobs: Results, demonstration: Int16Array) -> None:
    """The front end gives Python's frames, a hop late by those that begin before the stream."""
    found = np.array(jobs[2]["features"]).reshape(-1, 40)
    expected = log_mel(demonstration[:32_000])
    assert not found[:2].any()
    np.testing.assert_allclose(found[2:], expected[: len(found) - 2], atol=1e-3)


def test_other_rates(jobs: Results) -> None:
    """A tone at 44.1 or 48 kHz is the same tone at 16 kHz, as loud, whatever the blocks."""
    for job, found in zip(jobs[1]["resampled"], jobs[2]["resampled"], strict=True):
        output = np.array(found)
        assert len(output) == pytest.approx(30_000 * 16_000 / job["rate"], abs=40)
        middle = output[200:8_200]
        tone = np.exp(-2j * np.pi * 1_000 * np.arange(len(middle)) / 16_000)
        assert 2 * abs(np.mean(middle * tone)) == pytest.approx(1.0, abs=1e-3)
        assert np.mean(middle**2) == pytest.approx(0.5, abs=1e-3)  # and nothing else


def test_the_npm_package(tmp_path: Path) -> None:
    """`npm pack` has the modules, types, model, licence and README, and nothing of Python."""
    if not shutil.which("npm"):
        pytest.skip("no npm; on Debian: apt-get install npm")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FOLDER, tmp_path / "kws" / "web", ignore=ignored)
    shutil.copytree(MODELS, tmp_path / "kws" / "models")
    shutil.copy(ROOT / "LICENSE", tmp_path)
    command = ["npm", "pack", "--json", "--offline"]
    done = subprocess.run(command, cwd=tmp_path / "kws" / "web", capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    (packed,) = json.loads(done.stdout[done.stdout.index("[") :])
    names = {each["path"] for each in packed["files"]}
    modules = {path.name for path in FOLDER.glob("*.js")}
    assert modules | {"index.d.ts", "worker.d.ts", "README.md", "LICENSE"} < names
    files = ["commands.json", "commands.stream.onnx", "accurate.window.int8.onnx"]
    assert {f"models/{name}" for name in files} == {n for n in names if n.startswith("models/")}
    assert {name.rpartition(".")[2] for name in names} <= {
        "js",
        "ts",
        "json",
        "md",
        "onnx",
        "LICENSE",
    }

    assert __version__ == packed["version"]


def test_types_name_what_is_exported() -> None:
    """index.d.ts declares every export of index.js."""
    exported = re.findall(r"export \{ ([\w, ]+) \}", (FOLDER / "index.js").read_text())
    names = [name for some in exported for name in some.split(", ")]
    types = (FOLDER / "index.d.ts").read_text()
    for name in names:
        assert re.search(rf"export (class|function) {name}\b", types), name


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize(
    ("npm", "problem"),
    [
        (None, "fetching needs npm"),
        ("echo 'npm error: no network' >&2; exit 1", "onnxruntime-web@.*: npm error: no network"),
        ("touch other.tgz", "onnxruntime-web@.* is not the file that was expected"),
    ],
    ids=["missing", "failing", "another file"],
)
def test_the_runtime_is_fetched_as_it_was_pinned(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    npm: str | None,
    problem: str,
) -> None:
    """Without npm, where it fails, and for other content, one line says so and nothing is kept."""
    programs, folder = tmp_path / "bin", tmp_path / "runtime"
    programs.mkdir()
    if npm:
        (programs / "npm").write_text(f"#!/bin/sh\n{npm}\n")
        (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/sbin")
    monkeypatch.setattr(shutil, "which", lambda name: str(programs / name) if npm else None)
    monkeypatch.setattr(sys, "argv", ["bundle", str(folder)])
    assert 1 == bundle.main()
    assert re.match(f"error: .*{problem}", capsys.readouterr().err)
    assert list(bundle.FILES) == bundle.missing(folder)
