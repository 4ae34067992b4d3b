"""A model's manifest, `<name>.json` beside its artefacts: the one source of truth once trained."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from mmap import mmap
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from kws.config import SILENCE, STEP_MS, UNKNOWN, DecisionConfig, FeatureConfig, VadConfig
from kws.errors import ModelError
from kws.model.files import (
    MANIFEST_BYTES,
    NETWORK_BYTES,
    map_file,
    read_file,
    release,
    sha256,
)
from kws.text import printable

VERSION = 1
DEFAULT_MODEL = "commands"
MODES = ("isolated", "connected")
SENSITIVITIES = ("low", "medium", "high")
MODELS = Path(__file__).parent.parent / "models"

# <graph>[.int8].<format>: "window" takes one second, "stream" one step and its state.
ARTEFACT_KEY = re.compile(r"(window|stream)(_audio)?(\.int8)?\.(onnx|tflite)")

LARGEST = 10**15  # of any number
LONGEST_LABEL = 64  # characters
MOST_LABELS = 10_000
MARKUP = "[]<>{}\\"  # characters that no label may hold

_AGAIN = "copy or install the model again"

Section = TypeVar("Section")
Content = TypeVar("Content", bytes, mmap)


@dataclass(frozen=True)
class Artefact:
    """One file of a model, in the manifest's own folder."""

    file: str  # a plain file name
    sha256: str  # 64 hexadecimal digits, lower case
    bytes: int


@dataclass(frozen=True)
class VerifierEntry:
    """A larger network that confirms the keyword candidates of the first; see kws/verifier.py."""

    artefact: Artefact  # a window graph in ONNX, of the same labels and features
    candidate: float  # posterior of a keyword, in (0, 1), above which it runs
    thresholds: Mapping[str, float]  # as the manifest's, for the verifier's posteriors
    presets: Mapping[str, Mapping[str, Mapping[str, float]]]  # likewise


@dataclass(frozen=True)
class Manifest:
    """What a trained model is and how it wants to be run."""

    version: int
    name: str
    description: str
    labels: tuple[str, ...]  # the order of the posteriors
    features: FeatureConfig
    vad: VadConfig
    decision: DecisionConfig
    thresholds: Mapping[str, float]  # per keyword, in (0, 1]; others use decision.threshold
    artefacts: Mapping[str, Artefact]  # by ARTEFACT_KEY
    parameters: int  # weights of the network
    licence: str
    provenance: Mapping[str, Any]  # data sets and their licences, command, seed, commit
    measurements: Mapping[str, Any]  # written by scripts, read by people
    # Thresholds as above by mode, one of MODES, and sensitivity, one of SENSITIVITIES.
    presets: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    # A factory, because keys with a plain default may not be left out; see _fields.
    verifier: VerifierEntry | None = field(default_factory=lambda: None)
    # A window graph runs this often, in ms; its posteriors hold until the next run.
    window_hop_ms: int = field(default_factory=lambda: STEP_MS)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The labels that can be detected: all but silence and unknown."""
        return tuple(label for label in self.labels if label not in (SILENCE, UNKNOWN))

    def threshold(self, keyword: str) -> float:
        """The smoothed posterior from which `keyword` counts as spoken, in (0, 1]."""
        return self.thresholds.get(keyword, self.decision.threshold)

    def operating_point(
        self, mode: str, sensitivity: str | None = None, verified: bool = False
    ) -> Mapping[str, float]:
        """The thresholds of a mode, one of MODES, at a sensitivity, one of SENSITIVITIES.

        Without a sensitivity it is the model's own: `thresholds` for the first mode, the medium
        preset for the other. `verified` are those for posteriors that the verifier has seen.
        Raises ValueError for an unknown name, and ModelError where the model was given no such
        preset or has no verifier.
        """
        if mode not in MODES:
            raise ValueError(f"the modes are {', '.join(MODES)}, not {mode!r}")
        if sensitivity not in (None, *SENSITIVITIES):
            raise ValueError(
                f"the sensitivities are {', '.join(SENSITIVITIES)}, not {sensitivity!r}"
            )
        if verified and self.verifier is None:
            raise ModelError(f"the model {self.name} has no verifier")
        settings = self.verifier if verified and self.verifier else self
        points = settings.presets.get(mode, {})
        if sensitivity is None:
            thresholds = settings.thresholds
            own = thresholds if mode == MODES[0] else points.get("medium", thresholds)
            return {word: own.get(word, self.decision.threshold) for word in self.keywords}
        if sensitivity not in points:
            raise ModelError(
                f"the model {self.name} has no preset {mode} {sensitivity}; "
                "choose a threshold instead, or make presets with kws calibrate"
            )
        return points[sensitivity]


def find_manifest(model: str | os.PathLike[str] | None = None) -> Path:
    """The manifest of a packaged model's name, a folder with one manifest, or a manifest's path.

    None is the default model. A string is first taken as a packaged name, so that a folder of that
    name in the working directory changes nothing. Raises ModelError where nothing is found.
    """
    if model is None:
        model = DEFAULT_MODEL
    if isinstance(model, str) and model in packaged_models():
        return MODELS / f"{model}.json"
    path = Path(model)
    # Of os.path, whose functions are False where a path cannot be looked at.
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    if not os.path.isdir(path):
        known = ", ".join(packaged_models()) or "none"
        raise ModelError(
            f"there is no model {str(model)!r}: it is neither a packaged model ({known}) nor a "
            "folder or manifest; check the spelling or give a path"
        )
    # Not what macOS puts beside files on foreign disks, ._name.json.
    found = sorted(each for each in path.glob("*.json") if not each.name.startswith("."))
    if len(found) != 1:
        names = ", ".join(printable(each.name) for each in found[:9]) or "none"
        raise ModelError(
            f"{path} should hold exactly one manifest (*.json) but holds {names}; "
            "give the path of the manifest itself"
        )
    return found[0]


def packaged_models() -> list[str]:
    """The names of the models that came with kws, sorted."""
    return sorted(path.stem for path in MODELS.glob("*.json"))


@cache
def packaged_hashes() -> frozenset[str]:
    """The SHA-256 of every network that came with kws, wherever a copy of it lies."""
    entries: list[Artefact] = []
    for name in packaged_models():
        manifest = read_manifest(MODELS / f"{name}.json")
        entries += manifest.artefacts.values()
        entries += [manifest.verifier.artefact] if manifest.verifier else []
    return frozenset(entry.sha256 for entry in entries)


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read and check a manifest; the artefacts are checked when they are read.

    Raises ModelError, which names the file and what is wrong in it.
    """
    path = Path(path)
    try:
        text = read_file(path, MANIFEST_BYTES)
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_not_json)
    except FileNotFoundError as error:
        raise ModelError(f"cannot read the manifest {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a manifest, the .json beside a model: it is not valid JSON ({error})"
        ) from error
    try:
        _check_contents(content, "the manifest")
        return _decode(content)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def write_manifest(manifest: Manifest, path: str | os.PathLike[str]) -> None:
    """Write a manifest that `read_manifest` reads back as equal; equal ones give equal bytes.

    Raises ModelError, and writes nothing, where `read_manifest` would refuse it.
    """
    path = Path(path)
    content = dataclasses.asdict(manifest)
    if manifest.verifier is None:
        del content["verifier"]
    if manifest.window_hop_ms == STEP_MS:
        del content["window_hop_ms"]
    mappings = ("thresholds", "artefacts", "provenance", "measurements", "presets", "verifier")
    for name in content.keys() & set(mappings):
        content[name] = json.loads(json.dumps(content[name], sort_keys=True))
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    content = json.loads(text, parse_constant=_not_json)
    _check_contents(content, "the manifest")
    _decode(content)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(path)


def describe_artefact(path: str | os.PathLike[str]) -> Artefact:
    """The entry that a manifest in the same folder needs for this file."""
    path = Path(path)
    content = path.read_bytes()
    return Artefact(path.name, sha256(content), len(content))


def read_artefact(folder: Path, artefact: Artefact) -> bytes:
    """An artefact's content, once its size and hash have proven to be the manifest's.

    No more is read than the manifest says. Raises ModelError where the file is missing, unreadable,
    no regular file or another one.
    """
    return _proven(read_file, folder / artefact.file, artefact)


def map_artefact(folder: Path, artefact: Artefact) -> mmap:
    """Likewise, as `kws.model.files.map_file`."""
    content = _proven(map_file, folder / artefact.file, artefact)
    release(content)
    return content


def _proven(read: Callable[[Path, int], Content], path: Path, artefact: Artefact) -> Content:
    try:
        content = read(path, artefact.bytes)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing though the manifest names it; {_AGAIN}") from error
    digest = sha256(content)
    if (len(content), digest) != (artefact.bytes, artefact.sha256):
        raise ModelError(
            f"{path} is not the file that the manifest describes: expected {artefact.bytes} bytes "
            f"of SHA-256 {artefact.sha256[:9]}..., got {len(content)} of {digest[:9]}...; {_AGAIN}"
        )
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError(f"duplicate key {_duplicate([key for key, _ in pairs])!r:.60}")
    return content


def _duplicate(names: Iterable[str]) -> str:
    """The first name that has been there before."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("no duplicate")


def _not_json(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _decode(content: object) -> Manifest:
    # The version comes first: of another version we know nothing that we could check.
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or version != VERSION:
        raise ModelError(
            f"expected a manifest of version {VERSION}, got version {version!r:.60}; "
            "use the kws release that the model was made for"
        )
    raw = _fields(Manifest, content, "the manifest")
    labels = _labels(raw["labels"])
    keywords = set(labels) - {SILENCE, UNKNOWN}
    return Manifest(
        version=version,
        name=_value(str, raw["name"], "name"),
        description=_value(str, raw["description"], "description"),
        labels=labels,
        features=_section(FeatureConfig, raw["features"], "features"),
        vad=_section(VadConfig, raw["vad"], "vad"),
        decision=_section(DecisionConfig, _with_levels(raw["decision"]), "decision"),
        thresholds=_thresholds(raw["thresholds"], keywords, "thresholds"),
        artefacts=_artefacts(raw["artefacts"]),
        parameters=_count(raw["parameters"], "parameters"),
        licence=_value(str, raw["licence"], "licence"),
        provenance=_value(dict, raw["provenance"], "provenance"),
        measurements=_value(dict, raw["measurements"], "measurements"),
        presets=_presets(raw.get("presets", {}), keywords, "presets"),
        verifier=_verifier(raw["verifier"], keywords) if "verifier" in raw else None,
        window_hop_ms=_window_hop(raw.get("window_hop_ms", STEP_MS), raw["decision"]["hop_ms"]),
    )


def _fields(kind: type, content: object, where: str) -> dict[str, Any]:
    """`content`, once it has exactly the fields of the dataclass `kind`."""
    given: dict[str, Any] = _value(dict, content, where)
    fields = dataclasses.fields(kind)
    names = [entry.name for entry in fields]
    if unknown := sorted(given.keys() - set(names)):
        raise ModelError(
            f"{where} has the unknown key {unknown[0]!r:.60}; known are {', '.join(names)}"
        )
    optional = {f.name for f in fields if f.default_factory is not dataclasses.MISSING}
    if missing := [name for name in names if name not in given and name not in optional]:
        raise ModelError(f"{where} lacks the key {missing[0]!r}")
    return given


def _with_levels(decision: object) -> object:
    """The section of a manifest from before levels: other speech counts however faint it is."""
    return (
        {"faint_db": 0.0, "loud_db": 0.0, "hold_ms": 0, **decision}
        if isinstance(decision, dict)
        else decision
    )


def _section(kind: type[Section], content: object, where: str) -> Section:
    given = _fields(kind, content, where)
    types = get_type_hints(kind)
    values = {k: _value(types[k], value, f"{where}.{k}") for k, value in given.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _value(kind: type, value: object, where: str) -> Any:
    """`value`, once it is of that type; JSON writes a whole float as an integer."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ModelError(f"{where} should be of type {kind.__name__}, got {value!r:.60}")
    return value


def _check_contents(content: object, where: str) -> None:
    """Refuse text that could steer a terminal and numbers that no program counts with.

    It looks into every key and value, those that are only kept and shown included. Line breaks may
    stay.
    """
    if isinstance(content, str):
        lines = content.replace("\n", "")
        if lines != printable(lines):
            raise ModelError(
                f"{where} holds a control character or a lone surrogate: {content!a:.60}"
            )
    elif isinstance(content, int | float):
        if not -LARGEST <= content <= LARGEST:  # not float(), which overflows
            raise ModelError(f"{where} holds a number beyond {LARGEST}: {content!r:.60}")
    elif isinstance(content, list):
        for each in content:
            _check_contents(each, where)
    elif isinstance(content, dict):
        for key, each in content.items():
            _check_contents(key, where)
            _check_contents(each, key if where == "the manifest" else f"{where}.{key}"[:80])


def check_labels(labels: Sequence[str]) -> None:
    """Raise ModelError unless these can be the labels of a model.

    At most MOST_LABELS, one of them a keyword, none twice; each of 1 to LONGEST_LABEL characters
    that can be shown, without spaces around them and without any of MARKUP, which a terminal
    library or a web page would take for its own.
    """
    for label in labels:
        if not 1 <= len(label) <= LONGEST_LABEL:
            raise ModelError(
                f"labels should have 1 to {LONGEST_LABEL} characters, got {len(label)}: "
                f"{label!a:.40}"
            )
        if label != printable(label) or label != label.strip() or set(label) & set(MARKUP):
            raise ModelError(
                f"labels should hold printable characters, none of {MARKUP} and no spaces around "
                f"them, got {label!a}"
            )
    if not set(labels) - {SILENCE, UNKNOWN}:
        raise ModelError("labels holds no keyword, so there would be nothing to detect")
    if len(labels) > MOST_LABELS:
        raise ModelError(f"labels should hold at most {MOST_LABELS}, got {len(labels)}")
    if len(set(labels)) != len(labels):
        raise ModelError(f"duplicate label {_duplicate(labels)!r}")


def _labels(content: object) -> tuple[str, ...]:
    labels = tuple(_value(str, label, "labels") for label in _value(list, content, "labels"))
    check_labels(labels)
    return labels


def _count(content: object, where: str) -> int:
    count: int = _value(int, content, where)
    if count < 0:
        raise ModelError(f"{where} should be at least 0, got {count}")
    return count


def _window_hop(content: object, hop_ms: int) -> int:
    milliseconds: int = _value(int, content, "window_hop_ms")
    if milliseconds < STEP_MS or milliseconds % STEP_MS or hop_ms % milliseconds:
        raise ModelError(
            f"window_hop_ms should be a multiple of {STEP_MS} that divides decision.hop_ms, "
            f"{hop_ms}; got {milliseconds}"
        )
    return milliseconds


def _presets(
    content: object, keywords: set[str], where: str
) -> dict[str, dict[str, dict[str, float]]]:
    presets: dict[str, dict[str, dict[str, float]]] = {}
    for mode, points in _value(dict, content, where).items():
        if mode not in MODES:
            raise ModelError(f"{where} has the mode {mode!r}; known are {', '.join(MODES)}")
        presets[mode] = {}
        for name, thresholds in _value(dict, points, f"{where}.{mode}").items():
            if name not in SENSITIVITIES:
                raise ModelError(
                    f"{where}.{mode} has the sensitivity {name!r}; "
                    f"known are {', '.join(SENSITIVITIES)}"
                )
            presets[mode][name] = _thresholds(thresholds, keywords, f"{where}.{mode}.{name}")
    return presets


def _verifier(content: object, keywords: set[str]) -> VerifierEntry:
    raw = _fields(VerifierEntry, content, "verifier")
    candidate = _value(float, raw["candidate"], "verifier.candidate")
    if not 0.0 < candidate < 1.0:
        raise ModelError(f"verifier.candidate should be between 0 and 1, got {candidate}")
    return VerifierEntry(
        artefact=_artefact(raw["artefact"], "verifier.artefact"),
        candidate=candidate,
        thresholds=_thresholds(raw["thresholds"], keywords, "verifier.thresholds"),
        presets=_presets(raw["presets"], keywords, "verifier.presets"),
    )


def _thresholds(content: object, keywords: set[str], where: str) -> dict[str, float]:
    thresholds = {}
    for keyword, value in _value(dict, content, where).items():
        if keyword not in keywords:
            raise ModelError(f"{where} holds {keyword!r}, which is not a keyword of this model")
        threshold = _value(float, value, f"{where}.{keyword}")
        if not 0.0 < threshold <= 1.0:
            raise ModelError(f"{where}.{keyword} should be in (0, 1], got {threshold}")
        thresholds[keyword] = threshold
    return thresholds


def _artefacts(content: object) -> dict[str, Artefact]:
    artefacts = {}
    for key, entry in _value(dict, content, "artefacts").items():
        where = f"artefacts.{key}"
        if not ARTEFACT_KEY.fullmatch(key):
            raise ModelError(
                f"unknown artefact key {key:.40}: expected window or stream, with or without "
                "_audio and .int8, and .onnx or .tflite, such as window.int8.onnx"
            )
        artefacts[key] = _artefact(entry, where)
    if not artefacts:
        raise ModelError("artefacts is empty, so there is nothing to run")
    return artefacts


def _artefact(content: object, where: str) -> Artefact:
    artefact = _section(Artefact, content, where)
    # Windows' separators too: a manifest is refused on every machine or on none.
    if artefact.file in ("", ".", "..") or re.search(r"[/\\:\0]", artefact.file):
        raise ModelError(
            f"{where}.file should be a file name in the manifest's own folder, "
            f"got {artefact.file!r}"
        )
    if not 0 <= artefact.bytes <= NETWORK_BYTES:
        raise ModelError(
            f"{where}.bytes should be at least 0 and at most {NETWORK_BYTES}, got {artefact.bytes}"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", artefact.sha256):
        raise ModelError(f"{where}.sha256 should be 64 hexadecimal digits")
    return artefact
