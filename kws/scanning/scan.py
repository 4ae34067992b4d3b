"""Detections in an archive of recordings: many files at once, on all cores or on a cluster."""

from __future__ import annotations

import importlib
import os
import pickle
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, Protocol

from kws.audio import AudioFile, Int16Array
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.errors import AudioError, BackendUnavailable, KwsError
from kws.keyword_streams import clip_end, silence_after
from kws.model.load import Model, load_model
from kws.pool import DetectorPool

BLOCK_MS = 960  # whole hops, and few calls for each second
BUNDLE = 64  # recordings that a worker takes at most; what a lost one on a cluster does again
TOPIC = "kws-scan"  # of a Dask scheduler's events: one for all scans, so that they stay bounded


@dataclass(frozen=True)
class ScanSettings:
    """What decides which detections come out; see `Detector` and `load_model`."""

    model: str | None = None
    artefact: str | None = None
    provider: str | None = None
    threshold: float | Mapping[str, float] | None = None
    streams: int = 32  # recordings that one process computes at once
    keywords: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Scanned:
    """What was found in one recording."""

    path: str
    seconds: float  # that could be read
    detections: tuple[Detection, ...]
    error: str | None = None  # why the rest, or all of it, could not be read
    again: bool = False  # whether a failure need not be the recording's, so that it is tried again


def scan_recordings(paths: Sequence[str], settings: ScanSettings) -> list[Scanned]:
    """Process the recordings in this process; each gives the detections that a `Detector` would.

    In the order of `paths`. A recording that cannot be read has a result with the reason. Raises
    what `load_model` raises.
    """
    found = {scanned.path: scanned for scanned in scan_each(paths, settings)}
    return [found[path] for path in paths]


def scan_each(paths: Sequence[str], settings: ScanSettings) -> Iterator[Scanned]:
    """The same, each as soon as its recording has ended, in any order."""
    model = load(settings)
    pool = DetectorPool(
        model,
        min(settings.streams, max(1, len(paths))),
        threshold=settings.threshold,
        keywords=settings.keywords,
    )
    waiting = iter(paths)
    lanes: list[_Lane | None] = [None] * len(pool)
    left = len(paths)
    while left:
        for number, lane in enumerate(lanes):
            if lane is None and (path := next(waiting, None)) is not None:
                pool.reset(number)
                lanes[number] = _Lane(path, silence_after(model.manifest))
        blocks = [lane.next_block() if lane else None for lane in lanes]
        for number, found in enumerate(pool.process(blocks)):
            if lane := lanes[number]:
                lane.detections += found
                if lane.done:
                    yield lane.result()
                    lanes[number] = None
                    left -= 1


class _Lane:
    """One recording on its way through the pool."""

    def __init__(self, path: str, tail: Int16Array) -> None:
        self.detections: list[Detection] = []
        self.done = False
        self._path, self._tail = path, tail
        self._samples = 0
        self._error: str | None = None
        self._blocks = self._read()

    def _read(self) -> Iterator[Int16Array]:
        try:
            with AudioFile(self._path, BLOCK_MS) as file:
                yield from file
        except AudioError as error:
            self._error = str(error)

    def next_block(self) -> Int16Array:
        """The next block, or, once the recording has ended, the silence that ends a stream."""
        block = next(self._blocks, None)
        if block is None:
            self.done = True
            return self._tail
        self._samples += len(block)
        return block

    def result(self) -> Scanned:
        """What was found, once `done`."""
        seconds = self._samples / SAMPLE_RATE
        detections = [clip_end(each, seconds) for each in self.detections]
        return Scanned(self._path, seconds, tuple(detections), self._error)


@lru_cache(maxsize=2)
def _loaded(model: str | None, artefact: str | None, provider: str | None) -> Model:
    return load_model(model, artefact=artefact, provider=provider)


def load(settings: ScanSettings) -> Model:
    """The model, once for all bundles of a worker. Raises what `load_model` raises."""
    return _loaded(settings.model, settings.artefact, settings.provider)


class Engine(Protocol):
    """Something that scans bundles of recordings, in any order."""

    workers: int  # how many bundles it processes at once

    def scan(
        self, bundles: Sequence[Sequence[str]], settings: ScanSettings
    ) -> Iterator[list[Scanned]]:
        """The result of each recording once, as they come: one alone, or several."""


class Cluster:
    """Workers of a Dask cluster, which see the same paths and have kws installed.

    A result comes as soon as its recording has been scanned. A worker that dies loses nothing: the
    scheduler gives its bundles to others, and what was known of them does not come again. Where
    worker after worker dies over a bundle, its recordings are scanned one by one, and the one at
    fault has a result that says so.
    """

    def __init__(self, client: Any) -> None:
        """`client` is a connected `distributed.Client`."""
        self._client = client
        self.workers = max(1, sum(client.ncores().values()))

    def scan(
        self, bundles: Sequence[Sequence[str]], settings: ScanSettings
    ) -> Iterator[list[Scanned]]:
        """See Engine. Raises KwsError where the scheduler is lost."""
        distributed: Any = importlib.import_module("distributed")
        arrived: SimpleQueue[Any] = SimpleQueue()  # a result, or a bundle's future that is done
        scan = uuid.uuid4().hex

        def told(event: tuple[float, tuple[str, bytes]]) -> None:
            of, result = event[1]
            if of == scan:
                arrived.put(pickle.loads(result))

        self._client.subscribe_topic(TOPIC, told)
        known: set[str] = set()
        alone: deque[str] = deque()  # recordings of bundles over which workers died
        suspect: Sequence[str] = []  # one of them, given alone
        given: dict[Any, Sequence[str]] = {}  # by future

        def give(bundles: Sequence[Sequence[str]]) -> None:
            futures = self._client.map(
                _scan_and_tell, bundles, settings=settings, scan=scan, pure=False
            )
            given.update(zip(futures, bundles, strict=True))
            for future in futures:
                future.add_done_callback(arrived.put)

        try:
            give(bundles)
            while given:
                item = arrived.get()
                if isinstance(item, Scanned):
                    results = [item]
                else:
                    bundle = given.pop(item)
                    try:
                        results = item.result()
                    except distributed.KilledWorker as error:
                        if bundle is suspect:
                            results = [_lost(bundle[0], error.allowed_failures + 1)]
                        else:
                            results = []
                            alone += [path for path in bundle if path not in known]
                    item.release()
                    # One at a time: Dask blames all that a worker had.
                    if alone and suspect not in given.values():
                        suspect = [alone.popleft()]
                        give([suspect])
                new = [each for each in results if each.path not in known]
                known.update(each.path for each in new)
                if new:
                    yield new
            self._client.unsubscribe_topic(TOPIC)
        except distributed.CancelledError as error:
            raise KwsError(
                "the connection to the Dask scheduler is lost; "
                "start the same command again: it goes on where it stopped"
            ) from error


def _lost(path: str, workers: int) -> Scanned:
    """The result of a recording over which, alone, worker after worker of a cluster died."""
    why = f"{path} ended each of the {workers} workers that scanned it; convert it again"
    return Scanned(path, 0.0, (), why)


def _scan_and_tell(paths: Sequence[str], settings: ScanSettings, scan: str) -> list[Scanned]:
    """As `scan_recordings`, on a worker of a cluster; the client is told of each result at once."""
    worker = importlib.import_module("distributed").get_worker()
    found = []
    for scanned in scan_each(paths, settings):
        worker.log_event(TOPIC, (scan, pickle.dumps(scanned)))
        found.append(scanned)
    return found


def connect(address: str) -> Any:
    """A Dask client of the scheduler at this address.

    Raises BackendUnavailable where Dask is missing or no scheduler responds.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise BackendUnavailable(
            "a scan on a cluster needs Dask; pip install 'kws[cluster]'"
        ) from error
    try:
        return distributed.Client(address, timeout=10)
    except TypeError as error:  # an address of TLS, and no certificates
        raise BackendUnavailable(
            f"the Dask scheduler at {address} wants certificates; name them in the environment "
            "variables DASK_DISTRIBUTED__COMM__TLS__... (docs/benchmarks.md)"
        ) from error
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"no Dask scheduler responds at {address}; "
            "start one with: dask scheduler --host 127.0.0.1"
        ) from error


def bundled(paths: Sequence[str], workers: int = 1) -> list[list[str]]:
    """The paths in bundles, none empty: as many for each worker, with about as much audio.

    How much that is, the size of a file tells well enough, as one archive has one format.
    """
    count = workers * -(-len(paths) // (workers * BUNDLE))
    largest_first = sorted(paths, key=_bytes, reverse=True)
    return [largest_first[number::count] for number in range(min(count, len(paths)))]


def _bytes(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # the scan will say why
        return 0


def default_jobs() -> int:
    """One process per core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
