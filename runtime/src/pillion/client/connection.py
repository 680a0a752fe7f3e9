"""What both transports over HTTP have in common: how a request is said to httpx, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import TYPE_CHECKING, Any, Final

import httpx

from pillion.client.address import unreachable
from pillion.client.errors import ClientError, ConnectionLost, DeadlineExceeded, NeverSent, Untrusted
from pillion.proxies import hidden

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pillion.client.address import Address
    from pillion.client.exchange import Request
    from pillion.client.uploads import Upload

__all__ = ["Counted", "arguments", "opened", "options", "out_of_time", "told", "transport_options"]

_CONNECTIONS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)


def options(address: Address) -> dict[str, Any]:
    """Of httpx's client."""
    # The proxy is chosen in the address, and no login comes from a .netrc.
    chosen: dict[str, Any] = {"base_url": address.base, "headers": dict(address.headers), "trust_env": False}
    return chosen | {"timeout": address.timeout}


def transport_options(address: Address) -> dict[str, Any]:
    """Of httpx's transports."""
    chosen: dict[str, Any] = {"uds": address.socket, "trust_env": False, "limits": _CONNECTIONS}
    if address.proxy is not None:
        encrypted = address.proxy.startswith("https")
        chosen["proxy"] = httpx.Proxy(address.proxy, ssl_context=ssl.create_default_context() if encrypted else None)
    if not address.secure:
        return chosen | {"verify": False}  # there is nothing to verify, and reading the authorities takes its time
    return chosen | {"verify": ssl.create_default_context() if address.tls is None else address.tls.context()}


def arguments(address: Address, request: Request, timeout: float, files: contextlib.ExitStack) -> dict[str, Any]:
    """Of httpx's ``build_request``, without the content.

    Args:
        address: where to.
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
    if address.tls is not None and address.tls.server_name is not None:
        said["extensions"] = {"sni_hostname": address.tls.server_name}
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
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY" in reason:
            raise Untrusted(address.url, reason) from error
        raise unreachable(address, reason) from error
    except httpx.ProxyError as error:
        raise NeverSent(
            f"cannot connect to {address.url}: the proxy {hidden(address.proxy or '')} says {error}"
        ) from error
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


class Counted(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an upload, which is told how much of it has been handed to the connection.

    Args:
        request: httpx's, whose body it is.
        upload: is told.
        put_off: called after each piece: the call's time begins anew.
    """

    def __init__(self, request: httpx.Request, upload: Upload, put_off: Callable[[], object]) -> None:
        self._stream: Any = request.stream
        self._upload = upload
        self._put_off = put_off
        upload.begins(int(request.headers.get("content-length", 0)))

    def _sent(self, piece: bytes) -> None:
        self._upload.sent(len(piece))
        self._put_off()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            yield piece
            self._sent(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece
            self._sent(piece)
