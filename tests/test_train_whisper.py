"""Whisper's weights out of a file of CTranslate2: read exactly, refused in one line, and used."""

import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")

import soundfile  # noqa: E402
from test_train import TINY, material  # noqa: E402, F401
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from kws.config import KEYWORDS, FeatureConfig  # noqa: E402
from kws.errors import ModelError  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.encoder import EncoderConfig, gelu  # noqa: E402
from kws.train.fit import fit  # noqa: E402
from kws.train.materials import Material  # noqa: E402
from kws.train.whisper import (  # noqa: E402
    BANDS,
    begin,
    fitted,
    main,
    mel_filters,
    read_weights,
    their_bands,
)

SIZES = {"width": 16, "heads": 2, "layers": 2, "hidden": 24, "queries": 3}
SMALL = EncoderConfig(**SIZES)
NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

Weights = dict[str, np.ndarray]


def ctranslate2(weights: Mapping[str, np.ndarray], version: int = 6) -> bytes:
    """A file as CTranslate2 writes it, without aliases of weights."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", 3, len(weights))]
    for name, array in weights.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        kind = struct.pack("<BI", NUMBERS[array.dtype.name], array.nbytes)
        parts += [text(name), shape, kind, array.tobytes()]
    return b"".join([*parts, struct.pack("<I", 0)])


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Those of a small Whisper with a layer more than is kept, random, as float16."""
    generator = np.random.default_rng(0)
    width, hidden = SMALL.width, SMALL.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weight": (width, BANDS, 3),
        "conv1/bias": (width,),
        "conv2/weight": (width, width, 3),
        "conv2/bias": (width,),
        "position_encodings/encodings": (1_500, width),
        "layer_norm/gamma": (width,),
        "layer_norm/beta": (width,),
    }
    for number in range(SMALL.layers + 1):
        linears = {
            "self_attention/linear_0": (3 * width, width),
            "self_attention/linear_1": (width, width),
            "ffn/linear_0": (hidden, width),
            "ffn/linear_1": (width, hidden),
        }
        for name, shape in linears.items():
            shapes[f"layer_{number}/{name}/weight"] = shape
            shapes[f"layer_{number}/{name}/bias"] = shape[:1]
        for part in ("self_attention", "ffn"):
            for name in ("gamma", "beta"):
                shapes[f"layer_{number}/{part}/layer_norm/{name}"] = (width,)
    return {
        f"encoder/{name}": generator.normal(0.0, 0.3, shape).astype(np.float16)
        for name, shape in shapes.items()
    }


def test_arrays_are_read_as_they_were_written() -> None:
    """Of every kind, matrices and single numbers."""
    generator = np.random.default_rng(0)
    written = {
        name: generator.normal(0.0, 50.0, shape).astype(name)
        for name, shape in zip(NUMBERS, [(3, 4), (5,), (), (2, 2, 2), (1, 7)], strict=True)
    }
    read = read_weights(ctranslate2(written))
    assert written.keys() == read.keys()
    for name, array in written.items():
        assert (array.dtype, array.shape) == (read[name].dtype, read[name].shape)
        assert np.array_equal(array, read[name])


def test_what_is_no_such_file_is_refused(weights: Weights) -> None:
    """Other versions, files cut anywhere before the last weight ends, other content."""
    with pytest.raises(ModelError, match="expected version 6, got 5"):
        read_weights(ctranslate2(weights, version=5))
    content = ctranslate2({name: weights[name] for name in list(weights)[:2]})
    for size in range(0, len(content) - 4, 7):
        with pytest.raises(ModelError, match="no file of CTranslate2"):
            read_weights(content[:size])
    unknown = bytearray(ctranslate2({"a": np.zeros(1, np.int8)}))
    unknown[-10] = 9  # the kind, before four bytes of size, one of content and four of aliases
    for other in (bytes(unknown), b"RIFF" + bytes(100), struct.pack("<IH", 6, 3) + b"\xff\xff\0"):
        with pytest.raises(ModelError, match="no file of CTranslate2"):
            read_weights(other)


def encoded(weights: Weights, theirs: Tensor, edge: Tensor) -> Tensor:
    """What Whisper's first layers make of (frames, 80) between frames of `edge` (80,)."""

    def value(name: str) -> Tensor:
        return torch.from_numpy(weights[f"encoder/{name}"].astype(np.float32))

    def both(name: str, weight: str = "weight", bias: str = "bias") -> tuple[Tensor, Tensor]:
        return value(f"{name}/{weight}"), value(f"{name}/{bias}")

    framed = torch.cat((edge[None], theirs, edge[None])).T[None]
    steps = gelu(functional.conv1d(framed, *both("conv1")))
    steps = gelu(functional.conv1d(steps, *both("conv2"), stride=2, padding=1)).transpose(1, 2)
    steps = steps + value("position_encodings/encodings")[: steps.shape[1]]
    for number in range(SMALL.layers):
        layer = torch.nn.TransformerEncoderLayer(
            *(SMALL.width, SMALL.heads, SMALL.hidden),
            dropout=0.0,
            activation=gelu,
            batch_first=True,
            norm_first=True,
        )
        parts = {
            "self_attn.in_proj_": both(f"layer_{number}/self_attention/linear_0"),
            "self_attn.out_proj.": both(f"layer_{number}/self_attention/linear_1"),
            "linear1.": both(f"layer_{number}/ffn/linear_0"),
            "linear2.": both(f"layer_{number}/ffn/linear_1"),
            "norm1.": both(f"layer_{number}/self_attention/layer_norm", "gamma", "beta"),
            "norm2.": both(f"layer_{number}/ffn/layer_norm", "gamma", "beta"),
        }
        state = {f"{name}weight": weight for name, (weight, _) in parts.items()}
        layer.load_state_dict(state | {f"{name}bias": bias for name, (_, bias) in parts.items()})
        steps = layer(steps)
    return functional.layer_norm(steps, (SMALL.width,), *both("layer_norm", "gamma", "beta"))


@torch.no_grad()
def test_begins_as_whispers_encoder(weights: Weights) -> None:
    """What comes before the head is what Whisper's layers make of their bands.

    Around a second lie frames of zeros, which are the shift in their bands.
    """
    generator = np.random.default_rng(1)
    matrix = generator.normal(0.0, 0.1, (SMALL.bands, BANDS))
    shift = generator.normal(0.0, 0.5, BANDS)
    network = begin(weights, matrix, shift, SMALL).eval()
    found = []
    network.norm.register_forward_hook(lambda *given: found.append(given[-1]))
    bands = torch.from_numpy(generator.uniform(0.0, 5.0, (98, SMALL.bands))).float()
    network(bands[None])
    edge = torch.from_numpy(shift).float()
    expected = encoded(weights, bands @ torch.from_numpy(matrix).float() + edge, edge)
    assert (1, 49, SMALL.width) == expected.shape
    assert torch.allclose(expected, found[0], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder/layer_1/ffn/linear_0/bias": None}, "layer_1/ffn/linear_0/bias"),
        ({"encoder/conv2/weight": np.zeros((8, 16, 3), np.float32)}, "not the weights of Whisper"),
        ({"encoder/conv1/weight": np.zeros((16, 128, 3), np.float32)}, "not the weights of Whis"),
        ({"encoder/conv2/weight": np.zeros((16, 16, 3), np.int8)}, "conv2/weight is quantised"),
    ],
)
def test_weights_of_something_else_are_refused(
    weights: Weights, change: dict[str, np.ndarray | None], message: str
) -> None:
    """A name that is missing, other sizes, and integers that would need their scales."""
    others = {name: each for name, each in (weights | change).items() if each is not None}
    with pytest.raises(ModelError, match=message):
        begin(others, np.zeros((SMALL.bands, BANDS)), np.zeros(BANDS), SMALL)


def test_filters_are_slaneys() -> None:
    """80 triangles of area 1 between 0 and 8 kHz, one after the other; two figures of Whisper's."""
    filters = mel_filters()
    assert (201, BANDS) == filters.shape
    assert filters.min() == 0.0
    assert not filters[[0, -1]].any()  # 0 and 8 kHz
    assert filters.any(axis=0).all()
    assert (np.diff(filters.argmax(axis=0)) >= 0).all()
    assert np.abs(40.0 * filters[:, 50:].sum(axis=0) - 1.0).max() < 0.03  # bins of 40 Hz
    assert filters[1, :2] == pytest.approx([0.024862593, 0.001990821], abs=1e-8)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Noise whose loudness and colour wander, (clips, 16000) int16."""
    generator = np.random.default_rng(0)
    white = generator.normal(0.0, 1.0, (24, 16_000))
    slow = np.apply_along_axis(lambda x: np.convolve(x, np.ones(12) / 4.0, "same"), 1, white)
    share = 0.5 + 0.5 * np.sin(np.arange(16_000) / 2_300.0 + np.arange(24)[:, None])
    loudness = 900.0 * (1.3 + np.sin(np.arange(16_000) / 900.0))
    return (loudness * (share * slow + (1.0 - share) * white)).astype(np.int16)


def test_our_bands_become_theirs(clips: np.ndarray) -> None:
    """The fit gives what Whisper's front end gives, on clips that it was not made on."""
    features = FeatureConfig()
    matrix, shift = fitted(clips[:16], features)
    assert ((features.bands, BANDS), (BANDS,)) == (matrix.shape, shift.shape)
    for clip in clips[16:]:
        expected = (their_bands(clip / 32768.0, features) + 4.0) / 4.0
        found = log_mel(clip, features) @ matrix + shift
        assert (98, BANDS) == expected.shape == found.shape
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.fixture
def folder(tmp_path: Path, clips: np.ndarray) -> Path:
    """Recordings in the layout of Speech Commands."""
    for word, clip in zip(KEYWORDS, clips, strict=False):
        (tmp_path / "data" / word).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / word / "one_nohash_0.wav", clip, 16_000)
    return tmp_path / "data"


def test_the_command_writes_what_training_begins_with(
    weights: Weights,
    folder: Path,
    tmp_path: Path,
    material: Material,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same file each time; a run that begins with it says so."""
    monkeypatch.setattr("kws.train.whisper.EncoderConfig", partial(EncoderConfig, **SIZES))
    model = tmp_path / "model.bin"
    model.write_bytes(ctranslate2(weights))
    start, again = tmp_path / "out" / "start.pt", tmp_path / "again.pt"
    for out in (start, again):
        assert 0 == main([str(model), "--data", str(folder), "--out", str(out)])
    network, features, *_ = checkpoint.load_network(start)
    assert (SMALL, FeatureConfig()) == (network.config, features)
    other = checkpoint.load_network(again)[0].state_dict()
    assert all(torch.equal(each, other[name]) for name, each in network.state_dict().items())
    fit(material, tmp_path / "run", replace(TINY, epochs=1, network=SMALL), start=start)
    provenance = checkpoint.load(tmp_path / "run" / "last.pt")["started_from"]
    assert {"epochs_done", "published"} == provenance.keys()
    assert 0 == provenance["epochs_done"]
    assert 64 == len(provenance["published"])


def test_what_cannot_be_used_is_one_line(
    weights: Weights, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No such file, another file, weights of other sizes, and a folder without recordings."""
    model, other, start = tmp_path / "model.bin", tmp_path / "other.bin", tmp_path / "start.pt"
    model.write_bytes(ctranslate2(weights))
    other.write_bytes(b"something else")
    cases = (
        (tmp_path / "none.bin", folder, "none.bin"),
        (other, folder, "no file of CTranslate2"),
        (model, folder, "not the weights of Whisper's tiny"),
        (model, tmp_path / "nowhere", "nowhere"),
    )
    for path, data, message in cases:
        assert 1 == main([str(path), "--data", str(data), "--out", str(start)])
        error = capsys.readouterr().err
        assert message in error
        assert 1 == error.count("\n")
    assert not start.exists()
