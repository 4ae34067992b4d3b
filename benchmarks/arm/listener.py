"""One spotter on so many seconds of audio: `python listener.py SPOTTER AUDIO.npy SECONDS`.

SPOTTER is `kws:ARTEFACT`, `kws:ARTEFACT:verified` or `pymicro-wakeword`. The audio is repeated or
cut to the seconds. Of two runs that differ in seconds alone, the difference is what listening
costs.
"""

import sys

import numpy as np

RATE = 16_000


def kws(artefact, verified):
    """A detector on one of the default model's files."""
    from kws import Detector, load_model

    detector = Detector(load_model(artefact=artefact), verify=verified)
    return detector.process


def pymicro_wakeword():
    """One wake word, the first that comes with the package."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    word = MicroWakeWord.from_builtin(Model.OKAY_NABU)
    features = MicroWakeWordFeatures()

    def process(block):
        for each in features.process_streaming(block.tobytes()):
            word.process_streaming(each)

    return process


def main(arguments):
    spotter, path, seconds = arguments
    audio = np.resize(np.load(path), int(float(seconds) * RATE))
    name, *settings = spotter.split(":")
    if name == "kws":
        process = kws(settings[0], settings[1:] == ["verified"])
    else:
        process = pymicro_wakeword()
    for start in range(0, len(audio), 1280):
        process(audio[start : start + 1280])


if __name__ == "__main__":
    main(sys.argv[1:])
