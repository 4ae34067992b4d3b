"""`python -m firmware_demo.tools`: a model becomes firmware, proven and measured, in one command.

try       generate for any model into build/, run every test, show what it costs
generate  write firmware_demo/generated for the model that ships
figures   measure it and write the table in firmware_demo/README.md
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from firmware_demo.tools.figures import markdown, parse, update_readme
from firmware_demo.tools.generate import generate, write
from firmware_demo.tools.golden import golden
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import BackendUnavailable, DataError, KwsError
from kws.model.manifest import DEFAULT_MODEL, find_manifest, read_manifest
from kws.recordings.data import read_recording

ROOT = Path(__file__).parent.parent
GOLDEN_SECONDS = 8.5  # of a recording; longer ones are cut
TOOLS = ("make", "cc", "arm-none-eabi-gcc", "qemu-system-arm")
MAKE = ("make", "--no-print-directory", "-C", str(ROOT))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware_demo.tools",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("try", "generate"):
        command = commands.add_parser(name)
        command.add_argument(
            "model",
            nargs="?",
            default=DEFAULT_MODEL,
            help="a packaged model's name, or the folder or manifest of any model",
        )
        command.add_argument(
            "--audio",
            type=Path,
            default=RECORDING,
            help="16 kHz mono recording that the tests process; default: the demonstration's",
        )
    commands.add_parser("figures")
    options = parser.parse_args(arguments)
    try:
        if options.command == "generate":
            generate_into(ROOT / "generated", options.model, options.audio)
        elif options.command == "try":
            _try(options.model, options.audio)
        else:
            _require_tools()
            update_readme(ROOT / "README.md", parse(_make("measure")))
    except KwsError as error:
        print(f"firmware_demo: error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        print("firmware_demo: error: make failed; its output is above", file=sys.stderr)
        return 1
    return 0


def generate_into(folder: Path, model: str, audio: Path) -> None:
    """Write the C sources and golden vectors of a model; nothing where it does not fit."""
    try:
        from export.build import quantised_of
        from export.shipped import read_network
    except ImportError as error:
        raise BackendUnavailable(
            f"reading an exported model needs what exporting needs ({error}); "
            "pip install 'kws[export]'"
        ) from error
    path = find_manifest(model)
    manifest = read_manifest(path)
    quantised = quantised_of(manifest, read_network(manifest, path.parent))
    sources = generate(manifest, quantised)
    try:
        recording = read_recording(audio)[: int(GOLDEN_SECONDS * SAMPLE_RATE)]
    except DataError as error:
        raise DataError(f"{audio} {error}") from error
    vectors = golden(manifest, quantised, recording)
    write(sources, folder)
    (folder / "golden").mkdir(exist_ok=True)
    for name, values in vectors.items():
        (folder / "golden" / name).write_bytes(values.tobytes())


def _try(model: str, audio: Path) -> None:
    _require_tools()
    name = re.sub(r"[^A-Za-z0-9]+", "_", read_manifest(find_manifest(model)).name)
    build = ROOT / "build" / f"try_{name}"
    shutil.rmtree(build, ignore_errors=True)
    generate_into(build / "generated", model, audio)
    where = (f"GENERATED={build / 'generated'}", f"BUILD={build}")
    subprocess.run([*MAKE, "test", "qemu", *where], check=True, stdin=subprocess.DEVNULL)
    print(markdown(parse(_make("measure", *where))))


def _require_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise BackendUnavailable(
            f"{', '.join(missing)} not found; on Debian: sudo apt-get install make gcc libc6-dev "
            "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
        )


def _make(*arguments: str) -> str:
    return subprocess.run(
        [*MAKE, "--silent", *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
