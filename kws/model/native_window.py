"""The native kernel's network out of an int8 graph of windows, where it is one of the known form.

The forms are what `export/onnx_graph.py`, `export/embedding_graph.py` and `export/encoder_graph.py`
write, node by node: a network that streams, one that begins with published weights, or both with
the geometric mean of their posteriors; or an encoder. A graph that departs from them anywhere is
none, and runs in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from kws.frontend import FloatArray
from kws.model.encoder import Encoder
from kws.model.native_encoder import encoder
from kws.model.onnx_file import Message, check_onnx
from kws.model.onnx_walk import END, OtherForm, Walk, axes, floats, only_graph, require, whole
from kws.native.int8 import Arithmetic, Plan, Steps, Value, Window, leaky

_OPSETS = range(18, 22)  # in which the operators below mean what is computed


def native_window(
    content: bytes | mmap,
    arithmetic: Arithmetic | None = None,
    release: Callable[[], None] | None = None,
) -> Window | Encoder | None:
    """The networks in a graph of windows; None where the kernel does not compute it.

    `arithmetic` is the fastest of this machine by default. The large weights of an encoder stay in
    the content; `release` is called when it has used some of them. Raises ModelError where the
    content is no ONNX file.
    """
    model = check_onnx(content)
    try:
        with np.errstate(all="ignore"):
            return _window(model, arithmetic, release)
    except (OtherForm, ValueError):
        return None


def _window(
    model: Message, arithmetic: Arithmetic | None, release: Callable[[], None] | None
) -> Window | Encoder:
    graph = only_graph(model, _OPSETS, ["features"], ["posteriors"])
    _, frames, bands = axes(graph)
    walk = Walk(graph)
    if walk.next()[0] == "Pad":
        return encoder(walk, frames, bands, release)
    reader = _Reader(walk, Plan(frames, bands, arithmetic))
    if walk.next()[0] == "Slice":
        posteriors = reader.embedding()
    else:
        posteriors = reader.network()
        if walk.next()[0] == "Slice":
            product = walk.take("Mul", posteriors, reader.embedding())
            mean = walk.take("Sqrt", product)
            total = walk.take("ReduceSum", mean, [1], keepdims=1)
            posteriors = walk.take("Div", mean, total)
    walk.end(posteriors)
    return reader.plan.window()


@dataclass(frozen=True)
class _Layer:
    """A convolution's integers, and what one of its weights stands for."""

    weights: NDArray[np.int8]  # (outputs, inputs, ...)
    scales: FloatArray  # (outputs,)
    bias: NDArray[np.int32]  # (outputs,)
    names: tuple[str, str]  # of weights and bias in the graph, dequantised


class _Reader:
    """Takes the nodes of a graph and makes layers of them; texts are names of the graph's values,
    and stand for real numbers that have been stored and dequantised."""

    def __init__(self, walk: Walk, plan: Plan) -> None:
        self.walk, self.plan = walk, plan

    def network(self) -> str:
        """From the features to the posteriors of the network that ships."""
        walk, plan = self.walk, self.plan
        name, steps = self._settled(walk.take("Transpose", "features", perm=[0, 2, 1]))
        value = plan.features(steps)
        layer = self._layer(3, value)
        (step,) = self._numbers("strides", 1)
        name = walk.take("Conv", name, *layer.names, group=1, strides=[step])
        name, steps = self._settled(*self._relu(name))
        weights = layer.weights[..., None]
        value = plan.convolve(value, weights, layer.scales, layer.bias, steps, step=step)
        while walk.next()[0] != "ReduceMean":
            name, value = self._block(name, value)
        return self._classified(walk.take("ReduceMean", name, [2]), value)

    def _block(self, name: str, value: Value) -> tuple[str, Value]:
        """relu(value + pointwise(depthwise(value)))"""
        walk, plan = self.walk, self.plan
        layer = self._layer(3, value)
        channels, inputs, kernel = layer.weights.shape
        require(inputs == 1 and channels == value.channels)
        inner = walk.take("Conv", name, *layer.names, group=channels, strides=[1])
        inner, steps = self._settled(inner)
        weights = layer.weights[:, 0]
        mixed = plan.convolve_depthwise(value, weights, layer.scales, layer.bias, steps)
        layer = self._layer(3, mixed)
        inner, steps = self._settled(walk.take("Conv", inner, *layer.names, group=1, strides=[1]))
        require(layer.weights.shape[2] == 1)
        weights = layer.weights[..., None]
        change = plan.convolve(mixed, weights, layer.scales, layer.bias, steps)
        newest = walk.take("Slice", name, [kernel - 1], [END], [2])
        name, steps = self._settled(*self._relu(walk.take("Add", newest, inner)))
        return name, plan.add(value, change, steps)

    def embedding(self) -> str:
        """From the features to the posteriors of the network that begins with published weights."""
        walk, plan = self.walk, self.plan
        (name,), (first, *_) = walk.learn("Slice", "features", None, [END], [1])
        (name,), (weights,) = walk.learn("MatMul", name, None)
        (name,), (bias,) = walk.learn("Add", name, None)
        (name,), shape = walk.learn("Reshape", name, None)
        *_, images, columns = zeros = whole(*shape)
        require(weights.ndim == 2 and zeros == [0, 0, images, columns])
        require(weights.shape[1] == images * columns and floats(weights, bias))
        name, steps = self._settled(walk.take("Transpose", name, perm=[0, 2, 1, 3]))
        (start,) = whole(first)
        value = plan.images(start, weights, bias, images, steps, self._edge())
        name, value = self._convolved(name, value, first=True)
        while walk.next()[0] != "Flatten":
            if walk.next()[0] == "MaxPool":
                name, value = self._pooled(name, value)
            else:
                name, value = self._convolved(name, value)
        require(value.rows == value.columns == 1)
        return self._classified(name, value)

    def _convolved(self, name: str, value: Value, first: bool = False) -> tuple[str, Value]:
        """A convolution and what is done to each of its results."""
        walk = self.walk
        layer = self._layer(4, value)
        name = walk.take("Conv", name, *layer.names, pads=[0, value.edge, 0, value.edge])
        name, steps = self._settled(*self._relu(name))
        stored, table, leak = steps, None, None
        if first:
            (name,), (scale,) = walk.learn("Mul", name, None)
            (name,), (shift,) = walk.learn("Add", name, None)
            require(scale.shape == shift.shape == (1, len(layer.bias), 1, 1))
            require(floats(scale, shift))
            name, stored = self._settled(name)
            table = stored.store(steps.real() * scale[0, :, 0] + shift[0, :, 0])
        if walk.next()[0] == "LeakyRelu":
            before, leak = stored, self._leak()
            name, stored = self._settled(walk.take("LeakyRelu", name, alpha=leak))
            table = None if table is None else leaky(before, stored, leak)[table]
        result = self.plan.convolve(
            value,
            layer.weights,
            layer.scales,
            layer.bias,
            steps,
            leak=leak,
            table=table,
            stored=stored,
            edge=self._edge(),
        )
        return name, result

    def _pooled(self, name: str, value: Value) -> tuple[str, Value]:
        """The largest of each few neighbours, which is stored as they were."""
        rows, columns = kernel = self._numbers("kernel_shape", 2)
        name = self.walk.take("MaxPool", name, kernel_shape=kernel, strides=kernel)
        name, steps = self._settled(name)
        require(steps == value.steps)
        return name, self.plan.pool(value, rows, columns, self._edge())

    def _classified(self, name: str, value: Value) -> str:
        name = self.walk.take("Flatten", name, axis=1)
        (name,), (weights, bias) = self.walk.learn("Gemm", name, None, None, transB=1)
        require(floats(weights, bias))
        self.plan.classify(value, weights, bias)
        return self.walk.take("Softmax", name, axis=1)

    def _settled(self, name: str, positive: bool = False) -> tuple[str, Steps]:
        """A value that is stored, and how: that of a ReLU so that the least integer is 0."""
        (stored,), (scale, zero) = self.walk.learn("QuantizeLinear", name, None, None)
        (name,), (again, same) = self.walk.learn("DequantizeLinear", stored, None, None)
        for one, other, kind in ((scale, again, np.float32), (zero, same, np.uint8)):
            require(one.shape == other.shape == () and one.dtype == other.dtype == kind)
            require(bool(one == other))
        require(not positive or zero == 0)
        return name, Steps(np.float32(scale[()]), int(zero))

    def _relu(self, name: str) -> tuple[str, bool]:
        """What a ReLU makes of a value, where one follows, and whether one does."""
        if self.walk.next()[0] != "Relu":
            return name, False
        return self.walk.take("Relu", name), True

    def _layer(self, dimensions: int, value: Value) -> _Layer:
        """The integers of a convolution of a value, by weights of so many axes."""
        names, found = [], []
        for kind in (np.int8, np.int32):
            (name,), (content, scales) = self.walk.learn("DequantizeLinear", None, None, axis=0)
            require(content.dtype == kind and floats(scales) and content.ndim >= 1)
            require(scales.shape == content.shape[:1])
            names.append(name)
            found.append((content, scales))
        (weights, scales), (bias, sums) = found
        require(weights.ndim == dimensions and bias.shape == scales.shape)
        require(bool(np.array_equal(sums, value.steps.scale * scales)))
        return _Layer(weights, scales, bias, (names[0], names[1]))

    def _edge(self) -> int:
        """How many columns the next layer adds on either side; it is then required to."""
        operator, attributes = self.walk.next("MaxPool", "Conv")
        pads = attributes.get("pads", ())
        return pads[1] if operator == "Conv" and len(pads) == 4 else 0

    def _numbers(self, name: str, count: int) -> list[int]:
        """Those of an attribute of the next node."""
        numbers = self.walk.next()[1].get(name)
        if not isinstance(numbers, list) or len(numbers) != count:
            raise OtherForm
        return numbers

    def _leak(self) -> float:
        """The slope below 0 of the next node."""
        slope = self.walk.next()[1].get("alpha")
        if not isinstance(slope, float):
            raise OtherForm
        return slope
