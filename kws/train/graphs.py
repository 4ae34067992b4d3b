"""A network's weights out of an exported model's float graphs, and other weights into them.

An exported graph names its constants after the layers, and its normalisations are folded into
them. So a model that was installed can be trained further without its checkpoint, and what comes
out is the same graph with other constants. A window graph holds each layer as it is defined, a
stream graph as the matrices that it multiplies by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from kws.errors import ModelError
from kws.train.network import Block, Network, NetworkConfig

FloatArray = NDArray[np.float32]


def read_network(window: bytes) -> Network:
    """The network of a float window graph, in evaluation mode.

    Its normalisations are the identity: keep them in evaluation mode when it is trained. Raises
    ModelError where the graph is of another kind.
    """
    graph = _parse(window).graph
    constants = _constants(graph)
    try:
        network = Network(_sizes(graph, constants))
        _fill(network, constants)
    except (KeyError, IndexError, ValueError, RuntimeError, StopIteration) as error:
        raise ModelError(
            f"this model's network is not one that can be trained further ({error}); "
            "start from a model of kws in float ONNX"
        ) from error
    return network.eval()


@torch.no_grad()
def restore_batch_norm(network: nn.Module, features: Tensor) -> None:
    """Give a network's normalisations, the identity so far, the statistics of their inputs.

    The network computes what it did; afterwards it can be trained with its normalisations in
    training mode. `features` (batch, frames, bands) are what to gather the statistics from. Those
    that require no gradient, since they are not to learn, stay the identity.
    """

    def measure(norm: nn.BatchNorm1d, inputs: tuple[Tensor]) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
        norm.running_mean.copy_(inputs[0].mean(axes))
        norm.running_var.copy_(inputs[0].var(axes))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms if norm.weight.requires_grad]
    network.eval()(features)
    for hook in hooks:
        hook.remove()


def write_network(content: bytes, network: Network, name: str, labels: Sequence[str]) -> bytes:
    """A float window or stream graph with the weights of a network that `read_network` made."""
    model = _parse(content)
    weights = {(name, value.ndim): value.numpy() for name, value in _stored(network).items()}
    weights |= {(name, value.ndim): value.numpy() for name, value in _matrices(network).items()}
    frames = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    steps = frames // network.config.stride  # of a stream graph's call
    for layer, block in _blocks(network):
        weights[f"{layer}.depthwise", 3] = _spread(block, steps)
    for constant in model.graph.initializer:
        value = weights.get((constant.name, len(constant.dims)))
        if value is not None:
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))
    for output in model.graph.output:
        if output.name == "posteriors":
            output.type.tensor_type.shape.dim[-1].dim_value = len(labels)
    metadata = {"name": name, "labels": json.dumps(list(labels), ensure_ascii=False)}
    for entry in model.metadata_props:
        entry.value = metadata.get(entry.key, entry.value)
    written: bytes = model.SerializeToString(deterministic=True)
    return written


@torch.no_grad()
def without_norms(network: nn.Module) -> None:
    """Make the identity of every normalisation, as it is once folded away."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_var is not None
            module.reset_running_stats()
            module.reset_parameters()
            module.running_var.fill_(1.0 - module.eps)  # so that it divides by exactly 1


def replace_classifier(network: Network, old: Sequence[str], new: Sequence[str]) -> Network:
    """The same network with a row for each new label: the old one where there was such a label."""
    config = NetworkConfig(**{**vars(network.config), "labels": len(new)})
    changed = Network(config).eval()
    state = network.state_dict()
    classifier = changed.classifier.state_dict()
    nn.init.normal_(classifier["weight"], std=0.01)
    nn.init.zeros_(classifier["bias"])
    for row, label in enumerate(new):
        if label in old:
            for part in ("weight", "bias"):
                classifier[part][row] = state[f"classifier.{part}"][old.index(label)]
    for part, value in classifier.items():
        state[f"classifier.{part}"] = value
    changed.load_state_dict(state)
    return changed


def _parse(content: bytes) -> onnx.ModelProto:
    try:
        return onnx.load_from_string(content)
    except Exception as error:  # protobuf's own kinds
        raise ModelError("this is not an ONNX file") from error


def _constants(graph: onnx.GraphProto) -> dict[str, FloatArray]:
    floats = (c for c in graph.initializer if c.data_type == onnx.TensorProto.FLOAT)
    return {constant.name: numpy_helper.to_array(constant) for constant in floats}


def _sizes(graph: onnx.GraphProto, constants: dict[str, FloatArray]) -> NetworkConfig:
    channels, bands, stem_kernel = constants["stem.weights"].shape
    kernels: list[int] = []
    while f"block{len(kernels)}.depthwise.weights" in constants:
        kernels.append(constants[f"block{len(kernels)}.depthwise.weights"].shape[-1])
    stem = next(node for node in graph.node if "stem.weights" in node.input)
    stride = next(a.ints[0] for a in stem.attribute if a.name == "strides")
    frames = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    steps = (frames - stem_kernel) // stride + 1
    return NetworkConfig(
        bands=bands,
        labels=len(constants["classifier.bias"]),
        channels=channels,
        stem_kernel=stem_kernel,
        stride=stride,
        kernels=tuple(kernels),
        pool=steps - sum(kernel - 1 for kernel in kernels),
        dropout=0.0,
    )


@torch.no_grad()
def _fill(network: Network, constants: dict[str, FloatArray]) -> None:
    without_norms(network)
    for name, place in _stored(network).items():
        value = torch.from_numpy(constants[name].copy())
        if value.shape != place.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}")
        place.copy_(value)


def _stored(network: Network) -> dict[str, Tensor]:
    """The layers by their names in a window graph; a normalisation is only its bias."""
    found = {
        "stem.weights": network.stem.weight,
        "stem.bias": network.stem_norm.bias,
        "classifier.weights": network.classifier.weight,
        "classifier.bias": network.classifier.bias,
    }
    for name, block in _blocks(network):
        found[f"{name}.depthwise.weights"] = block.depthwise.weight
        found[f"{name}.depthwise.bias"] = block.depthwise_norm.bias
        found[f"{name}.pointwise.weights"] = block.pointwise.weight
        found[f"{name}.pointwise.bias"] = block.pointwise_norm.bias
    return {name: tensor.detach() for name, tensor in found.items()}


@torch.no_grad()
def _matrices(network: Network) -> dict[str, Tensor]:
    """What a stream graph holds otherwise: (inputs, outputs), one bias for both convolutions."""
    found = {"stem.weights": network.stem.weight.transpose(1, 2).flatten(1).T}
    for name, block in _blocks(network):
        pointwise = block.pointwise.weight[..., 0]
        found[f"{name}.pointwise"] = pointwise.T
        found[f"{name}.bias"] = block.pointwise_norm.bias + pointwise @ block.depthwise_norm.bias
    return {name: tensor.contiguous() for name, tensor in found.items()}


@torch.no_grad()
def _spread(block: Block, steps: int) -> FloatArray:
    """A depthwise convolution as a stream graph holds it, (steps, steps + context, channels).

    One piece for each step of a call, its weights in the places of the rows that the step sees.
    """
    weights = block.depthwise.weight[:, 0].T.numpy()  # (kernel, channels)
    spread = np.zeros((steps, steps + block.context, weights.shape[1]), np.float32)
    for step in range(steps):
        spread[step, step : step + len(weights)] = weights
    return spread


def _blocks(network: Network) -> Iterator[tuple[str, Block]]:
    for index, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        yield f"block{index}", block
