"""A program that is run for each detection."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from kws.app.events import Event
from kws.decision import Detection
from kws.errors import SettingError

logger = logging.getLogger(__name__)

PLACEHOLDERS = ("keyword", "score", "time")
PLACEHOLDER = re.compile(f"{{({'|'.join(PLACEHOLDERS)})}}")


class Command:
    """Runs a program with {keyword}, {score} and {time} in its arguments, without a shell.

    An argument is one argument whatever a value holds. A program that takes longer than `timeout`
    is ended with all that it has started. No more than `at_most` run at once: what is detected
    meanwhile is left out, and the log says so, as it does of a program that fails.
    """

    def __init__(self, command: str, timeout: float = 10.0, at_most: int = 4) -> None:
        """`command` is split as a shell splits words. `timeout` is in seconds.

        Raises SettingError for a command that is empty, has an open quote or an unknown
        placeholder, or names a program that is not there.
        """
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise SettingError(f"expected a command, got {command!r}: {error}") from error
        if not self._words:
            raise SettingError("expected a command, got nothing")
        for word in self._words:
            _check_placeholders(word)
        if shutil.which(self._words[0]) is None:
            raise SettingError(
                f"expected a program, got {self._words[0]!r}, which is not in the search path; "
                "name its whole path"
            )
        self._timeout = timeout
        self._at_most = at_most
        self._threads: set[threading.Thread] = set()  # without a lock that a signal could tear

    def put(self, event: Event) -> None:
        """See Output."""
        if not isinstance(event, Detection):
            return
        running = self._running()
        if len(running) >= self._at_most:
            logger.warning("%s is left out: too many programs run already", event.keyword)
            return
        thread = threading.Thread(target=self._run, args=(event,), daemon=True)
        self._threads = running | {thread}
        thread.start()

    def close(self) -> None:
        """See Output; waits for programs that run, at most until their time is over."""
        for thread in self._running():
            thread.join(self._timeout + 1.0)

    def _running(self) -> set[threading.Thread]:
        return {each for each in self._threads if each.is_alive()}

    def arguments(self, detection: Detection) -> list[str]:
        """The program and its arguments for a detection."""
        values = {
            "keyword": detection.keyword,
            "score": f"{detection.score:.4f}",
            "time": "" if detection.time is None else f"{detection.time:.3f}",
        }
        return [_filled(word, values) for word in self._words]

    def _run(self, detection: Detection) -> None:
        name = Path(self._words[0]).name
        try:
            with subprocess.Popen(
                self.arguments(detection),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                try:
                    code = process.wait(self._timeout)
                except subprocess.TimeoutExpired:
                    _end(process)
                    logger.warning(
                        "%s for %s was ended after %g s", name, detection.keyword, self._timeout
                    )
                    return
            if code != 0:
                logger.warning("%s for %s ended with code %d", name, detection.keyword, code)
        except OSError as error:
            logger.warning("%s for %s did not start: %s", name, detection.keyword, error.strerror)


def _check_placeholders(word: str) -> None:
    for part in word.split("{")[1:]:
        name, closed, _ = part.partition("}")
        if closed and name.isidentifier() and name not in PLACEHOLDERS:
            expected = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise SettingError(f"expected one of {expected}, got {{{name}}}")


def _filled(word: str, values: dict[str, str]) -> str:
    """A word with its placeholders filled; what a value holds is not looked at again."""
    return PLACEHOLDER.sub(lambda found: values[found.group(1)], word)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it has started, where the system has process groups."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
