"""Fetch what the page of `kws serve --http` runs networks with, from npm: about 14 MB.

python -m kws.web.bundle [FOLDER]

Versions and checksums are pinned here. Nothing of the packages is run while they are fetched.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kws.errors import KwsError
from kws.web import RUNTIME

LARGEST = 64 << 20  # bytes of one file
TIMEOUT = 600.0  # seconds for one package


@dataclass(frozen=True)
class Package:
    """A package of npm, and which of its files are taken."""

    name: str  # with its version
    sha512: str  # of its archive, in base64
    files: Mapping[str, str]  # path in the archive: name in the folder


PACKAGES = (
    Package(
        "onnxruntime-web@1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        {
            "package/dist/ort.wasm.min.mjs": "ort.wasm.min.mjs",
            "package/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
            "package/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
        },
    ),
    Package(
        "@echogarden/fvad-wasm@0.2.0",
        "jPPzN6uV23dsOkKnGxajBDw81Xx3ICecw72sIzI+m4PzFWpSf/QOLvlgf7mySfqCngD54LRC1aDgD5haB45dbg==",
        {
            "package/fvad.js": "fvad.mjs",
            "package/fvad.wasm": "fvad.wasm",
            "package/LICENSE": "fvad.LICENSE",
        },
    ),
)
FILES = tuple(name for package in PACKAGES for name in package.files.values())


def missing(folder: Path = RUNTIME) -> list[str]:
    """The files that are not in the folder."""
    return [name for name in FILES if not (folder / name).is_file()]


def fetch(folder: Path = RUNTIME) -> None:
    """Put all files into the folder, which is made.

    Raises KwsError where npm is missing or fails, for an archive of another checksum, and where the
    folder cannot be written.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise KwsError("fetching needs npm; install Node.js (https://nodejs.org), then try again")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            for package in PACKAGES:
                _extract(package, _archive(npm, package, Path(temporary)), folder)
    except OSError as error:
        raise KwsError(f"cannot write into {folder}: {error.strerror or error}") from error


def _archive(npm: str, package: Package, into: Path) -> Path:
    place = into / hashlib.sha256(package.name.encode()).hexdigest()
    place.mkdir()
    command = [npm, "pack", package.name, "--silent", "--ignore-scripts", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            [*command, "--pack-destination", str(place)],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise KwsError(f"npm did not fetch {package.name} in {TIMEOUT:.0f} s") from error
    archives = list(place.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        problem = (done.stderr or done.stdout).strip().splitlines()
        raise KwsError(
            f"npm did not fetch {package.name}: {problem[0] if problem else 'no reason given'}; "
            f"try: npm pack {package.name}"
        )
    digest = hashlib.sha512(archives[0].read_bytes()).digest()
    if base64.b64encode(digest).decode("ascii") != package.sha512:
        raise KwsError(f"{package.name} from npm is not the file that was expected; not used")
    return archives[0]


def _extract(package: Package, archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as files:
        for inside, name in package.files.items():
            content = files.extractfile(inside)
            assert content  # by the checksum it is the archive that was pinned
            (folder / name).write_bytes(content.read(LARGEST))


def main() -> int:
    """Fetch and say where to; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=RUNTIME)
    folder = parser.parse_args().folder
    try:
        fetch(folder)
    except KwsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    size = sum((folder / name).stat().st_size for name in FILES)
    sys.stdout.write(f"{len(FILES)} files, {size / 1e6:.1f} MB, in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
