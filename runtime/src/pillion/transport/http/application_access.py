"""What the dispatcher knows of applications, and what it answers about them below ``/-/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.answer import Answer, json_answer
from pillion.transport.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.transport.http.handled import Handled

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["Application", "ApplicationAccess", "answer_about"]


class Application(Protocol):
    """One of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> None:
        """One connection scope, as ASGI defines it."""
        ...

    async def handle(self, request: Handled, /) -> None:
        """A request that came whole, see :class:`~pillion.transport.http.handled.DirectHandler`."""
        ...


class ApplicationAccess(Protocol):
    """The applications of a server."""

    def find(self, path: str) -> Application | None:
        """Whose path that is; None where it is none of theirs."""
        ...

    def routes(self) -> Mapping[str, str]:
        """Their names by route prefix."""
        ...


def answer_about(route: Route, applications: ApplicationAccess | None, unready: str) -> Answer:
    """``GET /-/routes`` and ``GET /-/healthz``, as clients of Ray Serve know them.

    Args:
        route: which of the two.
        applications: None where there are none.
        unready: why the server should get no requests; empty when it should.

    Raises:
        PillionError: ``NOT_READY``, with the reason.
    """
    if route is Route.ROUTES:
        return json_answer({} if applications is None else dict(applications.routes()))
    if unready:
        raise PillionError(ErrorCode.NOT_READY, unready)
    return Answer(b"success", content_type=b"text/plain; charset=utf-8")
