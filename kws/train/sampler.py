"""Batches of training audio, drawn again every epoch: which sound, where, through what.

A window in a stream meets words at any place, words cut by its edges, the end of an earlier word
before the one that counts, and much that is no command at all. The sampler makes all of these. It
also makes longer streams without any command, over which the network slides in training as it does
in use: the highest score on such a stream is a false accept in the making.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kws.config import SAMPLE_RATE, SILENCE, UNKNOWN
from kws.recordings.data import CLIP_SAMPLES, Int16Array
from kws.train import augment
from kws.train.materials import MADE, Material
from kws.train.mining import Place, recording_at
from kws.train.talk import FOREGROUND_DB, Talk
from kws.train.targets import ANYWHERE, NOTHING

# Splices of these pairs, or of a word reversed, can sound like a command again.
CONFUSABLE = frozenset(
    frozenset(pair)
    for pair in (("no", "go"), ("on", "off"), ("up", "stop"), ("on", "no"), ("down", "no"))
)
NOT_REVERSED = frozenset({"no", "on"})


@dataclass(frozen=True)
class SamplerConfig:
    """Shares of what is drawn, and the ranges of what is done to it."""

    epoch_size: int = 30_720
    batch_size: int = 128
    unknown: float = 0.25  # share of the epoch
    silence: float = 0.09
    unknown_words: float = 0.55  # share of unknown: other words, one at a time
    unknown_speech: float = 0.20  # crops of speech and of wake phrases
    # the rest of unknown: commands cut, reversed or spliced
    balanced: bool = True  # commands equally often, not as often as there are clips of them
    preceded: float = 0.1  # share of words with the end of another word before them
    shift: float = 0.3  # seconds by which words are moved in the clip at most
    rate: float = 0.1  # speed and pitch change by up to this share
    noisy: float = 0.7  # share of clips with added noise
    snr_db: tuple[float, float] = (-5.0, 30.0)
    noise_made: float = 0.35  # share of noises that are made from nothing
    noise_rate: float = 1.5  # noises are played up to so many times as fast or as slow
    noise_room: float = 0.3  # share of noises in a made-up room
    talk: float = 0.4  # share of clips and streams with talk behind them; see kws.train.talk
    talk_snr_db: tuple[float, float] = (-5.0, 25.0)
    room: float = 0.25  # share of clips in a simulated room through a simulated microphone
    narrow: float = 0.5  # share of these microphones that lack the upper bands
    codec: float = 0.0  # share of clips over a telephone
    gain_db: tuple[float, float] = (-26.0, 8.0)
    warped: float = 0.5  # share of clips spoken by a longer or shorter vocal tract
    warp: float = 0.12  # by up to this share
    masked_frames: int = 0  # SpecAugment; a network of this size has enough to learn without
    masked_bands: int = 0
    # Pairs of clips laid over each other, features and targets alike (mixup, Zhang et al., arXiv
    # 1710.09412): the share of the weaker is drawn from Beta(mixup, mixup); 0 for none.
    mixup: float = 0.0
    streams: int = 24  # streams without commands, beside each batch of clips
    stream_samples: int = 2 * CLIP_SAMPLES - 320  # as many frames as two clips
    stream_speech: float = 0.36  # share of streams of running speech
    stream_pieces: float = 0.28  # of single words and pieces of speech with pauses between them
    stream_mined: float = 0.15  # of what the network of then took for a command
    # the rest: noise

    def __post_init__(self) -> None:
        """Raises ValueError for options that cannot be drawn by."""
        if not self.noise_rate >= 1.0:
            raise ValueError(f"expected sampler.noise_rate of 1 or more, got {self.noise_rate:g}")
        if not 0.0 <= self.shift <= 1.0:
            raise ValueError(f"expected sampler.shift of 0 to 1 second, got {self.shift:g}")
        for name in ("noise_made", "noise_room", "narrow", "codec", "talk", "stream_mined"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"expected a share of 0 to 1 as sampler.{name}, got {getattr(self, name):g}"
                )


class Clips(NamedTuple):
    """A batch of training clips."""

    audio: Tensor  # (clips, 16000) float32 in [-1, 1)
    targets: Tensor  # (clips,) label indexes, NOTHING where two voices are equally loud
    spoken: Tensor  # (clips, 2) first and last frame that make the target true


def extents(audio: Int16Array) -> NDArray[np.int64]:
    """First and last loud sample of each clip, (clips, 2): blocks within 26 dB of the peak."""
    blocks = audio.reshape(len(audio), -1, 160).astype(np.float32)
    energy = np.sqrt(np.mean(blocks * blocks, axis=2))
    loud = energy > 0.05 * energy.max(axis=1, keepdims=True)
    first = loud.argmax(axis=1)
    last = loud.shape[1] - loud[:, ::-1].argmax(axis=1)
    return np.stack((first * 160, last * 160), axis=1)


class Sampler:
    """Draws the batches of an epoch; the same seed and epoch give the same batches."""

    def __init__(
        self,
        material: Material,
        labels: tuple[str, ...],
        config: SamplerConfig,
        seed: int,
        device: str = "cpu",
    ) -> None:
        """On `device` the audio is augmented, and delivered there."""
        self.material, self.labels, self.config, self.seed = material, labels, config, seed
        self.device = device
        self.extents = {word: extents(clips) for word, clips in material.words.items()}
        self.keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
        clips = np.array([len(material.words[word]) for word in self.keywords], float)
        self.keyword_share = clips / clips.sum()
        self.others = [word for word in material.words if word not in self.keywords]
        sizes = np.array([len(material.words[word]) for word in self.others], float)
        self.other_share = np.sqrt(sizes) / np.sqrt(sizes).sum() if len(sizes) else sizes
        self.noise_share = self._noise_share()
        self.talk = Talk(material.speech, material.noise.get("tones", []))
        self.mined: Sequence[Place] = ()  # hard negatives that `streams` draws from

    def epoch(self, number: int) -> Iterator[Clips]:
        """The clips of an epoch, batch by batch."""
        config = self.config
        self._begin(number)
        for _ in range(config.epoch_size // config.batch_size):
            kinds = self._draw.random(config.batch_size)
            targets = np.empty(config.batch_size, np.int64)
            audio = np.zeros((config.batch_size, CLIP_SAMPLES), np.float32)
            spoken = np.empty((config.batch_size, 2))
            for row, kind in enumerate(kinds):
                if kind < config.silence:
                    targets[row] = self.labels.index(SILENCE)
                    spoken[row] = 0, CLIP_SAMPLES
                elif kind < config.silence + config.unknown:
                    targets[row] = self.labels.index(UNKNOWN)
                    audio[row], spoken[row] = self._unknown()
                else:
                    word = self._keyword()
                    targets[row] = self.labels.index(word)
                    audio[row], spoken[row] = self._placed(word)
            silent = self._there(targets == self.labels.index(SILENCE))
            augmented, rate, talk_db = self._augmented(self._there(audio) / 32768.0, silent)
            wanted = self._there(targets)
            command = ~silent & (wanted != self.labels.index(UNKNOWN))
            hidden = command & (talk_db < -FOREGROUND_DB)
            wanted = torch.where(command & (talk_db.abs() <= FOREGROUND_DB), NOTHING, wanted)
            wanted = torch.where(hidden, self.labels.index(UNKNOWN), wanted)
            frames = _frames(self._there(spoken), rate)
            anywhere = torch.tensor(ANYWHERE, device=frames.device)
            frames = torch.where(silent[:, None], anywhere, frames)
            yield Clips(augmented, wanted, frames)

    def streams(self, number: int) -> Iterator[Tensor]:
        """Streams that hold no command, for each batch of an epoch: (streams, stream_samples).

        Draw them from another Sampler than the clips: each carries its own random state.
        """
        config = self.config
        self._begin(number)
        for _ in range(config.epoch_size // config.batch_size):
            audio = np.zeros((config.streams, config.stream_samples), np.float32)
            silent = np.zeros(config.streams, bool)
            for row, kind in enumerate(self._draw.random(config.streams)):
                if self.mined and self._draw.random() < config.stream_mined:
                    audio[row] = self._mined()
                elif kind < config.stream_speech and self.material.speech:
                    audio[row] = self._running_speech()
                elif kind < config.stream_speech + config.stream_pieces and (
                    self.others or self.material.speech
                ):
                    audio[row] = self._pieces()
                else:
                    silent[row] = True
            yield self._augmented(self._there(audio) / 32768.0, self._there(silent))[0]

    def _begin(self, number: int) -> None:
        self._draw = np.random.default_rng((self.seed, number))
        generator = torch.Generator(self.device)
        self._generator = generator.manual_seed(self.seed * 100_003 + number)

    def _there(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _running_speech(self) -> NDArray[np.float32]:
        """Speech all along: one recording, or short ones with short pauses between them."""
        window = np.zeros(self.config.stream_samples, np.float32)
        position = 0
        while position < len(window):
            part = self._crop(self.material.speech, len(window))
            spoken = np.flatnonzero(np.abs(part) > 0.02 * np.abs(part).max())
            part = (
                part[spoken[0] : spoken[-1] + 1][: len(window) - position] if len(spoken) else part
            )
            window[position : position + len(part)] = part[: len(window) - position]
            position += len(part) + int(self._draw.uniform(0.05, 0.4) * SAMPLE_RATE)
        return window

    def _pieces(self) -> NDArray[np.float32]:
        """Words that are no commands, and pieces of speech as short as one, each alone."""
        window = np.zeros(self.config.stream_samples, np.float32)
        position = int(self._draw.uniform(0.1, 0.7) * SAMPLE_RATE)
        while position < len(window) - SAMPLE_RATE // 5:
            if self.others and (not self.material.speech or self._draw.random() < 0.4):
                clip, first, last = self._pick(
                    str(self._draw.choice(self.others, p=self.other_share))
                )
                piece = clip[first:last].astype(np.float32)
            else:
                length = int(self._draw.uniform(0.15, 0.8) * SAMPLE_RATE)
                piece = _fade(_at_dips(self._crop(self.material.speech), length))
            piece = piece[: len(window) - position]
            window[position : position + len(piece)] = piece
            position += len(piece) + int(self._draw.uniform(0.25, 0.9) * SAMPLE_RATE)
        return window

    def _mined(self) -> NDArray[np.float32]:
        """A hard negative, somewhere in a stream."""
        place = self.mined[int(self._draw.integers(len(self.mined)))]
        recording = recording_at(self.material, place)
        window = np.zeros(self.config.stream_samples, np.float32)
        middle = int(self._draw.uniform(0.3, 0.7) * len(window))
        first = place.middle - middle
        part = recording[max(0, first) : max(0, first + len(window))]
        begin = max(0, -first)
        part = part[: len(window) - begin]
        window[begin : begin + len(part)] = part
        return window

    def _pick(self, word: str) -> tuple[Int16Array, int, int]:
        index = self._draw.integers(len(self.material.words[word]))
        first, last = self.extents[word][index]
        return self.material.words[word][index], int(first), int(last)

    def _keyword(self) -> str:
        if self.config.balanced:
            return self.keywords[self._draw.integers(len(self.keywords))]
        return str(self._draw.choice(self.keywords, p=self.keyword_share))

    def _any_word(self) -> str:
        if self.others and self._draw.random() < 0.5:
            return str(self._draw.choice(self.others, p=self.other_share))
        return self._keyword()

    def _placed(self, word: str) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """A word moved to a random place of the window, sometimes after the end of another.

        With it, the word's first and last sample.
        """
        clip, first, last = self._pick(word)
        furthest = round(self.config.shift * SAMPLE_RATE)
        low = -min(first, furthest)
        high = min(CLIP_SAMPLES - last, furthest)
        slack = min(SAMPLE_RATE // 20, furthest)  # words that fill the clip still move a little
        shift = int(self._draw.integers(min(low, -slack), max(high, slack) + 1))
        window = moved(clip, shift)
        gap = int(self._draw.uniform(0.04, 0.25) * SAMPLE_RATE)
        free = first + shift - gap  # samples before the word
        if free > SAMPLE_RATE // 20 and self._draw.random() < self.config.preceded:
            other, begin, end = self._pick(self._any_word())
            tail = other[max(begin, end - free) : end]
            window[free - len(tail) : free] += tail * self._draw.uniform(0.3, 1.2)
        return window, (first + shift, last + shift)

    def _unknown(self) -> tuple[NDArray[np.float32], tuple[int, int]]:
        config, kind = self.config, self._draw.random()
        if kind < config.unknown_words and self.others:
            return self._placed(str(self._draw.choice(self.others, p=self.other_share)))
        if kind < config.unknown_words + config.unknown_speech and self.material.speech:
            return self._crop(self.material.speech), (0, CLIP_SAMPLES)
        return self._broken(), (0, CLIP_SAMPLES)

    def _crop(
        self, recordings: dict[str, list[Int16Array]], samples: int = CLIP_SAMPLES
    ) -> NDArray[np.float32]:
        """So many samples from a random place of a random recording of a random source."""
        source = list(recordings)[self._draw.integers(len(recordings))]
        recording = recordings[source][self._draw.integers(len(recordings[source]))]
        room = len(recording) - samples
        start = int(self._draw.integers(min(0, room), max(0, room) + 1))
        part = recording[max(0, start) : max(0, start) + samples]
        window = np.zeros(samples, np.float32)
        offset = max(0, -start)
        part = part[: samples - offset]
        window[offset : offset + len(part)] = part
        return window

    def _broken(self) -> NDArray[np.float32]:
        """A spoiled command, a negative: cut, cut by the window's edge, reversed, or spliced."""
        last = first = 0
        # Where noise hides the word's ends, a cut could leave the whole word: draw again.
        while last == 0 or (last - first > CLIP_SAMPLES * 3 // 4 and self._draw.random() < 0.98):
            word = self._keyword()
            clip, first, last = self._pick(word)
        kind = self._draw.integers(4)
        if kind == 0 and word not in NOT_REVERSED:
            return clip[::-1].astype(np.float32)
        if kind == 1:
            other = self._any_word()
            if other != word and frozenset((word, other)) not in CONFUSABLE:
                second, begin, end = self._pick(other)
                joined = np.concatenate((clip[: (first + last) // 2], second[(begin + end) // 2 :]))
                window = np.zeros(CLIP_SAMPLES, np.float32)
                window[: len(joined)] = joined[:CLIP_SAMPLES]
                return window
        kept = int((last - first) * self._draw.uniform(0.1, 0.33))
        at_edge = self._draw.random() < 0.6
        if self._draw.random() < 0.6:  # only the beginning is kept
            cut = clip.copy()
            cut[first + kept :] = 0
            return moved(cut, CLIP_SAMPLES - first - kept if at_edge else 0)
        cut = clip.copy()
        cut[: last - kept] = 0
        return moved(cut, kept - last if at_edge else 0)

    def _noise_share(self) -> NDArray[np.float64]:
        """How often each source of noise is drawn from: the longer the oftener, by the root."""
        seconds = np.array([sum(map(len, found)) for found in self.material.noise.values()], float)
        made = np.array([source in MADE for source in self.material.noise])
        share: NDArray[np.float64] = np.sqrt(seconds)
        for kind, whole in ((made, self.config.noise_made), (~made, 1.0 - self.config.noise_made)):
            share[kind] *= whole / max(1e-9, share[kind].sum())
        share /= share.sum()
        return share

    def _noises(self, count: int, samples: int) -> Tensor:
        """Pieces of noises, (count, samples): backwards or not, at other speeds, in rooms."""
        config, generator = self.config, self._generator
        drawn = math.ceil(samples * config.noise_rate)
        pieces = np.empty((count, drawn), np.float32)
        for row in range(count):
            source = self._draw.choice(list(self.material.noise), p=self.noise_share)
            piece = self._crop({source: self.material.noise[source]}, drawn)
            pieces[row] = piece[::-1] if self._draw.random() < 0.5 else piece
        widest = math.log(config.noise_rate)
        rate = augment.uniform(-widest, widest, count, generator).exp()
        noise = self._there(pieces) / 32768.0
        still = torch.zeros(count, device=self.device)
        noise = augment.shift_and_stretch(noise, still, rate, samples)
        in_room = torch.rand(count, generator=generator, device=self.device) < config.noise_room
        if in_room.any():
            noise[in_room] = augment.apply_room(noise[in_room], config.narrow, generator)
        return noise

    def _augmented(self, audio: Tensor, silent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The batch as a microphone in some room, noise, talk and distance delivers it.

        With it, how fast each clip was played, and by how many dB it is louder than the talk.
        """
        config, generator = self.config, self._generator
        count, samples = audio.shape
        device = generator.device
        rate = augment.uniform(1.0 - config.rate, 1.0 + config.rate, count, generator)
        audio = augment.shift_and_stretch(audio, torch.zeros(count, device=device), rate)
        in_room = torch.rand(count, generator=generator, device=device) < config.room
        if in_room.any():
            audio[in_room] = augment.apply_room(audio[in_room], config.narrow, generator)
        snr_db = augment.uniform(*config.snr_db, count, generator)
        noisy = (torch.rand(count, generator=generator, device=device) < config.noisy) & ~silent
        talk_db = torch.full((count,), math.inf, device=device)
        if self.talk:
            talking = self._there(self._draw.random(count) < config.talk) & ~silent
            rows = torch.nonzero(talking)[:, 0]
            talk_db[rows] = augment.uniform(*config.talk_snr_db, len(rows), generator)
            beds = self.talk.draw(len(rows), samples, self._draw, generator, config.narrow)
            level = augment.loudness(audio[rows]) * 10.0 ** (-talk_db[rows, None] / 20.0)
            # Half as often noise beside it: a room that talks is rarely a workshop too.
            noisy[rows] &= torch.rand(len(rows), generator=generator, device=device) < 0.5
            talked = audio.clone()
            talked[rows] += beds * level
        else:
            talked = audio
        noise = torch.zeros_like(audio)
        noise[noisy | silent] = self._noises(int((noisy | silent).sum()), samples)
        noised = augment.mix_noise(audio[noisy], noise[noisy], snr_db[noisy]) - audio[noisy]
        audio = talked.clone()
        audio[noisy] += noised  # the level is against the word, not against the talk
        gain_db = augment.uniform(*config.gain_db, count, generator)
        # Silence is noise at any gain, and now and then nothing at all.
        muted = torch.rand(count, generator=generator, device=device) < 0.1
        quiet_db = augment.uniform(-50.0, 6.0, count, generator)
        audio = torch.where(silent[:, None], noise * ~muted[:, None], audio)
        audio = augment.set_gain(audio, torch.where(silent, quiet_db, gain_db))
        if config.codec:
            phoned = torch.rand(count, generator=generator, device=device) < config.codec
            if phoned.any():
                audio[phoned] = augment.over_telephone(audio[phoned])
        return audio, rate, talk_db


def _frames(spoken: Tensor, rate: Tensor) -> Tensor:
    """First and last frame of what lies from one sample to another of a clip played at a rate.

    With 30 ms to spare at both ends, for what is spoken softly; within the clip.
    """
    centre, hop, margin = CLIP_SAMPLES / 2, SAMPLE_RATE // 100, 3
    frame = ((spoken - centre) / rate[:, None] + centre) / hop
    frame[:, 0] -= margin
    frame[:, 1] += margin
    return frame.round().long().clamp(0, CLIP_SAMPLES // hop - 3)


def moved(clip: Int16Array, shift: int) -> NDArray[np.float32]:
    """The clip `shift` samples later (earlier where negative) as float32, zeros elsewhere."""
    window = np.zeros(len(clip), np.float32)
    if shift >= 0:
        window[shift:] = clip[: len(clip) - shift]
    else:
        window[:shift] = clip[-shift:]
    return window


def _at_dips(speech: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """A piece of about `length` samples that begins and ends where the speech is quietest."""
    energy = np.abs(speech[: len(speech) // 160 * 160]).reshape(-1, 160).mean(axis=1)
    blocks = max(2, length // 160)
    starts = max(1, len(energy) - blocks)
    start = int(np.argmin(energy[:starts]))
    near = energy[start + blocks * 2 // 3 : start + blocks * 4 // 3 + 1]
    end = start + blocks * 2 // 3 + int(np.argmin(near)) if len(near) else len(energy)
    return speech[start * 160 : end * 160]


def _fade(piece: NDArray[np.float32], samples: int = 160) -> NDArray[np.float32]:
    """The piece with its first and last 10 ms faded, so that the cut is no click."""
    ramp = np.minimum(1.0, np.arange(len(piece), dtype=np.float32) / samples)
    return piece * ramp * ramp[::-1]
