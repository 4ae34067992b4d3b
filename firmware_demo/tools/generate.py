"""The generated C sources of a model: sizes, front-end tables, network, labels and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.integer import run_step, zero_contexts
from export.quantised import QuantisedNetwork
from firmware_demo.tools.c_source import array
from firmware_demo.tools.decision_tables import DecisionTables, decision_tables
from firmware_demo.tools.frontend_tables import FrontendTables, frontend_tables
from firmware_demo.tools.network_tables import VECTOR, network_source
from kws.config import STEP_MS
from kws.decision import APART_ROWS, LEVEL_ROWS, RISE_ROWS, RUN_ROWS, WORD_MS
from kws.errors import ModelError
from kws.model.manifest import Manifest

RAM = 32 * 1024  # bytes that the detector may take of the target part's 128 KB
WEIGHTS = 110 * 1024  # bytes of flash that weights may take


@dataclass(frozen=True)
class Memory:
    """Bytes of RAM that the detector's parts take."""

    frontend: int
    gate: int
    network: int
    decision: int
    scratch: int

    @property
    def total(self) -> int:
        """All of it, with room for alignment and the few variables of src/detector.h."""
        parts = self.frontend + self.gate + self.network + self.decision + self.scratch
        return -(-(parts + 256) // 8) * 8


def silence_rows(quantised: QuantisedNetwork) -> dict[str, NDArray[np.int8]]:
    """The row of each left context that a long digital silence leaves behind."""
    network = quantised.network
    contexts = zero_contexts(quantised)
    stride = network.stem.stride
    zero = quantised.values["features"].zero_point
    features = np.full((1, stride, network.bands), zero, np.int8)
    for _ in range(network.frames // stride + 1):
        run_step(quantised, features, contexts)
    return {name: context[0, -1] for name, context in contexts.items()}


def generate(manifest: Manifest, quantised: QuantisedNetwork) -> dict[str, str]:
    """The C sources by file name. Raises ModelError where the model does not fit the firmware."""
    features = quantised.values["features"]
    if _step_ms(manifest, quantised) != STEP_MS:
        raise ModelError(
            f"{manifest.name} gives a row of posteriors per {_step_ms(manifest, quantised)} ms and "
            f"the decision takes one per {STEP_MS} ms; train with a stride and hop of that product"
        )
    tables = frontend_tables(manifest.features, features.scale, features.zero_point)
    memory = memory_of(manifest, quantised)
    weights = sum(layer.weights.size for layer in quantised.layers.values())
    for what, has, limit in (("RAM", memory.total, RAM), ("weights", weights, WEIGHTS)):
        if has > limit:
            raise ModelError(
                f"{manifest.name} needs {has} bytes of {what} and the firmware has {limit}: "
                f"{quantised.network.channels} channels and {len(quantised.network.blocks)} blocks "
                "are too many; train a smaller network"
            )
    head = (
        f'/* Generated from the model "{manifest.name}" by firmware_demo/tools. Do not edit. */\n'
    )
    return {
        "kws_sizes.h": head + _sizes(manifest, quantised, tables, memory),
        "frontend_tables.c": head + _frontend_source(tables),
        "network_tables.c": head
        + '#include "model.h"\n\n'
        + network_source(quantised, silence_rows(quantised)),
        "decision_tables.c": head
        + _decision_source(manifest, decision_tables(manifest, features.scale)),
    }


def write(sources: dict[str, str], folder: Path) -> None:
    """Write the sources into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        (folder / name).write_text(source, encoding="utf-8", newline="\n")


def memory_of(manifest: Manifest, quantised: QuantisedNetwork) -> Memory:
    """What src/*.h will take; a compile-time check in src/kws.c holds the sum to it."""
    features, network = manifest.features, quantised.network
    decision = decision_tables(manifest, quantised.values["features"].scale)
    step = network.stem.stride * network.bands
    rings = sum(block.depthwise.kernel for block in network.blocks) + network.pool
    stem = network.stem.kernel * network.bands
    return Memory(
        frontend=2 * features.window + 8,
        gate=_preroll_steps(manifest, quantised) * step + 32,
        network=stem + rings * network.channels + len(network.blocks) + 8,
        decision=(decision.smoothed + 9) * len(manifest.keywords) + 3 * decision.history + 32,
        scratch=max(
            6 * features.fft_size,
            2 * stem + 3 * network.channels + 5 * (len(manifest.labels) + VECTOR),
        )
        + step,
    )


def _step_ms(manifest: Manifest, quantised: QuantisedNetwork) -> float:
    features = manifest.features
    return 1000.0 * quantised.network.stem.stride * features.hop / features.sample_rate


def _preroll_steps(manifest: Manifest, quantised: QuantisedNetwork) -> int:
    return max(1, round(manifest.vad.preroll_ms / _step_ms(manifest, quantised)))


def _sizes(
    manifest: Manifest, quantised: QuantisedNetwork, tables: FrontendTables, memory: Memory
) -> str:
    features, network = manifest.features, quantised.network
    decision = decision_tables(manifest, quantised.values["features"].scale)
    stem = network.stem.kernel * network.bands
    labels = len(manifest.labels)
    macs = sum(layer.weights.size for layer in quantised.layers.values())
    values = {
        "KWS_SAMPLE_RATE": features.sample_rate,
        "KWS_WINDOW": features.window,
        "KWS_HOP": features.hop,
        "KWS_FFT_SIZE": features.fft_size,
        "KWS_BANDS": features.bands,
        "KWS_FIRST_BIN": tables.first_bin,
        "KWS_MEL_BINS": len(tables.mel_weights),
        "KWS_STRIDE": network.stem.stride,
        "KWS_STEM_KERNEL": network.stem.kernel,
        "KWS_CHANNELS": network.channels,
        "KWS_BLOCKS": len(network.blocks),
        "KWS_RING_ROWS": sum(block.depthwise.kernel for block in network.blocks),
        "KWS_POOL": network.pool,
        "KWS_LABELS": labels,
        "KWS_LABEL_ROWS": labels + -labels % VECTOR,
        "KWS_WIDEST": max(stem, network.channels),
        "KWS_MACS": macs,
        "KWS_SOFTMAX_MULTIPLIER": quantised.softmax.multiplier,
        "KWS_SOFTMAX_SHIFT": quantised.softmax.left_shift,
        "KWS_SOFTMAX_LEAST": f"({quantised.softmax.least_difference})",
        "KWS_KEYWORDS": len(manifest.keywords),
        "KWS_UNKNOWN": decision.unknown,
        "KWS_UNKNOWN_WEIGHT": decision.unknown_weight,
        "KWS_SMOOTHED_ROWS": decision.smoothed,
        "KWS_CONTEXT_BEGIN": decision.context_begin,
        "KWS_CONTEXT_END": decision.context_end,
        "KWS_LONGEST_ROWS": decision.longest,
        "KWS_REARM_ROWS": decision.rearm,
        "KWS_REFRACTORY_ROWS": decision.refractory,
        "KWS_HISTORY_ROWS": decision.history,
        "KWS_LEVEL_ROWS": LEVEL_ROWS,
        "KWS_WEIGHT_AT_WORD": decision.weight_at_word,
        "KWS_WEIGHT_STEP": decision.weight_step,
        "KWS_HELD_ROWS": decision.held,
        "KWS_RUN_ROWS": RUN_ROWS,
        "KWS_APART_ROWS": APART_ROWS,
        "KWS_RISE_ROWS": RISE_ROWS,
        "KWS_PAUSE_LEVEL": decision.pause,
        "KWS_ONSET_LEVEL": decision.onset,
        "KWS_LONGEST_WORD": WORD_MS * features.sample_rate // 1000,
        "KWS_LEAD_FRAMES": -(-(features.window - features.hop) // features.hop),
        "KWS_PREROLL_STEPS": _preroll_steps(manifest, quantised),
        "KWS_HANGOVER_STEPS": round(manifest.vad.hangover_ms / _step_ms(manifest, quantised)),
        "KWS_MEMORY_BYTES": memory.total,
    }
    lines = [f"#define {name} {value}" for name, value in values.items()]
    return "#ifndef KWS_SIZES_H\n#define KWS_SIZES_H\n\n" + "\n".join(lines) + "\n\n#endif\n"


def _frontend_source(tables: FrontendTables) -> str:
    arrays = (
        ("float", "kws_window", tables.window),
        ("uint16_t", "kws_fft_places", tables.fft_places),
        ("kws_complex", "kws_twiddles", tables.twiddles),
        ("uint16_t", "kws_mel_bins", tables.mel_bins),
        ("kws_mel_weight", "kws_mel_weights", tables.mel_weights),
        ("float", "kws_energy_steps", tables.energy_steps),
    )
    return '#include "model.h"\n\n' + "\n".join(
        array(kind, name, values, static=False) for kind, name, values in arrays
    )


def _decision_source(manifest: Manifest, decision: DecisionTables) -> str:
    arrays = (
        ("uint8_t", "kws_keyword_labels", decision.keyword_labels),
        ("uint16_t", "kws_released", decision.released),
        ("int64_t", "kws_thresholds", decision.thresholds),
        ("int64_t", "kws_isolation", decision.isolation),
    )
    return '#include "model.h"\n\n' + "\n".join(
        (
            _strings("kws_labels", manifest.labels),
            *(array(kind, name, values, static=False) for kind, name, values in arrays),
        )
    )


def _strings(name: str, texts: tuple[str, ...]) -> str:
    quoted = ", ".join('"' + "".join(_escaped(c) for c in text.encode()) + '"' for text in texts)
    return f"const char *const {name}[{len(texts)}] = {{{quoted}}};\n"


def _escaped(byte: int) -> str:
    plain = 32 <= byte < 127 and byte not in b'"\\?'
    return chr(byte) if plain else f"\\{byte:03o}"
