"""Which keywords are detected, from which thresholds on, and how they are decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import numpy as np

from kws.config import DecisionConfig
from kws.errors import SettingError
from kws.model.load import Model
from kws.model.manifest import MODES
from kws.nearest import nearest

Sensitivity = Literal["low", "medium", "high"]
Threshold = float | Mapping[str, float]


@dataclass(frozen=True)
class OperatingPoint:
    """A model's thresholds and decision settings, as a detector takes them."""

    mode: str  # one of MODES
    sensitivity: str  # for the reader: a preset's name, or the threshold
    thresholds: Mapping[str, float]  # of the keywords that are detected, in (0, 1]
    config: DecisionConfig
    verified: bool  # whether the model's verifier confirms candidates

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        threshold: Threshold | None = None,
        sensitivity: Sensitivity | None = None,
        keywords: Iterable[str] | None = None,
        isolated: bool = True,
        verify: bool = True,
    ) -> OperatingPoint:
        """What `Detector` takes for these arguments.

        Raises SettingError for a value that does not exist, and ModelError where the model was
        given no such preset.
        """
        manifest, mode = model.manifest, MODES[0 if isolated else 1]
        chosen = _chosen(manifest.keywords, keywords)
        if sensitivity is not None:
            _require_known([sensitivity], get_args(Sensitivity), "sensitivity", "sensitivities")
        config = manifest.decision if isolated else manifest.decision.connected()
        verified = verify and model.verifier is not None
        if isinstance(threshold, Mapping):
            _require_known(threshold, chosen, "keyword", "keywords")
            own = dict(threshold)
        else:
            own = {} if threshold is None else dict.fromkeys(chosen, threshold)
        for word, value in own.items():
            if not isinstance(value, Real) or not 0.0 < value <= 1.0:
                raise SettingError(f"expected a threshold in (0, 1] for {word}, got {value!r}")
        name = ", ".join(f"{word} {value:g}" for word, value in own.items())
        if own and not isinstance(threshold, Mapping):
            name = f"threshold {threshold:g}"
        if len(own) < len(chosen):
            preset = manifest.operating_point(mode, sensitivity, verified)
            own = {word: preset.get(word, config.threshold) for word in chosen} | own
            name = ", ".join(filter(None, (sensitivity or "default", name)))
        return cls(mode, name, own, config, verified)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The words that are detected."""
        return tuple(self.thresholds)

    def moved(self, offset: float) -> dict[str, float]:
        """The thresholds, each `offset` higher in log-odds."""
        odds = {word: value / (1.0 - value + 1e-9) for word, value in self.thresholds.items()}
        return {word: 1.0 - 1.0 / (1.0 + each * np.exp(offset)) for word, each in odds.items()}


def _chosen(known: tuple[str, ...], keywords: Iterable[str] | None) -> tuple[str, ...]:
    """The keywords that are detected, in the model's order."""
    if keywords is None:
        return known
    if isinstance(keywords, str):
        raise SettingError(f'expected keywords as a list of words, such as ["{keywords}"]')
    wanted = set(keywords)
    _require_known(wanted, known, "keyword", "keywords")
    if not wanted:
        raise SettingError(f"expected at least one keyword; the model's are {', '.join(known)}")
    return tuple(word for word in known if word in wanted)


def _require_known(names: Iterable[str], known: Collection[str], one: str, many: str) -> None:
    """Raise SettingError for a name that is not known, with the one that it is nearest to."""
    for name in names:
        if name not in known:
            near = nearest(str(name), known)
            guess = f", did you mean {near!r}?" if near else ";"
            raise SettingError(
                f"no {one} is called {name!r}{guess} the {many} are {', '.join(known)}"
            )
