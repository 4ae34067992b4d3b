"""The int8 network as C tables: what src/model.h declares under "the network"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantised import LOW, QuantisedAdd, QuantisedLayer, QuantisedNetwork
from firmware_demo.tools.c_source import array
from kws.errors import ModelError

VECTOR = 4  # KWS_VECTOR in src/layers.h

Int8Array = NDArray[np.int8]


def network_source(quantised: QuantisedNetwork, silence: dict[str, Int8Array]) -> str:
    """C definitions of all layers; `silence` is the row that fills each left context at the start.

    Raises ModelError where a size is no multiple of 4 or a sum could exceed 32 bits.
    """
    network = quantised.network
    for what, size in (("channels", network.channels), ("bands", network.bands)):
        if size % VECTOR:
            raise ModelError(
                f"the firmware's kernels take {VECTOR} values at a time, and this model has {size} "
                f"{what}; train with a multiple of {VECTOR}"
            )
    contexts = [name for name, _, _ in network.contexts()]
    layers = quantised.layers
    parts = [
        array("int8_t", "kws_silence_features", silence[contexts[0]], static=False),
        array("int8_t", "kws_silence_pool", silence[contexts[-1]], static=False),
        *_dense("stem", layers["stem"]),
    ]
    literals = []
    for i, block in enumerate(network.blocks):
        depthwise, pointwise = layers[block.depthwise.name], layers[block.pointwise.name]
        parts.append(array("int8_t", f"silence_{i}", silence[contexts[1 + i]]))
        parts += _arrays(f"depthwise_{i}", depthwise, depthwise.weights, depthwise.weights.T)
        parts += _dense(f"pointwise_{i}", pointwise)
        literals.append(
            "    {\n"
            f"        .depthwise = {_literal(f'depthwise_{i}', depthwise)},\n"
            f"        .pointwise = {_literal(f'pointwise_{i}', pointwise)},\n"
            f"        .sum = {_sum_literal(quantised.adds[block.name])},\n"
            f"        .silence = silence_{i},\n"
            "    }"
        )
    parts += _dense("classifier", layers["classifier"])
    parts += [
        f"const kws_dense kws_stem = {_literal('stem', layers['stem'])};\n",
        "const kws_block kws_blocks[KWS_BLOCKS] = {\n" + ",\n".join(literals) + "\n};\n",
        f"const kws_dense kws_classifier = {_literal('classifier', layers['classifier'])};\n",
    ]
    return "\n".join(parts)


def _dense(name: str, layer: QuantisedLayer) -> list[str]:
    """The arrays of a layer in which every output sees every input."""
    rows = layer.weights.reshape(len(layer.bias), -1)
    padded = _padded(rows)
    blocks = padded.reshape(len(padded) // VECTOR, VECTOR, -1, VECTOR)
    return _arrays(name, layer, blocks.swapaxes(1, 2), rows)


def _arrays(name: str, layer: QuantisedLayer, stored: Int8Array, rows: Int8Array) -> list[str]:
    """`stored` is the weights in the order in which C reads them, `rows` those of each output."""
    taps = rows.astype(np.int64)
    bias = layer.bias - layer.input.zero_point * taps.sum(axis=1)
    multiplier = np.array([rescale.multiplier for rescale in layer.rescales])
    shift = np.array([-rescale.shift for rescale in layer.rescales])
    if shift.min() < 1:
        raise ModelError(
            f"layer {layer.name} multiplies its sums by more than 1/2, which the firmware's "
            "arithmetic does not hold; calibrate the model on more recordings and export it again"
        )
    if (np.abs(bias) + 128 * np.abs(taps).sum(axis=1) >= 2**30).any():
        raise ModelError(f"the sums of layer {layer.name} could exceed 31 bits; export it again")
    _require_whole_range(layer.name, layer.low)
    return [
        array("int8_t", f"{name}_weights", stored.reshape(-1)),
        array("int32_t", f"{name}_bias", _padded(bias)),
        array("int32_t", f"{name}_multiplier", _padded(multiplier)),
        array("uint8_t", f"{name}_shift_but_one", _padded(shift - 1)),
    ]


def _require_whole_range(name: str, low: int) -> None:
    if low != LOW:
        raise ModelError(
            f"layer {name} gives no value below {low} though {LOW} could be stored; the firmware "
            "takes activations that use all of 8 bits; export the model again"
        )


def _padded(rows: NDArray[Any]) -> NDArray[Any]:
    """`rows` and as many of zeros as make a multiple of VECTOR."""
    missing = -len(rows) % VECTOR
    return np.concatenate((rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)))


def _literal(name: str, layer: QuantisedLayer) -> str:
    requantiser = f"{{{name}_multiplier, {name}_shift_but_one, {layer.output.zero_point}}}"
    if layer.kind == "depthwise":
        kernel, channels = layer.weights.shape
        sizes = f"{channels}, {kernel}"
    else:
        outputs = len(layer.bias)
        sizes = f"{layer.weights.size // outputs}, {outputs + -outputs % VECTOR}"
    return f"{{{name}_weights, {name}_bias, {requantiser}, {sizes}}}"


def _sum_literal(add: QuantisedAdd) -> str:
    _require_whole_range(add.name, add.low)
    rescales = (add.left_rescale, add.right_rescale, add.output_rescale)
    values = (
        *(rescale.multiplier for rescale in rescales),
        *(add.left.zero_point, add.right.zero_point, add.output.zero_point),
        *(-add.left_rescale.shift, -add.right_rescale.shift, -add.output_rescale.shift - 1),
    )
    return "{" + ", ".join(str(value) for value in values) + "}"
