"""Runs files of a model over recordings: `inference.py OUT.npz AUDIO.npz GATE KERNELS ARTEFACT...`.

GATE is `gate`, or `always` where webrtcvad is not at hand and the network runs in silence too.
KERNELS is `own`, which leaves TFLite's kernels to kws, or `reference`, which takes for int8 those
that kws takes with tflite-runtime.

It needs NumPy, kws and the runtimes of the artefacts only, and runs under an emulator as it does
without. Of each recording it keeps the posteriors (rows, labels) and the detections, of each
artefact that does not load here why. With it come the posteriors of features that were computed
elsewhere, which tell the network's part of a difference from the front end's. Of ARTEFACT:verified
it keeps what a detector with the verifier detects in the first seconds of the first recording:
under an emulator, a word takes a quarter of a minute.
"""

import json
import sys

import numpy as np

from kws import Detector, KwsError, load_model
from kws.config import SAMPLE_RATE
from kws.evaluation.replay import PosteriorRecorder
from kws.model import runtimes
from kws.native import library

VERIFIED_SECONDS = 9


def posteriors(stream, features):
    """The rows (rows, labels) of features (frames, bands), but for a rest too short for a call."""
    starts = range(0, len(features) - stream.frames + 1, stream.frames)
    return np.concatenate([stream.posteriors(features[at : at + stream.frames]) for at in starts])


def listed(detections):
    """What of each detection is compared."""
    return [[each.keyword, each.start, each.end] for each in detections]


def main(arguments):
    out, audio, gate, kernels, *artefacts = arguments
    if kernels == "reference":
        runtimes.REFERENCE_INT8 = ("ai_edge_litert", "tflite_runtime")
    with np.load(audio) as recordings:
        arrays = {name: recordings[name] for name in recordings.files}
    features = {
        name.removeprefix("features/"): arrays.pop(name)
        for name in list(arrays)
        if "features/" in name
    }
    clips = arrays
    found, problems, kept = {}, {}, {}
    for artefact in artefacts:
        file, _, verified = artefact.partition(":")
        try:
            model = load_model(artefact=file)
            if verified:
                name, clip = next(iter(clips.items()))
                detector = Detector(model, vad=gate == "gate")
                beginning = clip[: VERIFIED_SECONDS * SAMPLE_RATE]
                found[artefact] = {name: listed(detector.listen([beginning]))}
                continue
            recorder = PosteriorRecorder(model, vad=gate == "gate", verify=False)
        except KwsError as error:
            problems[artefact] = str(error)
            continue
        thresholds = model.manifest.operating_point("isolated", None, False)
        found[artefact] = {}
        for name, clip in clips.items():
            track = recorder.record(name, [clip])
            kept[f"{artefact}/{name}"] = track.rows
            kept[f"{artefact}/{name}/features"] = posteriors(model.open_stream(), features[name])
            found[artefact][name] = listed(
                track.detections(model.manifest.labels, thresholds, model.manifest.decision)
            )
    native = library() is not None
    report = json.dumps({"found": found, "problems": problems, "native": native})
    np.savez(out, report=np.array(report), **kept)


if __name__ == "__main__":
    main(sys.argv[1:])
