"""Options that users know of uvicorn, as settings of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

__all__ = ["ServerOptions", "settings_of"]


class ServerOptions(TypedDict, total=False):
    """By uvicorn's names."""

    timeout_keep_alive: float
    """Seconds an idle connection is kept: ``http.keep_alive_timeout``."""
    limit_concurrency: int
    """Connections open at a time; one more is answered 503: ``limits.max_connections``."""
    h11_max_incomplete_event_size: int
    """Bytes of a request's head: ``limits.max_header_bytes``."""
    root_path: str
    """The path below which a proxy publishes the application: ``http.root_path``."""


_SETTINGS: Final = {
    "timeout_keep_alive": "http.keep_alive_timeout",
    "limit_concurrency": "limits.max_connections",
    "h11_max_incomplete_event_size": "limits.max_header_bytes",
    "root_path": "http.root_path",
}
_OURS: Final = {
    "host": "host=",
    "port": "port=",
    "workers": "workers=",
    "backlog": "backlog=",
    "access_log": "access_log=",
    "log_config": "log_config=",
    "uds": 'settings={"http.socket": ...}',
    "ssl_certfile": 'settings={"tls.server.cert": ...}',
    "ssl_keyfile": 'settings={"tls.server.key": ...}',
    "ssl_ca_certs": 'settings={"tls.client.cert": ...}',
    "timeout_graceful_shutdown": 'settings={"drain.grace_seconds": ...}',
    "log_level": 'settings={"log.level": ...}',
    "reload": "`pillion serve --reload`",
}


def settings_of(options: Mapping[str, object]) -> dict[str, JsonValue]:
    """The settings by dotted key.

    Raises:
        TypeError: there is no such option, or it is given in another way.
    """
    for name in options:
        if name in _OURS:
            raise TypeError(f"server_options: {name} is given in another way: {_OURS[name]}")
        if name not in _SETTINGS:
            raise TypeError(f"server_options: there is no {name!r}; there are {', '.join(_SETTINGS)}")
    return {_SETTINGS[name]: value for name, value in options.items()}  # type: ignore[misc]  # the settings check them
