"""The C detector against Python: layer arithmetic, features, posteriors, detections, misfits."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx", reason="the firmware's tables come from the exported graphs")

from firmware_library import FIRMWARE, Event, Library

from export.build import quantised_of
from export.integer import clamp, rescale
from export.quantised import QuantisedNetwork, rescale_of
from export.shipped import read_network
from firmware_demo.tools import figures
from firmware_demo.tools.__main__ import generate_into, main
from firmware_demo.tools.c_source import array, number
from firmware_demo.tools.generate import generate, write
from firmware_demo.tools.golden import golden, levels_of, stream
from kws.config import FeatureConfig
from kws.decision import Decider
from kws.demo import RECORDING
from kws.errors import ModelError
from kws.frontend import log_mel
from kws.model.manifest import (
    DEFAULT_MODEL,
    MODES,
    Manifest,
    find_manifest,
    read_artefact,
    read_manifest,
)
from kws.recordings.data import (
    Clip,
    balanced,
    cut_silence,
    find_corpus,
    label_of,
    read_clips,
    read_recordings,
)

GENERATED = FIRMWARE / "generated"
CLIPS = 240  # real ones, of all twelve classes

needs_compiler = pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("make")), reason="there is no cc or make"
)
needs_emulator = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="there is no arm-none-eabi-gcc or qemu-system-arm",
)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """The manifest of the model that ships."""
    return read_manifest(find_manifest())


@pytest.fixture(scope="module")
def quantised(manifest: Manifest) -> QuantisedNetwork:
    """Its integers."""
    return quantised_of(manifest, read_network(manifest, find_manifest().parent))


@pytest.fixture(scope="module", params=["portable", "dsp"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The C library, each of its two paths."""
    out = tmp_path_factory.mktemp("firmware") / f"libkws_{request.param}.so"
    return Library(GENERATED, out, request.param == "dsp")


@pytest.fixture(scope="module")
def clips(recordings: Path, manifest: Manifest) -> NDArray[np.int16]:
    """Real validation clips (clips, samples) of all classes, as many of each."""
    corpus = find_corpus(recordings)
    chosen = balanced(corpus.split("validation"), manifest.keywords, seed=5)
    by_label: dict[str, list[Clip]] = {}
    for clip in chosen:
        by_label.setdefault(label_of(clip.word, manifest.keywords), []).append(clip)
    each = CLIPS // len(manifest.labels)
    audio, _, _ = read_clips([clip for clips in by_label.values() for clip in clips[:each]])
    noise, _, _ = read_recordings(corpus.noise)
    return np.concatenate((audio, cut_silence(noise, each, np.random.default_rng(6))))


def _run_make(*arguments: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name != "CMSIS_NN_DIR"}
    return subprocess.run(
        ["make", f"-j{os.cpu_count()}", "-C", str(FIRMWARE), *arguments],
        env=own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _make(*arguments: str) -> str:
    done = _run_make(*arguments)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@needs_compiler
def test_host_tests_pass_under_the_sanitisers() -> None:
    """Golden vectors, misuse and ten minutes of bad audio, on both paths."""
    assert _make("test").count(": passed") == 12


@needs_compiler
@needs_emulator
def test_emulated_tests_pass_and_measure() -> None:
    """The same on the emulated board, whose costs stay within the budget of the target part."""
    output = _make("qemu")
    assert output.count(": passed") == 13
    measured = figures.parse(output)
    for name, per_mac in (("dsp", 3.0), ("portable", 12.0)):
        cost = measured[name]
        assert cost["detector_bytes"] < 32 * 1024
        assert cost["code_flash"] + cost["tables_flash"] < 64 * 1024
        assert cost["weights_flash"] < 110 * 1024
        assert cost["pointwise_step"] <= per_mac * cost["pointwise_macs"]
    assert measured["dsp"]["listening_step"] / 0.02 < 0.25 * 80e6
    assert measured["dsp"]["silence_step"] < 0.5 * measured["dsp"]["listening_step"]


@needs_compiler
@needs_emulator
@pytest.mark.skipif("CMSIS_NN_DIR" not in os.environ, reason="CMSIS_NN_DIR is not set")
def test_cmsis_nn_gives_the_same_bits() -> None:
    """The golden tests pass where CMSIS-NN multiplies the matrices, host and emulated."""
    where = ("PATHS=cmsis", f"CMSIS_NN_DIR={Path(os.environ['CMSIS_NN_DIR']).resolve()}")
    assert _make("test", *where).count(": passed") == 6
    output = _make("qemu", *where)
    assert output.count(": passed") == 6
    assert set(figures.parse(output)) == {"cmsis"}


@needs_compiler
@pytest.mark.parametrize("content", [[], ["Include/arm_nnfunctions.h"]])
def test_a_folder_that_is_no_cmsis_nn_is_one_line(tmp_path: Path, content: list[str]) -> None:
    """An empty folder or a part of a distribution is refused, naming the file that is missing."""
    for name in content:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    done = _run_make("test", f"CMSIS_NN_DIR={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "CMSIS_NN_DIR must be the folder of a CMSIS-NN" in done.stderr
    assert f"there is no {tmp_path}/Include/" in done.stderr


def test_generated_sources_are_those_of_the_shipped_model(
    manifest: Manifest, quantised: QuantisedNetwork
) -> None:
    """Regenerated, the C sources are the same bytes and the golden vectors the same numbers."""
    for name, source in generate(manifest, quantised).items():
        assert source == (GENERATED / name).read_text(encoding="utf-8"), f"generate {name} again"
    audio = np.fromfile(GENERATED / "golden" / "audio.bin", np.int16)
    for name, values in golden(manifest, quantised, audio).items():
        assert values.tobytes() == (GENERATED / "golden" / name).read_bytes(), name


@needs_compiler
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extreme=st.booleans())
def test_dense_layers_round_as_the_reference(library: Library, seed: int, extreme: bool) -> None:
    """Random layers of random scales give what export.integer specifies, at the extremes too."""
    random = np.random.default_rng(seed)
    outputs, inputs = 4 * int(random.integers(1, 4)), 4 * int(random.integers(1, 30))
    draw = (lambda n: random.choice([-128, 127], n)) if extreme else None
    x = (draw(inputs) if draw else random.integers(-128, 128, inputs)).astype(np.int8)
    weights = random.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    bias = random.integers(-(2**20), 2**20, outputs).astype(np.int32)
    rescales = [rescale_of(factor) for factor in 2.0 ** random.uniform(-30, -1.01, outputs)]
    multiplier = np.array([r.multiplier for r in rescales], np.int32)
    shift = np.array([r.shift for r in rescales], np.int64)
    zero = int(random.integers(-128, 128))
    sums = weights.astype(np.int64) @ x.astype(np.int64) + bias
    expected = clamp(rescale(sums, multiplier.astype(np.int64), shift) + zero, -128)
    actual = library.dense(weights, bias, multiplier, -shift, zero, x)
    assert expected.tolist() == actual.tolist()


@needs_compiler
def test_features_are_within_one_step_of_numpy(
    library: Library, manifest: Manifest, quantised: QuantisedNetwork, clips: NDArray[np.int16]
) -> None:
    """On real clips in uneven blocks; nearly all features are the very same."""
    store = quantised.values["features"].store
    blocks = [1, 160, 37, 480, 1000, 7]
    expected = np.stack([store(log_mel(clip, manifest.features)) for clip in clips])
    actual = np.stack([library.features(clip, blocks) for clip in clips])
    difference = np.abs(expected.astype(int) - actual)
    assert difference.max() <= 1
    assert np.mean(difference) < 1e-3


@needs_compiler
@pytest.mark.parametrize("kind", ["silence", "noise", "square", "lowest", "quiet", "tone"])
def test_features_of_extreme_audio(
    library: Library, manifest: Manifest, quantised: QuantisedNetwork, kind: str
) -> None:
    """Full scale, silence and pure tones are within one step as well."""
    n = np.arange(8000)
    audio = {
        "silence": 0 * n,
        "noise": np.random.default_rng(1).integers(-32768, 32768, len(n)),
        "square": np.where(n // 8 % 2, 32767, -32768),
        "lowest": 0 * n - 32768,
        "quiet": n % 3 - 1,
        "tone": 32767 * np.sin(2 * np.pi * n / 16),
    }[kind].astype(np.int16)
    expected = quantised.values["features"].store(log_mel(audio, manifest.features))
    assert np.abs(expected.astype(int) - library.features(audio, [320])).max() <= 1


@needs_compiler
def test_posteriors_are_those_of_the_tflite_file(
    library: Library, manifest: Manifest, quantised: QuantisedNetwork, clips: NDArray[np.int16]
) -> None:
    """At the end of each clip bit for bit the int8 stream file under TFLite's reference kernels."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    from export.run_files import TfliteFile

    content = read_artefact(find_manifest().parent, manifest.artefacts["stream.int8.tflite"])
    file = TfliteFile(content, reference=True)
    silence = np.full((100, manifest.features.bands), quantised.values["features"].zero_point)
    for clip in clips:
        features = quantised.values["features"].store(log_mel(clip, manifest.features))
        # The file begins with contexts of zeros; both have forgotten them after a second.
        frames = np.concatenate((silence, features)).astype(np.int8)
        assert file.run_stored(frames[None])[0].tolist() == library.posteriors(frames)[-1].tolist()


@pytest.fixture(scope="module")
def streams(clips: NDArray[np.int16]) -> NDArray[np.int16]:
    """The clips with half a second of noise on either side (clips, samples)."""
    noise = np.random.default_rng(3).normal(0, 40, (len(clips), 32_000)).astype(np.int16)
    noise[:, 8_000:24_000] += clips // 2
    return noise


@pytest.fixture(scope="module")
def expected(
    manifest: Manifest, quantised: QuantisedNetwork, streams: NDArray[np.int16]
) -> list[list[Event]]:
    """What the int8 stream model in Python spots in each stream."""
    store = quantised.values["features"].store
    features = np.stack([store(log_mel(audio, manifest.features)) for audio in streams])
    # Before the first whole frame lie two that begin in digital silence.
    features = np.insert(features, [0, 0], quantised.values["features"].zero_point, axis=1)
    posteriors = (stream(quantised, features).astype(np.float32) + 128) / np.float32(256)
    events = []
    steps = features.reshape(*posteriors.shape[:2], -1)
    for rows, levels in zip(
        posteriors, levels_of(quantised.values["features"], steps), strict=True
    ):
        decider = Decider(manifest.labels, manifest.operating_point(MODES[0]), manifest.decision)
        found = decider.update(rows, levels)
        events.append(
            [Event(d.keyword, d.score, round(d.start * 16e3), round(d.end * 16e3)) for d in found]
        )
    return events


@needs_compiler
def test_detections_are_those_of_python(
    library: Library, streams: NDArray[np.int16], expected: list[list[Event]]
) -> None:
    """On the same real clips in noise fire the same words, within one hop of the same time."""
    actual = [library.detect(audio) for audio in streams]
    words = [[event.keyword for event in events] for events in expected]
    assert any(words), "no clip fired: the test shows nothing"
    assert words == [[event.keyword for event in events] for events in actual]
    late = [
        abs(a.end - b.end)
        for events, others in zip(expected, actual, strict=True)
        for a, b in zip(events, others, strict=True)
    ]
    assert max(late) <= 320


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-128, "-128"), (2**31 - 1, "2147483647"), (-(2**31), "INT32_MIN")],
)
def test_whole_numbers_as_c(value: int, text: str) -> None:
    """Integers are written as C reads them in their own type."""
    assert text == number(value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_keep_every_bit(value: float) -> None:
    """A float32 read back from its literal is the same."""
    assert np.float32(value) == np.float32(number(np.float32(value)).rstrip("f"))


def test_arrays_wrap_and_hold_structs() -> None:
    """Long arrays break into lines of 100; rows become structs."""
    text = array("int8_t", "many", np.arange(100))
    assert max(map(len, text.splitlines())) <= 100
    assert "{{" not in text
    assert "{1.0f, 2.0f}" in array("pair", "one", np.array([[1, 2]], np.float32))


def _widened(quantised: QuantisedNetwork, times: int) -> QuantisedNetwork:
    blocks = quantised.network.blocks * times
    return replace(quantised, network=replace(quantised.network, blocks=blocks))


def test_a_model_too_large_is_refused_with_the_numbers(
    manifest: Manifest, quantised: QuantisedNetwork
) -> None:
    """Before anything is written, the message tells what is needed and what there is."""
    with pytest.raises(ModelError, match=r"needs \d+ bytes of RAM and the firmware has 32768"):
        generate(manifest, _widened(quantised, 8))


def test_a_front_end_that_the_transform_cannot_do_is_refused(
    manifest: Manifest, quantised: QuantisedNetwork
) -> None:
    """Half the length of the spectrum must be a power of 4, and cepstra are not made."""
    for features, message in (
        (FeatureConfig(fft_size=1024), "fft_size of 128, 512, 2048 or 8192"),
        (FeatureConfig(coefficients=10), "10 cepstral coefficients"),
        (FeatureConfig(hop=240), "row of posteriors per 30.0 ms"),
    ):
        with pytest.raises(ModelError, match=message):
            generate(replace(manifest, features=features), quantised)


def test_a_missing_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line ends with 1 and says what to do."""
    assert main(["generate", "no-such-model"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("firmware_demo: error: there is no model")
    assert error.count("\n") == 1


def test_unreadable_audio_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text file named .wav is no recording."""
    path = tmp_path / "speech.wav"
    path.write_text("not audio", encoding="utf-8")
    before = (GENERATED / "kws_sizes.h").stat().st_mtime_ns
    assert main(["generate", "--audio", str(path)]) == 1
    assert "is not audio that can be read" in capsys.readouterr().err
    assert before == (GENERATED / "kws_sizes.h").stat().st_mtime_ns


@needs_compiler
def test_another_model_reaches_c(
    tmp_path: Path, manifest: Manifest, quantised: QuantisedNetwork
) -> None:
    """Labels of any number and script become C: what `try` does for somebody's own words."""
    labels = ("marvin", 'say "hi"', "größer", "silence", "unknown")
    classifier = quantised.network.classifier
    layer = quantised.layers["classifier"]
    few = replace(
        quantised,
        network=replace(
            quantised.network,
            classifier=replace(
                classifier, weights=classifier.weights[:5], bias=classifier.bias[:5]
            ),
        ),
        layers={
            **quantised.layers,
            "classifier": replace(
                layer,
                weights=layer.weights[:5],
                weight_scales=layer.weight_scales[:5],
                bias=layer.bias[:5],
                rescales=layer.rescales[:5],
            ),
        },
    )
    other = replace(manifest, labels=labels, thresholds={}, presets={})
    write(generate(other, few), tmp_path)
    built = Library(tmp_path, tmp_path / "libkws.so")
    audio = np.random.default_rng(2).integers(-3000, 3000, 16_000).astype(np.int16)
    features = few.values["features"].store(log_mel(audio, manifest.features))
    assert stream(few, features[None])[0].tolist() == built.posteriors(features).tolist()


@needs_compiler
def test_a_folder_of_a_model_is_generated_anywhere(tmp_path: Path) -> None:
    """generate_into takes a path and writes sources and golden vectors below it."""
    generate_into(tmp_path / "out", DEFAULT_MODEL, RECORDING)
    assert {"kws_sizes.h", "network_tables.c"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "golden" / "detections.bin").exists()


@pytest.mark.parametrize("command", ["try", "figures"])
def test_a_missing_tool_chain_is_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what is missing and how to install it, before anything is generated."""
    monkeypatch.setenv("PATH", "")
    assert main([command]) == 1
    error = capsys.readouterr().err
    assert "arm-none-eabi-gcc, qemu-system-arm not found" in error
    assert error.count("\n") == 1
