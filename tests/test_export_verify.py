"""What the exporter refuses: any file, setting or order that is not the checkpoint's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

import onnx
from export_model import LABELS
from onnx import numpy_helper

from export.build import build, quantised_of
from export.network import FloatArithmetic, FoldedNetwork, walk
from export.run_files import CPU, CUDA, run_onnx
from export.verify import Measured, measurements_of, reference_of, verify
from kws.config import FeatureConfig
from kws.errors import ModelError
from kws.frontend import log_mel
from kws.model.manifest import Manifest

if TYPE_CHECKING:
    from export_model import Exported


def judge(
    exported: Exported, contents: dict[str, bytes], manifest: Manifest | None = None
) -> dict[str, Measured]:
    """Verify these files against the network of random weights."""
    clips = exported.clips
    reference = reference_of(exported.trained, FeatureConfig(), LABELS, clips)
    quantised = quantised_of(exported.manifest, exported.folded)
    return verify(manifest or exported.manifest, contents, quantised, reference, clips)


def without_int8(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The float files: random weights lose more to 8 bits than trained ones."""
    return {key: content for key, content in contents.items() if ".int8." not in key}


def test_the_export_agrees(exported: Exported) -> None:
    """Float files agree with PyTorch on all clips, and int8 TFLite with the integers."""
    measured = judge(exported, without_int8(exported.contents))
    assert set(without_int8(exported.contents)) == set(measured)
    for result in measured.values():
        assert (1.0, 1.0) == (result.accuracy, result.agreement)
        assert result.largest_difference < 1e-4
    reference = reference_of(exported.trained, FeatureConfig(), LABELS, exported.clips)
    entry = measurements_of(measured, reference, exported.clips)
    assert (1.0, len(exported.clips.audio)) == (entry["pytorch_accuracy"], entry["clips"])


def test_a_broken_weight(exported: Exported) -> None:
    """One weight of an ONNX file that is another number is found, and the file is named."""
    model = onnx.load_from_string(exported.contents["window.onnx"])
    for tensor in model.graph.initializer:
        if tensor.name == "stem.weights":
            weights = numpy_helper.to_array(tensor).copy()
            weights[0, 0, 0] += 0.5
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    contents = {**without_int8(exported.contents), "window.onnx": model.SerializeToString()}
    with pytest.raises(ModelError, match=r"refused:\n  window.onnx differs from PyTorch by"):
        judge(exported, contents)


def liveliest_channel(exported: Exported) -> int:
    """The channel whose mean varies most, so that its weights must tell."""
    seen = {}
    features = np.stack([log_mel(audio) for audio in exported.clips.audio])
    walk(exported.folded, features, FloatArithmetic(seen.__setitem__))
    return int(seen[exported.folded.blocks[-1].name].mean(axis=1).std(axis=0).argmax())


@pytest.mark.parametrize("key", ["window.int8.tflite", "stream.int8.tflite"])
def test_a_broken_integer(exported: Exported, key: str) -> None:
    """One stored weight of an int8 file that is another integer is found."""
    content = bytearray(exported.contents[key])
    weights = quantised_of(exported.manifest, exported.folded).layers["classifier"].weights
    place = content.find(weights.tobytes())
    assert place > 0
    content[place + liveliest_channel(exported)] ^= 0x40
    problem = f"{key} does not compute the integers"
    with pytest.raises(ModelError, match=re.escape(problem)):
        judge(exported, {key: bytes(content)})


def with_weights(
    network: FoldedNetwork, change: Callable[[np.ndarray], np.ndarray]
) -> FoldedNetwork:
    """The network with other weights in one layer."""
    block = network.blocks[0]
    layer = replace(block.pointwise, weights=change(block.pointwise.weights))
    return replace(network, blocks=(replace(block, pointwise=layer), *network.blocks[1:]))


def test_a_broken_layer_everywhere(exported: Exported) -> None:
    """Weights that are wrong in all files alike are found, in every one of them."""
    wrong = with_weights(exported.folded, lambda weights: weights[::-1].copy())
    contents = without_int8(build(exported.manifest, wrong))
    with pytest.raises(ModelError) as error:
        judge(exported, contents)
    for key in contents:
        assert f"{key} differs from PyTorch" in str(error.value)
        assert f"{key} decides otherwise than PyTorch" in str(error.value)


def test_lost_accuracy(exported: Exported) -> None:
    """An int8 file that decides too often otherwise than PyTorch is refused."""
    wrong = with_weights(exported.folded, lambda weights: weights[::-1].copy())
    key = "window.int8.onnx"
    with pytest.raises(ModelError, match=r"window.int8.onnx loses \d+.\d+% of accuracy; 0.5%"):
        judge(exported, {key: build(exported.manifest, wrong)[key]})


def test_swapped_labels(exported: Exported) -> None:
    """A manifest with two labels in another order is refused, whatever the files hold."""
    manifest = replace(exported.manifest, labels=("no", "yes", *LABELS[2:]))
    with pytest.raises(ModelError) as error:
        judge(exported, without_int8(build(manifest, exported.folded)), manifest)
    assert "the labels of the manifest, ('no', 'yes'" in str(error.value)
    assert "window.onnx decides otherwise than PyTorch" in str(error.value)


@pytest.mark.parametrize(
    ("constant", "value"), [("floor", 1e-4), ("low_hz", 100.0), ("high_hz", 7000.0)]
)
def test_another_front_end(exported: Exported, constant: str, value: float) -> None:
    """A front-end constant that is not the training's is refused, by words and by posteriors."""
    features = replace(exported.manifest.features, **{constant: value})
    manifest = replace(exported.manifest, features=features)
    contents = without_int8(build(manifest, exported.folded))
    with pytest.raises(ModelError) as error:
        judge(exported, contents, manifest)
    assert "the front-end settings of the manifest" in str(error.value)
    for key in contents:
        assert f"{key} differs from PyTorch" in str(error.value)


@pytest.mark.parametrize("key", ["window.onnx", "window.tflite"])
@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_files_that_do_not_run(exported: Exported, key: str, damage: str) -> None:
    """A file that its runtime cannot open is named."""
    content = exported.contents[key]
    content = content[: len(content) // 2] if damage == "truncated" else b"not a model at all"
    with pytest.raises(ModelError, match=f"{re.escape(key)} does not run"):
        judge(exported, {key: content})


def test_other_metadata(exported: Exported) -> None:
    """A file whose metadata differ from its manifest is refused."""
    other = replace(exported.manifest, name="other")
    contents = {"window.tflite": build(other, exported.folded)["window.tflite"]}
    with pytest.raises(ModelError, match=r"window.tflite carries other metadata"):
        judge(exported, contents)


def test_cuda_where_there_is_one(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float ONNX files are run on CUDA too, where onnxruntime has it, and held to the same."""
    requested = []

    def run(
        content: bytes, features: np.ndarray, audio: np.ndarray, provider: str = CPU
    ) -> np.ndarray:
        requested.append(provider)
        return run_onnx(content, features, audio) + (0.0 if provider == CPU else 0.01)

    monkeypatch.setattr("export.verify.onnx_providers", lambda: [CPU, CUDA])
    monkeypatch.setattr("export.verify.run_onnx", run)
    contents = {key: exported.contents[key] for key in ("window.onnx", "window.tflite")}
    with pytest.raises(ModelError, match=r"window.onnx differs by 0.01 on CUDA"):
        judge(exported, contents)
    assert [CPU, CUDA] == requested
