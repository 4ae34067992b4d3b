"""The build backend (PEP 517): flit's, and with a C compiler the native kernel in the wheel too.

KWS_NATIVE=0 in the environment leaves the kernel out: the wheel then is flit's own, and runs
everywhere. KWS_NATIVE=1 demands it. By default it is there where it compiles. `python -m
kws.native.build_backend` compiles it into the source tree, as installing that with --editable does.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from flit_core import buildapi
from flit_core.buildapi import (  # noqa: F401  the hooks that are flit's own
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

HERE = Path(__file__).resolve().parent
SOURCES = ("kernel.c", "multiply.c", "product.c")
HEADERS = ("common.h", "multiply.h")
LIBRARY = "kernel.dll" if os.name == "nt" else "kernel.so"
IN_WHEEL = f"kws/native/{LIBRARY}"
# Without names of this machine's folders in it, so that equal sources give equal bytes.
FLAGS = ("-std=gnu99", "-O3", "-fno-math-errno", "-fno-wrapv", "-fvisibility=hidden", "-g0")
LINUX_LINKS = ("-Wl,-s",)

Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What finds the compiler."""
    own: list[str] = buildapi.get_requires_for_build_wheel(config_settings)
    return own if os.environ.get("KWS_NATIVE") == "0" else [*own, "setuptools"]


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """A wheel for this platform where the kernel compiles, and else one for all."""
    name: str = buildapi.build_wheel(wheel_directory, config_settings, metadata_directory)
    with tempfile.TemporaryDirectory() as folder:
        library = compile_kernel(Path(folder))
        tag = f"py3-none-{_platform()}" if library else "py3-none-any"
        return rewrite(Path(wheel_directory, name), library, tag).name


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """A link to the source tree, in which the kernel lies where it compiles."""
    compile_in_place()
    name: str = buildapi.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def compile_in_place() -> Path | None:
    """Compile the kernel into the source tree; None where that cannot be: no older one stays."""
    place = HERE / LIBRARY
    with tempfile.TemporaryDirectory() as folder:
        library = compile_kernel(Path(folder))
        place.unlink(missing_ok=True)
        if library:
            # As a new file: a program that runs may have the old one open.
            shutil.copy(library, place)
    return place if library else None


def compile_kernel(folder: Path) -> Path | None:
    """The library, made in a folder; None where it cannot be or is not wanted."""
    wish = os.environ.get("KWS_NATIVE")
    if wish == "0":
        return None
    try:
        return _compile(folder)
    except Exception as error:  # no setuptools, no compiler, or one that fails
        if wish == "1":
            raise
        print(f"kws: without its native kernel, which does not compile here ({error})", flush=True)
        return None


def _compile(folder: Path) -> Path:
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    class BuildLibrary(build_ext):  # type: ignore[misc]  # setuptools has no types
        """Builds a plain library; no module of Python's, which would have to export its init."""

        def get_export_symbols(self, ext: Any) -> list[str]:
            return []

        def get_ext_filename(self, fullname: str) -> str:
            return LIBRARY

    flags, libraries = [*FLAGS], ["m"]
    links = [*LINUX_LINKS] if sys.platform == "linux" else []
    if os.name == "nt":
        flags, links, libraries = ["/O2"], ["/Brepro"], []
    for name in (*SOURCES, *HEADERS):
        shutil.copy(HERE / name, folder)
    before = os.getcwd()
    os.chdir(folder)  # what a compiler notes of places is then the same each time
    try:
        extension = Extension(
            "kernel",
            [*SOURCES],
            extra_compile_args=flags,
            extra_link_args=links,
            libraries=libraries,
        )
        command = BuildLibrary(Distribution({"ext_modules": [extension]}))
        command.build_lib = command.build_temp = "."
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return folder / LIBRARY


def _platform() -> str:
    """This platform in the name of a wheel."""
    name = sysconfig.get_platform()
    if sys.maxsize < 1 << 32:  # a program of 32 bits, maybe on a system of 64
        name = {"linux-x86_64": "linux-i686", "linux-aarch64": "linux-armv7l"}.get(name, name)
    return re.sub(r"[-.]", "_", name)


def rewrite(wheel: Path, library: Path | None, tag: str) -> Path:
    """The wheel with this library and no other, under the name of its tag; returns its path."""
    with zipfile.ZipFile(wheel) as archive:
        files = {entry: archive.read(entry) for entry in archive.infolist()}
    old = {entry for entry in files if re.fullmatch(r"kws/native/[^/]*\.(so|dll)", entry.filename)}
    if library is None and not old:
        return wheel
    wheel.unlink()
    files = {entry: content for entry, content in files.items() if entry not in old}
    if library:
        first = next(iter(files))
        entry = zipfile.ZipInfo(IN_WHEEL, first.date_time)
        entry.external_attr, entry.compress_type = first.external_attr, first.compress_type
        files[entry] = library.read_bytes()
    # The list of all files comes last.
    order = sorted(files, key=lambda entry: ".dist-info/" in entry.filename)
    renamed = wheel.with_name("-".join((*wheel.stem.split("-")[:2], tag)) + ".whl")
    with zipfile.ZipFile(renamed, "w") as archive:
        records: list[str] = []
        for entry in order:
            content = files[entry]
            if entry.filename.endswith(".dist-info/WHEEL"):
                text = re.sub("^Tag: .*", f"Tag: {tag}", content.decode(), flags=re.M)
                pure = "false" if library else "true"
                text = re.sub("^Root-Is-Purelib: .*", f"Root-Is-Purelib: {pure}", text, flags=re.M)
                content = text.encode()
            if entry.filename.endswith(".dist-info/RECORD"):
                content = "".join((*records, f"{entry.filename},,\n")).encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            records.append(f"{entry.filename},sha256={digest},{len(content)}\n")
            archive.writestr(entry, content, compress_type=zipfile.ZIP_DEFLATED)
    return renamed


if __name__ == "__main__":
    print(compile_in_place() or "not compiled")
