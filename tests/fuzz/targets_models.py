"""Fuzz targets: manifests, lists of labels, ONNX and TFLite files, checkpoints of training."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import EDGES, Target

from kws import native
from kws.errors import ModelError
from kws.model import trial
from kws.model.encoder import Encoder
from kws.model.manifest import MODELS, read_manifest, write_manifest
from kws.model.native_encoder import native_encoder
from kws.model.native_layout import native_network
from kws.model.onnx_file import check_onnx
from kws.model.runtimes import import_onnxruntime, import_tflite
from kws.model.tflite_file import check_tflite
from kws.model.trial import Trial
from kws.text import printable

# Text at which programs err.
TEXTS = ("", "\0", "\x1b[2J", "[/red]", "<b>", "\ud800", "\u202e", "../x", "a" * 5000, "NaN", "é",
         "yes", "silence", "unknown")  # fmt: skip


@cache
def folder() -> Path:
    """Where inputs are written that have to be files."""
    return Path(tempfile.mkdtemp(prefix="kws-fuzz-"))


# Manifests.


def manifests() -> list[bytes]:
    """Those that ship."""
    return [path.read_bytes() for path in sorted(MODELS.glob("*.json"))]


def change_json(content: bytes, draw: random.Random) -> bytes:
    """A value, a key or a whole part changed."""
    tree = json.loads(content)
    for _ in range(draw.choice((1, 1, 2, 5))):
        parent, key = draw.choice(list(_places(tree)))
        kind = draw.randrange(6)
        if kind == 0:
            parent[key] = draw.choice(EDGES)
        elif kind == 1:
            parent[key] = draw.choice(TEXTS)
        elif kind == 2:
            parent[key] = draw.choice((None, True, [], {}, 1e308, -0.0, 5e-324, 10**400, [[]]))
        elif kind == 3 and isinstance(parent, dict):
            parent[draw.choice(TEXTS)] = parent.pop(key)
        elif kind == 4:
            del parent[key]
        else:
            other, place = draw.choice(list(_places(tree)))
            if not isinstance(other[place], dict | list):
                parent[key] = other[place]
    return json.dumps(tree, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list) and tree[key]:
            yield from _places(tree[key])
    if not keys:
        yield {"": 0}, ""


def run_manifest(content: bytes) -> str:
    """Read it; what is taken can be written, read again and shown without harm."""
    from kws.cli import info

    path = folder() / "manifest.json"
    path.write_bytes(content)
    manifest = read_manifest(path)
    write_manifest(manifest, folder() / "again.json")
    assert manifest == read_manifest(folder() / "again.json")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        runs = {"path": "m.json", "runs": "window.onnx", "runtime": "ONNX Runtime"}
        info.print_model({**info.facts_of(manifest), **runs})
    for line in shown.getvalue().splitlines():
        assert line == printable(line), line
    for mode in ("isolated", "connected"):
        assert set(manifest.operating_point(mode)) == set(manifest.keywords)
    return "ran"


# Lists of labels.


def label_lists() -> list[bytes]:
    """As editors save them."""
    text = "silence\nunknown\nyes\nno\ngrößer\nはい\n"
    return [text.encode(), text.replace("\n", "\r\n").encode("utf-8-sig"), text.encode("utf-16")]


def run_labels(content: bytes) -> str:
    """Read it as `kws import` does, and check it as a manifest's."""
    import argparse

    from kws.model.manifest import check_labels

    path = folder() / "labels.txt"
    path.write_bytes(content)
    command = importlib.import_module("kws.cli.import")
    try:
        labels = command._labels(str(path))
    except argparse.ArgumentTypeError:
        return "refused"
    check_labels(labels)
    assert all(label == printable(label) for label in labels)
    return "ran"


# Networks. What passes the checks of the file meets the runtime in a forked child, as it does in
# the product's own child, only without starting Python again for each.


MEMORY = 1 << 29  # bytes that a checkpoint of some kilobytes may take
REFUSED = 3  # exit code of a child
PROCESSOR, WAIT = 50, 600  # seconds that a child may compute, and that it may take


def run_network(form: str, check: Callable[[bytes], None], load: Callable[[], Any]) -> Any:
    """The function that runs a network of a format."""

    def run(content: bytes) -> str:
        check(content)
        load()
        graph = "stream" if b"next_" in content else "window"
        what = Trial(graph=graph, form=form, frames=98, width=40, steps=4)
        return in_child(lambda: _try(content, what))

    return run


def _try(content: bytes, what: Trial) -> None:
    """As the product's child; an exception that it does not foresee is a finding."""
    trial._limit(len(content), 2)
    try:
        trial._run(content, what)
    except (ModelError, MemoryError):
        os._exit(REFUSED)


def in_child(action: Callable[[], None]) -> str:
    """Do it in a forked process; raises AssertionError with what the action raised there."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Of threads, which the child of Python 3.12 and later could miss; it needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 0
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            signal.setitimer(signal.ITIMER_PROF, PROCESSOR)
            signal.alarm(WAIT)
            action()
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:2000])
            code = 1
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with open(reading, "rb") as pipe:
        told = pipe.read().decode(errors="replace")
    assert not told, told
    return {0: "ran", REFUSED << 8: "refused"}.get(status, "stopped")


def onnx_files() -> list[bytes]:
    """The smaller ones that ship, a small encoder, which the native kernel runs as it does the last
    of those, and a classifier without any quantisation."""
    from encoder_model import encoder_file  # which takes seconds to import

    names = ("commands.window.int8.onnx", "commands.stream.int8.onnx", "commands.stream.onnx")
    return [(MODELS / name).read_bytes() for name in names] + [encoder_file(), small_onnx()]


def small_onnx() -> bytes:
    """A classifier of a few hundred bytes, most of which say what it is."""
    import onnx

    helper, value = onnx.helper, onnx.helper.make_tensor_value_info
    weights = np.random.default_rng(0).normal(0, 0.1, (40, 4)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights"], ["logits"], alpha=0.5),
        helper.make_node("Softmax", ["logits"], ["posteriors"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [value("features", onnx.TensorProto.FLOAT, ["batch", 98, 40])],
        [value("posteriors", onnx.TensorProto.FLOAT, ["batch", 4])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return made


OPERATORS = ("Loop", "If", "Scan", "Reshape", "Expand", "Tile", "Gather", "Pad", "Conv", "Concat",
             "ConstantOfShape", "Range", "Resize", "Split", "Slice", "Transpose", "MatMul",
             "Einsum", "EPContext", "LSTM", "QLinearConv", "OneHot", "Cast", "NoSuch")  # fmt: skip


def change_onnx(content: bytes, draw: random.Random) -> bytes:
    """Fields of the messages set, dropped, doubled or exchanged."""
    import onnx

    model = onnx.load_from_string(content)
    messages = list(_messages(model))
    for _ in range(draw.choice((1, 1, 2, 4))):
        message = draw.choice(messages)
        fields = [each for each, _ in message.ListFields()] or list(message.DESCRIPTOR.fields)
        if draw.random() < 0.2:
            fields = list(message.DESCRIPTOR.fields)
        field = draw.choice(fields)
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            _change_field(message, field, draw)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _messages(each)


def _change_field(message: Any, field: Any, draw: random.Random) -> None:
    name, value = field.name, getattr(message, field.name)
    if field.is_repeated:
        if draw.random() < 0.3 or not len(value):
            if field.message_type is not None:
                value.add()
            else:
                value.append(_drawn(field, draw))
            return
        at = draw.randrange(len(value))
        if draw.random() < 0.3:
            del value[at]
        elif field.message_type is not None:
            value[at].CopyFrom(draw.choice(value))
        else:
            value[at] = _drawn(field, draw)
    elif field.message_type is not None:
        message.ClearField(name) if draw.random() < 0.7 else value.SetInParent()
    elif draw.random() < 0.2:
        message.ClearField(name)
    else:
        setattr(message, name, _drawn(field, draw))


def _drawn(field: Any, draw: random.Random) -> Any:
    if field.type in (1, 2):
        return draw.choice((0.0, 1.0, -1.0, 1e38, float("nan"), float("inf")))
    if field.type == 9:
        return draw.choice((*OPERATORS, "features", "weights", "logits", "com.microsoft", ""))
    if field.type == 12:
        return draw.randbytes(draw.choice((0, 1, 4, 640)))
    return draw.choice((*EDGES, 3, 4, 5, 7, 40, 98))


# TFLite.


def tflite_files() -> list[bytes]:
    """Two that ship, of both kinds of graphs and of numbers."""
    names = ("commands.window.int8.tflite", "commands.stream.tflite")
    return [(MODELS / name).read_bytes() for name in names]


def change_tflite(content: bytes, draw: random.Random) -> bytes:
    """Numbers of the tables set, lists cut, parts exchanged."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    places = [
        (owner, name)
        for owner in _objects(model)
        for name, value in vars(owner).items()
        if value is not None and not (name == "data" and len(value) > 64)
    ]
    for _ in range(draw.choice((1, 1, 2, 4))):
        owner, name = draw.choice(places)
        value = getattr(owner, name)
        if isinstance(value, bool | int):
            setattr(owner, name, draw.choice(EDGES))
        elif isinstance(value, float):
            setattr(owner, name, draw.choice((0.0, -1.0, 1e38, float("nan"))))
        elif isinstance(value, list) and value:
            at, other = draw.randrange(len(value)), draw.randrange(len(value))
            value[at] = value[other]
            if draw.random() < 0.3:
                del value[at]
        elif isinstance(value, np.ndarray) and value.size:
            value = value.copy()
            edge = draw.choice((*EDGES, 3, 5, 10, 30))
            with contextlib.suppress(OverflowError):
                value[draw.randrange(value.size)] = edge
            setattr(owner, name, value)
        else:
            setattr(owner, name, None)
    builder = flatbuffers.Builder(1 << 17)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
    except Exception:  # what the writer of the format refuses
        return content


def _objects(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _objects(each)
    elif hasattr(value, "Pack"):
        yield value
        for each in vars(value).values():
            yield from _objects(each)


# Checkpoints of training.


@cache
def checkpoints() -> list[bytes]:
    """A small one."""
    import torch

    from kws.config import LABELS, FeatureConfig
    from kws.train import checkpoint
    from kws.train.architectures import build
    from kws.train.network import NetworkConfig

    torch.manual_seed(0)
    network = build(NetworkConfig(channels=4))
    state = checkpoint.describe(network, FeatureConfig(), LABELS)
    path = folder() / "seed.pt"
    checkpoint.save(path, {**state, "average": network.state_dict(), "epoch": 1, "best": 0.5})
    return [path.read_bytes()]


def change_checkpoint(content: bytes, draw: random.Random) -> bytes:
    """Values of the state changed."""
    import torch

    from kws.train import checkpoint

    state = torch.load(io.BytesIO(content), weights_only=True)
    del state["version"]
    for _ in range(draw.choice((1, 1, 3))):
        parent, key = draw.choice(list(_places(state)))
        kind = draw.randrange(4)
        if kind == 0:
            parent[key] = draw.choice((*EDGES, *TEXTS, None, 0.5))
        elif kind == 1:
            parent[key] = torch.zeros(draw.choice(((), (1,), (3, 2), (0,))))
        elif kind == 2:
            del parent[key]
        elif isinstance(parent, dict):
            parent[draw.choice(TEXTS)] = parent.pop(key)
    path = folder() / "changed.pt"
    try:
        checkpoint.save(path, state)
    except UnicodeEncodeError:  # a pickle holds no lone surrogates
        return content
    return path.read_bytes()


def run_checkpoint(content: bytes) -> str:
    """Load the network in it; nothing that the file says is run."""
    from kws.train.checkpoint import load_network

    path = folder() / "checkpoint.pt"
    path.write_bytes(content)
    before = _peak()
    try:
        load_network(path)
    finally:
        assert _peak() - before < MEMORY, "it took gigabytes of memory"
    return "ran"


def _peak() -> int:
    """The most bytes that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


run_tflite = run_network("tflite", check_tflite, import_tflite)
_run_in_onnxruntime = run_network("onnx", check_onnx, import_onnxruntime)


def run_onnx(content: bytes) -> str:
    """In ONNX Runtime, and where it is a graph for the native kernel on that, which in the product
    runs in the user's own process: that it dies is a finding."""
    outcome: str = _run_in_onnxruntime(content)
    network = native_network(content)
    runs = []
    if native.library() is not None:
        if network is not None:
            runs.append(lambda: _run_natively(network))
        if (encoder := native_encoder(content)) is not None:
            runs.append(lambda: _run_encoder_natively(encoder))
    for run in runs:
        assert in_child(run) == "ran", "the process of the native kernel died"
    return outcome


def _run_natively(network: native.Network) -> None:
    stream = native.Stream(native.Graph(network, silent_frames=98))
    noise = np.random.default_rng(0).normal(0.0, 100.0, (stream.frames, network.bands))
    for level in (0.0, 1.0, 1e30):
        posteriors = stream.posteriors((level * noise).astype(np.float32))
        assert (stream.steps, len(network.classifier)) == posteriors.shape


def _run_encoder_natively(encoder: Encoder) -> None:
    noise = np.random.default_rng(0).normal(0.0, 100.0, (2, 98, 40))
    for level in (0.0, 1.0, 1e30):
        with contextlib.suppress(ModelError):  # for features of other shapes
            posteriors = encoder.run((level * noise).astype(np.float32))
            assert len(noise) == len(posteriors)


NETWORKS = ("kws.model.trial", "kws.model.runtimes")
TARGETS = [
    Target(
        "manifest",
        manifests,
        run_manifest,
        change_json,
        modules=("kws.model.manifest", "kws.cli.info"),
        files=("kws/models/*.json",),
    ),
    Target("labels", label_lists, run_labels, modules=("kws.cli.import", "kws.model.manifest")),
    Target(
        "onnx",
        onnx_files,
        run_onnx,
        change_onnx,
        modules=(*NETWORKS, "kws.model.onnx_file", "kws.model.native_layout", "kws.native"),
        files=("kws/models/*.onnx", "kws/native/*.c"),
    ),
    Target(
        "tflite",
        tflite_files,
        run_tflite,
        change_tflite,
        modules=(*NETWORKS, "kws.model.tflite_file"),
        files=("kws/models/*.tflite",),
    ),
    Target(
        "checkpoint",
        checkpoints,
        run_checkpoint,
        change_checkpoint,
        modules=("kws.train.checkpoint",),
    ),
]
