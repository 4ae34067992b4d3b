"""`kws bench` on tiny inputs: what it measures and prints; never how fast anything is."""

from __future__ import annotations

import csv
import json
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kws.audio import AudioFile
from kws.bench import measure as measuring
from kws.bench.graph import bound_run
from kws.bench.machine import machine
from kws.bench.measure import Effort, measure
from kws.bench.stages import stages
from kws.bench.startup import cold_start
from kws.bench.table import print_tables
from kws.bench.timing import Round, alternate, compare, spread, summarise, time_calls
from kws.cli import main
from kws.demo import RECORDING
from kws.errors import BackendUnavailable, KwsError
from kws.model.load import load_model

TINY = Effort(rounds=2, calls=3, seconds=0.2, batches=(1, 2), gpu_batches=(1,))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command measures no longer than the tests do."""
    monkeypatch.setattr(measuring, "QUICK", TINY)
    monkeypatch.setattr(measuring, "FULL", TINY)


class TestTiming:
    def test_alternate_runs_all_in_every_round(self) -> None:
        """Each round begins with another candidate, and none is left out."""
        order: list[str] = []
        found = alternate(
            {name: lambda name=name: order.append(name) for name in ("a", "b", "c")}, 3
        )
        assert ["a", "b", "c", "b", "c", "a", "c", "a", "b"] == order
        assert {"a": 3, "b": 3, "c": 3} == {name: len(each) for name, each in found.items()}

    def test_time_calls_warms_up_once(self) -> None:
        """The first call is not timed."""
        calls: list[int] = []
        timed = time_calls(lambda: calls.append(1), 4)
        assert (5, 4) == (len(calls), len(timed.durations))

    def test_summary_takes_medians(self) -> None:
        """One disturbed round changes neither the median duration nor the processor time."""
        quiet, disturbed = Round((1.0, 1.0, 1.0), 1.0), Round((9.0,), 3.0)
        found = summarise([quiet, quiet, disturbed])
        assert (1.0, 1.0, 7) == (found.p50, found.cpu, found.calls)
        assert 8.0 == found.spread

    def test_waiting_is_what_others_took(self) -> None:
        """Half the wall time without processor time is half the time waited."""
        assert 0.5 == summarise([Round((2.0, 2.0), 1.0)]).waiting
        assert 0.0 == summarise([Round((1.0, 1.0), 1.5)]).waiting

    def test_spread_of_few_or_no_values(self) -> None:
        """One value has no spread, and a median of zero divides nothing."""
        assert 0.0 == spread([3.0]) == spread([]) == spread([0.0, 0.0])
        assert 0.5 == spread([1.0, 2.0, 1.5, 2.0, 2.0])

    def test_compare_times_every_candidate(self) -> None:
        """Keys of any kind come back with as many calls as were requested."""
        found = compare({("x", 1): lambda: None, ("y", 2): lambda: None}, rounds=2, calls=5)
        assert {("x", 1): 10, ("y", 2): 10} == {key: each.calls for key, each in found.items()}


class TestMeasure:
    def test_every_figure_is_there(self, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Latency, stages, threads, batches, start-up and memory; CUDA's absence in one line."""
        found = measure(str(tones), ("cpu", "cuda"), TINY)
        json.dumps(found, allow_nan=False)
        (row,) = found["artefacts"]
        assert ("window.onnx", "window", "onnx float", "cpu") == (
            row["artefact"],
            row["mode"],
            row["format"],
            row["provider"],
        )
        assert row["network"]["p50_us"] <= row["network"]["p95_us"] <= row["network"]["p99_us"]
        for timed in (row, row["network"], *found["threads"], *found["throughput"]):
            for name, values in timed["by_round"].items():
                assert TINY.rounds == len(values)
                assert min(values) <= timed[name] <= max(values)
        assert row["peak_bytes"] is None or row["peak_bytes"] > 10_000_000
        assert {"resample", "front end", "vad", "decision"} == found["stages"].keys()
        assert {1, 2} == {each["batch"] for each in found["throughput"]}
        assert 1 == found["threads"][0]["threads"]
        assert "\n" not in found["not_run"]["cuda"]
        print_tables(found)
        shown = capsys.readouterr().out
        assert "window.onnx" in shown
        assert f"cuda was not measured: {found['not_run']['cuda']}" in shown

    def test_the_verifier_is_a_stage(self) -> None:
        """It is called as often as the audio makes it be."""
        with AudioFile(RECORDING) as source:
            audio = np.concatenate(list(source))[: 4 * 16_000]
        model = load_model()
        assert 1 < stages(model, audio)["verifier"].per_second < 1000 / 60
        assert 0 == stages(model, np.zeros(16_000, np.int16))["verifier"].per_second
        assert "verifier" not in stages(load_model("accurate"), audio)

    def test_machine_record_is_json(self) -> None:
        """It names the processor and the versions that figures depend on."""
        found = machine()
        assert json.loads(json.dumps(found)) == found
        assert found["processor"]
        assert "numpy" in found["versions"]

    def test_cold_start_that_fails_is_one_line(self, tmp_path: Path) -> None:
        """The process's last line is the message."""
        with pytest.raises(KwsError, match=r"fresh process could not load .*missing"):
            cold_start(tmp_path / "missing.json", "window.onnx", "cpu")

    def test_a_batch_that_does_not_run_is_reported(self, tones: Path) -> None:
        """A graph refuses a batch of nothing; its reason comes in one line."""
        with pytest.raises(BackendUnavailable, match="batch of -1 does not run on cpu"):
            bound_run((tones / "m.onnx").read_bytes(), "cpu", -1, 1)

    @pytest.mark.parametrize("fails", [False, True])
    def test_batches_lie_on_the_device(self, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
        """Inputs and outputs are bound to it once, and a call waits until it has computed.

        What is bound lives on: a binding of an older ONNX Runtime does not keep it.
        """
        told: list[object] = []
        bound: list[weakref.ref[Value]] = []

        class Value:
            def __init__(self, zeros: np.ndarray, device: str, number: int) -> None:
                self.about = zeros.shape, device, number
                bound.append(weakref.ref(self))

        class Binding:
            def bind_ortvalue_input(self, name: str, value: Value) -> None:
                told.append((name, value.about))

            def bind_output(self, name: str, device: str) -> None:
                told.append((name, device))

            def synchronize_outputs(self) -> None:
                told.append("waits")

        def run(binding: Binding) -> None:
            if fails:
                raise RuntimeError("out of memory\nat some place")
            told.append("runs" if all(each() for each in bound) else "what is bound is gone")

        inputs = [SimpleNamespace(name="features", shape=["batch", 8, 40])]
        session = SimpleNamespace(
            get_inputs=lambda: inputs,
            get_outputs=lambda: [SimpleNamespace(name="posteriors")],
            io_binding=Binding,
            run_with_iobinding=run,
        )
        ort = SimpleNamespace(
            SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *_: None),
            InferenceSession=lambda content, options, providers: told.append(providers) or session,
            OrtValue=SimpleNamespace(ortvalue_from_numpy=Value),
        )
        monkeypatch.setattr("kws.bench.graph.import_onnxruntime", lambda: ort)
        if fails:
            with pytest.raises(
                BackendUnavailable, match=r"4096 does not run on cuda: out of mem\w+$"
            ):
                bound_run(b"", "cuda", 4096, 1)
            return
        bound_run(b"", "cuda", 4096, 1)()
        assert [
            ["CUDAExecutionProvider"],
            ("features", ((4096, 8, 40), "cuda", 0)),
            ("posteriors", "cuda"),
            *("runs", "waits") * 2,
        ] == told


class TestCommand:
    def test_json_is_one_object(self, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """`--json` prints nothing else."""
        assert 0 == main(["bench", "--quick", "--model", str(tones), "--json"])
        assert "tones" == json.loads(capsys.readouterr().out)["model"]

    def test_files(self, tones: Path, tmp_path: Path) -> None:
        """The CSV has a row per artefact and the picture is a PNG."""
        pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
        table, picture = tmp_path / "b.csv", tmp_path / "b.png"
        arguments = ["--csv", str(table), "--plot", str(picture)]
        assert 0 == main(["bench", "--quick", "--model", str(tones), *arguments])
        with table.open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert not any("by_round" in name for name in row)
        assert float(row["network_p50_us"]) > 0.0
        assert b"\x89PNG" == picture.read_bytes()[:4]

    def test_cuda_alone_without_cuda(self, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing to measure is a failure in one line that names what is missing."""
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime has CUDA")
        assert 1 == main(["bench", "--provider", "cuda", "--model", str(tones)])
        message = capsys.readouterr().err
        assert "CPU package" in message
        assert 1 == message.count("\n")

    def test_a_file_that_cannot_be_written(
        self, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The path is named, without a traceback."""
        table = tmp_path / "no folder" / "b.csv"
        assert 1 == main(["bench", "--quick", "--model", str(tones), "--csv", str(table)])
        assert f"cannot write {table}" in capsys.readouterr().err
