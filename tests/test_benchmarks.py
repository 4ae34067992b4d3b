"""The benchmarks on tiny inputs: every figure is there, and what is counted is counted right."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tone_model import write_tone

pytest.importorskip("onnx", reason="graphs are counted and made with onnx")

from onnx import TensorProto, helper, numpy_helper

from benchmarks.environments import EnvironmentFailed, environment, install
from benchmarks.product import footprint, latency, peers, scanning
from benchmarks.product.peers import Peer, Running, Stream, score
from benchmarks.studies import before, floor, growth, recomputation
from benchmarks.studies.macs import arithmetic
from kws import AudioFile
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import KwsError
from kws.native import library


def graph(*nodes: object, **constants: np.ndarray) -> bytes:
    """An ONNX file from x (batch, 4, 10) to y."""
    made = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 21)]
    return helper.make_model(made, opset_imports=opset, ir_version=10).SerializeToString()


class TestArithmetic:
    def test_a_convolution(self) -> None:
        """Each of 3 x 8 results sums 4 channels times 3 places; a ReLU multiplies nothing."""
        weights = np.zeros((3, 4, 3), np.float32)
        found = arithmetic(
            graph(
                helper.make_node("Conv", ["x", "w"], ["c"]),
                helper.make_node("Relu", ["c"], ["y"]),
                w=weights,
            )
        )
        assert (3 * 8 * 12, 3 * 8, weights.nbytes, 2) == (
            found.macs,
            found.elementwise,
            found.weight_bytes,
            found.nodes,
        )
        assert 4 * (40 + 36 + 24 + 24 + 24) == found.moved_bytes

    def test_a_depthwise_convolution(self) -> None:
        """Each result sums one channel alone."""
        node = helper.make_node("Conv", ["x", "w"], ["y"], group=4)
        assert 4 * 8 * 3 == arithmetic(graph(node, w=np.zeros((4, 1, 3), np.float32))).macs

    def test_a_matrix_product(self) -> None:
        """(4, 10) times (10, 5)."""
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        assert 4 * 5 * 10 == arithmetic(graph(node, w=np.zeros((10, 5), np.float32))).macs


def test_floor_of_the_shipped_model() -> None:
    """Every ONNX file has a floor beside what was measured."""
    found = floor.measure(None, rounds=6, calls=1)
    assert "stream.onnx" in found["graphs"]
    for row in found["graphs"].values():
        assert row["floor_us"]["median"] > 0
        assert row["measured_us"]["median"] > 0
        assert 6 == row["times_the_floor"]["rounds"]
    assert found["taken_out"]["how many times less"]["median"] > 0


def test_an_earlier_commit() -> None:
    """Its tree is there while it is measured and gone afterwards; one that is none is told."""
    with before.checked_out("HEAD") as tree:
        assert (tree / "kws" / "__init__.py").is_file()
    assert not tree.exists()
    with pytest.raises(KwsError, match="no-such-commit"), before.checked_out("no-such-commit"):
        pass


def test_recomputation() -> None:
    """Every way has its time and its ratio to streaming, the network alone to itself."""
    with AudioFile(RECORDING) as source:
        speech = np.concatenate(list(source))[: 3 * SAMPLE_RATE // 2]
    found = recomputation.measure(speech, 6)["paired_processor_time"]
    assert (6 if library() else 5) == len(found)
    for name in (recomputation.STREAMING, recomputation.ALONE):
        assert 1.0 == found[name]["relative_processor_time"]["median"]
    assert all(row["ms_per_second"]["median"] > 0.0 for row in found.values())


def test_growth(tmp_path: Path) -> None:
    """Three curves with the points that were requested, and a picture of each."""
    pytest.importorskip("matplotlib", reason="curves are drawn with matplotlib")
    found = growth.measure(0.3, 6, streams=(1, 2), widths=(8, 16), steps=(1, 3))
    assert ["1 stream", "2 streams"] == list(found["streams"])
    ways = ["one DetectorPool", "a Detector for each", "a Detector for each, on one model"]
    for point in found["streams"].values():
        assert ways == list(point)
        assert 6 == point[ways[1]]["relative_processor_time"]["rounds"]
    stages = found["a_pool_of_2"]
    assert ["one DetectorPool", "front end", "network", "the rest"] == list(stages)
    assert 6 == stages["network"]["share_of_the_pool"]["rounds"]
    small, large = found["width"].values()
    assert small["parameters"] < large["parameters"]
    assert ["20 ms", "60 ms"] == list(found["hop"])
    growth.draw(found, tmp_path)
    drawn = {"streams", "width", "hop"} | ({"streams_on_the_kernel"} if library() else set())
    assert {f"growth_{name}.png" for name in drawn} == {path.name for path in tmp_path.iterdir()}


def test_latency_tables(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of kws bench as rows with names, and a picture."""
    pytest.importorskip("matplotlib", reason="the picture is drawn with matplotlib")
    monkeypatch.setattr(latency, "FULL", latency.FULL.__class__(6, 1, 0.1, (1,), (1,)))
    out = tmp_path / "latency.json"
    assert 0 == latency.main(["--model", str(tones), "--out", str(out)])
    found = json.loads(out.read_text())["figures"]
    assert "window.onnx cpu" in found["artefacts"]
    assert latency.STARTS == found["import_kws_s"]["rounds"]
    assert 6 == found["batches"]["window.onnx cpu 1"]["hours_per_second"]["rounds"]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("default")
def test_scanning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way finds the same keywords in the same recordings."""
    monkeypatch.setattr(
        scanning,
        "alternate",
        lambda runs, rounds: {name: [run()] * rounds for name, run in runs.items()},
    )
    for number in range(6):
        write_tone(tmp_path / f"speech/orders/{number}.wav", "low")
    out = tmp_path / "scanning.json"
    rounds = ["--most", "6", "--rounds", "6"]
    assert 0 == scanning.main(["--data", str(tmp_path), *rounds, "--out", str(out)])
    content = json.loads(out.read_text())
    ways = content["figures"]["ways"]
    assert content["figures"]["keywords_spotted"] > 0
    assert 1.0 == ways["kws scan, 1 process"]["relative_speed"]["median"]
    assert {"a detector, file by file", "kws scan, 1 process, 8 at once"} < ways.keys()
    assert all(way["same_detections"] for way in ways.values())


def test_scanning_next_to_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two recordings are a way's start; there must be more."""
    write_tone(tmp_path / "speech/orders/0.wav", "low")
    assert 1 == scanning.main(["--data", str(tmp_path), "--out", str(tmp_path / "o")])
    assert "at least 3 recordings" in capsys.readouterr().err


def test_scanning_without_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and nothing written."""
    assert 1 == scanning.main(["--data", str(tmp_path), "--out", str(tmp_path / "o")])
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


class TestPeers:
    STREAM = Stream(
        np.zeros(36 * SAMPLE_RATE, np.int16),
        (("yes", 0, 16_000), ("cat", 32_000, 48_000), ("yes", 64_000, 80_000)),
    )

    def test_everything_found(self) -> None:
        """A decision up to a second after its clip counts."""
        found = score([("yes", 0.5), ("yes", 5.9)], self.STREAM)
        assert (2, 0.0, 0.0) == (
            found["keywords"],
            found["miss_rate"],
            found["false_accepts_per_hour"],
        )

    def test_misses_and_false_accepts(self) -> None:
        """Another word, the right word too late, and the right word twice are false accepts."""
        found = score([("no", 0.5), ("yes", 3.0), ("yes", 4.5), ("yes", 4.6)], self.STREAM)
        assert 0.5 == found["miss_rate"]
        assert 300.0 == pytest.approx(found["false_accepts_per_hour"])

    def test_speech_without_keywords(self) -> None:
        """There is nothing to miss."""
        stream = Stream(np.zeros(3600 * 100, np.int16), ())
        assert "miss_rate" not in score([], stream)

    def test_the_same_false_accepts(self) -> None:
        """Settings with more false accepts than ours do not count, however few they miss."""

        def mistakes(miss_rate: float, false: int) -> dict[str, dict[str, float]]:
            words = {"miss_rate": miss_rate, "false_accepts": false - 1}
            return {"words": words, "speech": {"false_accepts": 1}}

        found = peers.at_our_false_accepts(
            {
                "ours": mistakes(0.1, 5),
                "loose": mistakes(0.2, 9),
                "strict": mistakes(0.6, 5),
                "stricter": mistakes(0.8, 1),
                "hopeless": mistakes(0.0, 6),
            },
            dict.fromkeys(("loose", "strict", "stricter"), "theirs")
            | {"ours": "kws", "hopeless": "others"},
        )
        assert ("strict", 0.6, 5) == tuple(found["theirs"].values())
        assert ("ours", 0.1, 5) == tuple(found["kws"].values())
        assert ("none", None, None) == tuple(found["others"].values())

    def test_a_spotter_in_its_own_process(self, tmp_path: Path) -> None:
        """Ours returns times and detections for each file, from a clean start."""
        (tmp_path / "a.raw").write_bytes(np.zeros(8_000, np.int16).tobytes())
        with closing(Running(Peer("ours", "kws", "window.onnx"))) as running:
            replies = [running.process(tmp_path / "a.raw") for _ in range(2)]
        assert [[], []] == [each["found"] for each in replies]
        assert all(each["cpu_s"] >= 0.0 for each in replies)

    def test_parts_of_a_file_are_one_stream(self, tmp_path: Path) -> None:
        """A word that lies across a cut is detected, and the end of the file begins anew."""
        with AudioFile(RECORDING) as source:
            audio = np.concatenate(list(source))[: 6 * SAMPLE_RATE]
        path = tmp_path / "a.raw"
        path.write_bytes(audio.tobytes())
        cuts = range(0, audio.nbytes + 640, 640)  # every 20 ms: no word lies within one
        with closing(Running(Peer("ours", "kws", "stream.onnx"))) as running:
            whole = running.process(path)["found"]
            for _ in range(2):
                parts = [running.process(path, part)["found"] for part in pairwise(cuts)]
                assert [word for word, _ in whole] == [word for part in parts for word, _ in part]
        assert whole

    def test_a_spotter_that_does_not_start(self) -> None:
        """It is named rather than waited for."""
        with pytest.raises(EnvironmentFailed, match="nobody ended"):
            Running(Peer("nobody", "no such spotter"))

    def test_ours_are_files_of_the_default_model(self) -> None:
        """The stream graph comes first: the others are compared with it."""
        assert "kws stream.onnx" == peers.ours()[0].name


class TestEnvironments:
    def test_an_existing_environment_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is made once, and again when other packages are requested."""
        made: list[Path] = []
        monkeypatch.setattr("benchmarks.environments.FOLDER", tmp_path)
        monkeypatch.setattr(
            "benchmarks.environments.new_environment",
            lambda folder: (folder.mkdir(exist_ok=True), made.append(folder)),
        )
        monkeypatch.setattr("benchmarks.environments.install", lambda python, packages: None)
        for packages in (["a==1"], ["a==1"], ["a==2"]):
            environment("peer", packages)
        assert 2 == len(made)

    def test_what_cannot_be_installed_is_one_line(self) -> None:
        """pip's last line is the message."""
        with pytest.raises(EnvironmentFailed, match="ERROR") as failed:
            install(Path(sys.executable), ["--no-index", "there-is-no-such-package==0"])
        assert "\n" not in str(failed.value)

    def test_a_wheel_is_built(self, tmp_path: Path) -> None:
        """Of this checkout."""
        assert footprint.build_wheel(tmp_path).name.startswith("kws-")
