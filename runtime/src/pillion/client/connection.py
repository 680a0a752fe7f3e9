"""What both transports over HTTP have in common: how a request is said to httpx, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import httpx

from pillion.client.errors import ClientError, ConnectionLost, DeadlineExceeded, NeverSent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.client.address import Address
    from pillion.client.exchange import Request

__all__ = ["arguments", "opened", "options", "told"]

_CONNECTIONS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)


def options(address: Address) -> dict[str, Any]:
    """Of httpx's client."""
    # No proxies of the environment: they are for the web, and the server may be on loopback.
    chosen: dict[str, Any] = {"base_url": address.base, "headers": dict(address.headers), "trust_env": False}
    return chosen | {"timeout": address.timeout}


def transport_options(address: Address) -> dict[str, Any]:
    """Of httpx's transports."""
    context = address.tls.context() if address.tls is not None else True
    return {"uds": address.socket, "verify": context, "trust_env": False, "limits": _CONNECTIONS}


def arguments(request: Request, timeout: float, files: contextlib.ExitStack) -> dict[str, Any]:
    """Of httpx's ``build_request``, without the content.

    Args:
        request: to be said.
        timeout: seconds.
        files: closes those of a form.
    """
    said: dict[str, Any] = {
        "method": request.method,
        "url": request.path,
        "params": list(request.query) or None,
        "headers": dict(request.headers),
        "timeout": timeout,
    }
    if request.form:
        said["files"] = [(part.name, _form_part(part, files)) for part in request.form]
    elif request.content:
        # With its length known, the body is sent as it lies, piece after piece.
        said["headers"]["content-length"] = str(sum(map(len, request.content)))
    return said


def _form_part(part: Any, files: contextlib.ExitStack) -> tuple[str | None, Any, str]:  # noqa: ANN401 - a Part
    if isinstance(part.content, bytes):
        return part.filename, part.content, part.media_type
    file = part.content
    return part.filename, file.read() if file.in_memory else files.enter_context(file.open()), part.media_type


@contextlib.contextmanager
def told(address: Address, timeout: float) -> Iterator[None]:
    """Around a call: its failures as ours.

    Raises:
        NeverSent: there was no connection.
        ConnectionLost: there was one, and it ended.
        DeadlineExceeded: the time was up.
    """
    # httpx leaves a socket open that has found nobody there.
    if address.socket is not None and not os.path.exists(address.socket):  # noqa: PTH110 - no object for each call
        raise NeverSent(f"cannot connect to {address.url}: there is no such socket: is the server running there?")
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        hint = "is the server running there?"
        if "CERTIFICATE_VERIFY" in str(error):
            hint = "name the CA: tls=TLS(ca=...)"
        raise NeverSent(f"cannot connect to {address.url}: {str(error) or type(error).__name__}: {hint}") from error
    except httpx.TimeoutException as error:
        raise out_of_time(address, timeout) from error
    except httpx.TransportError as error:
        raise ConnectionLost(f"{address.url}: the connection ended before the answer: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ClientError(f"{address.url}: {error}") from error


def out_of_time(address: Address, timeout: float) -> DeadlineExceeded:
    """No answer in time."""
    return DeadlineExceeded(504, f"{address.url}: no answer within {timeout:.3g} s", "deadline_exceeded")


def opened() -> contextlib.ExitStack:
    """Holds the files of a form while it is sent."""
    return contextlib.ExitStack()
