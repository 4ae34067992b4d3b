"""The TFLite files: few kinds of operators, aligned, and near PyTorch in float."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from export_model import Exported, random_audio  # noqa: E402

from export.build import metadata_of  # noqa: E402
from export.run_files import TfliteFile  # noqa: E402
from export.tflite import read_metadata, read_operators  # noqa: E402
from kws.frontend import log_mel  # noqa: E402

WINDOW = {"ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "SLICE", "SOFTMAX"}
OPERATORS = {"window": WINDOW, "stream": WINDOW | {"CONCATENATION"}}
KEYS = tuple(f"{graph}{kind}.tflite" for graph in OPERATORS for kind in ("", ".int8"))


@pytest.mark.parametrize("key", KEYS)
def test_operators(exported: Exported, key: str) -> None:
    """Nothing is transposed, reshaped or padded, and in int8 nothing is converted."""
    assert OPERATORS[key.partition(".")[0]] == set(read_operators(exported.contents[key]))


@pytest.mark.parametrize("key", KEYS)
def test_metadata(exported: Exported, key: str) -> None:
    """The file says what the manifest says."""
    assert metadata_of(exported.manifest) == read_metadata(exported.contents[key])


@pytest.mark.parametrize("graph", OPERATORS)
@pytest.mark.parametrize("reference", [True, False])
def test_float_files_agree(exported: Exported, graph: str, reference: bool) -> None:
    """Both sets of kernels give PyTorch's posteriors to 1e-4."""
    features = np.stack([log_mel(clip) for clip in random_audio(seed=2)])
    with torch.no_grad():
        expected = exported.trained(torch.from_numpy(features))[:, -1].softmax(-1).numpy()
    file = TfliteFile(exported.contents[f"{graph}.tflite"], reference)
    assert np.abs(expected - file.run(features)).max() < 1e-4


@pytest.mark.parametrize("graph", OPERATORS)
def test_int8_is_int8_throughout(exported: Exported, graph: str) -> None:
    """Inputs, states and outputs are int8, and each state comes back as it went in."""
    file = TfliteFile(exported.contents[f"{graph}.int8.tflite"])
    assert {np.int8} == {
        entry["dtype"] for entry in (*file.inputs.values(), *file.outputs.values())
    }
    states = {name: entry for name, entry in file.inputs.items() if name != "features"}
    assert {f"next_{name}" for name in states} | {"posteriors"} == set(file.outputs)
    for name, entry in states.items():
        after = file.outputs[f"next_{name}"]
        assert entry["quantization"] == after["quantization"]
        np.testing.assert_array_equal(entry["shape"], after["shape"])
    assert (1 / 256, -128) == file.outputs["posteriors"]["quantization"]


@pytest.mark.parametrize("key", KEYS)
def test_constants_are_aligned(exported: Exported, key: str) -> None:
    """Each buffer begins at a multiple of 16 bytes: some processors read it in place."""
    content = exported.contents[key]
    model = schema.Model.GetRootAs(content, 0)
    for index in range(1, model.BuffersLength()):
        table = model.Buffers(index)._tab
        assert 0 == table.Vector(table.Offset(4)) % 16
