"""kws/models/README.md: what each model is, from its manifest alone.

Between two marks at its end `python -m benchmarks.report` writes what was measured on recordings
that were held out; that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kws.evaluation.intervals import preset_text
from kws.model.manifest import Manifest, VerifierEntry, read_manifest

# What training material is called in a checkpoint -> what it is and whose.
SOURCES = {
    "speech_commands": "Speech Commands, Pete Warden / Google, CC BY 4.0 (arXiv 1804.03209)",
    "noise": "ESC-10, K. J. Piczak, CC BY 3.0; clips of freesound.org under CC0 or CC BY",
    "other_words": "wake phrases of the wake-word-benchmark, Picovoice, Apache-2.0; "
    "custom-speech-commands-dataset, S. Hymel, CC BY 4.0",
    "other_words/arabic": "Arabic Speech Commands Dataset, A. Ghandoura, CC BY 4.0, as other words",
    "other_words/dsp20": "DSPSpeech-20, MIT",
    "speech/speechocean": "speechocean762, free for commercial and non-commercial use (Zhang et "
    "al., arXiv 2104.01378): sentences with a Mandarin accent, by adults and children",
    "synthetic/kokoro": "words spoken by Kokoro-82M, voices and weights Apache-2.0",
    "speech/librispeech": "LibriSpeech, CC BY 4.0 (Panayotov et al., ICASSP 2015)",
    "synthesised words": "words spoken by espeak-ng and, where words of running speech stand too, "
    "by flite and the voice joe of Piper (CC0), made by `python -m kws.train.synthesize`",
    "words of running speech": "words of running speech, cut out of LibriSpeech by "
    "`python -m kws.train.spoken`",
}

PUBLISHED = (
    "what Google's speech embedding was trained on, some 200 million clips of five thousand "
    "keywords (Lin et al., arXiv 2002.01322); its weights are under Apache-2.0, as openWakeWord "
    "ships them"
)
WHISPER = (
    "what the encoder of OpenAI's Whisper tiny.en was trained on, 680,000 hours of speech with "
    "transcripts (Radford et al., arXiv 2212.04356); its weights are under the MIT licence, which "
    "lies beside the models as whisper.LICENSE"
)

MEASURED = "## For whom it works"


def model_card(folder: Path) -> str:
    """The text for every manifest in the folder; what stands under MEASURED there is kept."""
    lines = [
        "# Models",
        "",
        "Written by `python -m export` from the manifests in this folder; do not edit.",
    ]
    for path in sorted(folder.glob("*.json")):
        lines += ["", *_model(read_manifest(path))]
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    _, heading, measured = text.partition(f"\n{MEASURED}\n")
    return "\n".join(lines) + f"\n{heading}{measured}"


def write_model_card(folder: Path) -> None:
    """Write `model_card` into the folder's README.md."""
    (folder / "README.md").write_text(model_card(folder), encoding="utf-8", newline="\n")


def _model(manifest: Manifest) -> Iterator[str]:
    features, provenance = manifest.features, manifest.provenance
    yield f"## {manifest.name}: {manifest.description}"
    yield ""
    yield f"Labels, in the order of the posteriors: {', '.join(manifest.labels)}."
    yield ""
    yield (
        f"Input: {features.sample_rate} Hz mono; {features.bands} log-mel bands from "
        f"{features.low_hz:g} to {features.high_hz:g} Hz, windows of {features.window} samples "
        f"every {features.hop}. {manifest.parameters:,} weights. Licence: {manifest.licence}."
    )
    if "training" in provenance:
        training = provenance["training"]
        yield ""
        yield (
            f"Trained with `python -m kws.train`: {training['epochs_done']} of "
            f"{training['epochs']} epochs{_time(provenance)}, seed {training['seed']}"
            f"{_start(provenance)}{_averaged(training)}; all options are in the manifest. "
            "Trained on:"
        )
        yield ""
        beside = provenance.get("together_with", {})
        sources = (*provenance["sources"], *beside.get("sources", ()))
        yield from (f"* {each}" for each in _sources(sources))
        for made, what in ((provenance, _published(provenance)[1]), (beside, PUBLISHED)):
            if any("published" in before for before in _lineage(made)):
                yield f"* {what}"
        if any(run.get("frozen_teachers") for run in (training, *_lineage(provenance))):
            yield (
                "* the posteriors of networks that were trained on the same data, one of them "
                "starting from Google's speech embedding (docs/training.md)"
            )
        if beside:
            yield ""
            yield _together(beside)
        yield from _scores(manifest)
    if "export" in manifest.measurements:
        yield ""
        yield from _files(manifest)
    if manifest.verifier:
        yield ""
        yield from _verifier(manifest.verifier)
    if "operating_points" in manifest.measurements:
        yield ""
        yield from _operating_points(manifest.measurements)
    yield ""
    yield (
        "Made for short commands spoken alone, by anybody, near a microphone. Not made for: other "
        "languages, transcription, telling speakers apart, or anything where a missed or false "
        "command does harm. Accents, ages and rooms that the data lacks are recognised worse."
    )


def _averaged(training: Mapping[str, Any]) -> str:
    runs = [
        f"a run of {run['epochs_done']} epochs, seed {run['seed']}"
        for run in training.get("averaged_with", ())
    ]
    return f", averaged with {' and '.join(runs)}" if runs else ""


def _together(beside: Mapping[str, Any]) -> str:
    """What else the file holds, and how the posteriors are put together."""
    return (
        f"The file also holds the network {_run(beside)}; its posteriors are the geometric "
        "mean of those of both networks."
    )


def _run(beside: Mapping[str, Any]) -> str:
    made = beside.get("training")
    name: str = beside["model"]
    return name + (f", {made['epochs_done']} epochs, seed {made['seed']}" if made else "")


def _published(provenance: Mapping[str, Any]) -> tuple[str, str]:
    """Whose published weights a network of this kind may have begun with, and all about them."""
    if "queries" in provenance.get("network", {}):
        return "Whisper's encoder", WHISPER
    return "Google's speech embedding", PUBLISHED


def _sources(names: Sequence[str]) -> list[str]:
    """What each source is, by its own name or that of its kind, once."""
    texts = (SOURCES.get(name) or SOURCES.get(name.partition("/")[0], name) for name in names)
    return list(dict.fromkeys(texts))


def _time(provenance: Mapping[str, Any]) -> str:
    minutes = provenance.get("log", {}).get("minutes")
    return "" if minutes is None else f" in {minutes} minutes"


def _scores(manifest: Manifest) -> Iterator[str]:
    """What the run's log has of its last epoch."""
    log = manifest.provenance.get("log", {})
    if "validation_recall" not in log:
        return
    yield ""
    alone = "alone " if "together_with" in manifest.provenance else ""
    yield (
        f"After its last epoch it {alone}got {log['validation_accuracy']:.1%} of the validation "
        f"clips right and took {log['validation_false_accepts']:.1%} of those without a command "
        "for one at 0.8 or more; of each class, the share that it recognised:"
    )
    yield ""
    recall = log["validation_recall"]
    yield "| class | recognised |"
    yield "|---|---:|"
    yield from (
        f"| {label} | {recall[label]:.1%} |" for label in manifest.labels if label in recall
    )


def _lineage(provenance: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the weights began with, and what that began with, and so on."""
    while provenance := provenance.get("started_from", {}):
        yield provenance


def _start(provenance: Mapping[str, Any]) -> str:
    before = provenance.get("started_from")
    if not before:
        return ""
    if "model" in before:
        return f", from the weights of an earlier model ({before['model']})"
    if "published" in before:
        return f", from the published weights of {_published(provenance)[0]}"
    epochs = [run["epochs_done"] for run in _lineage(provenance) if run.get("epochs_done")]
    return f", from weights of {' + '.join(map(str, epochs[::-1]))} epochs with other options"


def _files(manifest: Manifest) -> Iterator[str]:
    export = manifest.measurements["export"]
    yield (
        f"Measured on {export['clips']:,} clips of the {export['split']} split, of which PyTorch "
        f"gets {export['pytorch_accuracy']:.2%} right, each from one window. Agreement is the "
        "share of clips on which a file decides as PyTorch does, the difference that of the "
        "farthest posterior. The int8 TFLite files equal the integer arithmetic of the firmware "
        "bit for bit."
    )
    yield ""
    yield "| file | size | clips | accuracy | agreement | difference | operators |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for key, result in export["files"].items():
        artefact = manifest.artefacts[key]
        operators = ", ".join(f"{name} {count}" for name, count in result["operators"].items())
        yield (
            f"| {artefact.file} | {_size(artefact.bytes)} | {result['clips']:,} "
            f"| {result['accuracy']:.2%} | {result['agreement']:.2%} "
            f"| {result['largest_difference']:.1e} | {operators} |"
        )
    total = sum(artefact.bytes for artefact in manifest.artefacts.values())
    yield f"| total | {_size(total)} | | | | | |"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB"


def _verifier(entry: VerifierEntry) -> Iterator[str]:
    yield (
        f"Where a posterior of a keyword exceeds {entry.candidate:g}, a detector on the ONNX files "
        f"runs {entry.artefact.file} and decides on its posteriors. The TFLite files and the "
        "firmware do without, at thresholds of their own."
    )


def _operating_points(measurements: Mapping[str, Any]) -> Iterator[str]:
    """A table for each mode, a column for each preset; `export.operating_points` measured them."""
    verified = measurements.get("verified_operating_points", {})
    measured = measurements["operating_points"]
    modes = {f"{mode}, with verifier": points for mode, points in verified.items()} | measured
    yield (
        "Thresholds are calibrated on recordings of training speakers and sources without "
        "commands. What was held out is in benchmarks/RESULTS.md."
    )
    for mode, points in modes.items():
        if not isinstance(points, Mapping):  # how many hours
            continue
        presets = [name for name in ("low", "medium", "high") if name in points]
        scenes = list(points[presets[0]]["miss_rate"])
        yield ""
        yield f"| {mode} | {' | '.join(presets)} |"
        yield f"|---|{'---:|' * len(presets)}"
        counts = [preset_text(points[name], measured) for name in presets]
        yield f"| false accepts | {' | '.join(counts)} |"
        for scene in scenes:
            missed = [f"{points[name]['miss_rate'][scene]:.1%}" for name in presets]
            yield f"| missed, {scene} | {' | '.join(missed)} |"
