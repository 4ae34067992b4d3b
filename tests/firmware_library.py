"""The C library as a shared one, so that tests can hand it arrays."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FIRMWARE = Path(__file__).parent.parent / "firmware_demo"
FLAGS = ["-std=c99", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
DSP_FLAGS = [f"-I{FIRMWARE}/tests/emulated_dsp", "-D__ARM_FEATURE_DSP=1"]
ROOM = 1 << 17  # bytes, more than any state or scratch takes
DETECTED = 1  # KWS_DETECTED


class Requantiser(ctypes.Structure):
    """kws_requantiser"""

    _fields_ = (
        ("multiplier", ctypes.c_void_p),
        ("shift_but_one", ctypes.c_void_p),
        ("zero", ctypes.c_int8),
    )


class Dense(ctypes.Structure):
    """kws_dense"""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("out", Requantiser),
        ("inputs", ctypes.c_uint16),
        ("outputs", ctypes.c_uint16),
    )


class Detection(ctypes.Structure):
    """kws_detection"""

    _fields_ = (
        ("keyword", ctypes.c_char_p),
        ("label", ctypes.c_uint8),
        ("score", ctypes.c_float),
        ("start", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Event:
    """One detection; times in samples."""

    keyword: str
    score: float
    start: int
    end: int


class Library:
    """src/ and the generated sources of one model."""

    def __init__(self, generated: Path, out: Path, dsp: bool = False) -> None:
        sources = [*sorted(FIRMWARE.glob("src/*.c")), *sorted(generated.glob("*.c"))]
        includes = [f"-I{path}" for path in (FIRMWARE / "include", FIRMWARE / "src", generated)]
        flags = [*FLAGS, *(DSP_FLAGS if dsp else []), *includes]
        subprocess.run(["cc", *flags, *map(str, sources), "-o", str(out)], check=True)
        self.c = ctypes.CDLL(str(out))
        text = (generated / "kws_sizes.h").read_text(encoding="utf-8")
        self.sizes = {
            name: int(value) for name, value in re.findall(r"KWS_(\w+) (\d+)$", text, re.M)
        }

    def features(self, audio: NDArray[np.int16], blocks: list[int]) -> NDArray[np.int8]:
        """Stored features (frames, bands) of audio that comes in blocks of these sizes, in turn."""
        frontend, scratch = _room(), _room()
        self.c.kws_frontend_reset(frontend)
        frames, begin, turn = [], 0, 0
        while begin < len(audio):
            block = np.ascontiguousarray(audio[begin : begin + blocks[turn % len(blocks)]])
            begin, turn, used = begin + len(block), turn + 1, 0
            while used < len(block):
                rest = block[used:]
                used += self.c.kws_frontend_take(frontend, _pointer(rest), len(rest))
                if self.c.kws_frontend_ready(frontend):
                    frame = np.empty(self.sizes["BANDS"], np.int8)
                    self.c.kws_frontend_make(frontend, scratch, _pointer(frame))
                    frames.append(frame)
        return np.array(frames, np.int8)

    def posteriors(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Stored posteriors (steps, labels) of features (frames, bands), after a long silence."""
        network, scratch = _room(), _room()
        self.c.kws_network_reset(network)
        stride, rows = self.sizes["STRIDE"], []
        for first in range(0, len(features) - stride + 1, stride):
            step = np.ascontiguousarray(features[first : first + stride])
            logits = np.empty(self.sizes["LABEL_ROWS"], np.int8)
            row = np.empty(self.sizes["LABELS"], np.int8)
            self.c.kws_network_step(network, scratch, _pointer(step), _pointer(logits))
            self.c.kws_softmax(_pointer(logits), _pointer(row))
            rows.append(row)
        return np.array(rows)

    def detect(self, audio: NDArray[np.int16]) -> list[Event]:
        """What kws_process finds."""
        detector, used, found = ctypes.c_void_p(), ctypes.c_size_t(), Detection()
        memory = _room()
        assert self.c.kws_init(memory, ctypes.c_size_t(ROOM), ctypes.byref(detector)) == 0
        events = []
        while len(audio):
            status = self.c.kws_process(
                detector, _pointer(audio), ctypes.c_size_t(len(audio)), ctypes.byref(used)
            )
            audio = audio[used.value :]
            if status == DETECTED:
                assert self.c.kws_result(detector, ctypes.byref(found)) == 0
                keyword = found.keyword.decode()
                events.append(Event(keyword, found.score, found.start, found.end))
        return events

    def dense(
        self,
        weights: NDArray[np.int8],
        bias: NDArray[np.int32],
        multiplier: NDArray[np.int32],
        shift: NDArray[np.int64],
        zero: int,
        inputs: NDArray[np.int8],
    ) -> NDArray[np.int8]:
        """kws_run_dense of weights (outputs, inputs), outputs and inputs multiples of 4."""
        outputs, count = weights.shape
        stored = np.ascontiguousarray(weights.reshape(outputs // 4, 4, -1, 4).swapaxes(1, 2))
        shift_but_one = (shift - 1).astype(np.uint8)
        requantiser = Requantiser(multiplier.ctypes.data, shift_but_one.ctypes.data, zero)
        layer = Dense(stored.ctypes.data, bias.ctypes.data, requantiser, count, outputs)
        output = np.empty(outputs, np.int8)
        self.c.kws_run_dense(ctypes.byref(layer), _pointer(inputs), _room(), _pointer(output))
        return output


def _room() -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * (ROOM // 8))()


def _pointer(values: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)
