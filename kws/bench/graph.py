"""An ONNX graph on its own: threads, and batches with inputs and outputs bound to the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kws.errors import BackendUnavailable
from kws.model.runtimes import import_onnxruntime

PROVIDER_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def bound_run(content: bytes, provider: str, batch: int, threads: int) -> Callable[[], object]:
    """A call that runs the graph once on `batch` items that lie on the device already.

    Outputs stay there too, as they would between batches of a scan; the call waits for them.
    `load_model` has found before that the model and the provider work here. Raises
    BackendUnavailable where the batch does not fit into the device's memory.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, providers=[PROVIDER_NAMES[provider]])
    binding, values = session.io_binding(), []
    try:
        for node in session.get_inputs():
            zeros = np.zeros([batch, *node.shape[1:]], np.float32)
            values.append(ort.OrtValue.ortvalue_from_numpy(zeros, provider, 0))
            binding.bind_ortvalue_input(node.name, values[-1])
        for node in session.get_outputs():
            binding.bind_output(node.name, provider)
        run = _Bound(session, binding, values)
        run()
    except Exception as error:  # the runtime's own exceptions share no base
        raise BackendUnavailable(
            f"a batch of {batch} does not run on {provider}: {str(error).splitlines()[0]}"
        ) from error
    return run


@dataclass(frozen=True)
class _Bound:
    """A session with what is bound to it, which the binding of an older ONNX Runtime does not
    keep."""

    session: Any
    binding: Any
    values: Sequence[Any]

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
