"""The table of what the firmware costs, from the lines that `make measure` prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

CLOCK = 80e6  # Hz of the target part
STEP_SECONDS = 0.02
# A Cortex-M4 executes most instructions in one cycle; loads that do not follow each other, taken
# branches and wait states of flash cost more (Arm DDI 0439, "Cortex-M4 instructions").
CYCLES = (1.0, 1.5)
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

Figures = Mapping[str, Mapping[str, int]]  # path ("dsp" or "portable") -> name -> value


def parse(text: str) -> Figures:
    """Figures of lines such as "dsp network_step: 187471"."""
    figures: dict[str, dict[str, int]] = {}
    for path, name, value in re.findall(r"^(\w+) (\w+): (\d+)$", text, re.MULTILINE):
        figures.setdefault(path, {})[name] = int(value)
    return figures


def markdown(figures: Figures) -> str:
    """Two tables, memory and instructions, and what they mean for the target part."""
    dsp, portable = figures["dsp"], figures["portable"]
    kept = dsp["detector_bytes"] - dsp["scratch_bytes"]
    memory = (
        ("flash: code of the library", f"{_kb(dsp['code_flash'])} KB"),
        ("flash: tables of the front end and the decision", f"{_kb(dsp['tables_flash'])} KB"),
        ("flash: weights and quantisation parameters", f"{_kb(dsp['weights_flash'])} KB"),
        ("RAM: state", f"{_kb(kept)} KB"),
        ("RAM: scratch", f"{_kb(dsp['scratch_bytes'])} KB"),
        ("RAM: stack, high-water mark while listening", f"{_kb(dsp['stack_bytes'])} KB"),
        ("the whole demonstration: flash", f"{_kb(dsp['demo_flash'])} KB"),
        ("the whole demonstration: static RAM", f"{_kb(dsp['demo_ram'])} KB"),
    )
    stages = (
        ("front end (2 frames)", "frontend_step"),
        ("network", "network_step"),
        ("&nbsp;&nbsp;stem", "stem_step"),
        ("&nbsp;&nbsp;depthwise layers", "depthwise_step"),
        ("&nbsp;&nbsp;pointwise layers", "pointwise_step"),
        ("&nbsp;&nbsp;residual sums", "sum_step"),
        ("&nbsp;&nbsp;mean", "mean_step"),
        ("&nbsp;&nbsp;classifier", "classifier_step"),
        ("softmax", "softmax_step"),
        ("decision", "decision_step"),
        ("**listening, all of it**", "listening_step"),
        ("most in one step: the gate opens, three are caught up on", "opening_step_most"),
        ("**silence, with the gate**", "silence_step"),
    )
    rows = [f"| {what} | {value} |" for what, value in memory]
    steps = [f"| {what} | {dsp[key]:,} | {portable[key]:,} |" for what, key in stages]
    spectra = [
        f"| one spectrum of the front end, {what} | {dsp[key]:,} | {portable[key]:,} |"
        for what, key in (
            ("single precision", "float_spectrum"),
            ("32-bit fixed point instead", "fixed_spectrum"),
        )
    ]
    per_mac = [
        f"| instructions per MAC, {name} | {_per_mac(dsp, name):.2f} | "
        f"{_per_mac(portable, name):.2f} |"
        for name in ("pointwise", "stem", "depthwise")
    ]
    shares = [
        f"| share of 80 MHz, {what} | {_share(dsp[key])} | {_share(portable[key])} |"
        for what, key in (("listening", "listening_step"), ("silence", "silence_step"))
    ]
    return "\n".join(
        [
            "| memory | size |",
            "|---|---|",
            *rows,
            "",
            f"| instructions per 20 ms ({dsp['macs']:,} MACs) | DSP | portable |",
            "|---|---|---|",
            *steps,
            *per_mac,
            *spectra,
            *shares,
        ]
    )


def update_readme(path: Path, figures: Figures) -> None:
    """Replace what stands between the two marks."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(
        f"{before}{BEGIN}\n{markdown(figures)}\n{END}{after}", encoding="utf-8", newline="\n"
    )


def _kb(size: int) -> str:
    return f"{size / 1024:.1f}"


def _per_mac(figures: Mapping[str, int], name: str) -> float:
    return figures[f"{name}_step"] / figures[f"{name}_macs"]


def _share(instructions: int) -> str:
    least, most = (100 * cycles * instructions / STEP_SECONDS / CLOCK for cycles in CYCLES)
    return f"{least:.0f} to {most:.0f} %"
