"""Events as lines of JSON on standard output."""

from __future__ import annotations

import json

from kws.app.events import Event, as_json
from kws.app.outputs.standard import write_line
from kws.decision import Detection


class JsonLines:
    """One object per event (docs/listening.md), in ASCII, each written at once."""

    def put(self, event: Event) -> None:
        """See Output."""
        write_line(json.dumps(as_json(event)))

    def close(self) -> None:
        """See Output."""


class PlainJsonLines:
    """One object per detection and nothing else: what `--json` wrote before it had versions."""

    def put(self, event: Event) -> None:
        """See Output."""
        if isinstance(event, Detection):
            content = as_json(event)
            kept = ("keyword", "score", "start", "end")
            write_line(json.dumps({name: content[name] for name in kept}))

    def close(self) -> None:
        """See Output."""
