"""The words that clients may wait for, of one or more models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kws.detector import Detector
from kws.errors import SettingError
from kws.model.load import Model, load_model
from kws.model.manifest import MODELS


class WakeWords:
    """Each word by its name, and detectors for some of them.

    Of a model of the user's own these are all its words, or those that were chosen; of a packaged
    one, only those that were chosen, since a bare "no" is no wake word.
    """

    def __init__(
        self,
        chosen: Mapping[str | None, Collection[str] | None],
        decision: Mapping[str, Any] | None = None,
    ) -> None:
        """`chosen` are words by model, as `load_model` takes it; None: all that count as above.

        `decision` are the arguments of Detector that say when a word counts, beside `keywords`; a
        threshold by word is for the model that has it.

        Raises what `load` raises.
        """
        self._chosen = dict(chosen)
        self._decision = dict(decision or {})
        self._models: dict[str, Model] = {}
        self.load()

    def load(self) -> None:
        """Read the models, again too; what is open keeps the old ones.

        Raises, and changes nothing, what `load_model` and `Detector` raise, and SettingError where
        there is no word, or one in two models.
        """
        found: dict[str, Model] = {}
        for name, chosen in self._chosen.items():
            model = load_model(name)
            if chosen is None:
                chosen = () if model.path.parent == MODELS else model.manifest.keywords
            if chosen:
                self._detector(model, chosen)
            for word in chosen:
                if word in found:
                    raise SettingError(f"two models have the word {word!r}; leave one out")
                found[word] = model
        if not found:
            raise SettingError(
                "no wake words: the packaged model's are offered where --keywords names them, "
                "those of a model of your own all"
            )
        self._models = found

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._models)

    def open(self, names: Collection[str]) -> list[Detector]:
        """A new detector of each model that has some of these words; unknown ones are left out."""
        models, words = self._models, [name for name in names if name in self._models]
        distinct = {id(models[word]): models[word] for word in words}.values()
        return [
            self._detector(model, [word for word in words if models[word] is model])
            for model in distinct
        ]

    def _detector(self, model: Model, words: Collection[str]) -> Detector:
        decision = {**self._decision, "keywords": words}
        threshold = decision.get("threshold")
        if isinstance(threshold, Mapping):
            decision["threshold"] = {word: threshold[word] for word in words if word in threshold}
        return Detector(model, **decision)
