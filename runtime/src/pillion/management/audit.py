"""One line of the log for everything that changes models: who, what, and how it ended. Never a secret.

The lines are written whatever the level of the log is: whoever runs a server quietly still wants to know who changed
its models.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import PillionError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Who", "audited", "refused"]

_log: Final = logging.getLogger("pillion.audit")
_LONGEST: Final = 200
_log.setLevel(logging.INFO)


class Who(msgspec.Struct, frozen=True):
    """Who asks for a change."""

    peer: str
    """The address at the other end of the connection."""
    key: str = ""
    """The setting that holds the key that was shown; empty where none is asked for."""
    request_id: str = ""


def refused(action: str, model: str, who: Who, error: PillionError) -> None:
    """Tell of a change that somebody asked for who may not."""
    with contextlib.suppress(PillionError), audited(action, model, who):
        raise error


@contextlib.contextmanager
def audited(action: str, model: str, who: Who) -> Iterator[dict[str, object]]:
    """Tell of a change when it has ended; what is put into the mapping is told with it."""
    told: dict[str, object] = {}

    name = model if model.isprintable() and len(model) <= _LONGEST else ascii(model[:_LONGEST])

    def tell(level: int, outcome: str) -> None:
        told.update(action=action, model=name, outcome=outcome, peer=who.peer, key=who.key or "none")
        _log.log(level, "%s of model %s: %s", action, name, outcome, extra=told | {"request_id": who.request_id})

    try:
        yield told
    except PillionError as error:
        told["reason"] = str(error)
        tell(logging.WARNING, error.code.value)
        raise
    except BaseException as error:
        told["reason"] = type(error).__name__
        tell(logging.WARNING, "failed")
        raise
    tell(logging.INFO, "ok")
