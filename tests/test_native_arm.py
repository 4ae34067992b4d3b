"""The kernel on 64-bit ARM, under emulation: every way to multiply gives the same bits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kws import native
from kws.native import build_backend

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void kws_product(const float *, int32_t, int32_t, int32_t, const int8_t *, const float *,
                 const float *, int32_t, int32_t, int32_t, uint8_t *, float *, float *);
int32_t kws_multiplies(int32_t);
enum { ROWS = 13, INPUTS = 601, OUTPUTS = 64, PLAIN = 0, NEON = 4, NEON_DOT = 5 };
static float x[ROWS * INPUTS], steps[ROWS], scales[OUTPUTS], bias[OUTPUTS];
static float expected[ROWS * OUTPUTS], found[ROWS * OUTPUTS];
static int8_t weights[INPUTS * OUTPUTS];
static uint8_t scratch[(ROWS + 1 + 48) * (INPUTS + 3)];
int main(void) {
    for (int i = 0; i < OUTPUTS; i++) scales[i] = 0.01f;
    for (int way = NEON; way <= NEON_DOT; way++) {
        int same = kws_multiplies(way);
        for (int inputs = 1; same && inputs <= INPUTS; inputs += 8 - inputs % 3) {
            for (int i = 0; i < ROWS * INPUTS; i++) x[i] = (rand() % 20001 - 10000) / 1000.0f;
            for (int i = 0; i < INPUTS * OUTPUTS; i++)
                weights[i] = (int8_t)(inputs % 2 ? -128 : rand());
            if (inputs % 2) /* the largest sums that there are */
                for (int i = 0; i < ROWS * INPUTS; i++) x[i] = i / inputs % 2 ? -1.0f : 1.0f;
            kws_product(x, ROWS, inputs, inputs, weights, scales, bias, OUTPUTS, 0, PLAIN, scratch,
                        steps, expected);
            kws_product(x, ROWS, inputs, inputs, weights, scales, bias, OUTPUTS, 0, way, scratch,
                        steps, found);
            same = !memcmp(expected, found, sizeof found);
        }
        printf("%d", same);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled for ARM."""
    if shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None:
        pytest.skip(
            "on Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
        )
    folder = tmp_path_factory.mktemp("arm")
    (folder / "program.c").write_text(PROGRAM)
    sources = [Path(native.__file__).with_name(name) for name in build_backend.SOURCES]
    command = [COMPILER, "-std=gnu99", "-O3", "-fno-wrapv", "-static", "program.c", *sources]
    subprocess.run([*command, "-lm", "-o", "program"], cwd=folder, check=True)
    return folder / "program"


@pytest.mark.parametrize(("processor", "same"), [("cortex-a72", "10"), ("cortex-a76", "11")])
def test_products(program: Path, processor: str, same: str) -> None:
    """By NEON on each, and by dot products on the processor that has them."""
    command = [EMULATOR, "-cpu", processor, str(program)]
    assert same == subprocess.run(command, capture_output=True, text=True, check=True).stdout
