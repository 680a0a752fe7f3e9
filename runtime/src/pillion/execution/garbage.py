"""Python's collector of reference cycles, kept off what lives as long as the process.

A server that is ready holds some 80,000 objects of its libraries, and a full collection walks all of them: 40 ms in
which no request moves, for nothing. Frozen, they are not looked at. A model that is let go may hold cycles of its own,
so from then on the collector looks at everything again.
"""

from __future__ import annotations

import gc

__all__ = ["freeze", "thaw"]

_frozen = False


def freeze() -> None:
    """Exempt everything that is there now. For programs that are a server and nothing else."""
    global _frozen  # noqa: PLW0603 - the collector is the process's, too
    _frozen = True
    gc.freeze()


def thaw() -> None:
    """Let the collector look at everything again, if :func:`freeze` was called."""
    global _frozen  # noqa: PLW0603 - as above
    if _frozen:
        _frozen = False
        gc.unfreeze()
