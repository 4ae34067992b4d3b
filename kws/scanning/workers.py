"""Worker processes that scan on this machine, give each result as it comes, and end with us."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from kws.errors import KwsError
from kws.scanning.scan import Scanned, ScanSettings, scan_each

AHEAD = 2  # bundles that a worker has, so that it never waits for us
logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # s for a worker to end by itself


class Processes:
    """Worker processes on this machine; with one, no process but this one."""

    def __init__(self, jobs: int) -> None:
        self.workers = jobs

    def scan(
        self, bundles: Sequence[Sequence[str]], settings: ScanSettings
    ) -> Iterator[list[Scanned]]:
        """See Engine. Raises KwsError where a worker dies."""
        if self.workers == 1:
            for bundle in bundles:
                for scanned in scan_each(bundle, settings):
                    yield [scanned]
            return
        waiting = iter(bundles)
        workers: dict[Connection, _Worker] = {}
        try:
            for _ in range(min(self.workers, len(bundles))):
                worker = _Worker(settings)
                workers[worker.pipe] = worker
            for _ in range(AHEAD):
                for worker in workers.values():
                    worker.give(waiting)
            while any(worker.bundles for worker in workers.values()):
                for pipe in wait([pipe for pipe, worker in workers.items() if worker.bundles]):
                    worker = workers[pipe]  # type: ignore[index]
                    result = worker.take()
                    if result is None:
                        worker.give(waiting)
                    elif isinstance(result, str):
                        logger.warning("%s", result)
                    else:
                        yield [result]
        except (EOFError, OSError) as error:
            raise KwsError(
                "a worker process was killed, perhaps for want of memory; start the same "
                "command again with fewer --jobs: it goes on where it stopped"
            ) from error
        finally:
            for worker in workers.values():
                worker.end()


class _Worker:
    """A process that scans bundles which come through a pipe."""

    def __init__(self, settings: ScanSettings) -> None:
        # Fresh processes: a fork would inherit the runtime's threads in the middle of something.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.bundles = 0  # that it has and has not finished
        self._process: SpawnProcess = context.Process(
            target=_work, args=(theirs, settings), daemon=True
        )
        self._process.start()
        theirs.close()

    def give(self, waiting: Iterator[Sequence[str]]) -> None:
        """The next bundle, if there is one; raises OSError where the process has died."""
        bundle = next(waiting, None)
        if bundle is not None:
            self.bundles += 1
            self.pipe.send(list(bundle))

    def take(self) -> Scanned | str | None:
        """A result, a warning, or None at the end of a bundle.

        Raises what the worker raised, and EOFError or OSError where it has died.
        """
        message = self.pipe.recv()
        if isinstance(message, KwsError):
            raise message
        if message is None:
            self.bundles -= 1
            return None
        result: Scanned | str = message
        return result

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
