"""``check_health`` of an application: what its author says of whether it can work."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.authoring.context import CURRENT, Shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from pillion.dataplane.plane import DataPlane

__all__ = ["Health", "HealthOptions", "called"]

_log: Final = logging.getLogger("pillion.applications")


class HealthOptions(msgspec.Struct, frozen=True):
    """How applications are asked."""

    period: float = 10.0
    """Seconds between two questions."""
    timeout: float = 10.0
    """Seconds for the answer."""
    failures: int = 3
    """Failures in a row after which the process is to end; 0: it goes on, without requests."""


async def called(function: Callable[..., Any], threads: Executor, plane: DataPlane | None, *arguments: Any) -> Any:  # noqa: ANN401 - the author's
    """What a method says that is called for no request; plain ones run in a thread."""
    working = Shared(plane)
    context = contextvars.copy_context()
    context.run(CURRENT.set, working)
    try:
        if inspect.iscoroutinefunction(function):
            return await asyncio.get_running_loop().create_task(function(*arguments), context=context)
        said = await asyncio.wrap_future(threads.submit(context.run, function, *arguments))
        if inspect.iscoroutine(said):  # of a method that somebody's decorator has made a plain one
            return await asyncio.get_running_loop().create_task(said, context=context)
        return said
    finally:
        working.over = True
        working.end_all()


class Health:
    """Of one application.

    Args:
        name: of it.
        check: its ``check_health``.
        options: how it is asked.
    """

    def __init__(self, name: str, check: Callable[[], Any], options: HealthOptions) -> None:
        self._name = name
        self._check = check
        self._options = options
        self._asked: asyncio.Future[Any] | None = None
        self.failures = 0
        """In a row."""
        self.reason = ""
        """Why it cannot work; empty when it can."""

    @property
    def lost(self) -> bool:
        """Whether it has failed so often that it is to be started again."""
        return 0 < self._options.failures <= self.failures

    async def ask(self) -> None:
        """Find out how it is."""
        if self._asked is None or self._asked.done():  # a question that hangs is not asked twice
            self._asked = asyncio.ensure_future(self._check())
        await asyncio.wait((self._asked,), timeout=self._options.timeout)
        why = self._why(self._asked)
        if why:
            self.failures += 1
            self.reason = f"application {self._name} is unhealthy: {why}"
            _log.error("%s", self.reason, extra={"application": self._name, "failures": self.failures})
        elif self.reason:
            self.failures, self.reason = 0, ""
            _log.info("application %s is healthy again", self._name, extra={"application": self._name})

    def _why(self, asked: asyncio.Future[Any]) -> str:
        if not asked.done():
            return f"check_health did not answer within {self._options.timeout:g} s"
        if asked.cancelled():
            return "check_health was cancelled"
        error = asked.exception()
        if error is not None:
            return str(error) or type(error).__name__
        return "check_health returned False" if asked.result() is False else ""

    def end(self) -> None:
        """The application ends."""
        if self._asked is not None:
            self._asked.cancel()
