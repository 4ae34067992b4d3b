"""The verifier: when it runs, what it changes, and what happens where it is missing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.operating_points import add_verifier, give_to_verifier
from kws import Detector, KwsError, ModelError, load_model
from kws.audio import AudioFile
from kws.cli import main
from kws.config import STEP_MS
from kws.demo import RECORDING
from kws.frontend import FloatArray, log_mel
from kws.gated_stream import GatedStreams
from kws.model.load import Model
from kws.model.manifest import MODELS, MODES, SENSITIVITIES, read_manifest, write_manifest
from kws.pool import DetectorPool
from kws.verifier import Verifier

Int16Array = NDArray[np.int16]


@pytest.fixture(scope="module")
def shipped() -> Model:
    """The default model, which comes with a verifier."""
    return load_model()


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    """The recording of `kws listen --demo`: commands, other words, pauses."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged models that a test may spoil."""
    return Path(shutil.copytree(MODELS, tmp_path / "models"))


class ConstantVerifier:
    """A verifying network that always returns the same posteriors, and counts its runs."""

    def __init__(self, posteriors: list[float]) -> None:
        self.posteriors = np.array(posteriors, np.float32)
        self.queries = 0

    def run(self, features: FloatArray) -> FloatArray:
        self.queries += len(features)
        return np.repeat(self.posteriors[None], len(features), axis=0)


def with_verifier(model: Model, posteriors: list[float]) -> tuple[Model, ConstantVerifier]:
    """The model with a verifier that returns these."""
    copy, verifier = replace(model), ConstantVerifier(posteriors)
    copy.__dict__["verifier"] = verifier  # where cached_property keeps it
    return copy, verifier


def rows_of(model: Model, audio: Int16Array, verify: bool) -> FloatArray:
    """Every row of posteriors of a recording, without the gate."""
    streams = GatedStreams(model, vad=False, verify=verify)
    rows = [row.posteriors[0] for hop in streams.cut([audio]) for row in streams.rows(*hop)]
    return np.concatenate(rows)


def test_which_rows_are_candidates(shipped: Model) -> None:
    """A posterior above the candidate's, or above half of it from the call after, in its stream."""
    labels, manifest = shipped.manifest.labels, shipped.manifest
    assert manifest.verifier is not None
    entry = replace(manifest.verifier, candidate=0.5)
    model = replace(shipped, manifest=replace(manifest, verifier=entry))
    model, constant = with_verifier(model, [1.0 / len(labels)] * len(labels))
    verifier = Verifier(model, 8, 3)

    def verified(*heights: tuple[float, float]) -> list[list[bool]]:
        """Whether the rows of "stop", of the last streams, are verified."""
        posteriors = np.zeros((len(heights), 2, len(labels)), np.float32)
        posteriors[..., labels.index("unknown")] = 1.0
        posteriors[..., labels.index("stop")] = heights
        chosen = list(range(3 - len(heights), 3))
        features = np.zeros((len(heights), 8, manifest.features.width), np.float32)
        found = verifier.verified(chosen, features, posteriors)
        changed = found[..., labels.index("unknown")] != 1.0
        np.testing.assert_array_equal(posteriors[~changed], found[~changed])
        assert (found[changed] == constant.posteriors).all()
        return changed.tolist()

    no, first, last = [False, False], [True, False], [False, True]
    assert verifier.queries == 0
    calls = [
        (((0.0, 0.5), (0.3, 0.51), (0.5, 0.3)), [no, last, no]),
        (((0.25, 0.3), (0.26, 0.25), (0.3, 0.3)), [no, first, no]),
        (((0.25, 0.26), (0.0, 0.9)), [last, last]),
        (((0.0, 0.0), (0.3, 0.0)), [no, first]),
        (((0.4, 0.4), (0.2, 0.2), (0.2, 0.25)), [no, no, no]),
        (((0.6, 0.4), (0.4, 0.6), (0.4, 0.4)), [first, last, no]),
        (((0.0, 0.0), (0.0, 0.0)), [no, no]),
        (((0.0, 0.26), (0.4, 0.4), (0.4, 0.4)), [last, no, no]),
    ]
    for heights, expected in calls:
        assert expected == verified(*heights)
    assert verifier.queries == constant.queries == 8
    verifier.reset(0)
    assert [no, no, no] == verified((0.4, 0.4), (0.4, 0.4), (0.4, 0.4))


def test_none_to_run(shipped: Model) -> None:
    """A manifest without a verifier, and a runtime that has none for it, are refused."""
    runs_none = replace(shipped)
    runs_none.__dict__["verifier"] = None
    for model in (load_model("accurate"), runs_none):
        with pytest.raises(ModelError, match="has no verifier"):
            Verifier(model, 8, 1)


def test_candidates_become_what_the_verifier_says(
    shipped: Model, demonstration: Int16Array
) -> None:
    entry = shipped.manifest.verifier
    assert entry is not None
    assert shipped.verifier is not None
    audio = demonstration[: 12 * 16_000]
    alone, both = rows_of(shipped, audio, False), rows_of(shipped, audio, True)
    keywords = [shipped.manifest.labels.index(word) for word in shipped.manifest.keywords]
    heights = alone[:, keywords].max(axis=1)
    level, candidates_at = entry.candidate, []
    steps = shipped.manifest.decision.hop_ms // STEP_MS  # of a call
    for row in range(0, len(alone), steps):
        candidates = heights[row : row + steps] > level
        candidates_at += candidates.tolist()
        level = entry.candidate * (0.5 if candidates.any() else 1.0)
    assert 20 < sum(candidates_at) < len(candidates_at) / 2
    assert sum(candidates_at) > (heights > entry.candidate).sum()
    np.testing.assert_array_equal(both[~np.array(candidates_at)], alone[~np.array(candidates_at)])
    for row in np.flatnonzero(candidates_at):
        end = (row // steps + 1) * steps * 320
        if end < 16_000:
            continue
        frames = log_mel(audio[end - 16_000 : end], shipped.manifest.features)
        other = shipped.verifier.run(frames[None])[0]
        # A value half way between two that are stored may go either way.
        np.testing.assert_allclose(both[row], other, atol=2e-2)


def test_a_network_that_disagrees_silences_and_runs_on_candidates_alone(
    shipped: Model, demonstration: Int16Array
) -> None:
    labels = shipped.manifest.labels
    unknown = [1.0 if label == "unknown" else 0.0 for label in labels]
    doubtful, verifier = with_verifier(shipped, unknown)
    assert Detector(shipped).process(demonstration)
    assert not Detector(doubtful).process(demonstration)
    calls = len(demonstration) / 1280
    assert 0 < verifier.queries < calls * 2 / 3  # it is commands all along
    verifier.queries = 0
    assert Detector(doubtful, verify=False).process(demonstration)
    assert not Detector(doubtful).process(np.zeros(32_000, np.int16))
    assert verifier.queries == 0


def test_a_detector_does_not_care_how_the_audio_is_cut(
    shipped: Model, demonstration: Int16Array
) -> None:
    whole = Detector(shipped).process(demonstration)
    detector, pieces = Detector(shipped), []
    for at in range(0, len(demonstration), 777):
        pieces += detector.process(demonstration[at : at + 777])
    assert pieces == whole
    detector.reset()
    assert detector.process(demonstration) == whole


def test_a_pool_verifies_as_a_detector_does(shipped: Model, demonstration: Int16Array) -> None:
    shifts = (0, 3_333, 40_000)
    streams = [np.roll(demonstration, shift) for shift in shifts]
    expected = [Detector(shipped).process(audio) for audio in streams]
    pool = DetectorPool(shipped, len(streams))
    found = pool.process(streams)
    for ours, theirs in zip(found, expected, strict=True):
        assert [(d.keyword, d.start, d.end) for d in ours] == [
            (d.keyword, d.start, d.end) for d in theirs
        ]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
    assert DetectorPool(shipped, 1, verify=False).process([demonstration]) == [
        Detector(shipped, verify=False).process(demonstration)
    ]


def test_it_has_thresholds_of_its_own(shipped: Model) -> None:
    manifest = shipped.manifest
    for mode in MODES:
        for sensitivity in (None, *SENSITIVITIES):
            alone = manifest.operating_point(mode, sensitivity)
            both = manifest.operating_point(mode, sensitivity, verified=True)
            assert set(alone) == set(both) == set(manifest.keywords)
            assert alone != both
    with pytest.raises(KwsError, match="has no verifier"):
        load_model("accurate").manifest.operating_point(MODES[0], verified=True)


def test_tflite_does_without() -> None:
    pytest.importorskip("ai_edge_litert")
    model = load_model(backend="tflite")
    assert model.manifest.verifier is not None
    assert model.verifier is None


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_a_damaged_verifier_is_named(folder: Path, damage: str) -> None:
    path = folder / "commands.json"
    entry = read_manifest(path).verifier
    assert entry is not None
    file = folder / entry.artefact.file
    file.unlink() if damage == "missing" else file.write_bytes(b"no network")
    with pytest.raises(KwsError, match=entry.artefact.file):
        Detector(path)
    assert Detector(path, verify=False).process(np.zeros(16_000, np.int16)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidate": 1.0}, "candidate should be between 0 and 1"),
        ({"candidate": "often"}, "candidate should be of type float"),
        ({"artefact": {"file": "../x", "sha256": "0" * 64, "bytes": 1}}, "a file name in the"),
        ({"thresholds": {"maybe": 0.5}}, "is not a keyword"),
        ({"presets": {"shouted": {}}}, "has the mode 'shouted'"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_a_manifest_with_a_bad_verifier_is_refused(
    folder: Path, change: dict[str, object], message: str
) -> None:
    path = folder / "commands.json"
    content = json.loads(path.read_text())
    content["verifier"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(KwsError, match=message):
        read_manifest(path)


def test_only_a_model_of_the_same_kind_can_be_made_a_verifier(
    folder: Path, tones: Path, shipped: Model
) -> None:
    bare = load_model(folder / "commands.json")
    made = add_verifier(bare, str(folder / "accurate.json")).manifest.verifier
    entry = shipped.manifest.verifier
    assert made is not None
    assert entry is not None
    assert made.artefact == entry.artefact
    for other in (str(tones), "accurate"):  # other labels; another folder
        with pytest.raises(KwsError, match="cannot verify"):
            add_verifier(bare, other)


def test_manifests_without_one_are_written_as_before(folder: Path) -> None:
    path = folder / "accurate.json"
    before = path.read_bytes()
    write_manifest(read_manifest(path), path)
    assert path.read_bytes() == before
    assert b'"verifier"' not in before


def test_the_commands_can_leave_it_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copyfile(RECORDING, tmp_path / "commands.opus")
    message = []
    for options in ([], ["--no-verifier"]):
        assert main(["eval-stream", "--negatives", str(tmp_path), "--json", *options]) == 0
        message.append(json.loads(capsys.readouterr().out))
    assert [each["verified"] for each in message] == [True, False]
    assert message[0]["thresholds"] != message[1]["thresholds"]
    assert main(["listen", "--input", str(RECORDING), "--json-plain", "--no-verifier"]) == 0
    words = [json.loads(line)["keyword"] for line in capsys.readouterr().out.splitlines()]
    alone = Detector(verify=False)
    with AudioFile(RECORDING) as source:
        assert words == [detection.keyword for detection in alone.listen(source)]


def test_calibration_moves_the_thresholds_of_both(
    tmp_path: Path, shipped: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    background = ["--background", str(RECORDING)]
    assert main(["calibrate", "--target-fa", "5", *background, "--out", str(out)]) == 0
    capsys.readouterr()
    mine = load_model(out)
    assert mine.manifest.verifier is not None
    assert shipped.manifest.verifier is not None
    assert mine.manifest.verifier.thresholds != shipped.manifest.verifier.thresholds
    assert mine.manifest.thresholds == shipped.manifest.thresholds
    assert Detector(mine).process(np.zeros(16_000, np.int16)) == []


def test_the_verifier_alone_decides_by_the_same_presets(folder: Path) -> None:
    """Its own manifest has the thresholds for its posteriors, and no figures of older ones."""
    manifest = read_manifest(folder / "commands.json")
    assert manifest.verifier is not None
    thresholds = {**manifest.verifier.thresholds, "yes": 0.1234}
    changed = replace(manifest, verifier=replace(manifest.verifier, thresholds=thresholds))
    before = (folder / "commands.json").read_bytes()
    give_to_verifier(changed, folder)
    own = read_manifest(folder / "accurate.json")
    assert thresholds == own.thresholds
    assert manifest.verifier.presets == own.presets
    assert "operating_points" not in own.measurements
    assert before == (folder / "commands.json").read_bytes()
