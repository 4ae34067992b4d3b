"""An evaluation as files to look at: one HTML page with its pictures inside, a CSV and a JSON."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import BackendUnavailable
from kws.evaluation import metrics
from kws.evaluation.evaluate import Evaluation, clip_features
from kws.evaluation.saliency import occlusion
from kws.model.load import Model
from kws.recordings.data import Int16Array

WORST = 24  # clips shown with their spectrograms

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% } figure { margin: 0 } figcaption { font-size: 13px }
.clips { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem }
audio { width: 100%; height: 2rem }
"""


def require_matplotlib() -> None:
    """Raise BackendUnavailable now, before the work that a report would show is done."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(
            "a report's pictures need matplotlib; pip install 'kws[report]', "
            "or leave out --report and take --json"
        ) from error


def write_report(
    evaluation: Evaluation, figures: dict[str, Any], model: Model, folder: Path
) -> Path:
    """Write `report.html`, `report.json` and `clips.csv` into a folder; returns the page's path.

    `figures` are the evaluation's own, with those of an ensemble where there is one. Raises OSError
    where the folder cannot be written.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=2) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    with (folder / "clips.csv").open(
        "w", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        csv.writer(file).writerows(_rows(evaluation))
    page = folder / "report.html"
    text = "".join(_page(evaluation, model, figures))
    page.write_text(text, encoding="utf-8", errors="backslashreplace")  # names may be any bytes
    return page


def most_wrong(evaluation: Evaluation, count: int = WORST) -> NDArray[np.int64]:
    """Indexes of wrong clips, the one with the largest lead of a wrong label first."""
    posteriors, targets = evaluation.posteriors, evaluation.clips.targets
    lead = posteriors.max(axis=1) - posteriors[np.arange(len(targets)), targets]
    wrong = np.flatnonzero(evaluation.predicted != targets)
    return wrong[np.argsort(-lead[wrong], kind="stable")][:count]


def _rows(evaluation: Evaluation) -> Iterator[list[Any]]:
    labels = evaluation.manifest.labels
    yield ["clip", "label", "predicted", "right", *labels]
    clips, predicted = evaluation.clips, evaluation.predicted
    for index, name in enumerate(clips.names):
        target, guess = int(clips.targets[index]), int(predicted[index])
        scores = [f"{posterior:.4f}" for posterior in evaluation.posteriors[index]]
        yield [name, labels[target], labels[guess], int(target == guess), *scores]


def _page(evaluation: Evaluation, model: Model, figures: dict[str, Any]) -> Iterator[str]:
    title = f"{figures['model']} ({figures['artefact']})"
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
    yield f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>"
    yield _table(["figure", "value"], _summary(figures))
    if "ensemble" in figures:
        yield "<h2>Ensemble</h2>" + _table(
            ["model or way to combine", "weight", "accuracy"], _ensemble(figures)
        )
    yield "<h2>Classes</h2>"
    yield _table(["class", "clips", "recall", "precision"], _classes(figures))
    yield "<h2>Confusion</h2><p>Rows are the truth; the colour is the share of the row."
    yield _picture(_draw_confusion(figures))
    yield "<h2>Calibration</h2><p>On the diagonal, a posterior of 0.9 is right nine times of ten."
    yield _picture(_draw_reliability(evaluation, figures))
    if figures["accuracy_by_snr_db"]:
        yield "<h2>Noise</h2>" + _picture(_draw_snr(figures))
    yield "<h2>The most wrong clips</h2><p>Left, the log-mel features; right, what carried the "
    yield "wrong label: red for it, blue against it (occlusion saliency).<div class=clips>"
    for index in most_wrong(evaluation):
        yield _clip(evaluation, model, int(index))
    yield "</div>"
    if figures["not_used"]:
        yield "<h2>Not used</h2>" + _table(["file"], [[line] for line in figures["not_used"]])
    yield "</html>\n"


def _summary(figures: dict[str, Any]) -> Iterator[list[str]]:
    yield ["split", figures["split"]]
    yield ["clips", str(figures["clips"])]
    shares = {
        "accuracy": "accuracy",
        "mean recall of the classes": "mean_recall",
        "keywords recognised at their thresholds": "keyword_recall_at_threshold",
        "other clips taken for a keyword at its threshold": "false_accepts_at_threshold",
        "expected calibration error": "calibration_error",
        "the same at the best temperature": "calibration_error_at_best_temperature",
    }
    for text, key in shares.items():
        yield [text, _percent(figures[key])]
    yield ["best temperature", f"{figures['best_temperature']:.3f}"]
    ranking = figures["label_ranking_average_precision"]
    yield ["label-weighted label-ranking average precision", f"{ranking:.4f}"]


def _ensemble(figures: dict[str, Any]) -> Iterator[list[str]]:
    found = figures["ensemble"]
    for member, weight in zip(found["members"], found["weights"], strict=True):
        name = f"{member['model']} ({member['artefact']})"
        yield [name, f"{weight:.2f}", _percent(member["accuracy"])]
    for way, together in found["combinations"].items():
        yield [way, "", _percent(together["accuracy"])]


def _classes(figures: dict[str, Any]) -> Iterator[list[str]]:
    for label, row in zip(figures["labels"], figures["confusion"], strict=True):
        recall, precision = figures["recall"].get(label), figures["precision"].get(label)
        yield [label, str(sum(row)), _percent(recall), _percent(precision)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"  # noqa: RUF001


def _table(head: list[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}" for cell in head)]
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"


def _clip(evaluation: Evaluation, model: Model, index: int) -> str:
    labels, clips = evaluation.manifest.labels, evaluation.clips
    audio, guess = clips.audio[index], int(evaluation.predicted[index])
    features = clip_features(model, audio[None])[0]
    picture = _draw_clip(features, occlusion(model.backend, features, guess))
    spoken, returned = labels[clips.targets[index]], labels[guess]
    name, score = clips.names[index], evaluation.posteriors[index, guess]
    caption = html.escape(f"{name}: {spoken} taken for {returned} ({score:.2f})")
    return f"<figure>{_picture(picture)}{_sound(audio)}<figcaption>{caption}</figcaption></figure>"


def _sound(audio: Int16Array) -> str:
    file = io.BytesIO()
    soundfile.write(file, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    content = base64.b64encode(file.getvalue()).decode()
    return f'<audio controls preload=none src="data:audio/flac;base64,{content}"></audio>'


def _picture(figure: Any) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80, bbox_inches="tight")
    content = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{content}">'


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # not pyplot, which would look for a display

    return Figure(figsize=(width, height), layout="constrained")


def _draw_confusion(figures: dict[str, Any]) -> Any:
    counts, labels = np.array(figures["confusion"]), figures["labels"]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 2.0 + 0.5 * len(labels)
    figure = _figure(size, size)
    axes = figure.add_subplot()
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="taken for", ylabel="spoken")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.3 else "black"
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    return figure


def _draw_reliability(evaluation: Evaluation, figures: dict[str, Any]) -> Any:
    targets = evaluation.clips.targets
    temperature = figures["best_temperature"]
    cooled = metrics.apply_temperature(evaluation.posteriors, temperature)
    figure = _figure(8.0, 4.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for posteriors, name in (
        (evaluation.posteriors, "as it is"),
        (cooled, f"at temperature {temperature:.2f}"),
    ):
        confidence, accuracy, _ = metrics.reliability(targets, posteriors)
        axes.plot(confidence, accuracy, marker="o", label=name)
    axes.set(xlabel="highest posterior", ylabel="share of right clips", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return figure


def _draw_snr(figures: dict[str, Any]) -> Any:
    points = sorted((float(snr), share) for snr, share in figures["accuracy_by_snr_db"].items())
    figure = _figure(8.0, 4.0)
    axes = figure.add_subplot()
    axes.plot([snr for snr, _ in points], [100 * share for _, share in points], marker="o")
    axes.axhline(100 * figures["accuracy"], color="grey", linewidth=1)
    axes.set(xlabel="signal-to-noise ratio (dB)", ylabel="accuracy (%); grey: without noise")
    axes.grid(alpha=0.3)
    return figure


def _draw_clip(features: NDArray[np.float32], saliency: NDArray[np.float32]) -> Any:
    figure = _figure(5.0, 1.8)
    left, right = figure.subplots(1, 2, sharey=True)
    left.imshow(features.T, origin="lower", aspect="auto", cmap="magma")
    right.imshow(features.T, origin="lower", aspect="auto", cmap="Greys")
    limit = max(1e-6, float(np.abs(saliency).max()))
    right.imshow(
        saliency.T, origin="lower", aspect="auto", cmap="bwr", alpha=0.6, vmin=-limit, vmax=limit
    )
    for axes in (left, right):
        last = len(features) - 1
        axes.set_xticks([0, last / 2, last], ["0", "0.5", "1 s"], fontsize=7)
        axes.set_yticks([])
    return figure
