"""What answers on a socket: functions by path."""

from __future__ import annotations

import inspect
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pillion.socket.errors import UnknownPathError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["NOTHING", "Nothing", "SocketApplication", "described"]


class Nothing:
    """No data, which is another thing than None."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = Nothing()

F = TypeVar("F", bound="Callable[..., Awaitable[Any]]")


class SocketApplication:
    """Routes of a socket server::

    app = SocketApplication()

    @app.route("/double")
    async def double(x: float) -> float:
        return 2 * x
    """

    def __init__(self) -> None:
        self._routes: dict[str, tuple[Callable[..., Awaitable[Any]], bool]] = {}

    @property
    def paths(self) -> list[str]:
        """Those that are there, in the order they were added."""
        return list(self._routes)

    def add_route(self, path: str, function: Callable[..., Awaitable[Any]]) -> None:
        """Have a path answered.

        Args:
            path: begins with a slash, and is compared as it is.
            function: ``async``, of one argument, the data, or of none.

        Raises:
            ValueError: the path is taken, or is none.
            TypeError: the function is none that can answer.
        """
        if not path.startswith("/"):
            raise ValueError(f"a path begins with a slash, and {path!r} does not")
        if path in self._routes:
            raise ValueError(f"the path {path} is taken by {_name(self._routes[path][0])}")
        if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - of an instance
        ):
            raise TypeError(f"{_name(function)} is not async: what answers {path} has to be `async def`")
        parameters = list(inspect.signature(function).parameters.values())
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if len(needed) > 1 or len(positional) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
            raise TypeError(
                f"{_name(function)} answers {path} and takes {len(parameters)} arguments: one or none can be given"
            )
        self._routes[path] = (function, bool(positional))

    def route(self, path: str) -> Callable[[F], F]:
        """The same as a decorator."""

        def add(function: F) -> F:
            self.add_route(path, function)
            return function

        return add

    async def handle_request(self, path: str, data: object = NOTHING) -> Any:  # noqa: ANN401 - what the function gives
        """The answer of a path, as a client would get it.

        Raises:
            UnknownPathError: there is no such path.
            TypeError: its function takes data and there is none, or the reverse.
            Exception: what the function raises.
        """
        found = self._routes.get(path)
        if found is None:
            there = ", ".join(self._routes) or "none"
            raise UnknownPathError("UnknownPathError", f"there is no path {path}; there are: {there}")
        function, takes = found
        if data is NOTHING:
            return await function()
        if not takes:
            raise TypeError(f"{path} takes no data, and some was sent")
        return await function(data)


def described(error: BaseException) -> list[str]:
    """Type, message and traceback of what a function raised, without our own frames before it."""
    if isinstance(error, UnknownPathError):
        return [error.type, error.message, ""]
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("pillion.socket."):
        frames = frames.tb_next
    try:
        told = [str(error), "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))]
    except Exception:  # noqa: BLE001 - a class of theirs whose text raises; who asked is to be answered all the same
        told = ["", ""]
    # A file's name that is no UTF-8 is text that cannot be sent.
    return [type(error).__name__, *(text.encode(errors="backslashreplace").decode() for text in told)]


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
