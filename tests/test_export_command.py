"""`python -m export`: from a checkpoint and recordings to a folder that loads, or to nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

import soundfile  # noqa: E402
from export_model import LABELS, SIZES, random_audio  # noqa: E402

from export.__main__ import main  # noqa: E402
from kws.config import FeatureConfig  # noqa: E402
from kws.model.load import load_model  # noqa: E402
from kws.model.manifest import read_manifest, write_manifest  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.architectures import AnyNetwork  # noqa: E402
from kws.train.network import Network  # noqa: E402

if TYPE_CHECKING:
    from export_model import Exported


def save(path: Path, network: AnyNetwork, labels: tuple[str, ...] = LABELS) -> Path:
    """A checkpoint as a training run leaves it, without what only a resumed run needs."""
    state = {
        **checkpoint.describe(network, FeatureConfig(), labels),
        "average": network.state_dict(),
        "sources": ["recordings"],
        "options": {"epochs": 2, "seed": 0},
        "epoch": 1,
    }
    checkpoint.save(path, state)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few clips a word, of noise, in the layout of Speech Commands."""
    root = tmp_path_factory.mktemp("corpus")
    for seed, word in enumerate(("yes", "no", "cat")):
        (root / word).mkdir()
        for index, audio in enumerate(random_audio(6, seed)):
            soundfile.write(root / word / f"s{index}_nohash_0.wav", audio, 16_000)
    validation = "".join(f"{word}/s5_nohash_0.wav\n" for word in ("yes", "no", "cat"))
    (root / "validation_list.txt").write_text(validation, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def forgiving() -> pytest.MonkeyPatch:
    """Random weights may lose accuracy to 8 bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.verify.ACCURACY_LOSS", 1.0)
        yield patch


@pytest.fixture(scope="module")
def written(
    exported: Exported,
    corpus: Path,
    forgiving: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model folder that the command wrote."""
    folder = tmp_path_factory.mktemp("written")
    path = save(folder / "last.pt", exported.trained)
    out = folder / "model"
    assert 0 == main([str(path), "--out", str(out), "--data", str(corpus), "--name", "random"])
    return out


def test_the_folder_loads(written: Path) -> None:
    """Every file is there, by its hash, and the runtimes take the model."""
    manifest = read_manifest(written / "random.json")
    assert 10 == len(manifest.artefacts)
    files = {artefact.file for artefact in manifest.artefacts.values()}
    assert files | {"random.json", "README.md"} == {path.name for path in written.iterdir()}
    assert LABELS == load_model(written).manifest.labels
    for key in ("window.onnx", "window.int8.onnx", "window.tflite", "window.int8.tflite"):
        assert key == load_model(written, artefact=key).artefact


def test_what_is_recorded(written: Path) -> None:
    """The manifest says how the model was made and how each file did; the card too."""
    content = json.loads((written / "random.json").read_text(encoding="utf-8"))
    assert ["recordings"] == content["provenance"]["sources"]
    assert 1 == content["provenance"]["training"]["epochs_done"]
    assert "features" in content["provenance"]["quantisation"]["ranges"]
    files = content["measurements"]["export"]["files"]
    assert set(content["artefacts"]) == set(files)
    assert files["window.int8.tflite"]["equals_integers"]
    card = (written / "README.md").read_text(encoding="utf-8")
    for artefact in content["artefacts"].values():
        assert f"| {artefact['file']} | {artefact['bytes'] / 1e6:.2f} MB |" in card


def test_twice_the_same_bytes(
    exported: Exported, written: Path, corpus: Path, forgiving: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same checkpoint gives the same folder."""
    path = save(tmp_path / "last.pt", exported.trained)
    out = tmp_path / "again"
    assert 0 == main([str(path), "--out", str(out), "--data", str(corpus), "--name", "random"])
    assert {p.name: p.read_bytes() for p in written.iterdir()} == {
        p.name: p.read_bytes() for p in out.iterdir()
    }


def test_thresholds_are_kept_on_request(
    exported: Exported, corpus: Path, forgiving: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--keep-decision keeps what calibration wrote; without it the defaults come back."""
    path = save(tmp_path / "last.pt", exported.trained)
    command = [str(path), "--out", str(tmp_path / "m"), "--data", str(corpus), "--name", "random"]
    assert 0 == main(command)
    manifest = read_manifest(tmp_path / "m" / "random.json")
    calibrated = replace(manifest, thresholds={"yes": 0.6})
    write_manifest(calibrated, tmp_path / "m" / "random.json")
    assert 0 == main([*command, "--keep-decision"])
    assert {"yes": 0.6} == read_manifest(tmp_path / "m" / "random.json").thresholds
    assert 0 == main(command)
    assert {} == read_manifest(tmp_path / "m" / "random.json").thresholds


def refused(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> str:
    """Run the command, which must fail in one line and write nothing; returns the line."""
    assert 1 == main([*map(str, arguments), "--out", str(out)])
    assert not out.exists()
    error = capsys.readouterr().err
    assert error.startswith("export: error: ")
    assert "Traceback" not in error
    return error


def test_no_manifest_where_files_disagree(
    exported: Exported,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where verification fails, nothing is written."""
    monkeypatch.setattr("export.verify.LARGEST_DIFFERENCE", 0.0)
    path = save(tmp_path / "last.pt", exported.trained)
    error = refused(capsys, tmp_path / "out", path, "--data", corpus)
    assert "the export is refused" in error


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("trapped"),))


@pytest.mark.parametrize("kind", ["pickle", "torch pickle", "truncated", "text", "missing"])
def test_files_that_are_no_checkpoint(
    kind: str,
    exported: Exported,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Anything but a checkpoint is refused, and no code in it runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    elif kind == "torch pickle":
        torch.save({"version": checkpoint.VERSION, "average": Trap()}, path)
    elif kind == "truncated":
        save(path, exported.trained)
        path.write_bytes(path.read_bytes()[:5_000])
    elif kind == "text":
        path.write_text("weights", encoding="utf-8")
    error = refused(capsys, tmp_path / "out", path, "--data", corpus)
    assert "checkpoint" in error
    assert not Path("trapped").exists()


def test_other_labels_than_the_network(
    exported: Exported, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that names more labels than its network has is refused."""
    path = save(tmp_path / "last.pt", exported.trained, (*LABELS, "stop"))
    assert "5 labels" in refused(capsys, tmp_path / "out", path, "--data", corpus)


def test_another_receptive_field(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that sees less than a second is refused with both numbers."""
    path = save(tmp_path / "last.pt", Network(replace(SIZES, pool=10)).eval())
    error = refused(capsys, tmp_path / "out", path, "--data", corpus)
    assert "34 frames and a second has 98" in error


def test_no_recordings(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without recordings is named."""
    path = save(tmp_path / "last.pt", exported.trained)
    assert "no-such" in refused(capsys, tmp_path / "out", path, "--data", tmp_path / "no-such")


def test_data_is_required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without recordings nothing can be verified: wrong usage."""
    monkeypatch.delenv("KWS_DATA", raising=False)
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path / "last.pt"), "--out", str(tmp_path / "out")])
    assert 2 == error.value.code
