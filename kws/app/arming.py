"""A second condition for bare words in a living room: after another word, and not too often."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kws.app.pause import Pause
from kws.audio.block import AudioBlock
from kws.audio.gap import Gap
from kws.decision import Detection
from kws.detector import Detector
from kws.errors import SettingError
from kws.model.load import Model
from kws.nearest import nearest


@dataclass(frozen=True)
class ArmingConfig:
    """Which detections count. Raises SettingError for values that do not exist.

    Without `after`, any word of `after_model` arms.
    """

    after: str | None = None  # a word counts only after this one, which itself starts nothing
    after_model: Model | str | os.PathLike[str] | None = None  # detects `after`; None: the same
    within: float = 4.0  # seconds from the end of that word to the end of the one that counts
    cool_down: Mapping[str, float] = field(default_factory=dict)  # seconds, by keyword
    pause_on: str | None = None  # a word that only pauses listening
    pause_for: float = 60.0  # seconds

    def __post_init__(self) -> None:
        times = {"within": self.within, "pause_for": self.pause_for, **self.cool_down}
        for name, seconds in times.items():
            if not (0.0 < seconds < math.inf):
                raise SettingError(f"expected seconds above 0 for {name}, got {seconds:g}")

    def check(self, keywords: Collection[str]) -> None:
        """Raise SettingError, with the nearest word, for a word that is not among `keywords`."""
        armed_by = self.after if self.after_model is None else None
        if self.pause_on is not None and self.pause_on == armed_by:
            raise SettingError(f"expected two words, got {armed_by!r} to arm and to pause")
        for word in (*self.cool_down, armed_by, self.pause_on):
            if word is not None and word not in keywords:
                near = nearest(word, keywords)
                hint = f"; did you mean {near}?" if near else ""
                raise SettingError(f"{word!r} is no keyword of this model{hint}")


class Arming:
    """Decides, detection by detection, which ones count; times are those of one stream."""

    def __init__(self, config: ArmingConfig) -> None:
        """Raises what `Detector` raises for `after_model` and its word."""
        self.config = config
        self._first: Detector | None = None
        if config.after_model is not None:
            words = None if config.after is None else (config.after,)
            self._first = Detector(config.after_model, keywords=words)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream: nothing is armed, and nothing cools down."""
        if self._first:
            self._first.reset()
        self._arms: deque[float] = deque()  # when `after_model` detected, seconds of stream time
        self._armed_until = -math.inf  # seconds of stream time
        self._next: dict[str, float] = {}  # by keyword, when it counts again

    def counts(self, detection: Detection) -> bool:
        """Whether this detection counts; call once for each, in their order.

        The word of `after` arms and does not count. One word counts for each time it was spoken.
        """
        config, now = self.config, detection.end
        while self._arms and self._arms[0] < now:  # no word arms itself
            self._armed_until = self._arms.popleft() + config.within
        if detection.keyword == config.after:
            if self._first is None:
                self._armed_until = now + config.within
            return False
        if (self._first or config.after is not None) and now > self._armed_until:
            return False
        if now < self._next.get(detection.keyword, -math.inf):
            return False
        self._armed_until = -math.inf
        self._next[detection.keyword] = now + config.cool_down.get(detection.keyword, 0.0)
        return True

    def listen(
        self, detector: Detector, source: Iterable[AudioBlock | Gap], pause: Pause
    ) -> Iterator[Detection]:
        """What counts of the detections in a source, as for `Detector.listen`.

        The word of `pause_on` throws `pause`, whose gaps the source has to have.
        """
        self.reset()
        found = detector.listen(
            _Watched(source, self._first, self._arms) if self._first else source
        )
        for detection in found:
            if not self.counts(detection):
                continue
            if detection.keyword == self.config.pause_on:
                pause.pause(self.config.pause_for)
            else:
                yield detection


class _Watched:
    """A source's blocks, each of which another detector has processed before."""

    def __init__(
        self, source: Iterable[AudioBlock | Gap], detector: Detector, times: deque[float]
    ) -> None:
        """`times` is given when it detects something, in seconds of stream time."""
        self._source, self._detector, self._times = source, detector, times
        if hasattr(source, "unix_time"):  # Detector.listen gives detections their time with it
            self.unix_time = source.unix_time

    def __iter__(self) -> Iterator[AudioBlock | Gap]:
        detector = self._detector
        for block in self._source:
            if isinstance(block, Gap):
                found = detector.skip(block.samples)
            else:
                found = detector.process(block)
            self._times.extend(detection.end for detection in found)
            yield block
        self._times.extend(detection.end for detection in detector.finish())
