"""The files of the page, read once at the start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kws.model.manifest import find_manifest, read_artefact, read_manifest
from kws.web import FOLDER, RUNTIME, bundle

GRAPH = "stream.onnx"
TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True)
class File:
    """A file of the page."""

    content: bytes
    kind: str  # its media type
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """With the type that its name's ending says."""
        digest = hashlib.sha256(content).hexdigest()
        return cls(content, TYPES[Path(name).suffix], f'"{digest[:32]}"')


def read_site(
    model: str | None, options: Mapping[str, Any], runtime: Path = RUNTIME
) -> tuple[dict[str, File], Any]:
    """The files by path, and what the page needs to listen with the browser's microphone.

    `options` are those of the JavaScript detector; `runtime` is the folder of `kws.web.bundle`.
    Where the browser cannot listen, the second is {"problem": what to do}. Raises ModelError for a
    model that does not exist.
    """
    files = {f"/{path.name}": path for path in (FOLDER / "page").iterdir()}
    files["/"] = files.pop("/index.html")
    files |= {f"/kws-web/{path.name}": path for path in FOLDER.glob("*.js")}
    site = {name: File.of(path.name, path.read_bytes()) for name, path in files.items()}
    if bundle.missing(runtime):
        return site, {
            "problem": "This machine lacks the runtime for it. Run there, and start kws again: "
            "python -m kws.web.bundle"
        }
    path = find_manifest(model)
    manifest = read_manifest(path)
    if GRAPH not in manifest.artefacts:
        return site, {"problem": f"The model {manifest.name} has no {GRAPH}, which runs there."}
    artefacts = [manifest.artefacts[GRAPH]]
    if manifest.verifier and options.get("verify", True):
        artefacts.append(manifest.verifier.artefact)
    site |= {
        f"/runtime/{name}": File.of(name, (runtime / name).read_bytes())
        for name in bundle.FILES
        if Path(name).suffix in TYPES
    }
    site["/model/manifest.json"] = File.of("manifest.json", path.read_bytes())
    for artefact in artefacts:
        content = read_artefact(path.parent, artefact)
        site[f"/model/{artefact.file}"] = File.of(artefact.file, content)
    return site, {"manifest": "/model/manifest.json", "options": dict(options)}
