"""Debian's Python for another processor, unpacked into a folder that an emulator takes as its root.

Nothing is installed on this machine: apt keeps its lists and packages below build/arm, and dpkg
only unpacks. What has been made once is kept.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import EnvironmentFailed
from benchmarks.results import ROOT

FOLDER = ROOT / "build" / "arm"

# Without a list of ARM processors, cpuinfo (in ONNX Runtime from 1.28 on) reads the emulating
# machine's and follows a null pointer. These are the lines of a Raspberry Pi 4, 64 and 32 bits.
CPU = """processor\t: {number}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: {architecture}
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
FEATURES = {
    "arm64": "fp asimd evtstrm crc32 cpuid",
    "armhf": "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
}
CORES = 4


@dataclass(frozen=True)
class Machine:
    """An emulated machine: a Debian release for a processor, and the emulator that runs it."""

    name: str  # of its folder
    release: str  # Debian's
    architecture: str  # Debian's name
    emulator: str  # program of qemu-user
    cpu: str  # that the emulator imitates
    python: str  # version, such as 3.13
    packages: tuple[str, ...]  # of Debian
    files: tuple[str, ...]  # of the model, of which detections must be as elsewhere
    gate: bool = True  # whether there is a webrtcvad for it
    reference: bool = False  # whether kws takes its TFLite runtime's reference kernels for int8
    kernel: bool = False  # whether the native kernel is compiled for it

    @property
    def root(self) -> Path:
        """The folder that the emulator takes for `/`."""
        return FOLDER / self.name / "root"

    @property
    def triplet(self) -> str:
        """The name of the folders of libraries."""
        return {"arm64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf"}[self.architecture]

    def command(self, *options: str) -> list[str]:
        """What runs this machine's Python here; `options` go to the emulator."""
        python = self.root / "usr" / "bin" / f"python{self.python}"
        return [self.emulator, *options, "-cpu", self.cpu, "-L", str(self.root), str(python)]


def make_root(machine: Machine) -> None:
    """Unpack a machine's packages; nothing is done where that was done before.

    Raises EnvironmentFailed where a package cannot be fetched.
    """
    done = machine.root.parent / "debian.txt"
    wanted = "\n".join((machine.release, *machine.packages))
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    state = machine.root.parent / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    sources.write_text(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {_mirror()} "
        f"{machine.release} main\n",
        encoding="utf-8",
    )
    options = [
        f"-oAPT::Architecture={machine.architecture}",
        f"-oAPT::Architectures={machine.architecture}",
        f"-oDir::State::Lists={state}/lists",
        "-oDir::State::Status=/dev/null",
        f"-oDir::Cache={state}/cache",
        f"-oDir::Etc::sourcelist={sources}",
        "-oDir::Etc::sourceparts=-",
        "-oAPT::Sandbox::User=root",
    ]
    _run(["apt-get", *options, "-qq", "update"])
    fetch = ("-qq", "-y", "--download-only", "--no-install-recommends", "install")
    _run(["apt-get", *options, *fetch, *machine.packages])
    machine.root.mkdir(parents=True, exist_ok=True)
    if not (machine.root / "lib").exists():
        (machine.root / "usr" / "lib").mkdir(parents=True, exist_ok=True)
        (machine.root / "lib").symlink_to("usr/lib")
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        # Packages before Debian 13 unpack into `lib`, which is a link here.
        unpacked = state / "package.tar"
        with unpacked.open("wb") as file:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=file, check=True)
        tar = ("tar", "--extract", "--keep-directory-symlink")
        _run([*tar, "--file", str(unpacked), "--directory", str(machine.root)])
    _imitate_cpus(machine)
    done.write_text(wanted, encoding="utf-8")


def _imitate_cpus(machine: Machine) -> None:
    """Let /proc/cpuinfo and /sys of the emulated machine tell of a Raspberry Pi 4."""
    architecture = "8" if machine.architecture == "arm64" else "7"
    features = FEATURES[machine.architecture]
    processors = "".join(
        CPU.format(number=number, features=features, architecture=architecture)
        for number in range(CORES)
    )
    listed = machine.root / "proc" / "cpuinfo"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text(processors, encoding="ascii")
    system = machine.root / "sys" / "devices" / "system" / "cpu"
    system.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present", "online"):
        (system / name).write_text(f"0-{CORES - 1}\n", encoding="ascii")


def _mirror() -> str:
    """Where this machine's own apt gets Debian from."""
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
    mirrors = [uri for uri in listed if "security" not in uri]
    if not mirrors:
        raise EnvironmentFailed("apt-get names no Debian mirror; run apt-get update first")
    return mirrors[0]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise EnvironmentFailed(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise EnvironmentFailed(f"{' '.join(command)}: {last}")
    return done.stdout
