"""How a pod ends, for the operator: an exit code that says whether another try can help, and JSON for the reason.

=====  ==============================================================================
0      it is done: the model, or the predictions, are in storage
65     it failed by itself, and would again: not tried again
75     it was lost, or the storage did not answer: tried again, from where it was
143    it was told to end: tried again, from where it was
=====  ==============================================================================
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pillion.storage import StorageError

__all__ = ["DONE", "FAILED", "LOST", "STOPPED", "EndedError", "terminate"]

DONE, FAILED, LOST, STOPPED = 0, 65, 75, 143
_MOST_BYTES: Final = 4096  # the kubelet keeps no more
_TEXT: Final = 1000


class EndedError(Exception):
    """The run has ended before it was done."""

    def __init__(self, status: int, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.fields = {"reason": reason, "message": message, "remedy": remedy}

    @classmethod
    def of_storage(cls, error: StorageError, doing: str) -> EndedError:
        """The end that an error of storage means."""
        status = LOST if error.transient else FAILED
        return cls(status, str(error.reason), f"{doing}: {error.message}", error.remedy)


def terminate(fields: Mapping[str, Any], path: Path) -> None:
    """Write the pod's last word where the kubelet reads it, cut so that it stays whole JSON."""
    text = json.dumps(fields, ensure_ascii=False)
    if len(text.encode()) > _MOST_BYTES:
        text = json.dumps({key: _cut(value) for key, value in fields.items() if key != "metrics"})
    with suppress(OSError):  # not in a pod: the log says the same
        if path.exists():
            path.write_text(text, encoding="utf-8")


def _cut(value: Any) -> Any:  # noqa: ANN401 - JSON
    return value.encode()[:_TEXT].decode(errors="ignore") if isinstance(value, str) else value
