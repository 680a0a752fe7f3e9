"""``@pillion.multiplexed``: many models behind one application, the ones used last in memory.

A model is loaded before another goes, so that one that cannot be loaded costs nobody theirs; and one that a request
works with stays until that has ended. So there may be more than ``max_models`` for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pillion.applications.of_instance import OfInstance
from pillion.authoring.context import CURRENT, Shared, current_endings
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

__all__ = ["Multiplexer", "model_id", "multiplexed"]

_log: Final = logging.getLogger("pillion.applications")
_HEADERS: Final = (b"x-model-id", b"serve_multiplexed_model_id")
"""Ours, and the one that clients of Ray Serve send."""
_LONGEST_ID: Final = 256


class _Entry:
    """A model that is loaded or being loaded."""

    __slots__ = ("loaded", "loading", "model", "references")

    def __init__(self) -> None:
        self.model: Any = None
        self.loaded = False
        self.loading: asyncio.Task[None] | None = None
        self.references = 0


class Multiplexer:
    """The models of one instance's method.

    Args:
        load: the method.
        most: models that stay when nobody works with them; as many are loaded at a time.
    """

    def __init__(self, load: Callable[[str], Any], most: int) -> None:
        self._load = load
        self._most = most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        """The one used last at the end."""
        self._room = asyncio.Semaphore(most)
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, name: str) -> _Entry:
        """A model that is loaded, which stays until :meth:`release`.

        Raises:
            Exception: the method's own.
        """
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry()
            entry.loading = asyncio.get_running_loop().create_task(self._loaded(name, entry))
        self._entries.move_to_end(name)
        entry.references += 1
        try:
            if entry.loading is not None:
                await asyncio.shield(entry.loading)  # who leaves does not end it for the others
        except BaseException:
            self.release(entry)
            raise
        return entry

    def release(self, entry: _Entry) -> None:
        """Nobody works with it any more, as far as one taker is concerned."""
        entry.references -= 1
        if not entry.references:
            self._evict()

    async def _loaded(self, name: str, entry: _Entry) -> None:
        current = CURRENT.get()
        working = Shared(
            None if current is None else current.plane, request_id="" if current is None else current.request_id
        )
        mark = CURRENT.set(working)  # it is loaded for all who come, not in the time of the first
        try:
            async with self._room:
                began = time.monotonic()
                if inspect.iscoroutinefunction(self._load):
                    entry.model = await self._load(name)
                else:
                    loaded = await asyncio.to_thread(self._load, name)
                    # Awaited where somebody's decorator has made a plain method of an async one.
                    entry.model = await loaded if inspect.iscoroutine(loaded) else loaded
        except BaseException:
            if self._entries.get(name) is entry:
                del self._entries[name]
            raise
        finally:
            CURRENT.reset(mark)
            working.over = True
            working.end_all()
        entry.loaded, entry.loading = True, None
        _log.info("model loaded", extra={"model": name, "seconds": round(time.monotonic() - began, 3)})
        self._evict()

    def _evict(self) -> None:
        """Let the models go that were used longest ago, and that nobody works with, while there are too many."""
        loaded = [(name, entry) for name, entry in self._entries.items() if entry.loaded]
        excess = len(loaded) - self._most
        for name, entry in loaded:
            if excess <= 0:
                return
            if not entry.references:
                excess -= 1
                del self._entries[name]
                self._close(name, entry)

    def _close(self, name: str, entry: _Entry) -> None:
        """Have a model end what it holds: by its ``aclose`` or ``close``, where it has one."""
        _log.info("model let go", extra={"model": name})
        close = getattr(entry.model, "aclose", None) or getattr(entry.model, "close", None)
        entry.model = None
        if callable(close):
            task = asyncio.get_running_loop().create_task(_closed(name, close))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def end(self) -> None:
        """Let all of them go, as the application ends."""
        for name, entry in list(self._entries.items()):
            del self._entries[name]
            if entry.loading is not None:
                entry.loading.cancel()
            if entry.loaded:
                self._close(name, entry)
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)


async def _closed(name: str, close: Callable[[], Any]) -> None:
    try:
        if inspect.iscoroutinefunction(close):
            await close()
        else:
            result = await asyncio.to_thread(close)
            if inspect.isawaitable(result):
                await result
    except Exception as error:  # noqa: BLE001 - it is gone, whatever it says
        _log.error("model %s failed as it was let go: %s", name, error, exc_info=error)


class Use(contextlib.AbstractAsyncContextManager[Any]):
    """A model that is asked for: ``await`` it, and it stays for the request; ``async with`` it, and for the block."""

    def __init__(self, multiplexer: Callable[[], Multiplexer], name: str | None) -> None:
        self._multiplexer = multiplexer
        self._name = name
        self._release: Callable[[], None] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._held().__await__()

    async def _held(self) -> Any:  # noqa: ANN401 - the user's
        model = await self.__aenter__()
        working = CURRENT.get()
        if self._release is not None:
            at_end: Callable[[Callable[[], None]], None] | None = getattr(working, "at_end", None)
            if at_end is not None:
                at_end(self._release)
            else:
                self._release()  # nothing says how long
        return model

    async def __aenter__(self) -> Any:  # noqa: ANN401 - the user's
        name = model_id() if self._name is None else _checked(self._name)
        multiplexer = self._multiplexer()
        entry = await multiplexer.take(name)
        self._release = functools.partial(multiplexer.release, entry)
        return entry.model

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        release, self._release = self._release, None
        if release is None:
            return
        working = current_endings()
        if kind is not None and working is not None and working.in_threads:
            working.at_end(release)  # the block was left, and what it began in a thread was not
        else:
            release()


class _Multiplexed:
    """The decorated function or method."""

    def __init__(self, function: Callable[..., Any], most: int) -> None:
        functools.update_wrapper(self, function)
        self._multiplexers = OfInstance(function, lambda bound: Multiplexer(bound, most))

    def __get__(self, instance: object, owner: type) -> Callable[..., Use]:
        return self if instance is None else functools.partial(self._use, instance)

    def __call__(self, name: str | None = None) -> Use:
        """Of a function."""
        return self._use(None, name)

    def _use(self, instance: object, name: str | None = None) -> Use:
        return Use(lambda: self._multiplexers.of(instance), name)


def multiplexed(*, max_models: int = 3) -> Callable[[Callable[..., Any]], Any]:
    """Have a method that loads a model by its id keep the ones that were used last.

    A plain method loads in a thread, an ``async`` one on the event loop; different models are loaded at the same time,
    and one model once for all who ask. A model with ``close`` or ``aclose`` is closed when it goes::

        @pillion.multiplexed(max_models=5)
        def model(self, name: str) -> Booster: ...


        scores = (await self.model()).predict(rows)  # the id is that of the request, see pillion.model_id

    Args:
        max_models: those that stay when nobody works with them.

    Raises:
        ValueError: it is less than one.
    """
    if max_models < 1:
        raise ValueError("@pillion.multiplexed: max_models is 1 or more")

    def decorated(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a method that gives a Use
        return _Multiplexed(function, max_models)

    return decorated


def model_id() -> str:
    """The id of the model that the current request is for; a dependency of FastAPI as well.

    It is that of the header ``X-Model-Id`` (or Ray Serve's ``serve_multiplexed_model_id``), else the path parameter
    ``model_id``, else what follows ``/models/`` in the path.

    Raises:
        PillionError: it names none, or one that could lead out of a folder; answered 400.
        RuntimeError: no request is being worked on.
    """
    working = CURRENT.get()
    scope: Mapping[str, Any] | None = getattr(working, "scope", None)
    if scope is None:
        raise RuntimeError("pillion.model_id is for the code of an application that works for a request")
    headers = dict(scope["headers"])
    for header in _HEADERS:
        if header in headers:
            return _checked(headers[header].decode("latin-1"))
    return _checked(_in_path(scope))


def _in_path(scope: Mapping[str, Any]) -> str:
    parameters: Mapping[str, Any] = scope.get("path_params") or {}
    if "model_id" in parameters:
        return str(parameters["model_id"])
    path: str = scope["path"].removeprefix(scope.get("root_path") or "")
    before, found, after = path.partition("/models/")
    return after.partition("/")[0] if found and not before.strip("/") else ""


def _checked(name: str) -> str:
    if not name:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            "the request names no model",
            field="X-Model-Id",
            remedy="send the header X-Model-Id, or write it into the path, as in /models/NAME",
        )
    parts = name.split("/")
    if len(name) > _LONGEST_ID or not name.isprintable() or "\\" in name or not all(p.strip(".") for p in parts):
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"the model's id {name[:100]!r} is none: {_LONGEST_ID} characters at most, without segments of dots, empty"
            " ones and backslashes",
            field="X-Model-Id",
        )
    return name
