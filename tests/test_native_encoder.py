"""The encoder on the native kernel: its products, its posteriors, and no graph of another form."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kws import load_model, native
from kws.audio import AudioFile
from kws.config import LABELS
from kws.demo import RECORDING
from kws.errors import ModelError
from kws.frontend import log_mel
from kws.model.encoder import Encoder, Norm
from kws.model.files import map_file, release
from kws.model.manifest import MODELS
from kws.model.native_encoder import native_encoder
from kws.model.runtimes import OnnxBackend
from kws.native import MOST
from kws.native.arithmetic import Arithmetic, multiplies
from kws.native.product import MOST_FLOATS, Product

onnx = pytest.importorskip("onnx", reason="the graphs are changed with onnx")
torch = pytest.importorskip("torch", reason="the encoder is made with torch")

from encoder_model import encoder_file, small_encoder  # noqa: E402

from kws.train.encoder import EncoderConfig, EncoderNetwork  # noqa: E402

pytestmark = pytest.mark.skipif(
    native.library() is None,
    reason="the native kernel was not compiled: python -m kws.native.build_backend",
)

WAYS = [each for each in Arithmetic if multiplies(each)]


# Products.


def drawn(rows: int, inputs: int, outputs: int) -> tuple[Any, tuple[Any, Any, Any]]:
    """Values, and weights, scales and bias."""
    draw = np.random.default_rng(rows + inputs + outputs)
    values = draw.normal(0.0, 1.0, (rows, inputs)).astype(np.float32)
    weights = draw.integers(-128, 128, (outputs, inputs)).astype(np.int8)
    scales = draw.uniform(0.001, 0.01, outputs).astype(np.float32)
    return values, (weights, scales, draw.normal(0.0, 1.0, outputs).astype(np.float32))


def stored(values: Any) -> Any:
    """Rows of values to the nearest 127th of each one's largest."""
    largest = np.maximum(np.abs(values).max(axis=1, keepdims=True), np.float32(1e-30))
    unit = (largest / np.float32(127.0)).astype(np.float32)
    return np.rint(values / unit).astype(float) * unit


def expected_product(values: Any, weights: Any, scales: Any, bias: Any) -> Any:
    return stored(values) @ weights.astype(float).T * scales + bias


SIZES = [
    (1, 1, 1),
    (2, 3, 15),
    (5, 255, 16),
    (6, 256, 17),
    (7, 257, 33),
    (13, 600, 5),
    (49, 40, 64),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", SIZES)
def test_products(sizes: tuple[int, int, int], way: Arithmetic) -> None:
    """Those of NumPy, by each way to multiply that this machine has."""
    values, layer = drawn(*sizes)
    values[-1] *= 1e-6  # each row has steps of its own
    found = Product(*layer, arithmetic=way)(values)
    assert found == pytest.approx(expected_product(values, *layer), abs=1e-4)
    bias = np.zeros_like(layer[2])
    found = Product(*layer[:2], bias, arithmetic=way)(values[-1:])
    assert found == pytest.approx(expected_product(values[-1:], *layer[:2], bias), rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_largest_integers(way: Arithmetic) -> None:
    """No sum is cut short: values and weights at either end of their ranges."""
    values = np.array([[1.0], [-1.0], [0.0]], np.float32) * np.ones(MOST, np.float32)
    ones = np.ones(2, np.float32)
    weights = np.array([[127], [-128]], np.int8) * np.ones(MOST, np.int8)
    found = Product(weights, ones, 0 * ones, arithmetic=way)(values)
    assert found == pytest.approx(MOST * np.array([[127, -128], [-127, 128], [0, 0]]), rel=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_a_row_alone(way: Arithmetic) -> None:
    """It gives the same bits whatever rows are beside it."""
    values, layer = drawn(20, 300, 40)
    product = Product(*layer, bent=True, arithmetic=way)
    together = product(values)
    for count in (1, 2, 3, 4, 5, 6, 11):
        assert np.array_equal(together[:count], product(values[:count]))
        assert np.array_equal(together[-count:], product(values[-count:]))


def test_weights_stay_where_they_are() -> None:
    """Those that a file holds input by input are not copied, where they make up whole tiles."""
    by_input = np.random.default_rng(0).integers(-128, 128, (7, 32)).astype(np.int8)
    ones, values = np.ones(32, np.float32), np.eye(7, dtype=np.float32)
    product = Product(by_input.T, ones, 0 * ones)
    assert np.array_equal(by_input, product(values))
    by_input[:] = 5
    assert (product(values) == 5).all()


def test_rows_of_any_layout() -> None:
    """Overlapping, backwards, of other types: what NumPy shows is what is computed."""
    _, layer = drawn(1, 12, 20)
    product = Product(*layer)
    line = np.random.default_rng(0).normal(0.0, 1.0, 60).astype(np.float32)
    overlapping = np.lib.stride_tricks.sliding_window_view(line, 12)
    layouts: list[Any] = [
        overlapping,
        overlapping[::4],
        overlapping[::-1],
        line.reshape(12, 5).T,
        line.reshape(5, 12).astype(np.float64),
        np.broadcast_to(line[:12], (3, 12)),
    ]
    for values in layouts:
        assert product(values) == pytest.approx(expected_product(values, *layer), abs=1e-5)


def test_bent_results() -> None:
    """x * sigmoid(1.702 x), far from 0 too."""
    reals = [0.0, -0.0, 1e-30, -1e-30, 1e18, -1e18, 87.0, -87.0, *np.linspace(-60.0, 60.0, 999)]
    values = np.array(reals, np.float32)[:, None]
    one = np.ones(1, np.float32)
    product = Product(np.ones((1, 1), np.int8), one, 0 * one, bent=True)
    with np.errstate(over="ignore"):
        expected = values / (1.0 + np.exp(-1.702 * values.astype(float)))
    assert product(values) == pytest.approx(expected, rel=5e-6, abs=1e-19)
    assert np.isnan(product(np.full((1, 1), np.nan, np.float32))).all()
    product(np.array([[np.inf], [-np.inf]], np.float32))


@pytest.mark.parametrize(
    "change",
    [
        lambda weights, scales, bias: (weights[0], scales, bias),
        lambda weights, scales, bias: (weights[:, :0], scales, bias),
        lambda weights, scales, bias: (weights.astype(np.int16), scales, bias),
        lambda weights, scales, bias: (weights, scales[:2], bias),
        lambda weights, scales, bias: (weights, scales, bias[:, None]),
        lambda weights, scales, bias: (weights, scales.astype(np.float64), bias),
        lambda weights, scales, bias: (weights, scales, bias * np.nan),
        lambda weights, scales, bias: (np.zeros((3, 1 << 13), np.int8), scales, bias),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(change: Callable[..., Any]) -> None:
    """They are refused before the kernel gets any address."""
    _, layer = drawn(1, 4, 3)
    with pytest.raises(ValueError, match="of these shapes"):
        Product(*change(*layer))


@pytest.mark.parametrize("way", sorted(set(Arithmetic) - set(WAYS)))
def test_ways_that_there_are_none_of(way: Arithmetic) -> None:
    """Those of other machines."""
    ones = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="does not compute"):
        Product(np.ones((3, 5), np.int8), ones, ones, arithmetic=way)


def test_values_that_do_not_fit() -> None:
    """Likewise, those whose result is too large too."""
    product = Product(*drawn(1, 4, 3)[1])
    huge = np.broadcast_to(np.zeros(4, np.float32), (MOST_FLOATS // 16 + 1, 4))
    misfits: list[Any] = [*map(np.zeros, ((2, 5), (4,), (0, 4), (1, 1, 4))), huge]
    for values in misfits:
        with pytest.raises(ValueError, match=r"expected values \(count, 4\)"):
            product(values)


# The encoder.


def rounded(network: EncoderNetwork) -> EncoderNetwork:
    """The same with each weight as it is stored, and what it is multiplied with too."""
    layers: list[Any] = [network.first, network.second]
    layer: Any
    for layer in network.layers:
        layers += [layer.attention_in, layer.attention_out, layer.linear_in, layer.linear_out]
    with torch.no_grad():
        for each in layers:
            scale = each.weight.abs().flatten(1).max(1).values / 127.0
            scale = scale.view(-1, *[1] * (each.weight.ndim - 1))
            each.weight.copy_((each.weight / scale).round() * scale)
    for each in layers[2:]:
        each.register_forward_pre_hook(lambda _, given: (as_stored(given[0]),))
    for each in layers[:2]:
        each.forward = Convolved(each)
    return network


def as_stored(values: Any) -> Any:
    """Rows of values to the nearest 127th of each one's largest."""
    unit = values.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127.0
    return (values / unit).round() * unit


class Convolved:
    """A convolution whose places are each stored apart."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, value: Any) -> Any:
        layer = self.layer
        (edge,), (kernel,), (step,) = layer.padding, layer.kernel_size, layer.stride
        places = torch.nn.functional.pad(value, (edge, edge)).unfold(2, kernel, step)
        rows = as_stored(places.transpose(1, 2).flatten(2))  # (batch, places, inputs * kernel)
        return (rows @ layer.weight.flatten(1).T + layer.bias).transpose(1, 2)


CONTENT = encoder_file()


@pytest.fixture(scope="module")
def windows() -> Any:
    """Seconds of the demonstration, and silence."""
    with AudioFile(RECORDING) as source:
        audio = np.concatenate(list(source))
    config = load_model().manifest.features
    starts = range(0, len(audio) - 16_000, 4_000)
    clips = [log_mel(audio[start : start + 16_000], config) for start in starts]
    return np.stack([*clips, np.zeros_like(clips[0])]).astype(np.float32)


def assert_alike(found: Any, expected: Any) -> None:
    """Nearly all to the rounding of floats, by which a value half way between two of those that are
    stored may go either way; such a one moves a window's posteriors by a little."""
    apart = np.abs(found - expected).max(axis=1)
    assert apart.max() < 3e-3
    assert np.median(apart) < 1e-4


def network_of(content: bytes) -> Encoder:
    network = native_encoder(content)
    assert network is not None
    return network


@pytest.mark.parametrize("sizes", [{}, {"layers": 1, "heads": 1}, {"width": 48, "queries": 1}])
def test_the_posteriors_of_torch(sizes: dict[str, int], windows: Any) -> None:
    """With weights and values as they are stored."""
    with torch.no_grad():
        logits = rounded(small_encoder(**sizes))(torch.from_numpy(windows))[:, 0]
    assert_alike(network_of(encoder_file(**sizes)).run(windows), logits.softmax(1).numpy())


def test_the_posteriors_of_onnx_runtime(windows: Any) -> None:
    pytest.importorskip("onnxruntime")
    expected = OnnxBackend(CONTENT).run(windows)
    assert np.ptp(expected, axis=0).max() > 0.4
    assert_alike(network_of(CONTENT).run(windows), expected)


def test_the_posteriors_of_what_ships(windows: Any) -> None:
    """It has so many values that in most windows some lie half way and go either way."""
    pytest.importorskip("onnxruntime")
    content = (MODELS / "accurate.window.int8.onnx").read_bytes()
    expected = OnnxBackend(content).run(windows)
    assert len(np.unique(expected.argmax(axis=1))) > 4
    found = network_of(content).run(windows)
    assert found == pytest.approx(expected, abs=0.02)
    assert np.median(np.abs(found - expected).max(axis=1)) < 2e-3


def test_several_windows_and_threads(windows: Any) -> None:
    """Windows of one call, and calls at the same time, give what each gives alone."""
    network = network_of(CONTENT)
    alone = np.concatenate([network.run(window[None]) for window in windows])
    assert np.array_equal(alone, network.run(windows))
    with ThreadPoolExecutor(4) as threads:
        for rows in threads.map(network.run, [windows] * 4):
            assert np.array_equal(alone, rows)
    assert (0, len(LABELS)) == network.run(windows[:0]).shape


def test_weights_are_let_go(windows: Any, tmp_path: Path) -> None:
    """Of a file that is mapped they leave memory after each layer, and the posteriors stay."""
    path = tmp_path / "m.onnx"
    path.write_bytes(CONTENT)
    mapped, released = map_file(path, len(CONTENT)), []

    def let_go() -> None:
        released.append(True)
        release(mapped)

    network = native_encoder(mapped, release=let_go)
    assert network is not None
    expected = network_of(CONTENT).run(windows)
    assert np.array_equal(expected, network.run(windows))
    assert len(released) == len(windows) * EncoderConfig().layers


def resident(path: Path) -> int:
    """Bytes of a file that this process has in memory."""
    within = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            within = line.endswith(str(path))
        elif within and line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    return 0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells of memory")
def test_a_packaged_file_stays_on_disk(windows: Any) -> None:
    """Before the encoder is used and after that, little of it is in memory."""
    model = load_model()
    verifier = model.verifier
    assert isinstance(verifier, Encoder)
    entry = model.manifest.verifier
    assert entry is not None
    path = MODELS / entry.artefact.file
    for _ in range(2):
        assert resident(path) < entry.artefact.bytes / 2
        verifier.run(windows)


def test_features_of_another_shape() -> None:
    """They are refused before the kernel gets any address."""
    for shape in ((1, 97, 40), (1, 98, 41), (98, 40), (1, 1, 98, 40)):
        with pytest.raises(ModelError, match=r"takes features of shape \(batch, 98, 40\)"):
            network_of(CONTENT).run(np.zeros(shape, np.float32))


# Files of another form.


def node(model: Any, operator: str, number: int = 0) -> Any:
    return [each for each in model.graph.node if each.op_type == operator][number]


def constant(name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        content = change(onnx.numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(content), name))

    return apply


def attribute(operator: str, name: str, value: Any) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        changed = node(model, operator)
        kept = [each for each in changed.attribute if each.name != name]
        del changed.attribute[:]
        changed.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return apply


def operator(old: str, new: str, number: int = 0) -> Callable[[Any], None]:
    return lambda model: setattr(node(model, old, number), "op_type", new)


def swap(model: Any, operator: str, number: int = 0) -> None:
    inputs = node(model, operator, number).input
    inputs[0], inputs[1] = inputs[1], inputs[0]


def early_output(model: Any) -> None:
    """The scores as the output, and a last node that nothing needs."""
    *_, scores, softmax = model.graph.node
    scores.output[0] = softmax.input[0] = "posteriors"
    softmax.output[0] = "unused"


def node_more(model: Any) -> None:
    added = onnx.helper.make_node("Relu", ["posteriors"], ["unused"])
    model.graph.node.append(added)


def node_more_inside(model: Any) -> None:
    added = onnx.helper.make_node("Relu", ["features"], ["unused"])
    model.graph.node.insert(1, added)


def node_less(model: Any) -> None:
    del model.graph.node[-1]
    model.graph.node[-1].output[0] = "posteriors"


def no_constants(model: Any) -> None:
    del model.graph.initializer[:]


def opset(model: Any) -> None:
    model.opset_import[0].version = 17


def frames(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 160


HUGE = np.broadcast_to(np.int8(0), (72, 1 << 13))

CHANGES: dict[str, Callable[[Any], None]] = {
    "operator": operator("Sigmoid", "Tanh"),
    "operator of the end": operator("Softmax", "LogSoftmax", -1),
    "domain": lambda model: setattr(node(model, "LayerNormalization"), "domain", "com.microsoft"),
    "wiring": lambda model: swap(model, "Div"),
    "wiring of the end": lambda model: swap(model, "MatMul", -1),
    "name of the output": lambda model: setattr(model.graph.output[0], "name", "logits"),
    "output before the end": early_output,
    "node more": node_more,
    "node more inside": node_more_inside,
    "node less": node_less,
    "no constants": no_constants,
    "opset": opset,
    "frames": frames,
    "pads": constant("int_0_1_0_0_1_0", lambda each: each * 2),
    "strides": constant("int_2", lambda each: each + 1),
    "order of frames": lambda model: swap(model, "Concat"),
    "axis of frames": attribute("Concat", "axis", 1),
    "rounding": operator("Round", "Floor"),
    "steps of what is rounded": constant("most", lambda each: each + np.float32(1.0)),
    "least that is rounded": constant("least", lambda each: each * np.float32(2.0)),
    "axis of weights": attribute("DequantizeLinear", "axis", 0),
    "axis of a softmax": attribute("Softmax", "axis", 2),
    "epsilon": attribute("LayerNormalization", "epsilon", 1e-6),
    "zero points": constant("first.weights.zero", lambda zero: zero + 1),
    "zero points of another type": constant("first.weights.zero", lambda zero: zero.astype("u1")),
    "scales less": constant("first.weights.scale", lambda scale: scale[1:]),
    "scales in double": constant("first.weights.scale", lambda scale: scale.astype(np.float64)),
    "scales that are no numbers": constant("first.weights.scale", lambda scale: scale * np.nan),
    "weights in floats": constant("first.weights", lambda each: each.astype(np.float32)),
    "weights of 16 bits": constant("first.weights", lambda each: each.astype(np.int16)),
    "weights of another kernel": constant("first.weights", lambda each: each[:80]),
    "weights of no width": constant("first.weights", lambda each: each[:, :0]),
    "weights beyond all sizes": constant("second.weights", lambda each: HUGE),
    "flat weights": constant("layer0.linear_in.weights", lambda each: each.ravel()),
    "one number for weights": constant("layer0.linear_in.weights", lambda each: each[0, 0]),
    "bias less": constant("layer0.linear_in.bias", lambda bias: bias[1:]),
    "hidden less": constant("layer0.linear_out.weights", lambda each: each[1:]),
    "norm of another width": constant("norm.weights", lambda each: each[1:]),
    "norm that is no number": constant("norm.bias", lambda each: each * np.inf),
    "positions less": constant("positions", lambda each: each[1:]),
    "positions of one axis": constant("positions", lambda each: each.ravel()),
    "queries of one axis": constant("queries", lambda each: each.ravel()),
    "no queries": constant("queries", lambda each: each[:, :0]),
    "classifier less": constant("classifier.weights", lambda each: each[1:]),
    "labels less": constant("classifier.bias", lambda each: each[1:]),
    "heads": constant("int_0_0_3_3_8", lambda each: each[[0, 1, 2, 4, 3]]),
    "no heads": constant("int_0_0_3_3_8", lambda each: each * 0),
    "heads below 0": constant("int_0_0_3_3_8", lambda each: each * [1, 1, 1, -1, -1]),
    "heads in floats": constant("int_0_0_3_3_8", lambda each: each.astype(np.float32)),
    "scale of scores": constant("scale", lambda each: each * 2),
    "bend": constant("gelu", lambda each: each + np.float32(0.1)),
    "part": constant("part1", lambda each: each + 1),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_other_graphs(change: Callable[[Any], None]) -> None:
    """A graph that departs from the known form anywhere is none for the kernel."""
    model = onnx.load_from_string(CONTENT)
    change(model)
    assert native_encoder(model.SerializeToString()) is None


def test_graphs_of_other_kinds() -> None:
    """In float, of streams, with convolutions, and with the front end inside."""
    for name in ("window", "window.int8", "stream.int8", "stream", "window_audio"):
        assert native_encoder((MODELS / f"commands.{name}.onnx").read_bytes()) is None


def test_absurd_sizes() -> None:
    """Shapes that need more memory or time than any verifier are refused before any is taken."""
    one, few = np.ones(3, np.float32), np.ones((3, 3), np.float32)

    def product(inputs: int, outputs: int) -> Product:
        weights = np.zeros((outputs, inputs), np.int8)
        return Product(weights, np.ones(outputs, "f4"), np.ones(outputs, "f4"), bent=True)

    first, second = product(3 * 5, 3), product(9, 3)
    frames = 1 << 26
    positions = np.broadcast_to(np.float32(0), (frames // 2, 3))
    classifier = np.ones((9, 3), np.float32)
    with pytest.raises(ValueError, match="no encoder of these shapes"):
        Encoder(frames, 5, first, second, positions, [], Norm(one, one), few, classifier, one)


def test_truncated_files() -> None:
    """They are no ONNX files, wherever they end."""
    for length in range(0, len(CONTENT), len(CONTENT) // 50):
        with pytest.raises(ModelError):
            native_encoder(CONTENT[:length])
