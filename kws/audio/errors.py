"""Why a microphone cannot be opened, in a form that a program can tell apart."""

from __future__ import annotations

from typing import Literal, TypeAlias

from kws.errors import AudioError

Problem: TypeAlias = Literal[
    "no_portaudio",  # the system library is missing
    "no_server",  # the sound server does not respond
    "no_device",  # there is no microphone, or none of that name
    "busy",  # another program holds it, or the machine has no time to begin
    "no_permission",  # this user may not record
    "refused",  # it can be opened at no rate, or for a reason that only the system knows
    "gone",  # it stopped while it was recorded from
]


class DeviceError(AudioError):
    """A microphone cannot be opened or has gone; `problem` says which kind of reason."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
