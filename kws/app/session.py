"""A source, a detector and outputs, joined: what `kws listen` runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from kws.app.arming import Arming, ArmingConfig
from kws.app.events import End, Paused, Ready, Reason, Resumed
from kws.app.outputs import Outputs
from kws.app.pause import Pause
from kws.app.signals import Stopped, StopSignals
from kws.audio.block import AudioBlock
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
        self.arming = Arming(ArmingConfig())  # which detections the outputs get
        self._outputs = outputs
        self._signals = signals
        self._pause = Pause(self._tell_paused)
        self._stream: _Stream | None = None  # the one that runs or ran last

    def run(self, detector: Detector, source: Iterable[AudioBlock | Gap], name: str) -> End:
        """Listen until the source ends or a signal comes; `name` is the source's, for people.

        The outputs are told that it is ready when the first block has come, and of the end that is
        returned. Raises what the source, the detector and
        the outputs raise.
        """

        def ready() -> None:
            manifest = detector.model.manifest
            self._outputs.put(
                Ready(time.time(), name, manifest, detector.thresholds, stream.seconds)
            )

        self._stream = stream = _Stream(source, self._signals, ready, self._pause)
        detections = 0
        reason: Reason = "failed"
        message = ""
        try:
            try:
                for detection in self.arming.listen(detector, stream, self._pause):
                    detections += 1
                    self._outputs.put(detection)
            except Stopped:  # torn from what took too long, or on the very edge of the shield
                pass
            reason = self._reason()
        except Exception as error:
            message = str(error)
            raise
        finally:
            processed = stream.samples / SAMPLE_RATE
            end = End(time.time(), reason, processed, detections, message, stream.seconds)
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
        return self._pause.on

    def mute(self, muted: bool) -> None:
        """Pause or resume: what remote switches call."""
        (self.pause if muted else self.resume)()

    def pause(self) -> None:
        """Leave out what is said from now on, as a mute switch does; from any thread."""
        self._pause.pause()

    def resume(self) -> None:
        """Detect words again; from any thread."""
        self._pause.resume()

    def _tell_paused(self, paused: bool) -> None:
        at = self._stream.seconds if self._stream else 0.0
        self._outputs.put((Paused if paused else Resumed)(time.time(), at))

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
        source: Iterable[AudioBlock | Gap],
        signals: StopSignals,
        ready: Callable[[], None],
        pause: Pause,
    ) -> None:
        self.samples = 0  # processed
        self._lost = 0  # samples
        self._source, self._signals, self._ready, self._pause = source, signals, ready, pause
        if hasattr(source, "unix_time"):  # Detector.listen gives detections their time with it
            self.unix_time = source.unix_time

    @property
    def seconds(self) -> float:
        """The stream's time now, what was lost included."""
        return (self.samples + self._lost) / SAMPLE_RATE

    def __iter__(self) -> Iterator[AudioBlock | Gap]:
        signals = self._signals
        try:
            iterator: Iterator[AudioBlock | Gap] | None = None
            while True:
                signals.waits = True
                signals.shielded = False
                if signals.received is not None:
                    return
                iterator = iterator or iter(self._source)  # which may wait for a header
                block = next(iterator, None)
                signals.shielded = True
                signals.waits = False
                if block is None:
                    return
                if isinstance(block, np.ndarray) and not self.samples:
                    self._ready()
                passed = self._pause.passed(block)
                if isinstance(block, np.ndarray):
                    self.samples += len(block)
                elif isinstance(block, Gap):
                    self._lost += block.samples
                yield passed
        except Stopped:
            return
        finally:
            signals.shielded = True
            signals.waits = False
