"""A second condition for bare words in a living room: after another word, and not too often."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kws.decision import Detection
from kws.errors import SettingError


@dataclass(frozen=True)
class ArmingConfig:
    """Which detections count. Raises SettingError for values that do not exist."""

    after: str | None = None  # a word counts only after this one, which itself starts nothing
    within: float = 4.0  # seconds from the end of that word to the end of the one that counts
    cool_down: Mapping[str, float] = field(default_factory=dict)  # seconds, by keyword

    def __post_init__(self) -> None:
        for name, seconds in (("within", self.within), *self.cool_down.items()):
            if not (0.0 < seconds < math.inf):
                raise SettingError(f"expected seconds above 0 for {name}, got {seconds:g}")

    def check(self, keywords: Collection[str]) -> None:
        """Raise SettingError, with the nearest word, for a word that is not among `keywords`."""
        wanted = [*self.cool_down, *([self.after] if self.after else [])]
        for word in wanted:
            if word not in keywords:
                near = difflib.get_close_matches(word, keywords, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingError(f"{word!r} is no keyword of this model{hint}")


class Arming:
    """Decides, detection by detection, which ones count; times are those of one stream."""

    def __init__(self, config: ArmingConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Begin a new stream: nothing is armed, and nothing cools down."""
        self._armed_until = -math.inf  # seconds of stream time
        self._next: dict[str, float] = {}  # by keyword, when it counts again

    def counts(self, detection: Detection) -> bool:
        """Whether this detection counts; call once for each, in their order.

        The word of `after` arms and does not count. One word counts for each time it was spoken.
        """
        config, now = self.config, detection.end
        if config.after is not None:
            if detection.keyword == config.after:
                self._armed_until = now + config.within
                return False
            if now > self._armed_until:
                return False
        if now < self._next.get(detection.keyword, -math.inf):
            return False
        self._armed_until = -math.inf
        self._next[detection.keyword] = now + config.cool_down.get(detection.keyword, 0.0)
        return True
