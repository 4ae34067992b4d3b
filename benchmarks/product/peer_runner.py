"""Runs one spotter in its own environment: `python peer_runner.py SPOTTER [SETTING]`.

It reads paths of raw int16 16 kHz mono files from standard input, one a line, and returns for each
with a line of JSON: processor and wall seconds, and what was spotted when. After a tab may stand
which bytes are to be processed; the end of a file ends a stream. Nothing of kws is imported unless
the spotter is ours, so that it runs where only the peer is installed.
"""

import json
import os
import sys
import tempfile
import time

BLOCK = 640  # bytes, 20 ms
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


def ours(artefact, verify=True):
    """kws itself, on one of the files of its default model."""
    import numpy

    from kws import Detector, load_model

    detector = Detector(load_model(artefact=artefact), verify=verify)

    def process(block):
        found = detector.process(numpy.frombuffer(block, numpy.int16))
        return [(each.keyword, each.end) for each in found]

    return process, detector.reset


def pymicro_wakeword(_):
    """One wake word, the first that comes with the package."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    word = MicroWakeWord.from_builtin(Model.OKAY_NABU)
    features = MicroWakeWordFeatures()

    def process(block):
        fired = [word.process_streaming(each) for each in features.process_streaming(block)]
        return [("okay nabu", None)] if any(fired) else []

    return process, word.reset


def pyopen_wakeword(_):
    """openWakeWord with its models in the wheel: one wake word, in the blocks of 80 ms it takes."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    word = OpenWakeWord.from_builtin(Model.OKAY_NABU)
    features = OpenWakeWordFeatures.from_builtin()
    state = {"rest": b""}

    def process(block):
        data = state["rest"] + block
        state["rest"] = data if len(data) < 4 * BLOCK else b""
        if len(data) < 4 * BLOCK:
            return []
        scores = [
            s for each in features.process_streaming(data) for s in word.process_streaming(each)
        ]
        return [("okay nabu", None)] if any(score > 0.5 for score in scores) else []

    def reset():
        state["rest"] = b""
        features.reset()
        word.reset()

    return process, reset


def pocketsphinx(threshold):
    """Keyword spotting with a list of the ten words, all at one threshold."""
    from pocketsphinx import Decoder, get_model_path

    with tempfile.TemporaryDirectory() as folder:
        listed = os.path.join(folder, "words")
        with open(listed, "w") as file:
            file.writelines(f"{word} /{threshold}/\n" for word in WORDS)
        decoder = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=get_model_path("en-us/cmudict-en-us.dict"),
            kws=listed,
            samprate=16000.0,
            loglevel="FATAL",
        )
    decoder.start_utt()

    def restart():
        decoder.end_utt()
        decoder.start_utt()

    def process(block):
        decoder.process_raw(block, no_search=False, full_utt=False)
        hypothesis = decoder.hyp()
        if hypothesis is None:
            return []
        restart()
        return [(word, None) for word in hypothesis.hypstr.split()]

    return process, restart


def pocketsphinx_grammar(_):
    """The ten words as a grammar; each utterance that the endpointer finds is one of them."""
    from pocketsphinx import Decoder, Endpointer, get_model_path

    decoder = Decoder(
        hmm=get_model_path("en-us/en-us"),
        dict=get_model_path("en-us/cmudict-en-us.dict"),
        samprate=16000.0,
        loglevel="FATAL",
    )
    grammar = f"#JSGF V1.0; grammar words; public <word> = {' | '.join(WORDS)};"
    decoder.add_jsgf_string("words", grammar)
    decoder.activate_search("words")
    state = {"open": False}

    def reset():
        if state["open"]:
            decoder.end_utt()
        state.update(endpointer=Endpointer(0.3, 0.9, 2, 16000), rest=b"", open=False)

    def process(block):
        endpointer = state["endpointer"]
        data = state["rest"] + block
        found = []
        while len(data) >= endpointer.frame_bytes:
            frame, data = data[: endpointer.frame_bytes], data[endpointer.frame_bytes :]
            speech = endpointer.process(frame)
            if speech is None:
                continue
            if not state["open"]:
                decoder.start_utt()
                state["open"] = True
            decoder.process_raw(speech, no_search=False, full_utt=False)
            if not endpointer.in_speech:
                decoder.end_utt()
                state["open"] = False
                hypothesis = decoder.hyp()
                if hypothesis is not None and hypothesis.hypstr:
                    found.append((hypothesis.hypstr, None))
        state["rest"] = data
        return found

    reset()
    return process, reset


def webrtcvad(aggressiveness):
    """The speech gate alone: what any gated system costs at least."""
    from webrtcvad import Vad

    vad = Vad(int(aggressiveness))

    def process(block):
        if len(block) == BLOCK:
            vad.is_speech(block, 16000)
        return []

    return process, lambda: None


SPOTTERS = {
    "kws": ours,
    "kws without verifier": lambda artefact: ours(artefact, verify=False),
    "pymicro-wakeword": pymicro_wakeword,
    "pyopen-wakeword": pyopen_wakeword,
    "pocketsphinx": pocketsphinx,
    "pocketsphinx-grammar": pocketsphinx_grammar,
    "webrtcvad": webrtcvad,
}


def process_audio(process, audio):
    """Everything that is spotted in the audio, bytes, in blocks of 20 ms."""
    found = []
    wall, cpu = time.perf_counter(), time.process_time()
    for begin in range(0, len(audio), BLOCK):
        end = (begin + BLOCK) / 2 / 16000
        for word, when in process(audio[begin : begin + BLOCK]):
            found.append((word, end if when is None else when))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_s": cpu, "wall_s": wall, "found": found}


def main():
    """Serve until standard input ends."""
    spotter = SPOTTERS[sys.argv[1]]
    process, reset = spotter(sys.argv[2] if len(sys.argv) > 2 else None)
    print("ready", flush=True)
    for line in sys.stdin:
        path, *part = line.rstrip("\n").split("\t")
        with open(path, "rb") as file:
            audio = file.read()
        begin, end = map(int, part) if part else (0, len(audio))
        print(json.dumps(process_audio(process, audio[begin:end])), flush=True)
        if end >= len(audio):
            reset()


if __name__ == "__main__":
    main()
