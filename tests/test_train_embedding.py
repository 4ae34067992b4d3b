"""Networks that begin with the published speech embedding, and networks that teach together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: `pip install kws[train]`")

from onnx import helper, numpy_helper  # noqa: E402
from test_train import TINY, material  # noqa: E402, F401

from kws.config import LABELS, FeatureConfig  # noqa: E402
from kws.errors import ModelError  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.model.runtimes import onnx_session  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.__main__ import main as train  # noqa: E402
from kws.train.embedding import BANDS, LEAST, STAGES, EmbeddingConfig, EmbeddingNetwork  # noqa: E402
from kws.train.fit import fit  # noqa: E402
from kws.train.frozen_teachers import FrozenTeachers, at_rows  # noqa: E402
from kws.train.learner import Batch  # noqa: E402
from kws.train.materials import Material  # noqa: E402
from kws.train.network import Network, NetworkConfig  # noqa: E402
from kws.train.published import FRONT_END, WEIGHTS, begin, main  # noqa: E402

THEIRS = FeatureConfig(window=400, bands=BANDS, high_hz=3_800.0, floor=1e-9)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Something with all frequencies in it, louder and softer: (clips, 16000) int16."""
    generator = np.random.default_rng(0)
    steps = np.cumsum(generator.normal(0.0, 1.0, (12, 16_000)), axis=1)
    slow = steps - np.apply_along_axis(lambda x: np.convolve(x, np.ones(64) / 64, "same"), 1, steps)
    loudness = 2.0 + np.sin(np.arange(16_000) / 900.0)
    audio = 400.0 * loudness * (slow + generator.normal(0.0, 1.0, steps.shape))
    return np.clip(audio, -32_768, 32_767).astype(np.int16)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files as openWakeWord's are, of random weights."""
    folder = tmp_path_factory.mktemp("published")
    generator = np.random.default_rng(1)
    nodes, constants, value, inputs = [], [], "input_1", 1

    def constant(name: str, content: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(content.astype(np.float32), name))
        return name

    def node(operator: str, *sources: str, **attributes: object) -> str:
        name = f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, sources, [name], **attributes))
        return name

    value = node("Transpose", value, perm=[0, 3, 1, 2])
    for number, stage in enumerate(STAGES):
        for index, kernel in enumerate(stage.kernels):
            size = (stage.width, inputs, *kernel)
            scale = (2.0 / (inputs * kernel[0] * kernel[1])) ** 0.5
            sources = [constant(f"w{number}.{index}", generator.normal(0.0, scale, size))]
            first, last = number == index == 0, stage is STAGES[-1]
            if not (first or last):
                sources.append(constant(f"b{number}.{index}", generator.normal(0, 0.1, size[0])))
            across = kernel[1] // 2
            value = node("Conv", value, *sources, pads=[0, across, 0, across])
            if first:
                drawn = generator.uniform(0.5, 1.5, (4, size[0]))
                norm = [constant(f"n{part}", each) for part, each in enumerate(drawn)]
                value = node("BatchNormalization", node("Relu", value), *norm, epsilon=1e-3)
            if not last:
                value = node("LeakyRelu", value, alpha=0.2)
                value = node("Max", value, constant(f"l{number}.{index}", np.array(LEAST)))
            inputs = stage.width
        if stage.pool != (1, 1):
            value = node("MaxPool", value, kernel_shape=stage.pool, strides=stage.pool)
    nodes[-1].output[0] = "embedding"
    save(folder / WEIGHTS, nodes, constants, ["n", 76, BANDS, 1], ["n", 96, 1, 1], "embedding")

    from export.onnx_graph import GraphWriter, _log_mel, rename

    writer = GraphWriter()
    samples = writer.node("Mul", "input_1", writer.constant("s", np.array(2.0**-15, np.float32)))
    natural = _log_mel(writer, samples, THEIRS)
    decades = 10.0 / np.log(10.0)
    factor = writer.constant("f", np.array(decades, np.float32))
    shift = writer.constant("d", np.array(decades * np.log(1e-9 * 2.0**30), np.float32))
    rename(writer, writer.node("Add", writer.node("Mul", natural, factor), shift), "mel")
    constants = list(writer.constants.values())
    save(folder / FRONT_END, writer.nodes, constants, ["n", "samples"], None, "mel")
    return folder


def save(path, nodes, constants, given, gives, name):  # type: ignore[no-untyped-def]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "published",
        [helper.make_tensor_value_info("input_1", kind, given)],
        [helper.make_tensor_value_info(name, kind, gives)],
        constants,
    )
    opset = [helper.make_opsetid("", 21)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    )


def test_begins_as_the_published_network(published: Path, speech: np.ndarray) -> None:
    """On our bands it gives nearly the embeddings that the published files give on theirs."""
    network = begin(published, speech, EmbeddingConfig()).eval()
    front_end, weights = (
        onnx_session((published / name).read_bytes(), "cpu") for name in (FRONT_END, WEIGHTS)
    )
    theirs = [front_end.run(None, {"input_1": each[None].astype(np.float32)})[0] for each in speech]
    windows = np.concatenate(theirs)[:, 6 : 6 + 76, :, None] / 10.0 + 2.0
    expected = weights.run(None, {"input_1": windows.astype(np.float32)})[0].reshape(-1, 96)
    features = torch.from_numpy(np.stack([log_mel(each) for each in speech]))
    with torch.no_grad():
        found = network.embed(features)[:, :, 0].numpy()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97
    # What lies above 3.8 kHz has no part in anything yet, and can have one.
    assert not network.stages[0][0].weight[:, 1].any()
    assert network.remap.weight[BANDS:].abs().sum() > 1.0


def test_the_command_writes_what_training_begins_with(
    published: Path,
    tmp_path: Path,
    recordings: Path,
    material: Material,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that begins with its file says so, and what is no such file is one line."""
    monkeypatch.setattr("kws.train.start.CLIPS", 60)
    start = tmp_path / "start.pt"
    assert 0 == main([str(published), "--data", str(recordings.parent), "--out", str(start)])
    config = replace(TINY, epochs=1, network=EmbeddingConfig(hidden=8))
    with pytest.raises(ModelError, match="other sizes"):
        fit(material, tmp_path / "narrow", config, start=start)
    config = replace(config, network=EmbeddingConfig())
    fit(material, tmp_path / "run", config, start=start)
    provenance = checkpoint.load(tmp_path / "run/last.pt")["started_from"]
    assert {"epochs_done", "published"} == provenance.keys()
    assert 64 == len(provenance["published"])

    assert 1 == main([str(tmp_path), "--data", str(recordings.parent), "--out", str(start)])
    assert WEIGHTS in capsys.readouterr().err
    (tmp_path / FRONT_END).write_bytes((published / FRONT_END).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((published / FRONT_END).read_bytes())
    assert 1 == main([str(tmp_path), "--data", str(recordings.parent), "--out", str(start)])
    assert "is not the speech embedding" in capsys.readouterr().err


def test_rows_of_the_embedding_network_cover_one_second_each() -> None:
    """A row, every 80 ms, is that of its own 98 frames, of which it covers the last 92."""
    torch.manual_seed(0)
    network = EmbeddingNetwork().eval()
    config = network.config
    assert (98, 8) == (config.receptive_field, config.stride)
    features = torch.rand(2, 2 * 98, config.bands) * 10.0
    with torch.no_grad():
        rows = network(features)
        assert (2, 13, len(LABELS)) == rows.shape
        for row in (0, 5, 12):
            window = features[:, 8 * row : 8 * row + 98].clone()
            assert torch.allclose(rows[:, row], network(window)[:, 0], atol=1e-4)
            window[:, : config.unheard] = 0.0
            alone = network(window)[:, 0]
            assert torch.allclose(rows[:, row], alone, atol=1e-4)
            window[:, : config.unheard + 8] = 0.0
            assert not torch.equal(alone, network(window)[:, 0])


def test_logits_stand_at_the_rows_of_the_network_that_learns() -> None:
    """Rows that are further apart are joined by straight lines, and the last one stands."""
    theirs = torch.tensor([[[0.0, 1.0], [8.0, 1.0], [0.0, 5.0]]])
    found = at_rows(theirs, own=8, stride=2, rows=11)
    assert [0.0, 2.0, 4.0, 6.0, 8.0, 6.0, 4.0, 2.0, 0.0, 0.0, 0.0] == found[0, :, 0].tolist()
    assert [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0] == found[0, :, 1].tolist()
    assert torch.equal(theirs, at_rows(theirs, own=2, stride=2, rows=3))


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkpoints of two kinds of network, of random weights."""
    torch.manual_seed(0)
    paths = []
    for network in (Network(NetworkConfig(channels=8)), EmbeddingNetwork(EmbeddingConfig())):
        paths.append(tmp_path_factory.mktemp("teacher") / "last.pt")
        described = checkpoint.describe(network, FeatureConfig(), LABELS)
        about = {"epoch": 1, "options": {}, "shares": {"silence": 0.1, "unknown": 0.4}}
        checkpoint.save(paths[-1], {**described, **about, "average": network.state_dict()})
    return paths


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # in processes of their own, and in this one
def test_frozen_teachers_give_the_mean_of_their_logits(teachers: list[Path], device: str) -> None:
    prior = torch.arange(float(len(LABELS)))
    batch = Batch(torch.rand(3, 196, 40) * 10.0, torch.zeros(2, 2, 50, dtype=torch.long))
    frozen = FrozenTeachers(teachers, LABELS, FeatureConfig(), 2, prior, device)
    try:
        frozen.send(batch)
        found = frozen.receive()
    finally:
        frozen.close()
    assert (2, 50, len(LABELS)) == found.shape
    with torch.no_grad():
        first, second = (
            checkpoint.load_network(path)[0](batch.features[:2]).log_softmax(-1)
            for path in teachers
        )
    mean = (first[:, ::4] + second) / 2.0 + prior
    assert torch.allclose(found[:, ::4], mean, atol=0.05)


def test_learning_from_frozen_teachers_is_a_run_of_its_own(
    teachers: list[Path],
    tmp_path: Path,
    material: Material,  # noqa: F811
) -> None:
    """It records whom it learnt from, goes on with the same ones alone, and refuses misfits."""
    config = replace(TINY, epochs=1)
    fit(material, tmp_path / "run", config, frozen_teachers=teachers)
    state = checkpoint.load(tmp_path / "run/last.pt")
    assert 2 == len(state["options"]["frozen_teachers"])
    assert state["scores"]["distil_loss"] > 0.0
    fit(material, tmp_path / "run", config, frozen_teachers=teachers, resume=True)
    with pytest.raises(ModelError, match="other options"):
        fit(material, tmp_path / "run", config, frozen_teachers=teachers[:1], resume=True)
    both = replace(config, teacher=NetworkConfig(channels=8))
    with pytest.raises(ModelError, match="not both"):
        fit(material, tmp_path / "both", both, frozen_teachers=teachers)
    wide = replace(config.features, bands=64)
    other = replace(config, features=wide, network=NetworkConfig(channels=8, bands=64))
    with pytest.raises(ModelError, match=r"cannot teach.*bands=64"):
        fit(material, tmp_path / "other", other, frozen_teachers=teachers)


def test_a_missing_teacher_is_an_error_of_one_line(
    recordings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kws.train.__main__.load_material", lambda *_: None)
    options = ["--data", str(recordings.parent), "--out", str(tmp_path / "run")]
    assert 1 == train([*options, "--frozen-teachers", str(tmp_path / "none.pt")])
    assert "none.pt is no checkpoint to learn from" in capsys.readouterr().err


def test_frozen_stages_keep_their_weights() -> None:
    """The later stages and the head learn; what lies before them has no gradient."""
    network = EmbeddingNetwork(EmbeddingConfig(frozen=2))
    network(torch.randn(2, 98, 40)).sum().backward()
    learning = {name for name, each in network.named_parameters() if each.grad is not None}
    assert {"classifier.weight", "stages.2.0.weight"} <= learning
    kept = ("remap", "first_", "stages.0", "stages.1")
    assert not [name for name in learning if name.startswith(kept)]
