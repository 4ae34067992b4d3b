"""Worker processes that scan on this machine, give each result as it comes, and end with us."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from kws.errors import KwsError, exit_name
from kws.scanning.scan import Scanned, ScanSettings, load, scan_each

AHEAD = 2  # bundles that a worker has, so that it never waits for us
HOPELESS = 3  # workers that died before any recording was scanned, or as they began
logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # s for a worker to end by itself


class Processes:
    """Worker processes on this machine.

    Where one dies, the recordings of its bundle are scanned one by one: the one over which a worker
    dies again has a result that says so, and the others lose nothing.
    """

    def __init__(self, jobs: int) -> None:
        self.workers = jobs

    def scan(
        self, bundles: Sequence[Sequence[str]], settings: ScanSettings
    ) -> Iterator[list[Scanned]]:
        """See Engine. Raises KwsError where no worker starts, or each dies at once."""
        waiting = deque(map(list, bundles))
        workers: dict[Any, _Worker] = {}
        scanned = lost = early = 0
        try:
            while waiting or any(worker.bundles for worker in workers.values()):
                while len(workers) < self.workers and len(waiting) > _idle(workers.values()):
                    worker = _Worker(settings)
                    workers[worker.pipe] = worker
                for _ in range(AHEAD):
                    for worker in workers.values():
                        worker.give(waiting)
                for pipe in wait([pipe for pipe, worker in workers.items() if worker.bundles]):
                    worker = workers[pipe]
                    try:
                        result = worker.take()
                    except (EOFError, OSError):
                        del workers[pipe]
                        early += not worker.began
                        result = worker.give_back(waiting, scanned > 0 and early < HOPELESS)
                        lost += result is not None
                        if result and lost == HOPELESS and not scanned:
                            raise KwsError(
                                "worker after worker ended and no recording was scanned; see "
                                f"whether this model runs: kws bench. The last: {result.error}"
                            ) from None
                    else:
                        scanned += isinstance(result, Scanned)
                    if isinstance(result, str):
                        logger.warning("%s", result)
                    elif result is not None:
                        yield [result]
        finally:
            for worker in workers.values():
                worker.end()


def _idle(workers: Iterable[_Worker]) -> int:
    return sum(not worker.bundles for worker in workers)


class _Worker:
    """A process that scans bundles which come through a pipe."""

    def __init__(self, settings: ScanSettings) -> None:
        # Fresh processes: a fork would inherit the runtime's threads in the middle of something.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.bundles: deque[list[str]] = deque()  # what it has and has not scanned
        self.began = False
        self._process: SpawnProcess = context.Process(
            target=_work, args=(theirs, settings), daemon=True
        )
        self._process.start()
        theirs.close()

    def give(self, waiting: deque[list[str]]) -> None:
        """The next bundle, if there is one and this worker has too few."""
        if waiting and len(self.bundles) < AHEAD:
            self.bundles.append(waiting.popleft())
            try:
                self.pipe.send(self.bundles[-1])
            except OSError:  # it has died, which `take` will tell
                waiting.appendleft(self.bundles[-1])
                self.bundles[-1] = []

    def take(self) -> Scanned | str | None:
        """A result, a warning, or None for what concerns nobody else.

        Raises what the worker raised, and EOFError or OSError where it has died.
        """
        message = self.pipe.recv()
        if isinstance(message, KwsError):
            raise message
        if message is True:
            self.began = True
            return None
        if message is None:
            self.bundles.popleft()
            return None
        if isinstance(message, Scanned):
            self.bundles[0].remove(message.path)
        result: Scanned | str = message
        return result

    def give_back(self, waiting: deque[list[str]], replaceable: bool) -> Scanned | None:
        """What it has not scanned, once it has died.

        Returns the result of the recording over which it died, if it had that alone. Where it had
        not even begun, another one may take its place if it is `replaceable`; else raises KwsError.
        """
        self._process.join(_PATIENCE)
        how = exit_name(self._process.exitcode or 0)
        self.end()
        if not self.began and replaceable:
            waiting.extendleft(reversed(self.bundles))
            return None
        if not self.began:
            raise KwsError(
                f"a worker process ended as it began ({how}); start the same command again with "
                "fewer --jobs, or see whether this model runs: kws bench"
            )
        at_fault, *others = self.bundles
        waiting.extendleft(reversed(others))
        if len(at_fault) == 1:
            killed = how == "SIGKILL"
            why = ", perhaps for want of memory" if killed else ""
            return Scanned(
                at_fault[0],
                0.0,
                (),
                f"{at_fault[0]} ended the process that scanned it ({how}{why}); convert it again",
                again=killed,
            )
        waiting.extendleft([path] for path in reversed(at_fault))
        return None

    def end(self) -> None:
        """Let it go, in the middle of its work too."""
        self.pipe.close()
        if self.bundles:
            self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(pipe: Connection, settings: ScanSettings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("kws").addHandler(_ToParent(pipe))
    try:
        load(settings)
        pipe.send(True)
        while True:
            for scanned in scan_each(pipe.recv(), settings):
                pipe.send(scanned)
            pipe.send(None)
    except KwsError as error:
        pipe.send(error)
    except (EOFError, OSError):  # whoever started us has closed the pipe
        pass


class _ToParent(logging.Handler):
    """Lets warnings be told where all others are."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self._pipe.send(record.getMessage())


def _end_with_parent() -> None:
    """However it ends: the pipe that tells so is closed by the system."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
