"""The serving process: settings, life cycle, TLS, the admin port.

``Server`` is imported on first use: the preStop hook lives in this package and must not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.server.server import Server

__all__ = ["Server"]


def __getattr__(name: str) -> object:
    if name == "Server":
        from pillion.server.server import Server  # noqa: PLC0415 - see above

        return Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
