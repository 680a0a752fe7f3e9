"""Calling servers from Python: models by arrays, tasks by name, jobs, and management.

    client = pillion.Client("http://127.0.0.1:8080")
    client.model("iris").predict([[5.1, 3.5, 1.4, 0.2]])
    client.task("classify")(text="good good bad")

Layers, from below: values and errors; operations, which are generators that say what is to be sent and take what was
answered; transports, which carry that; and two façades, :class:`Client` and :class:`AsyncClient`. Names are exported
lazily, so that who catches errors does not import httpx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.client.aio import AsyncClient
    from pillion.client.errors import (
        CallError,
        ClientError,
        Conflict,
        ConnectionLost,
        DeadlineExceeded,
        Forbidden,
        InvalidInput,
        NeverSent,
        NotFound,
        Overloaded,
        TooLarge,
        Unavailable,
        Untrusted,
    )
    from pillion.client.following import JobEvent
    from pillion.client.ordering import ordered, ordered_async
    from pillion.client.retries import Retries
    from pillion.client.services import JobPage
    from pillion.client.sync import Client
    from pillion.client.tls import TLS

__all__ = [
    "TLS",
    "AsyncClient",
    "CallError",
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionLost",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidInput",
    "JobEvent",
    "JobPage",
    "NeverSent",
    "NotFound",
    "Overloaded",
    "Retries",
    "TooLarge",
    "Unavailable",
    "Untrusted",
    "ordered",
    "ordered_async",
]

_HOMES = {
    "TLS": "tls",
    "AsyncClient": "aio",
    "Client": "sync",
    "JobEvent": "following",
    "JobPage": "services",
    "Retries": "retries",
    "ordered": "ordering",
    "ordered_async": "ordering",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see the module's docstring

    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
