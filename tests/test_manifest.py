"""The manifest: written, read back, and refused with the reason when anything is off."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kws.config import DecisionConfig
from kws.errors import ModelError
from kws.model import files
from kws.model import manifest as manifests
from kws.model.load import load_model
from kws.model.manifest import (
    describe_artefact,
    find_manifest,
    map_artefact,
    read_artefact,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def folder(tones: Path, tmp_path: Path) -> Path:
    """A copy of the test model that a test may damage."""
    return Path(shutil.copytree(tones, tmp_path / "tones"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Edit the manifest's JSON in place."""
    path = folder / "tones.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def test_round_trip(folder: Path) -> None:
    """What is written is read back as equal, types included, in bytes that never vary."""
    path = folder / "tones.json"
    manifest = dataclasses.replace(
        read_manifest(path),
        description="Größe",
        provenance={"seed": 3, "data": [{"name": "x", "licence": "CC BY 4.0"}]},
    )
    write_manifest(manifest, path)
    first = path.read_bytes()
    assert manifest == read_manifest(path)
    shuffled = dataclasses.replace(manifest, provenance=dict(reversed(manifest.provenance.items())))
    write_manifest(shuffled, path)
    assert first == path.read_bytes()
    assert ["m.onnx", "tones.json"] == sorted(p.name for p in folder.iterdir())


def test_thresholds(folder: Path) -> None:
    """A keyword without a threshold of its own takes the common one; other labels are none."""
    manifest = read_manifest(folder / "tones.json")
    assert ("low", "high") == manifest.keywords
    assert 0.9 == manifest.threshold("low")
    assert manifest.decision.threshold == manifest.threshold("high")


def test_whole_numbers_are_floats_too(folder: Path) -> None:
    """Other programs write 60.0 as 60."""
    path = change(folder, lambda m: m["features"].update(low_hz=60))
    low = read_manifest(path).features.low_hz
    assert isinstance(low, float)


def test_a_decision_from_before_levels(folder: Path) -> None:
    """A manifest without the keys of levels and of repeated words decides as it did then."""

    def older(manifest: dict[str, Any]) -> None:
        for key in ("faint_db", "loud_db", "hold_ms"):
            del manifest["decision"][key]

    decision = read_manifest(change(folder, older)).decision
    assert (0.0, 0.0, 0) == (decision.faint_db, decision.loud_db, decision.hold_ms)


ARTEFACT = {"file": "m.onnx", "sha256": "0" * 64, "bytes": 1}


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda m: m.update(version=2), "expected a manifest of version 1, got version 2"),
        (lambda m: m.update(version="1"), "got version '1'"),
        (lambda m: m.update(version=True), "got version True"),
        (lambda m: m.pop("version"), "got version None"),
        (lambda m: m.update(colour="red"), "unknown key 'colour'"),
        (lambda m: m["features"].update(mean=1.0), "features has the unknown key 'mean'"),
        (lambda m: m.pop("licence"), "lacks the key 'licence'"),
        (lambda m: m["vad"].pop("frame_ms"), "vad lacks the key 'frame_ms'"),
        (lambda m: m.update(labels="yes"), "labels should be of type list"),
        (lambda m: m.update(labels=["low", "low"]), "duplicate label 'low'"),
        (lambda m: m.update(labels=["silence", "unknown"]), "labels holds no keyword"),
        (lambda m: m.update(labels=[]), "labels holds no keyword"),
        (lambda m: m.update(labels=["low", 3]), "labels should be of type str"),
        (lambda m: m.update(labels=["low", "a\x1b[2J"]), r"labels holds a control character"),
        (lambda m: m.update(labels=["low", "\ud800"]), r"a lone surrogate: '\\ud800'"),
        (lambda m: m.update(labels=["low", "\u202eon"]), "labels holds a control character"),
        (lambda m: m.update(labels=["low", "[/x]"]), r"none of \[\]<>.* got '\[/x\]'"),
        (lambda m: m.update(labels=["low", "<b>"]), "none of"),
        (lambda m: m.update(labels=["low", " on"]), "no spaces around them"),
        (lambda m: m.update(labels=["low", "two\nlines"]), "printable characters"),
        (lambda m: m.update(labels=["low", ""]), "labels should have 1 to 64 characters, got 0"),
        (lambda m: m.update(labels=["low", "a" * 65]), "1 to 64 characters, got 65"),
        (lambda m: m.update(labels=[f"word{i}" for i in range(10_001)]), "at most 10000"),
        (lambda m: m.update(description="\x9b2J"), "description holds a control character"),
        (lambda m: m["provenance"].update(a=["\x1b]0;b\x07"]), "provenance.a holds a control"),
        (lambda m: m["measurements"].update({"\x1b": 1}), "measurements holds a control"),
        (lambda m: m["measurements"].update(a=10**400), "measurements.a holds a number beyond"),
        (lambda m: m["thresholds"].update(low=10**400), "thresholds.low holds a number beyond"),
        (lambda m: m["decision"].update(threshold=-(10**20)), "decision.threshold holds a number"),
        (lambda m: m.update(parameters=-1), "parameters should be at least 0"),
        (lambda m: m["thresholds"].update(low=0.0), r"thresholds.low should be in \(0, 1\]"),
        (lambda m: m["thresholds"].update(low=1.01), "thresholds.low should be in"),
        (lambda m: m["thresholds"].update(low="0.5"), "thresholds.low should be of type float"),
        (lambda m: m["thresholds"].update(silence=0.5), "'silence', which is not a keyword"),
        (lambda m: m["thresholds"].update(middle=0.5), "'middle', which is not a keyword"),
        (lambda m: m["features"].update(bands=40.0), "features.bands should be of type int"),
        (lambda m: m["features"].update(bands=True), "features.bands should be of type int"),
        (lambda m: m["features"].update(hop=0), "features: expected 16 <= hop"),
        (lambda m: m["features"].update(fft_size=65_536), "fft_size <= 16384"),
        (lambda m: m["features"].update(fft_size=16_384, bands=8_000), "and <= 1024"),
        (lambda m: m["features"].update(sample_rate=8000), "a sample_rate of 16000"),
        (lambda m: m["features"].update(high_hz=9000.0), "high_hz <= sample_rate / 2"),
        (lambda m: m["vad"].update(frame_ms=25), "a frame_ms of 10, 20 or 30"),
        (lambda m: m["vad"].update(aggressiveness=4), "an aggressiveness of 0 to 3"),
        (lambda m: m["vad"].update(preroll_ms=10**12), "a preroll_ms of 0 to 10000"),
        (lambda m: m["decision"].update(threshold=0), "decision: expected a threshold"),
        (lambda m: m["decision"].update(loud_db=16.0), "0 <= loud_db < faint_db"),
        (lambda m: m["decision"].update(hold_ms=-1), "a hold_ms of 0 to 10000"),
        (lambda m: m["decision"].update(hop_ms=0), "a hop_ms of 10 to 1000"),
        (lambda m: m.update(window_hop_ms=50), "window_hop_ms should be a multiple of 20"),
        (lambda m: m.update(window_hop_ms=60), "that divides decision.hop_ms, 80; got 60"),
        (lambda m: m.update(window_hop_ms=20.0), "window_hop_ms should be of type int"),
        (lambda m: m.update(artefacts={}), "artefacts is empty"),
        (lambda m: m.update(artefacts={"weights.pkl": ARTEFACT}), "unknown artefact key"),
        (lambda m: m.update(artefacts={"window.onnx": {**ARTEFACT, "sha256": "X"}}), "sha256"),
        (lambda m: m.update(artefacts={"window.onnx": {**ARTEFACT, "url": ""}}), "unknown key"),
        (lambda m: m.update(artefacts={"window.onnx": []}), "should be of type dict"),
        (lambda m: m["artefacts"]["window.onnx"].update(bytes=-1), "bytes should be at least 0"),
        (lambda m: m["artefacts"]["window.onnx"].update(bytes=2**40), "at most 268435456"),
        (lambda m: m.update(parameters=-0.5), "parameters should be of type int"),
        (lambda m: m.update(provenance=[]), "provenance should be of type dict"),
    ],
)
def test_refused(folder: Path, edit: Callable[[dict[str, Any]], object], reason: str) -> None:
    """Each mistake is a ModelError that names the file and the place."""
    path = change(folder, edit)
    with pytest.raises(ModelError, match=reason) as refusal:
        read_manifest(path)
    assert str(refusal.value).startswith(str(path))


@pytest.mark.parametrize(
    "file", ["../m.onnx", "/etc/passwd", "a/../m.onnx", "..", "", "C:\\m", "..\\m.onnx", "c:m"]
)
def test_artefacts_stay_in_the_folder(folder: Path, file: str) -> None:
    """A path that leads elsewhere is refused before anything is opened."""
    path = change(folder, lambda m: m["artefacts"]["window.onnx"].update(file=file))
    with pytest.raises(ModelError, match="a file name in the manifest's own folder"):
        read_manifest(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"version": NaN}',
     b'{"version": 1, "version": 1}'],
)  # fmt: skip
def test_not_a_manifest(tmp_path: Path, content: bytes) -> None:
    """Other files, damaged JSON, NaN and repeated keys are refused."""
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(str(path))):
        read_manifest(path)


def test_write_refuses_what_read_would(folder: Path) -> None:
    """A manifest that could not be read back is not written, and the old one stays."""
    path = folder / "tones.json"
    before = path.read_bytes()
    manifest = read_manifest(path)
    with pytest.raises(ModelError, match="duplicate label"):
        write_manifest(dataclasses.replace(manifest, labels=("a", "a")), path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(dataclasses.replace(manifest, measurements={"a": float("nan")}), path)
    assert before == path.read_bytes()


def test_hash(folder: Path) -> None:
    """A changed, a cut and a missing artefact are each told as what they are."""
    model = folder / "m.onnx"
    entry = describe_artefact(model)
    content = model.read_bytes()
    assert content == read_artefact(folder, entry)
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        model.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"m\.onnx is not the file that the manifest"):
            load_model(folder)
    model.unlink()
    with pytest.raises(ModelError, match=r"m\.onnx is missing"):
        load_model(folder)
    model.mkdir()
    with pytest.raises(ModelError, match=r"m\.onnx is not a regular file"):
        load_model(folder)


def test_a_mapped_file(folder: Path) -> None:
    """It is proven in the same way, and what was taken out of memory is there when looked at."""
    model = folder / "m.onnx"
    entry, content = describe_artefact(model), model.read_bytes()
    mapped = map_artefact(folder, entry)
    assert content == mapped[:]
    view = memoryview(mapped)
    files.release(mapped)
    assert content == bytes(view)
    for number, (damaged, reason) in enumerate(
        [
            (content[:-1], "not the file that the manifest"),
            (content[:-1] + bytes([content[-1] ^ 1]), "not the file that the manifest"),
            (content + b"0", "has more than"),
            (b"", "is empty"),
        ]
    ):
        other = folder / f"{number}.onnx"
        other.write_bytes(damaged)
        with pytest.raises(ModelError, match=reason):
            map_artefact(folder, dataclasses.replace(entry, file=other.name))
    with pytest.raises(ModelError, match=r"x\.onnx is missing"):
        map_artefact(folder, dataclasses.replace(entry, file="x.onnx"))
    (folder / "y.onnx").mkdir()
    with pytest.raises(ModelError, match=r"y\.onnx is not a regular file"):
        map_artefact(folder, dataclasses.replace(entry, file="y.onnx"))


@pytest.mark.parametrize("missing", [(), ("_sha2", "_sha256")])
def test_hashes_are_those_of_hashlib(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    """Whether Python was built with an implementation of its own or not."""
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    files._sha256.cache_clear()
    content = bytes(range(256)) * 5
    assert hashlib.sha256(content).hexdigest() == files.sha256(content)
    files._sha256.cache_clear()


@pytest.mark.parametrize("kind", ["pipe", "device", "larger"])
@pytest.mark.parametrize("name", ["m.onnx", "tones.json"])
def test_reading_is_bounded(folder: Path, kind: str, name: str) -> None:
    """A pipe is not waited for, a device is not read, and of a larger file only the beginning."""
    path = folder / name
    path.unlink()
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no named pipes here")
        os.mkfifo(path)
    elif kind == "device":
        if not Path("/dev/zero").exists():
            pytest.skip("no /dev/zero here")
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b" ")
        os.truncate(path, 1 << 40)  # sparse: it takes no room
    reason = "has more than the" if kind == "larger" else "is not a regular file"
    with pytest.raises(ModelError, match=reason):
        load_model(folder / "tones.json")


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """A link to the right file elsewhere, as caches make them, is the file."""
    elsewhere = tmp_path / "blob"
    (folder / "m.onnx").rename(elsewhere)
    (folder / "m.onnx").symlink_to(elsewhere)
    assert load_model(folder).artefact


def test_find(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, a manifest and a packaged name lead to the manifest; nothing else does."""
    path = folder / "tones.json"
    assert path == find_manifest(folder) == find_manifest(str(folder)) == find_manifest(path)
    monkeypatch.setattr(manifests, "MODELS", folder)
    monkeypatch.setattr(manifests, "DEFAULT_MODEL", "tones")
    (tmp_path / "elsewhere" / "tones").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")  # a folder of that name must not shadow the model
    assert path == find_manifest("tones") == find_manifest()
    with pytest.raises(ModelError, match=r"no model 'tonnes'.*\(tones\)"):
        find_manifest("tonnes")
    with pytest.raises(ModelError, match="holds none"):
        find_manifest(tmp_path)
    (folder / "._tones.json").write_bytes(b"\0\5\x16\7")  # of macOS, beside each file
    assert path == find_manifest(folder)
    (folder / "other.json").write_text("{}")
    with pytest.raises(ModelError, match=r"holds other\.json, tones\.json"):
        find_manifest(folder)


def test_artefact_as_manifest(folder: Path) -> None:
    """Who names the ONNX file is told to name the manifest."""
    with pytest.raises(ModelError, match=r"is not a manifest, the \.json beside a model"):
        load_model(folder / "m.onnx")


def test_ranges() -> None:
    """A configuration outside its ranges cannot be made at all."""
    for wrong in ({"threshold": 1.5}, {"release": 0.0}, {"refractory_ms": -1}):
        with pytest.raises(ValueError, match="expected"):
            DecisionConfig(**wrong)  # type: ignore[arg-type]
