"""Imports point one way, and what a listener runs never needs torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import PACKAGE, ROOT, imports, source

# Each module may import those of earlier lines only. What is not named here stands above them all.
LAYERS = (
    {"errors", "config", "text", "nearest"},
    {"model.files"},
    {
        "guard",
        "frontend",
        "vad",
        "decision",
        "audio.block",
        "audio.clock",
        "audio.convert",
        "audio.desktop",
        "audio.errors",
        "audio.events",
        "audio.gap",
        "audio.header",
        "audio.samples",
        "audio.wakeup",
        "model.manifest",
        "model.onnx_file",
        "model.tflite_file",
    },
    {"native"},
    {"native.arithmetic", "native.product"},
    {"audio.source", "audio.portaudio", "audio.level", "model.runtimes"},
    {"audio.devices"},
    {"audio.capture"},
    {"audio.reader"},
    {"audio.sound"},
    {"audio.pipe"},
    {"audio.file"},
    {"audio.microphone"},
    {"audio"},
    {"model.streaming"},
    {"model.onnx_walk"},
    {"model.encoder"},
    {"model.native_encoder", "model.native_layout"},
    {"model.trial"},
    {"model.load"},
    {"model.batched", "model.import_model", "verifier", "streaming_frontend", "operating_point"},
    {"gated_stream"},
    {"late_verification"},
    {"keyword_streams"},
    {"detector", "pool"},
)
# The other packages of kws: besides the modules above, each may import these packages.
PACKAGES = {
    "demo": set[str](),
    "web": set[str](),
    "recordings": set[str](),
    "evaluation": {"recordings"},
    "monitoring": {"recordings"},
    "scanning": {"recordings"},
    "bench": {"demo"},
    "app": {"demo", "monitoring", "bench", "web"},
    "train": {"recordings", "evaluation"},
    "cli": {"demo", "recordings", "evaluation", "monitoring", "scanning", "bench", "app", "train"},
}
# Of the modules above, training takes the front end and what loads models.
TRAIN = {"errors", "config", "text", "frontend", "model"}
# What stands beside kws, and what each may import besides kws and itself.
BESIDE = {
    "kws": set[str](),
    "export": set[str](),
    "firmware_demo": {"export"},
    "benchmarks": {"export"},
}
HEAVY = {"torch", "tensorboard", "onnx", "onnxscript"}


def imported_stages(module: str) -> set[str]:
    """The modules of kws that one of them imports, dotted without `kws`."""
    names = {name.removeprefix("kws.") for name in imports(source(module)) if "kws." in name}
    found = {name for name in names if source(name).is_file()}
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


RUNTIME = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "train" not in path.parents)


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_runtime_needs_no_torch(path: Path) -> None:
    """Outside kws/train nothing imports torch, its companions or the training code."""
    # `kws finetune` trains; it imports what that needs as it runs, and says what to install.
    found = set(imports(path, everywhere=path.name != "finetune.py"))
    assert not {name for name in found if name.partition(".")[0] in HEAVY}
    assert not {name for name in found if name.startswith(("kws.train", "export"))}


@pytest.mark.parametrize("level", range(len(LAYERS)))
def test_layers(level: int) -> None:
    """No stage imports a later one."""
    allowed = set().union(*LAYERS[:level]) | LAYERS[level]
    for module in LAYERS[level]:
        for name in imported_stages(module):
            assert name in allowed, f"kws.{module} imports {name}"


def test_every_module_has_its_place() -> None:
    """The stages, the kernel, audio and model are in a layer; all else is a package."""
    stages = [path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    for package in ("audio", "model"):
        stages += [path for path in (PACKAGE / package).glob("*.py") if path.name != "__init__.py"]
    found = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in stages}
    assert found == set().union(*LAYERS) - {
        "audio",
        "native",
        "native.arithmetic",
        "native.product",
    }
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == PACKAGES.keys() | {"audio", "model", "native"}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages(package: str) -> None:
    """No package of kws imports another one than it may."""
    forbidden = PACKAGES.keys() - PACKAGES[package] - {package}
    for path in (PACKAGE / package).rglob("*.py"):
        taken = {name.split(".")[1] for name in imports(path) if name.startswith("kws.")}
        assert not taken & forbidden, f"{path} imports {taken & forbidden}"
        if package == "train":
            others = {name.partition(".")[0] for name in set().union(*LAYERS)} - TRAIN
            assert not taken & others, f"{path} imports {taken & others}"


@pytest.mark.parametrize("package", BESIDE)
def test_what_stands_beside_kws(package: str) -> None:
    """kws imports nothing of what stands beside it, and that takes of the others what it may."""
    forbidden = {*BESIDE, "tests"} - BESIDE[package] - {package, "kws"}
    for path in (ROOT / package).rglob("*.py"):
        taken = {name.partition(".")[0] for name in imports(path)} & forbidden
        assert not taken, f"{path} imports {taken}"


def test_products_need_no_studies() -> None:
    """What a user runs of benchmarks/ imports no study, and neither training nor export."""
    for path in (ROOT / "benchmarks" / "product").rglob("*.py"):
        for name in imports(path):
            assert not name.startswith(("benchmarks.studies", "kws.train", "export")), path


@pytest.mark.parametrize("path", sorted((ROOT / "export").glob("*.py")), ids=lambda p: p.name)
def test_the_exporter_knows_no_firmware(path: Path) -> None:
    """export uses kws and kws.train, and nothing of the firmware or of the benchmarks."""
    assert not {name for name in imports(path) if name.startswith(("firmware_demo", "benchmarks"))}


def test_no_circles() -> None:
    """Modules of one layer do not import each other in a circle."""
    graph = {module: imported_stages(module) for module in set().union(*LAYERS)}
    remaining = dict(graph)
    while remaining:
        leaves = {m for m, needs in remaining.items() if not needs & remaining.keys() - {m}}
        assert leaves, f"a circle among {sorted(remaining)}"
        for leaf in leaves:
            del remaining[leaf]


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running the code."""
    printed = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(printed.stdout.split())


def test_import_is_light() -> None:
    """`import kws` and the version wait for nothing."""
    loaded = loaded_by("import kws; kws.__version__; kws.KwsError")
    assert not loaded & {"numpy", "onnxruntime", "sounddevice", "webrtcvad", *HEAVY}


def test_listening_loads_no_torch() -> None:
    """The whole detector is there without torch, onnx or a sound system."""
    loaded = loaded_by("import kws.detector, kws.audio, kws.cli")
    assert not loaded & {"sounddevice", "soundfile", "soxr", *HEAVY}


def test_listening_imports_what_it_uses() -> None:
    """A recording needs neither servers nor a sound system, JSON no terminal, and what is spelt
    right no suggestions."""
    command = f"['listen', '--json', '--input', {str(PACKAGE / 'demo' / 'commands.opus')!r}]"
    loaded = loaded_by(f"from kws.cli import main; main({command})")
    assert loaded >= {"numpy", "soundfile"}
    assert not loaded & {"asyncio", "email", "hashlib", "rich", "sounddevice", "ssl"}
    assert not loaded & {"difflib", "kws.cli.serve", "socket", "soxr"}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_listening_starts_no_threads_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy comes without a thread for each core, and what asked for that is gone again."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    code = (
        "from kws.cli import listen; import os; listen.import_numpy(); "
        "print(len(os.listdir('/proc/self/task')), 'OPENBLAS_NUM_THREADS' in os.environ)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "1 False\n" == printed.stdout
