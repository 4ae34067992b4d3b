"""Runs every file of a model over recordings: `python inference.py AUDIO.npz OUT.npz ARTEFACT...`.

It needs NumPy, kws and the runtimes of the artefacts only, and runs under an emulator as it does
without. Of each recording it keeps the posteriors (rows, labels) and the detections, of each
artefact that does not load here why.
"""

import json
import sys

import numpy as np

from kws import KwsError, load_model
from kws.evaluation.replay import PosteriorRecorder


def main(arguments):
    audio, out, *artefacts = arguments
    with np.load(audio) as recordings:
        clips = {name: recordings[name] for name in recordings.files}
    found, problems, arrays = {}, {}, {}
    for artefact in artefacts:
        try:
            model = load_model(artefact=artefact)
            recorder = PosteriorRecorder(model, verify=False)
        except KwsError as error:
            problems[artefact] = str(error)
            continue
        thresholds = model.manifest.operating_point("isolated", None, False)
        found[artefact] = {}
        for name, clip in clips.items():
            track = recorder.record(name, [clip])
            arrays[f"{artefact}/{name}"] = track.rows
            found[artefact][name] = [
                [each.keyword, each.start, each.end]
                for each in track.detections(
                    model.manifest.labels, thresholds, model.manifest.decision
                )
            ]
    report = json.dumps({"found": found, "problems": problems})
    np.savez(out, report=np.array(report), **arrays)


if __name__ == "__main__":
    main(sys.argv[1:])
