"""Hard negatives: where the network of now comes nearest to a false accept, to be met again.

Every few epochs the averaged network slides over everything that holds no command, at another
gain and another speed each time; the places where it is surest of a command are drawn more often
until the next time (`SamplerConfig.stream_mined`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from kws.config import SAMPLE_RATE
from kws.errors import ModelError
from kws.recordings.data import Int16Array
from kws.train import augment
from kws.train.architectures import AnyNetwork
from kws.train.features import LogMel
from kws.train.learner import command_indexes, smoothed_rows
from kws.train.materials import Material

GAINS_DB = (0.0, -12.0, 6.0, -20.0)
RATES = (1.0, 0.93, 1.07)
PIECE = 20 * SAMPLE_RATE  # samples processed at once
GAP = SAMPLE_RATE // 2  # samples of silence between recordings
LEAST = 0.02  # posterior below which nothing is worth meeting again


class Place(NamedTuple):
    """A second of a recording that holds no command; plain values, as a checkpoint keeps them."""

    kind: str  # field of Material: speech, noise or words
    source: str
    recording: int
    middle: int  # sample


def _recordings(
    material: Material, keywords: list[str]
) -> Iterator[tuple[str, str, int, Int16Array]]:
    for source, found in material.speech.items():
        if source in material.untranscribed:
            continue  # what the network fires on there may well be a command
        for number, recording in enumerate(found):
            yield "speech", source, number, recording
    for source, found in material.noise.items():
        for number, recording in enumerate(found):
            yield "noise", source, number, recording
    for source, clips in material.words.items():
        if source not in keywords:
            for number, clip in enumerate(clips):
                yield "words", source, number, clip


def recording_at(material: Material, place: Place) -> Int16Array:
    """The recording that a place lies in."""
    found: Int16Array = getattr(material, place.kind)[place.source][place.recording]
    return found


@torch.no_grad()
def mine(
    network: AnyNetwork,
    front_end: LogMel,
    material: Material,
    labels: tuple[str, ...],
    count: int,
    turn: int,
    mixed_precision: bool = False,
) -> list[Place]:
    """The `count` places of the highest command posteriors at most, the worst first.

    Of each second of a recording at most one. `turn` chooses gain and speed. `mixed_precision` is
    as in `kws.train.learner.LearnerConfig`.
    """
    network.eval()
    commands = command_indexes(labels)
    gain = 10.0 ** (GAINS_DB[turn % len(GAINS_DB)] / 20.0)
    rate = RATES[turn % len(RATES)]
    keywords = [labels[index] for index in commands]
    places: list[Place] = []
    scores: list[float] = []
    for spans, audio in _pieces(_recordings(material, keywords)):
        stream = torch.from_numpy(audio).to(front_end.centres)[None] / 32768.0
        still = torch.zeros(1, device=stream.device)
        wanted = round(len(audio) / rate)
        played = augment.shift_and_stretch(stream, still, still + rate, wanted)
        played = augment.set_gain(played, torch.full_like(still, 20.0 * float(np.log10(gain))))
        features = front_end(played)
        with torch.autocast(features.device.type, torch.bfloat16, enabled=mixed_precision):
            logits = network(features)[0].float()
        posterior = logits.softmax(-1)[:, commands].amax(1)
        smooth = functional.avg_pool1d(posterior[None], smoothed_rows(network), 1)[0].cpu().numpy()
        # Row r covers the second that begins at its first frame.
        step = network.config.stride * front_end.config.hop * rate
        middles = np.arange(len(smooth)) * step + SAMPLE_RATE / 2
        for kind, source, number, begin, offset, length in spans:
            own = np.flatnonzero((middles >= begin) & (middles < begin + length))
            for block in np.array_split(own, max(1, round(length / SAMPLE_RATE))):
                if len(block) and smooth[block].max() > LEAST:
                    worst = block[int(smooth[block].argmax())]
                    places.append(Place(kind, source, number, int(middles[worst]) - begin + offset))
                    scores.append(float(smooth[worst]))
    order = np.argsort(-np.array(scores), kind="stable")[:count]
    return [places[index] for index in order]


Span = tuple[str, str, int, int, int, int]


def _pieces(
    recordings: Iterator[tuple[str, str, int, Int16Array]],
) -> Iterator[tuple[list[Span], Int16Array]]:
    """Recordings one after the other in pieces of PIECE samples, and what lies where in each.

    A span is kind, source, number, first sample in the piece, first sample of the recording,
    samples. Neighbouring pieces of a long recording do not overlap.
    """
    audio, spans, at = np.zeros(PIECE, np.int16), [], GAP
    for kind, source, number, recording in recordings:
        begin = 0
        while begin < len(recording):
            part = recording[begin : begin + PIECE - at]
            audio[at : at + len(part)] = part
            spans.append((kind, source, number, at, begin, len(part)))
            begin += len(part)
            at += len(part) + GAP
            if at > PIECE - SAMPLE_RATE:
                yield spans, audio
                audio, spans, at = np.zeros(PIECE, np.int16), [], GAP
    if spans:
        yield spans, audio


def as_lists(places: Sequence[Place]) -> list[list[str | int]]:
    """For a checkpoint."""
    return [list(place) for place in places]


def from_lists(stored: list[list[str | int]], material: Material) -> list[Place]:
    """What `as_lists` gave; raises ModelError where the places are not in this material."""
    try:
        places = [Place(str(k), str(s), int(r), int(m)) for k, s, r, m in stored]
        for place in places:
            recording_at(material, place)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(
            "the hard negatives of this checkpoint are not in the recordings of this run "
            f"({type(error).__name__}: {error}); name the checkpoint of a run "
            "on the same recordings"
        ) from error
    return places
