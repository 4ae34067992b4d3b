"""What `kws doctor` checks, from the model to the microphone, and what to do about each failure."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from kws import __version__
from kws.audio.desktop import query_server
from kws.audio.devices import input_devices
from kws.audio.errors import DeviceError
from kws.audio.events import Kind, SourceEvent
from kws.audio.gap import Gap
from kws.audio.microphone import Microphone
from kws.audio.portaudio import load_sounddevice
from kws.config import SAMPLE_RATE
from kws.detector import Detector, Int16Array
from kws.errors import BackendUnavailable, KwsError
from kws.frontend import FloatArray
from kws.model.load import Model, load_model
from kws.vad import SpeechGate

Status: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

QUIET_SECONDS = 3.0
SPEECH_SECONDS = 5.0  # with the other, long enough for a microphone to report a wrong level
LEAST_SPEECH = 0.3  # s with the gate open, below which nobody has spoken

NOISY = -45.0  # dBFS: a background above hides soft words
LEAST_SNR = 6.0  # dB: what is softer may be no speech
LOW_SNR = 15.0  # dB: below, words are missed
LEAST_MARGIN = 2.0  # times real time, below which other programs can hold the detector up

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "tflite-runtime")

FAULTS: tuple[Kind, ...] = ("muted", "clipping")  # words cannot be understood
FLAWS: tuple[Kind, ...] = ("offset", "loud", "quiet")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str
    status: Status
    text: str  # what was found, for people
    advice: str = ""  # what to do about it
    values: Mapping[str, Any] = field(default_factory=dict)  # what was measured, for programs


def examine(
    device: int | str | None = None,
    model: str | None = None,
    prompt: Callable[[str], None] = lambda _: None,
    channel: int | None = None,
) -> Iterator[Finding]:
    """Check everything that listening needs, from the inside out; a finding at a time.

    `channel` is that of the microphone, from 1; None takes the one with the signal. `prompt` is
    told what the person before the microphone should do.
    """
    yield Finding(
        "program", "ok", f"kws {__version__}, Python {platform.python_version()}, {_os()}"
    )
    loaded = yield from _model(model)
    gate = _voice_activity()
    yield gate
    detector = Detector(loaded) if loaded is not None and gate.status == "ok" else None
    if detector is None:
        yield Finding("speed", "skipped", "there is no detector to run")
    else:
        yield _speed(detector)
    yield from _microphone(device, channel, detector, prompt)


def _os() -> str:
    return f"{platform.system()} {platform.machine()}"


def _model(name: str | None) -> Generator[Finding, None, Model | None]:
    try:
        model = load_model(name)
        verifier = model.verifier_runtime
    except BackendUnavailable as error:
        yield Finding("runtime", "failed", "the model's runtime is missing", str(error))
        return None
    except KwsError as error:
        yield Finding("model", "failed", "the model cannot be loaded", str(error))
        return None
    found = {each: version for each in RUNTIMES if (version := _version(each))}
    text = ", ".join(f"{each} {version}" for each, version in found.items())
    runs = f"{model.runtime} runs the model"
    if model.manifest.verifier:
        runs += f", {verifier} its verifier" if verifier else ", without its verifier"
    yield Finding("runtime", "ok", f"{runs} ({text})", values=found)
    file = model.manifest.artefacts[model.artefact]
    yield Finding(
        "model",
        "ok",
        f"{model.manifest.name}: {file.file}, sha256 {file.sha256[:16]} as in its manifest",
        values={"name": model.manifest.name, "file": file.file, "sha256": file.sha256},
    )
    return model


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _voice_activity() -> Finding:
    try:
        SpeechGate()
    except BackendUnavailable as error:
        return Finding("voice activity", "failed", "the detector does not run", str(error))
    return Finding("voice activity", "ok", f"webrtcvad {_version('webrtcvad-wheels')}")


def _speed(detector: Detector) -> Finding:
    """The demonstration recording, as fast as it goes."""
    from kws.audio import AudioFile
    from kws.demo import RECORDING

    with AudioFile(RECORDING) as source:
        blocks = list(source)
    seconds = sum(map(len, blocks)) / SAMPLE_RATE
    begin = time.perf_counter()
    words = [detection.keyword for detection in detector.listen(blocks)]
    margin = seconds / (time.perf_counter() - begin)
    values = {"times_real_time": round(margin, 1), "detected": words}
    text = f"{margin:.0f} times real time; {len(words)} words detected in the demonstration"
    if margin < LEAST_MARGIN:
        advice = "close other programs, or take a smaller model (kws info lists them)"
        return Finding("speed", "failed", text, advice, values)
    return Finding("speed", "ok", text, values=values)


def _microphone(
    device: int | str | None,
    channel: int | None,
    detector: Detector | None,
    prompt: Callable[[str], None],
) -> Iterator[Finding]:
    try:
        load_sounddevice()
    except DeviceError as error:
        yield Finding("PortAudio", "failed", "the library is missing", str(error))
        return
    import sounddevice

    yield Finding("PortAudio", "ok", str(sounddevice.get_portaudio_version()[1]))
    yield _sound_server()
    yield _permissions()
    try:
        devices = input_devices()
    except DeviceError as error:
        yield Finding("devices", "failed", "there is nothing to record from", str(error))
        return
    names = [each.name for each in devices]
    yield Finding(
        "devices", "ok", f"{len(names)} (kws devices lists them)", values={"names": names}
    )
    events: list[SourceEvent] = []
    try:
        with Microphone(
            device, channel=channel, reconnect=False, on_event=events.append
        ) as microphone:
            yield from _recording(microphone, events, detector, prompt)
    except DeviceError as error:
        yield Finding("microphone", "failed", f"it does not record ({error.problem})", str(error))


def _sound_server() -> Finding:
    server = query_server()
    if server is None:
        return Finding("sound server", "skipped", "no pactl here to query one")
    if server.problem:
        return Finding(
            "sound server",
            "failed",
            f"it does not respond: {server.problem}",
            "systemctl --user restart pipewire-pulse, or pulseaudio --start; check PULSE_SERVER",
        )
    names = [source.description for source in server.sources if not source.monitor]
    if not names:
        return Finding(
            "sound server",
            "warning",
            "it responds and lists no microphone",
            "plug one in, or choose a profile with an input in the sound settings",
        )
    return Finding("sound server", "ok", f"it lists {', '.join(names)}", values={"names": names})


def _permissions() -> Finding:
    nodes = sorted(Path("/dev/snd").glob("pcm*c")) if sys.platform == "linux" else []
    if not nodes:
        return Finding("permissions", "skipped", "no sound device of the kernel's to open here")
    refused = [node.name for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if refused:
        return Finding(
            "permissions",
            "warning",
            f"this user may not open {', '.join(refused)}; a sound server may do it instead",
            "sudo usermod -aG audio $USER, then log in again",
        )
    return Finding("permissions", "ok", f"this user may open {len(nodes)} capture devices")


def _recording(
    microphone: Microphone,
    events: list[SourceEvent],
    detector: Detector | None,
    prompt: Callable[[str], None],
) -> Iterator[Finding]:
    prompt(f"Be quiet for {QUIET_SECONDS:.0f} seconds ...")
    blocks: list[Int16Array] = []
    spoken = 0  # where in them speech was requested
    lost = 0
    samples = 0
    for block in microphone:
        if isinstance(block, Gap):
            lost += block.samples
            continue
        blocks.append(block)
        samples += len(block)
        if not spoken and samples >= QUIET_SECONDS * SAMPLE_RATE:
            spoken = samples
            prompt(f"... and now say some of the words for {SPEECH_SECONDS:.0f} seconds.")
        if samples >= (QUIET_SECONDS + SPEECH_SECONDS) * SAMPLE_RATE:
            break
    yield Finding(
        "microphone",
        "ok",
        f"{microphone.name}, recorded at {microphone.rate} Hz",
        values={"name": microphone.name, "rate": microphone.rate},
    )
    audio = np.concatenate(blocks)
    troubles = [event for event in events if event.kind in (*FAULTS, *FLAWS)]
    yield _level(audio, troubles)
    if any(event.kind == "muted" for event in troubles):
        yield Finding("noise floor", "skipped", "it is muted")
        yield Finding("speech", "skipped", "it is muted")
    else:
        yield from _speech(audio[:spoken], audio[spoken:], detector)
    text = f"{lost / SAMPLE_RATE:.2f} s in {samples / SAMPLE_RATE:.0f} s"
    if lost:
        yield Finding("lost audio", "warning", text, "close other programs; this machine is busy")
    else:
        yield Finding("lost audio", "ok", text)


def _level(audio: Int16Array, troubles: list[SourceEvent]) -> Finding:
    peak = _decibels(float(np.abs(audio.astype(np.int32)).max()) / 32768)
    values = {"peak_dbfs": round(peak, 1), "troubles": [event.kind for event in troubles]}
    text = f"peak {peak:.0f} dBFS"
    if not troubles:
        return Finding("level", "ok", text, values=values)
    (worst, *_) = sorted(troubles, key=lambda event: (*FAULTS, *FLAWS).index(event.kind))
    status: Status = "failed" if worst.kind in FAULTS else "warning"
    return Finding("level", status, f"{text}, {worst.kind}", worst.message, values)


def _speech(before: Int16Array, during: Int16Array, detector: Detector | None) -> Iterator[Finding]:
    """The background, and how far speech stands out of it."""
    floor = float(np.percentile(_levels(before), 10))
    values = {"noise_floor_dbfs": round(floor, 1)}
    text = f"{floor:.0f} dBFS"
    if floor > NOISY:
        advice = "turn off what makes noise, or move the microphone closer to who speaks"
        yield Finding("noise floor", "warning", text, advice, values)
    else:
        yield Finding("noise floor", "ok", text, values=values)

    gate = SpeechGate()
    frame = SAMPLE_RATE * gate.config.frame_ms // 1000
    whole = during[: len(during) // frame * frame].reshape(-1, frame)
    is_open = np.array([gate.is_open(each) for each in whole])
    seconds = float(is_open.sum()) * frame / SAMPLE_RATE
    snr = 0.0
    if seconds >= LEAST_SPEECH:
        snr = float(np.percentile(_levels(whole[is_open].reshape(-1)), 90)) - floor
    if snr < LEAST_SNR:  # the gate opens for some noises too
        advice = "run it again and speak when it says so"
        yield Finding("speech", "skipped", "nobody spoke louder than the background", advice)
        return
    words = [each.keyword for each in detector.listen([during])] if detector else []
    text = f"{snr:.0f} dB above the background; detected: {', '.join(words) or 'no word'}"
    measured: dict[str, Any] = {"snr_db": round(snr, 1), "detected": words}
    if snr < LOW_SNR:
        advice = "speak closer to the microphone, or turn off what makes noise"
        yield Finding("speech", "warning", text, advice, measured)
    else:
        yield Finding("speech", "ok", text, values=measured)


def _levels(audio: Int16Array) -> FloatArray:
    """The level of each 20 ms, in dBFS."""
    size = SAMPLE_RATE // 50
    wide = audio[: len(audio) // size * size].reshape(-1, size).astype(np.float32) / 32768
    levels: FloatArray = 10 * np.log10(np.maximum((wide**2).mean(axis=1), 1e-10))
    return levels


def _decibels(ratio: float) -> float:
    return 20 * float(np.log10(max(ratio, 1e-5)))
