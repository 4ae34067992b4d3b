"""`make arm`, or `python -m benchmarks.arm`: kws on ARM processors, under emulation.

On Debian's Python for 64-bit ARM (and for 32-bit ARM what runs there) every file of the default
model runs over the demonstration and, where KWS_DATA names recordings, over 100 clips of speakers
never trained on, and so does the native kernel; posteriors and detections are compared with this
machine's, on the first words of the demonstration those with the verifier too. Then the
instructions per second of audio are counted, beside pymicro-wakeword under the same counter. It
needs Debian's qemu-user, a C compiler and one for 64-bit ARM; Debian's packages and the wheels are
fetched once and kept in build/arm.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import Requirement

from benchmarks.arm.kernel import make_package
from benchmarks.arm.roots import FOLDER, Machine, make_root
from benchmarks.arm.wheels import fetch
from benchmarks.environments import EnvironmentFailed
from benchmarks.results import FOLDER as RESULTS
from benchmarks.results import ROOT, write_result
from kws.config import STEP_MS

HERE = Path(__file__).parent
ARTEFACTS = (
    "stream.onnx",
    "stream.int8.onnx",
    "stream.tflite",
    "stream.int8.tflite",
)
VERIFIED = "stream.onnx:verified"  # its detections with the verifier
NATIVE_FILES = ("stream.onnx", VERIFIED)  # that the native kernel runs
WITH_KERNEL = "native kernel, "  # before the name of each of them, and of a spotter
PACKAGES = ("libstdc++6", "libgcc-s1")
MACHINES = (
    Machine(
        "arm64-python3.11",
        "bookworm",
        "arm64",
        "qemu-aarch64",
        "cortex-a72",
        "3.11",
        ("python3.11-minimal", "libpython3.11-stdlib", *PACKAGES),
        ARTEFACTS,
        reference=True,
        kernel=True,
    ),
    Machine(
        "arm64-python3.13",
        "trixie",
        "arm64",
        "qemu-aarch64",
        "cortex-a72",
        "3.13",
        ("python3.13-minimal", "libpython3.13-stdlib", *PACKAGES),
        ARTEFACTS,
        kernel=True,
    ),
    # Among the wheels for 32 bits there is no NumPy, so that Debian's is taken, and no webrtcvad.
    Machine(
        "armhf-python3.11",
        "bookworm",
        "armhf",
        "qemu-arm",
        "cortex-a7",
        "3.11",
        (
            "python3.11-minimal",
            "libpython3.11-stdlib",
            "python3-numpy",
            "python3-cffi",
            "libsndfile1",
            *PACKAGES,
        ),
        ("stream.tflite", "stream.int8.tflite"),
        gate=False,
        reference=True,
    ),
)
WHEELS_32 = ("tflite-runtime==2.14.0", "soundfile>=0.13", "typing-extensions")
SPOTTERS = (
    "native kernel, kws:stream.onnx:verified",
    "native kernel, kws:stream.onnx",
    "kws:stream.onnx:verified",
    "kws:stream.onnx",
    "kws:stream.int8.onnx",
    "kws:stream.tflite",
    "kws:stream.int8.tflite",
    "pymicro-wakeword",
)
SHORT, LONG = 4, 12  # seconds of the two runs whose difference is counted
PYMICRO = "pymicro-wakeword==2.5.0"
ALIKE = 1e-4  # posteriors of float files
ADD_OTHERWISE = ("stream.int8.onnx", VERIFIED)  # whose sums depend on the processor
INT8_STEP = 2.0**-8  # of the int8 file's posteriors: ai-edge-litert's kernels round ties otherwise


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 1 where a detection differs from this machine's or
    an emulated machine cannot be made, in which case no result is written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arm", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("KWS_DATA"))
    parser.add_argument("--clips", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--machine", action="append", choices=[each.name for each in MACHINES])
    parser.add_argument("--no-instructions", action="store_true", help="compare, and no more")
    parser.add_argument("--out", type=Path, default=RESULTS / "arm.json")
    options = parser.parse_args(arguments)
    chosen = [each for each in MACHINES if not options.machine or each.name in options.machine]
    try:
        figures = measure(chosen, options)
    except EnvironmentFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_result(options.out, "make arm", figures)
    print(json.dumps(figures, indent=2))
    alike = [each["alike"] for each in figures["machines"].values()]
    return 0 if all(alike) else 1


def measure(machines: Sequence[Machine], options: argparse.Namespace) -> dict[str, Any]:
    """All figures; raises EnvironmentFailed where a machine cannot be made."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    audio = FOLDER / "recordings.npz"
    recordings = load_recordings(options.data, options.clips)
    np.savez(audio, **recordings, **features(recordings))
    figures: dict[str, Any] = {"recordings": len(recordings), "machines": {}}
    for machine in machines:
        environment = prepare(machine)
        settings = [str(audio), "gate" if machine.gate else "always"]
        kernels = "reference" if machine.reference else "own"
        here = infer([sys.executable], {}, [*settings, kernels, *ARTEFACTS, VERIFIED])
        there = infer(machine.command(), environment, [*settings, "own", *ARTEFACTS])
        found = compared(here, there, machine)
        if machine.kernel:
            environment = prepare(machine, make_package())
            there = infer(machine.command(), environment, [*settings, "own", *NATIVE_FILES])
            if not there["native"]:
                raise EnvironmentFailed(f"{machine.name}: the native kernel does not load")
            native = compared(here, there, dataclasses.replace(machine, files=NATIVE_FILES))
            for file, row in native["artefacts"].items():
                found["artefacts"][WITH_KERNEL + file] = row
            found["alike"] = found["alike"] and native["alike"]
        figures["machines"][machine.name] = found
    if not options.no_instructions:
        newest = [each for each in machines if each.architecture == "arm64"][-1:]
        figures["instructions"] = {
            machine.name: count_all(machine, recordings["demonstration"]) for machine in newest
        }
    return figures


def load_recordings(data: Path | None, clips: int) -> dict[str, NDArray[np.int16]]:
    """The demonstration, and as many clips of each command as make `clips`, by name."""
    from kws import AudioFile
    from kws.config import KEYWORDS
    from kws.demo import RECORDING

    paths = {"demonstration": RECORDING}
    if data:
        folder = Path(data) / "speech_commands"
        listed = (folder / "validation_list.txt").read_text(encoding="utf-8").split()
        for word in KEYWORDS:
            of_word = [name for name in listed if name.startswith(f"{word}/")]
            for name in of_word[: clips // len(KEYWORDS)]:
                paths[name.replace("/", "-")] = next(folder.glob(f"{Path(name).with_suffix('')}.*"))
    found = {}
    for name, path in paths.items():
        with AudioFile(path) as source:
            found[name] = np.concatenate(list(source))
    return found


def features(recordings: dict[str, NDArray[np.int16]]) -> dict[str, NDArray[np.float32]]:
    """The log-mel frames (frames, bands) of recordings, as this machine computes them."""
    from kws import load_model
    from kws.frontend import log_mel

    config = load_model().manifest.features
    return {f"features/{name}": log_mel(audio, config) for name, audio in recordings.items()}


def prepare(machine: Machine, package: Path = ROOT) -> dict[str, str]:
    """Make a machine's folder and fetch its wheels; returns the environment variables it needs.

    `package` is the folder that holds kws.
    """
    make_root(machine)
    folder = FOLDER / machine.name
    libraries = machine.root / "usr" / "lib" / machine.triplet
    variables = {"ORT_DISABLE_TELEMETRY": "1"}
    if machine.architecture == "arm64":
        site = fetch([*requirements(machine.python), PYMICRO], machine.python, "aarch64", folder)
        paths = [site]
    else:
        site = fetch(WHEELS_32, machine.python, "armv7l", folder, alone=True)
        paths = [site, machine.root / "usr" / "lib" / "python3" / "dist-packages"]
        variables["LD_LIBRARY_PATH"] = f"{libraries / 'blas'}:{libraries / 'lapack'}"
    variables["PYTHONPATH"] = ":".join(str(path) for path in (package, *paths))
    return variables


def requirements(python: str) -> list[str]:
    """What kws with its TFLite extra needs under a version of Python on ARM Linux."""
    marks = {
        "python_version": python,
        "sys_platform": "linux",
        "platform_machine": "aarch64",
        "extra": "tflite",
    }
    wanted = [Requirement(each) for each in metadata.requires("kws") or []]
    return [
        f"{each.name}{each.specifier}"
        for each in wanted
        if each.marker is None or each.marker.evaluate(marks)
    ]


def infer(
    command: Sequence[str], variables: dict[str, str], settings: Sequence[str]
) -> dict[str, Any]:
    """What `inference.py` writes with these arguments: its arrays, and its report."""
    out = FOLDER / "posteriors.npz"
    run([*command, str(HERE / "inference.py"), str(out), *settings], variables)
    with np.load(out) as kept:
        return {name: kept[name] for name in kept.files} | json.loads(str(kept["report"]))


def compared(here: dict[str, Any], there: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """What differs between this machine and another: posteriors, and detections.

    They are alike where each of its files ran, has the same detections, and equal posteriors of
    equal features: float to 1e-4, int8 TFLite bit for bit with the reference kernels and else to
    one step of its output. int8 ONNX adds up in another order on each processor, and so does the
    verifier; detections of both may begin or end a row apart.
    """
    rows: dict[str, Any] = {}
    for artefact, found in there["found"].items():
        keys = [f"{artefact}/{name}" for name in found]
        apart = STEP_MS / 1000.0 if artefact in ADD_OTHERWISE else 0.0
        same = sum(
            equal_detections(found[name], here["found"][artefact][name], apart) for name in found
        )
        rows[artefact] = {"recordings": len(found), "same_detections": same}
        if artefact != VERIFIED:
            rows[artefact] |= {
                "largest_difference": largest(here, there, keys),
                "on_equal_features": largest(here, there, [f"{key}/features" for key in keys]),
            }
    exact = 0.0 if machine.reference else INT8_STEP
    limits = {"stream.int8.tflite": exact, "stream.int8.onnx": 1.0}
    alike = all(
        file in rows
        and rows[file]["same_detections"] == rows[file]["recordings"]
        and rows[file].get("on_equal_features", 0.0) <= limits.get(file, ALIKE)
        for file in machine.files
    )
    return {
        "artefacts": rows,
        "does_not_run": there["problems"],
        "alike": alike,
    }


def equal_detections(one: Sequence[Any], other: Sequence[Any], apart: float) -> bool:
    """Whether both have the same keywords, which begin and end at most so many seconds apart.

    A detection is a keyword, where it begins and where it ends, in seconds.
    """
    return len(one) == len(other) and all(
        word == theirs and max(abs(begin - start), abs(end - stop)) <= apart + 1e-6
        for (word, begin, end), (theirs, start, stop) in zip(one, other, strict=True)
    )


def largest(here: dict[str, Any], there: dict[str, Any], keys: Sequence[str]) -> float:
    """The largest difference between two machines' posteriors."""
    return max(float(np.abs(there[key] - here[key]).max(initial=0.0)) for key in keys)


def count_all(machine: Machine, speech: NDArray[np.int16]) -> dict[str, Any]:
    """Millions of instructions per second of audio, by spotter, on speech and in silence."""
    plugin = FOLDER / "instructions.so"
    run(["cc", "-shared", "-fPIC", "-O2", str(HERE / "instructions.c"), "-o", str(plugin)], {})
    plain, native = prepare(machine), prepare(machine, make_package())
    sounds = {"speech": speech, "silence": np.zeros(len(speech), np.int16)}
    figures: dict[str, Any] = {}
    for spotter in SPOTTERS:
        figures[spotter] = {}
        variables = native if spotter.startswith(WITH_KERNEL) else plain
        for name, audio in sounds.items():
            path = FOLDER / f"{name}.npy"
            np.save(path, audio)
            listened = spotter.removeprefix(WITH_KERNEL)
            short, long = (
                count(machine, plugin, variables, listened, path, seconds)
                for seconds in (SHORT, LONG)
            )
            figures[spotter][name] = (long - short) / (LONG - SHORT) / 1e6
    return figures


def count(
    machine: Machine,
    plugin: Path,
    variables: dict[str, str],
    spotter: str,
    audio: Path,
    seconds: int,
) -> int:
    """Instructions of a whole run of `listener.py`."""
    out = FOLDER / "instructions.txt"
    command = machine.command("-plugin", f"{plugin},out={out}")
    listener = str(HERE / "listener.py")
    # The order of hashes is part of what Python executes.
    run(
        [*command, listener, spotter, str(audio), str(seconds)], variables | {"PYTHONHASHSEED": "0"}
    )
    return int(out.read_text(encoding="ascii"))


def run(command: Sequence[str], variables: dict[str, str]) -> None:
    """Run a command to its end; raises EnvironmentFailed with what it printed last."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **variables}, cwd=ROOT
        )
    except FileNotFoundError as error:
        raise EnvironmentFailed(
            f"{command[0]} is not installed; on Debian: sudo apt-get install qemu-user gcc"
        ) from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise EnvironmentFailed(f"{' '.join(command[:2])} …: {lines[-1]}")


if __name__ == "__main__":
    sys.exit(main())
