"""The verifier on the native kernel: the integers of ONNX Runtime, and no graph of another form."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kws import Detector, load_model, native
from kws.app.doctor import examine
from kws.audio import AudioFile
from kws.cli import main
from kws.demo import RECORDING
from kws.errors import ModelError
from kws.frontend import log_mel
from kws.model import load
from kws.model.encoder import Encoder
from kws.model.manifest import MODELS, read_manifest
from kws.model.native_window import native_window
from kws.model.runtimes import OnnxBackend, has_vnni
from kws.native.int8 import FOR_WINDOWS, Arithmetic, Plan, Steps, Value, multiplies

onnx = pytest.importorskip("onnx", reason="the graphs are changed with onnx")
torch = pytest.importorskip("torch", reason="the second network is made with torch")

from export.build import quantised_of  # noqa: E402
from export.embedding_graph import calibrate, write_together  # noqa: E402
from export.shipped import read_network  # noqa: E402
from kws.train.embedding import EmbeddingNetwork  # noqa: E402

WAYS = [each for each in FOR_WINDOWS if multiplies(each)]

pytestmark = pytest.mark.skipif(
    native.library() is None,
    reason="the native kernel was not compiled: python -m kws.native.build_backend",
)


def speech() -> Any:
    """Seconds of the demonstration."""
    with AudioFile(RECORDING) as source:
        audio = np.concatenate(list(source))
    config = read_manifest(MODELS / "commands.json").features
    starts = range(0, len(audio) - 16_000, 8_000)
    return np.stack([log_mel(audio[start : start + 16_000], config) for start in starts])


def together() -> bytes:
    """The file of the network that ships and of one of random weights that tells words apart."""
    torch.manual_seed(0)
    network, features = EmbeddingNetwork().eval(), speech().astype(np.float32)
    with torch.no_grad():
        for layers in network.convolutions():
            for layer in layers:
                torch.nn.init.kaiming_normal_(layer.weight, a=0.2)
        logits = network(torch.from_numpy(features))[:, -1]
        scale = 1.0 / logits.std(dim=0)
        network.classifier.weight.mul_(scale[:, None])
        network.classifier.bias.sub_(logits.mean(dim=0)).mul_(scale)
    manifest = read_manifest(MODELS / "commands.json")
    shipped = read_network(manifest, MODELS)
    integers = quantised_of(manifest, shipped)
    return write_together(network, calibrate(network, features), shipped, integers, {})


CONTENT = together()


def part(first: str, last: str, which: int) -> bytes:
    """The nodes of the file from one operator to another, as a file of their own.

    `which` counts the softmaxes: that of the part is number `which`.
    """
    model = onnx.load_from_string(CONTENT)
    nodes = list(model.graph.node)
    ends = [index for index, node in enumerate(nodes) if node.op_type == last]
    begin = 0 if which == 0 else ends[which - 1] + 1
    kept = nodes[begin : ends[which] + 1]
    assert first == kept[0].op_type
    kept[-1].output[0] = "posteriors"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def files() -> dict[str, bytes]:
    return {
        "together": CONTENT,
        "the embedding network alone": part("Slice", "Softmax", 1),
        "the network that ships": (MODELS / "commands.window.int8.onnx").read_bytes(),
    }


@pytest.fixture(scope="module")
def windows() -> Any:
    """Seconds of the demonstration, silence, and what no microphone delivers."""
    clips = speech()
    draw = np.random.default_rng(0)
    shape = clips[0].shape
    return np.stack(
        [
            *clips,
            np.zeros(shape),
            *draw.uniform(0.0, 15.0, (4, *shape)),
            *draw.normal(0.0, 100.0, (4, *shape)),
        ]
    ).astype(np.float32)


@pytest.mark.parametrize("arithmetic", WAYS)
@pytest.mark.parametrize("name", files())
def test_the_posteriors_of_onnx_runtime(name: str, arithmetic: Arithmetic, windows: Any) -> None:
    """Speech, silence and noise, by each way to multiply that this machine has."""
    pytest.importorskip("onnxruntime")
    content = files()[name]
    network = native_window(content, arithmetic)
    assert network is not None
    expected = OnnxBackend(content).run(windows)
    assert len(np.unique(expected.argmax(axis=1))) > 4
    found = network.run(windows)
    # Without VNNI, and on other processors, ONNX Runtime rounds some integers otherwise.
    assert found == pytest.approx(expected, abs=1e-6 if has_vnni() else 0.02)


@pytest.mark.parametrize("way", sorted(set(Arithmetic) - set(WAYS)))
def test_ways_that_there_are_none_of(way: Arithmetic) -> None:
    """Those of other machines, and those that take no values from 0 to 255."""
    with pytest.raises(ValueError, match="does not compute"):
        Plan(98, 40, way)


def test_several_windows_and_threads(windows: Any) -> None:
    """Windows of one call, and calls at the same time, give what each gives alone."""
    network = native_window(CONTENT)
    assert network is not None
    alone = np.concatenate([network.run(window[None]) for window in windows])
    assert np.array_equal(alone, network.run(windows))
    with ThreadPoolExecutor(4) as threads:
        for rows in threads.map(network.run, [windows] * 8):
            assert np.array_equal(alone, rows)


def test_features_of_another_shape() -> None:
    """They are refused before the kernel gets any address."""
    network = native_window(CONTENT)
    assert network is not None
    for shape in ((1, 97, 40), (1, 98, 41), (98, 40), (1, 1, 98, 40)):
        with pytest.raises(ModelError, match=r"takes features of shape \(batch, 98, 40\)"):
            network.run(np.zeros(shape, np.float32))


# Layers of other sizes, against the same integers by NumPy.


class Reference:
    """Integers of a network with each kind of layer, and its features' shape."""

    def __init__(self, draw: np.random.Generator, channels: int, columns: int) -> None:
        self.shape = (20, 7)
        self.draw, self.channels, self.columns = draw, channels, columns
        self.images = draw.integers(-6, 7, (7, 3 * columns)).astype(np.float32) / 16
        self.image_bias = draw.integers(-9, 10, 3 * columns).astype(np.float32) / 8
        self.first = self.weights(channels, 3, 2, 3)
        self.second = self.weights(channels + 2, channels, 3, 1)
        self.stem = self.weights(channels, 7, 3, 1)
        self.depthwise = self.weights(channels, 4)
        self.pointwise = self.weights(channels, channels, 1, 1)
        self.table = draw.integers(0, 256, (channels, 256)).astype(np.uint8)
        self.head = draw.normal(0, 0.5, (5, channels)).astype(np.float32)
        self.head_bias = draw.normal(0, 1, 5).astype(np.float32)

    def weights(self, *shape: int) -> Any:
        """Weights, their scales and the bias of one layer."""
        weights = self.draw.integers(-128, 128, shape).astype(np.int8)
        scales = np.float32(0.5) ** self.draw.integers(7, 11, shape[0]).astype(np.float32)
        return weights, scales, self.draw.integers(-3000, 3000, shape[0]).astype(np.int32)


# Powers of two, of which all sums are exact: halves are rounded alike.
SOME, OTHER, THIRD = (
    Steps(np.float32(scale), zero) for scale, zero in ((1 / 16, 90), (1 / 4, 33), (1 / 2, 0))
)
LEAK = 0.25


def random_plan(arithmetic: Arithmetic, channels: int, columns: int) -> tuple[Plan, Reference]:
    reference = Reference(np.random.default_rng(channels), channels, columns)
    plan = Plan(*reference.shape, arithmetic)
    value = plan.features(SOME)
    value = plan.convolve(value, *reference.stem, OTHER, step=2)
    weights, *others = reference.depthwise
    change = plan.convolve_depthwise(value, weights, *others, SOME)
    change = plan.convolve(change, *reference.pointwise, SOME)
    value = plan.add(value, change, THIRD)
    plan.classify(value, reference.head, reference.head_bias)
    value = plan.images(2, reference.images, reference.image_bias, 3, SOME, edge=1)
    value = plan.convolve(value, *reference.first, OTHER, table=reference.table, stored=SOME)
    value = plan.pool(value, 2, 1, edge=2)
    weights, *others = reference.second
    wide = np.repeat(weights, columns + 4, axis=3)  # to one column
    value = plan.convolve(value, wide, *others, OTHER, leak=LEAK, stored=THIRD)
    head = np.pad(reference.head, [(0, 0), (0, 2)])
    plan.classify(value, head, reference.head_bias)
    return plan, reference


def convolved(stored: Any, steps: Steps, layer: Any, after: Steps, step: int = 1) -> Any:
    """Stored numbers (rows, columns, channels) of a convolution of others."""
    weights, scales, bias = layer
    _, _, height, width = weights.shape
    centred = stored.astype(np.int64) - steps.zero
    seen = np.lib.stride_tricks.sliding_window_view(centred, (height, width), axis=(0, 1))[::step]
    sums = np.einsum("rkchw,ochw->rko", seen, weights.astype(np.int64)) + bias
    return after.store(sums.astype(np.float32) * (steps.scale * scales / after.scale) * after.scale)


def posteriors_by_numpy(reference: Reference, features: Any) -> Any:
    def softmax(value: Any, steps: Steps, weights: Any) -> Any:
        mean = ((value[:, 0].astype(np.float64) - steps.zero) * steps.scale).mean(axis=0)
        powers = np.exp(weights @ mean + reference.head_bias)
        return powers / powers.sum()

    stem = convolved(SOME.store(features)[:, None], SOME, reference.stem, OTHER, 2)
    weights, *others = reference.depthwise
    full = np.zeros((len(weights), *weights.shape, 1), np.int8)
    full[range(len(weights)), range(len(weights)), :, 0] = weights
    change = convolved(stem, OTHER, (full, *others), SOME)
    change = convolved(change, SOME, reference.pointwise, SOME)
    value = THIRD.store(OTHER.real()[stem[3:]] + SOME.real()[change])
    first = softmax(value, THIRD, reference.head)

    bands = features[2:] @ reference.images + reference.image_bias
    image = SOME.store(bands.reshape(len(bands), 3, -1).transpose(0, 2, 1))
    padded = np.pad(image, [(0, 0), (1, 1), (0, 0)], constant_values=SOME.zero)
    value = convolved(padded, SOME, reference.first, OTHER)
    value = reference.table[np.arange(reference.channels), value]
    value = value[: len(value) // 2 * 2].reshape(-1, 2, *value.shape[1:]).max(axis=1)
    value = np.pad(value, [(0, 0), (2, 2), (0, 0)], constant_values=SOME.zero)
    weights, *others = reference.second
    wide = np.repeat(weights, value.shape[1], axis=3)
    value = OTHER.real()[convolved(value, SOME, (wide, *others), OTHER)]
    value = THIRD.store(np.where(value < 0, value * np.float32(LEAK), value))
    both = np.sqrt(first * softmax(value, THIRD, np.pad(reference.head, [(0, 0), (0, 2)])))
    return both / both.sum()


@pytest.mark.parametrize("arithmetic", WAYS)
@pytest.mark.parametrize(("channels", "columns"), [(1, 1), (5, 3), (16, 8), (49, 30), (70, 2)])
def test_other_sizes(arithmetic: Arithmetic, channels: int, columns: int) -> None:
    """Channels that fill no tile, pixels that fill no group, edges and a pool of odd rows."""
    plan, reference = random_plan(arithmetic, channels, columns)
    drawn = np.random.default_rng(1).integers(-60, 61, (3, *reference.shape))
    features = drawn.astype(np.float32) / 8
    expected = np.stack([posteriors_by_numpy(reference, each) for each in features])
    assert plan.window().run(features) == pytest.approx(expected, abs=1e-5)


def test_slopes_and_tables(monkeypatch: pytest.MonkeyPatch, windows: Any) -> None:
    """Where slopes would round otherwise a table is taken, which gives the same."""
    network = native_window(CONTENT)
    assert network is not None
    monkeypatch.setattr("kws.native.int8._bend", lambda *steps: {})
    by_table = native_window(CONTENT)
    assert by_table is not None
    assert np.array_equal(network.run(windows), by_table.run(windows))


def plan_with(build: Callable[[Plan, Value], Any]) -> None:
    plan = Plan(6, 4)
    build(plan, plan.features(SOME))
    plan.window()


ONES = np.ones((3, 4, 2, 1), np.int8), np.ones(3, np.float32), np.ones(3, np.int32)


@pytest.mark.parametrize(
    "build",
    [
        lambda plan, value: None,  # no classifier
        lambda plan, value: plan.convolve(value, ONES[0][:, :3], *ONES[1:], SOME),
        lambda plan, value: plan.convolve(value, ONES[0], ONES[1][:2], ONES[2], SOME),
        lambda plan, value: plan.convolve(value, ONES[0].astype(np.int16), *ONES[1:], SOME),
        lambda plan, value: plan.convolve(value, *ONES, SOME, step=0),
        lambda plan, value: plan.convolve(value, np.ones((3, 4, 7, 1), np.int8), *ONES[1:], SOME),
        lambda plan, value: plan.convolve(value, np.ones((3, 4, 1, 2), np.int8), *ONES[1:], SOME),
        lambda plan, value: plan.convolve(value, *ONES, SOME, edge=1 << 24),
        lambda plan, value: plan.convolve(value, *ONES, SOME, table=np.zeros((2, 256), np.uint8)),
        lambda plan, value: plan.convolve(value, *ONES, Steps(np.float32(0.0), 0)),
        lambda plan, value: plan.convolve(value, *ONES, Steps(np.float32(1.0), 256)),
        lambda plan, value: plan.convolve(value, *ONES[:2], np.full(3, (1 << 31) - 9, "i4"), SOME),
        lambda plan, value: plan.convolve_depthwise(value, ONES[0][:, 0, :1, 0], *ONES[1:], SOME),
        lambda plan, value: plan.add(value, value, SOME),
        lambda plan, value: plan.pool(value, 7, 1, 0),
        lambda plan, value: plan.pool(value, 0, 1, 0),
        lambda plan, value: plan.images(6, np.ones((4, 2), "f4"), np.ones(2, "f4"), 1, SOME, 0),
        lambda plan, value: plan.images(0, np.ones((4, 3), "f4"), np.ones(3, "f4"), 2, SOME, 0),
        lambda plan, value: plan.classify(value, np.ones((2, 3), "f4"), np.ones(2, "f4")),
        lambda plan, value: [
            plan.classify(value, np.ones((labels, 4), "f4"), np.ones(labels, "f4"))
            for labels in (2, 3)
        ],
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(build: Callable[[Plan, Value], Any]) -> None:
    """They are refused before the kernel gets any address."""
    with pytest.raises(ValueError, match="of these shapes"):
        plan_with(build)


# Graphs of another form.


def node(model: Any, operator: str, number: int = 0) -> Any:
    return [each for each in model.graph.node if each.op_type == operator][number]


def change_constant(name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        content = change(onnx.numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(content), name))

    return apply


def change_operator(model: Any) -> None:
    node(model, "LeakyRelu").op_type = "Elu"


def change_wiring(model: Any) -> None:
    node(model, "Add", 1).input[0] = node(model, "Slice").output[0]


def change_attribute(operator: str, name: str, value: Any) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        changed = node(model, operator, -1)
        kept = [each for each in changed.attribute if each.name != name]
        del changed.attribute[:]
        changed.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return apply


def add_node(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Relu", ["posteriors"], ["unused"]))


def drop_end(model: Any) -> None:
    del model.graph.node[-1]
    model.graph.node[-1].output[0] = "posteriors"


def change_opset(model: Any) -> None:
    model.opset_import[0].version = 17


def change_frames(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 160


CHANGES: dict[str, Callable[[Any], None]] = {
    "operator": change_operator,
    "wiring": change_wiring,
    "node more": add_node,
    "node less": drop_end,
    "opset": change_opset,
    "frames": change_frames,
    "pads": change_attribute("Conv", "pads", [0, 0, 0, 1]),
    "dilations": change_attribute("Conv", "dilations", [1, 2]),
    "strides": change_attribute("MaxPool", "strides", [1, 1]),
    "slope as a whole number": change_attribute("LeakyRelu", "alpha", 1),
    "axis": change_attribute("DequantizeLinear", "axis", 1),
    "zero point of a ReLU": change_constant("join.zero_point", lambda zero: zero + 1),
    "signed integers": change_constant("images.zero_point", lambda zero: zero.astype(np.int8)),
    "scales of a row": change_constant("images.scale", lambda scale: scale[None]),
    "no scale": change_constant("images.scale", lambda scale: scale * 0),
    "scale of a bias": change_constant("join.bias.scale", lambda scales: scales * 2),
    "bias in floats": change_constant("join.bias", lambda bias: bias.astype(np.float32)),
    "bias beyond 32 bits": change_constant(
        "join.bias", lambda bias: np.full_like(bias, (1 << 31) - 1)
    ),
    "weights of 16 bits": change_constant("join.weights", lambda each: each.astype(np.int16)),
    "weights less": change_constant("join.weights", lambda each: each[:, 1:]),
    "classifier": change_constant("head.weights", lambda each: each[:, 1:]),
    "shape": change_constant("int_0_0_2_32", lambda each: each[::-1]),
    "shape in floats": change_constant("int_0_0_2_32", lambda each: each.astype(np.float32)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_other_graphs(change: Callable[[Any], None]) -> None:
    """A graph that departs from the known form anywhere is none for the kernel."""
    model = onnx.load_from_string(CONTENT)
    change(model)
    assert native_window(model.SerializeToString()) is None


def test_graphs_of_other_kinds() -> None:
    """In float, of streams, and with the front end inside."""
    for name in ("window", "stream.int8", "stream", "window_audio"):
        assert native_window((MODELS / f"commands.{name}.onnx").read_bytes()) is None


# What runs the verifier.


def test_choice_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel by default, and whatever runs the first network; ONNX Runtime where requested."""
    assert isinstance(load_model().verifier, Encoder)
    assert isinstance(load_model(artefact="stream.int8.onnx").verifier, Encoder)
    assert isinstance(load_model(backend="native").verifier, Encoder)
    assert "native kernel" == load_model().verifier_runtime
    assert "ONNX Runtime" == load_model(backend="onnx").verifier_runtime
    assert load_model(artefact="window.tflite").verifier_runtime is None
    assert load_model("accurate").verifier_runtime is None
    monkeypatch.setattr(load, "library", lambda: None)
    assert "ONNX Runtime" == load_model().verifier_runtime


def test_what_runs_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`kws info` and `kws doctor` name what runs the verifier, or that nothing does."""

    def told() -> tuple[str, str]:
        assert main(["info", "--model", "commands"]) == 0
        info = capsys.readouterr().out.splitlines()[-1].strip()
        return info, next(each.text for each in examine() if each.check == "runtime")

    info, doctor = told()
    assert "verifier: native kernel" == info
    assert doctor.startswith("native kernel runs the model, native kernel its verifier (")
    monkeypatch.setattr(load, "native_window", lambda content, **_: None)
    monkeypatch.setattr(load, "is_installed", lambda kind: False)
    info, doctor = told()
    assert "verifier: left out" == info
    assert doctor.startswith("native kernel runs the model, without its verifier (")


def test_a_verifier_of_another_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in ONNX Runtime, and is left out where that is not installed."""
    monkeypatch.setattr(load, "native_window", lambda content, **_: None)
    assert "ONNX Runtime" == load_model().verifier_runtime
    monkeypatch.setattr(load, "is_installed", lambda kind: False)
    model = load_model()
    assert ("native kernel", None) == (model.runtime, model.verifier_runtime)
    assert Detector(model)._streams._streams.verifier is None


def test_a_damaged_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error names the file."""
    monkeypatch.setattr(load, "native_window", lambda content, **_: Broken())
    with pytest.raises(ModelError, match=r"accurate\.window\.int8\.onnx: .*add up to 1"):
        _ = load_model().verifier


class Broken:
    """A network whose posteriors are none."""

    def run(self, features: Any) -> Any:
        return np.full((len(features), 12), 0.5, np.float32)
