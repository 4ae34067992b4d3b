"""A source, a detector and outputs, joined: what `kws listen` runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kws.app.arming import Arming
from kws.app.events import End, Paused, Ready, Reason, Resumed
from kws.app.outputs import Outputs
from kws.app.signals import Stopped, StopSignals
from kws.audio.events import SourceEvent
from kws.audio.gap import Gap
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.detector import Detector, Int16Array, Observer
from kws.frontend import FloatArray


class Session:
    """Tells the outputs what a detector finds in a source, and how the source fares."""

    def __init__(self, outputs: Outputs, signals: StopSignals) -> None:
        """The caller closes them."""
        self.arming: Arming | None = None  # which detections the outputs get; None: all
        self._outputs = outputs
        self._signals = signals
        self._paused = False

    def run(self, detector: Detector, source: Iterable[Any], name: str) -> End:
        """Listen until the source ends or a signal comes; `name` is the source's, for people.

        The outputs are told that it is ready when the first block has come, and of the end that is
        returned. Raises what the source, the detector and
        the outputs raise.
        """

        def ready() -> None:
            manifest = detector.model.manifest
            self._outputs.put(Ready(time.time(), name, manifest, detector.thresholds))

        stream = _Stream(source, self._signals, ready, lambda: self._paused)
        detections = 0
        reason: Reason = "failed"
        message = ""
        try:
            try:
                if self.arming:
                    self.arming.reset()
                for detection in detector.listen(stream):
                    if self.arming and not self.arming.counts(detection):
                        continue
                    detections += 1
                    self._outputs.put(detection)
            except Stopped:  # torn from what took too long, or on the very edge of the shield
                pass
            reason = self._reason()
        except Exception as error:
            message = str(error)
            raise
        finally:
            end = End(time.time(), reason, stream.samples / SAMPLE_RATE, detections, message)
            if not self._signals.torn:  # it would take too long again
                self._outputs.put(end)
            self._signals.shielded = False
        return end

    def source_event(self, event: SourceEvent) -> None:
        """Tell the outputs how the source fares: for `Microphone(on_event=...)`.

        That it is ready is left out: `run` says so when the detector is.
        """
        if event.kind != "ready":
            with self._signals.shield():
                self._outputs.put(event)

    @property
    def paused(self) -> bool:
        """Whether what is said is left out."""
        return self._paused

    def mute(self, muted: bool) -> None:
        """Pause or resume: what remote switches call."""
        (self.pause if muted else self.resume)()

    def pause(self) -> None:
        """Leave out what is said from now on, as a mute switch does; from any thread."""
        if not self._paused:
            self._paused = True
            self._outputs.put(Paused(time.time()))

    def resume(self) -> None:
        """Detect words again; from any thread."""
        if self._paused:
            self._paused = False
            self._outputs.put(Resumed(time.time()))

    def _reason(self) -> Reason:
        if self._signals.received is None:
            return "end"
        return "reload" if self._signals.asks_to_reload else "signal"


class Observers:
    """Several observers of one detector."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        for observer in self._observers:
            observer.observe(audio, rows, fired)


class _Stream:
    """A source's blocks until a signal comes, which may only come while one is waited for."""

    def __init__(
        self,
        source: Iterable[Any],
        signals: StopSignals,
        ready: Callable[[], None],
        paused: Callable[[], bool],
    ) -> None:
        self.samples = 0
        self._source, self._signals, self._ready, self._paused = source, signals, ready, paused
        if hasattr(source, "unix_time"):  # Detector.listen gives detections their time with it
            self.unix_time = source.unix_time

    def __iter__(self) -> Iterator[Any]:
        signals = self._signals
        try:
            iterator = iter(self._source)
            while True:
                signals.shielded = False
                if signals.received is not None:
                    return
                block = next(iterator, None)
                signals.shielded = True
                if block is None:
                    return
                if isinstance(block, np.ndarray):
                    if not self.samples:
                        self._ready()
                    self.samples += len(block)
                    if self._paused():
                        block = Gap(len(block))
                yield block
        except Stopped:
            return
        finally:
            signals.shielded = True
