"""The runtimes that a model can run on, one class each; each is imported at its first use."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import logging
import os
import re
import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kws.errors import BackendUnavailable, ModelError
from kws.frontend import FloatArray
from kws.model.onnx_file import check_onnx
from kws.model.tflite_file import check_tflite
from kws.text import printable

logger = logging.getLogger(__name__)

PROVIDERS = ("cpu", "cuda")
CUDA = "CUDAExecutionProvider"


class Backend(Protocol):
    """A network that has been loaded."""

    def run(self, features: FloatArray) -> FloatArray:
        """Posteriors (batch, labels) of features (batch, frames, bands); float32 both.

        Raises ModelError where the network takes features of another shape.
        """


def open_backend(kind: str, content: bytes, provider: str | None = None) -> Backend:
    """Load a model file's content: kind "onnx" or "tflite", provider "cpu" (the default) or "cuda".

    Raises BackendUnavailable where the runtime is missing or broken, ModelError where the content
    is not a model, and ValueError for a kind or provider that does not exist.
    """
    if provider not in (None, *PROVIDERS):
        raise ValueError(f"the providers are {', '.join(PROVIDERS)}, not {provider!r}")
    if kind == "onnx":
        return OnnxBackend(content, provider or "cpu")
    if kind == "tflite":
        if provider == "cuda":
            raise BackendUnavailable("TFLite runs on the CPU only; use an ONNX model for CUDA")
        return TfliteBackend(content)
    raise ValueError(f"the backends are onnx and tflite, not {kind!r}")


def onnx_session(content: bytes, provider: str) -> Any:
    """A session of ONNX Runtime on one thread that sleeps between calls, or on a CUDA device.

    Raises BackendUnavailable where the runtime or CUDA is missing, ModelError for a bad model.
    """
    ort = import_onnxruntime()
    check_onnx(content)
    options = ort.SessionOptions()
    # A network this small gains nothing from threads, and idle ones would spin.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Of its own format too it would take whatever says that it is one.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Products with 8-bit weights on float activations stay float; else those would be rounded too.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if not has_vnni():
        _against_saturation(ort, content, options)
    # Only its own end: errors are raised below, and its log holds names as the file has them.
    options.log_severity_level = 4
    if provider == "cuda":
        return _cuda_session(ort, content, options)
    return _session(ort, content, options, "CPUExecutionProvider")


def _against_saturation(ort: Any, content: bytes, options: Any) -> None:
    """Without VNNI the products of an int8 network saturate; against that they take twice as long.

    Before version 1.30 the option for it ends the process on networks such as ours; there they are
    computed in float, to the same posteriors.
    """
    if _version(ort.__version__) >= (1, 30):
        options.add_session_config_entry("session.x64quantprecision", "1")
    elif b"QuantizeLinear" in content:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # Weights become float once, not anew for every run.
        options.add_session_config_entry("session.disable_quant_qdq", "1")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


@cache
def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor adds up products of 8 bits without saturation; False if unknown."""
    try:
        return "_vnni" in cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


class OnnxBackend:
    """A window graph in ONNX Runtime: one input, one output, float32, of any name."""

    def __init__(self, content: bytes, provider: str = "cpu") -> None:
        self._session = onnx_session(content, provider)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._input = _only([node.name for node in inputs], [node.name for node in outputs])
        check_types((*inputs, *outputs))
        self._shape = tuple(inputs[0].shape)

    def run(self, features: FloatArray) -> FloatArray:
        """See Backend.run."""
        shaped = _shaped(features, self._shape)
        batches = np.split(shaped, len(shaped)) if self._shape[0] == 1 else [shaped]
        try:
            rows = [self._session.run(None, {self._input: batch})[0] for batch in batches]
        except Exception as error:
            raise ModelError(
                f"the network does not take features of shape {features.shape}: {in_short(error)}"
            ) from error
        posteriors: FloatArray = np.concatenate(rows)
        if not len(features) or posteriors.size % len(features):
            raise ModelError(
                f"expected a row of posteriors for each of {len(features)} windows, "
                f"got {posteriors.shape}"
            )
        return posteriors.reshape(len(features), -1)


def check_types(nodes: Sequence[Any]) -> None:
    """Refuse inputs and outputs of ONNX Runtime that are not float32."""
    kinds = {node.type for node in nodes}
    if kinds != {"tensor(float)"}:
        raise ModelError(f"expected float32 in and out, got {', '.join(sorted(kinds))}")


# Runtimes whose own kernels for int8 round differently on each kind of processor, enough to change
# detections. There TFLite's reference kernels are taken, which give the same everywhere.
REFERENCE_INT8 = ("tflite_runtime",)


def tflite_interpreter(content: bytes) -> Any:
    """An interpreter of ai-edge-litert or tflite-runtime on one thread, ready to be invoked.

    Raises BackendUnavailable where neither works here, ModelError for a bad model.
    """
    runtime = import_tflite()
    check_tflite(content)
    try:
        # Built for another NumPy, it first makes NumPy print half a page.
        with contextlib.redirect_stderr(io.StringIO()):
            interpreter = runtime.Interpreter(model_content=content, num_threads=1)
            if runtime.__name__.partition(".")[0] in REFERENCE_INT8 and _takes_int8(interpreter):
                interpreter = runtime.Interpreter(
                    model_content=content,
                    num_threads=1,
                    experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_REF,
                )
        interpreter.allocate_tensors()
    except (SystemError, ImportError, AttributeError) as error:
        raise BackendUnavailable(_why_no_tflite(runtime, error)) from error
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"TFLite cannot load the model: {in_short(error)}") from error
    for entry in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        _check_tensor(entry)
    return interpreter


def _takes_int8(interpreter: Any) -> bool:
    return any(entry["dtype"] == np.int8 for entry in interpreter.get_input_details())


def _check_tensor(tensor: dict[str, Any]) -> None:
    """Refuse an input or output of TFLite that float32 cannot be turned into and back."""
    kind, scale = np.dtype(tensor["dtype"]), tensor["quantization"][0]
    if kind != np.float32 and not (kind in _INTEGERS and 0.0 < scale < np.inf):
        raise ModelError(
            f"expected float32 or quantised integers in and out, got {kind} for "
            f"{printable(tensor['name']):.60}; convert the model with such inputs and outputs"
        )


def invoke(interpreter: Any) -> None:
    """Run a graph of TFLite on the inputs that have been set; raises ModelError where it fails."""
    try:
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the network does not run: {in_short(error)}") from error


_INTEGERS = (np.int8, np.uint8, np.int16)


class TfliteBackend:
    """A window graph in TFLite; quantises where the graph takes integers."""

    def __init__(self, content: bytes) -> None:
        self._interpreter = tflite_interpreter(content)
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        _only([entry["name"] for entry in inputs], [entry["name"] for entry in outputs])
        self._input, self._output = inputs[0], outputs[0]
        self._one_at_a_time = threading.Lock()  # a model is shared between threads

    def run(self, features: FloatArray) -> FloatArray:
        """See Backend.run."""
        shaped = _shaped(features, tuple(self._input["shape"].tolist()))
        # The graph's batch is fixed at 1.
        with self._one_at_a_time:
            return np.concatenate([self._run_one(window[None]) for window in shaped])

    def _run_one(self, features: FloatArray) -> FloatArray:
        self._interpreter.set_tensor(self._input["index"], quantise(features, self._input))
        invoke(self._interpreter)
        posteriors = self._interpreter.get_tensor(self._output["index"])
        return dequantise(posteriors.reshape(1, -1), self._output)


def _only(inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """The name of the one input of a graph of windows."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            "expected a graph with one input and one output, "
            f"got {', '.join(inputs)} and {', '.join(outputs)}"
        )
    return inputs[0]


def _shaped(features: FloatArray, shape: Sequence[object]) -> FloatArray:
    """Features as a graph wants them: where kernels want images there are axes of length one.

    An axis of the graph that has no number may have any length. Raises ModelError for a misfit.
    """
    long = [length for length in features.shape[1:] if length != 1]
    wanted = [length for length in shape[1:] if length != 1]
    if len(long) != len(wanted) or any(
        isinstance(length, int) and length != given
        for length, given in zip(wanted, long, strict=True)
    ):
        expected = ", ".join(str(length) for length in shape)
        raise ModelError(f"the network takes features of shape ({expected}), not {features.shape}")
    lengths = iter(long)
    return features.reshape(
        len(features), *(1 if length == 1 else next(lengths) for length in shape[1:])
    )


def quantise(values: FloatArray, tensor: dict[str, Any]) -> NDArray[Any]:
    """Values as a tensor of TFLite stores them; those out of its range at the nearest limit."""
    kind = np.dtype(tensor["dtype"])
    if kind == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(kind)
    steps = np.rint(values / np.float32(scale)) + zero_point
    stored: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(kind)
    return stored


def dequantise(values: NDArray[Any], tensor: dict[str, Any]) -> FloatArray:
    """What the stored values of a tensor of TFLite stand for."""
    posteriors: FloatArray = values.astype(np.float32)
    if values.dtype != np.float32:
        scale, zero_point = tensor["quantization"]
        posteriors = (posteriors - np.float32(zero_point)) * np.float32(scale)
    return posteriors


def _installed(distribution: str) -> bool:
    """Whether pip put it here: to import importlib.metadata takes far longer than to look."""
    pattern = f"{distribution.replace('-', '_')}-*.dist-info"
    return any(any(Path(place).glob(pattern)) for place in sys.path)


_REINSTALL = (
    "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime (CPU) "
    "or onnxruntime-gpu (CUDA)"
)
_BOTH = f"onnxruntime and onnxruntime-gpu overwrite each other's files; keep one: {_REINSTALL}"


def _both_onnxruntimes() -> bool:
    return _installed("onnxruntime") and _installed("onnxruntime-gpu")


TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> bool:
    """Switch ONNX Runtime's telemetry off before its import, here and in processes started later.

    From version 1.29 on it writes a device identifier into the user's cache folder as it is
    imported, and sends events to Microsoft. A value that the user gave the environment variable
    stays. Returns whether the choice was ours.
    """
    ours = TELEMETRY_SWITCH not in os.environ
    os.environ.setdefault(TELEMETRY_SWITCH, "1")
    return ours


def import_onnxruntime() -> Any:
    """The module onnxruntime, its telemetry off unless the user chose otherwise.

    Everything in this project that loads ONNX Runtime does so here. Raises BackendUnavailable with
    what to install.
    """
    ours = disable_telemetry()
    try:
        runtime = importlib.import_module("onnxruntime")
        _ = runtime.InferenceSession  # absent where an uninstall left an empty folder
    except (ImportError, AttributeError, OSError) as error:
        if _both_onnxruntimes():
            raise BackendUnavailable(f"ONNX Runtime does not import: {_BOTH}") from error
        if _installed("onnxruntime") or _installed("onnxruntime-gpu"):
            raise BackendUnavailable(
                f"ONNX Runtime does not import ({in_short(error)}); {_REINSTALL}"
            ) from error
        raise BackendUnavailable(
            "ONNX Runtime is not installed; pip install onnxruntime (CPU) or onnxruntime-gpu (CUDA)"
        ) from error
    if ours and hasattr(runtime, "disable_telemetry_events"):
        runtime.disable_telemetry_events()  # Windows' event tracing does not read the variable
    if _both_onnxruntimes():
        logger.warning(_BOTH)
    return runtime


def _session(ort: Any, content: bytes, options: Any, provider: str) -> Any:
    try:
        session = ort.InferenceSession(content, options, providers=[provider], enable_fallback=0)
    except Exception as error:  # the runtime's own exceptions share no base
        raise ModelError(_why_not_loaded(ort, error)) from error
    # It keeps the file's content for another provider, which is never asked for here.
    session._model_bytes = None
    return session


_NEWER_FORMAT = re.compile(r"IR version: (\d+), max supported IR version: (\d+)")
_NEWER_OPERATORS = re.compile(r"Opset (\d+) is under dev.* domain (\S+) is till opset (\d+)")


def _why_not_loaded(ort: Any, error: Exception) -> str:
    """What ONNX Runtime's refusal means, and what to do."""
    text = str(error)
    if newer := _NEWER_FORMAT.search(text):
        given, most = f"IR version {newer[1]}", newer[2]
    elif newer := _NEWER_OPERATORS.search(text):
        given, most = f"opset {newer[1]} of {printable(newer[2])}", newer[3]
    else:
        return f"ONNX Runtime cannot load the model: {in_short(error)}; export it again"
    return (
        f"the model is of a newer ONNX ({given}) than onnxruntime {ort.__version__} reads (up to "
        f"{most}); pip install --upgrade onnxruntime, or export the model with an older opset"
    )


def _cuda_session(ort: Any, content: bytes, options: Any) -> Any:
    if CUDA not in ort.get_available_providers():
        raise BackendUnavailable(
            f"CUDA was requested but is not available: {_why_no_cuda(ort, [])}"
        )
    missing: list[str] = []
    if hasattr(ort, "preload_dlls"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            ort.preload_dlls()
        missing = [line for line in printed.getvalue().splitlines() if "Failed" in line]
    # The provider that fails to start writes several lines of its own; one of ours is enough.
    ort.set_default_logger_severity(4)
    try:
        session = _session(ort, content, options, CUDA)
    finally:
        ort.set_default_logger_severity(2)
    # Such a provider is replaced by the CPU's without an error.
    if CUDA not in session.get_providers():
        raise BackendUnavailable(
            f"CUDA was requested but does not start: {_why_no_cuda(ort, missing)}"
        )
    return session


def _why_no_cuda(ort: Any, missing: list[str]) -> str:
    """The first thing that CUDA needs and that is not there."""
    if CUDA not in ort.get_available_providers():
        if _both_onnxruntimes():
            return _BOTH
        return (
            "this onnxruntime is the CPU package; "
            "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu"
        )
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver was found; install one, or see that nvidia-smi runs here"
    detail = f" ({missing[0]})" if missing else ""
    return (
        f"onnxruntime-gpu {ort.__version__} finds no CUDA and cuDNN libraries of its version"
        f"{detail}; pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


_TFLITE_RUNTIMES = ("ai_edge_litert", "tflite_runtime")  # the maintained one first
# The kinds of model files, the preferred one first, with the modules any of which runs them.
FORMATS = {"onnx": ("onnxruntime",), "tflite": _TFLITE_RUNTIMES}


def is_installed(kind: str) -> bool:
    """Whether a runtime for this kind of model files is."""
    return any(map(find_spec, FORMATS[kind]))


def preferred_formats() -> list[str]:
    """The kinds of model files, those first whose runtime is installed."""
    return sorted(FORMATS, key=lambda kind: not is_installed(kind))


def import_tflite() -> Any:
    """The module with the Interpreter class of whichever runtime is installed."""
    for package in _TFLITE_RUNTIMES:
        name = f"{package}.interpreter"
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (package, name):
                raise BackendUnavailable(
                    f"{package} is installed but lacks {error.name}"
                ) from error
        except ImportError as error:
            raise BackendUnavailable(
                f"{package} is installed but does not import ({in_short(error)})"
            ) from error
    raise BackendUnavailable("no TFLite runtime is installed; pip install ai-edge-litert")


def _why_no_tflite(runtime: Any, error: BaseException) -> str:
    if runtime.__name__.startswith("tflite_runtime") and int(np.__version__.split(".")[0]) >= 2:
        return (
            f"tflite-runtime was built for NumPy 1 and does not run with NumPy {np.__version__}; "
            "pip install 'numpy<2', or pip uninstall tflite-runtime and install ai-edge-litert"
        )
    return f"{runtime.__name__} is installed but does not run ({in_short(error)})"


def in_short(error: BaseException) -> str:
    """The first line of what a runtime says, without the places in its source and its names."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : |(/[\w.@-]+){3,}:\d+ ", "", text)
    text = re.sub(r"\S*(::|\()\S*(::).*?\)(?: const)? ", "", text)
    return printable(text)[:200]
