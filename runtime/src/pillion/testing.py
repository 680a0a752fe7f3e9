"""``pillion.test``: an application or a model as its clients find it, without a port, for tests of its author.

The server is the one that serves: its routes, limits, deadlines, errors and life cycle. Only the network is left out,
so that a test starts in milliseconds and its debugger stays in one process.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final, NoReturn

import httpx

from pillion.embedding import server_settings
from pillion.inprocess import InProcess, InProcessFromThreads
from pillion.loop_beside import LoopBeside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pydantic import JsonValue

    from pillion.server.runtime import Runtime
    from pillion.serving_targets import Wanted

__all__ = ["AsyncTester", "Tester", "Testing", "test"]

_URL: Final = "http://testing"
_GRACE: Final = 5.0
"""Seconds that requests in progress may take when a test ends."""


def test(
    *targets: object,
    route_prefix: str = "/",  # noqa: PT028 - this is no test
    args: Mapping[str, object] | None = None,  # noqa: PT028 - as above
    settings: Mapping[str, JsonValue] | None = None,  # noqa: PT028 - as above
) -> Testing:
    """Test an application, and models, without a server.

    ``with`` gives a :class:`Tester`, ``async with`` an :class:`AsyncTester`; lifespans run from its begin to its end::

        with pillion.test(Shelf) as shelf:
            assert 404 == shelf.get("/books/7").status_code
            assert [] == shelf.call("all_titles")

    Args:
        targets: as those of :func:`pillion.serve`: one application, and classes of models that it calls.
        route_prefix: the path below which the application answers.
        args: arguments for the application's constructor, where it is a class.
        settings: of the server, by dotted key.

    Raises:
        TypeError: a target cannot be served.
    """
    from pillion.serving_targets import wanted  # noqa: PLC0415 - as `pillion.serve` imports it

    return Testing(wanted(targets, route_prefix=route_prefix, args=args), settings or {})


test.__test__ = False  # type: ignore[attr-defined]  # pytest takes what is called so for a test


class Testing:
    """What :func:`test` gives: enter it with ``with`` or ``async with``."""

    __test__ = False

    def __init__(self, wanted: Wanted, settings: Mapping[str, JsonValue]) -> None:
        self._wanted = wanted
        self._settings = settings
        self._entered: Tester | AsyncTester | None = None

    def __enter__(self) -> Tester:
        """Begin, in a thread of its own.

        Raises:
            StartError: an application or a model cannot be built; the text says where.
        """
        tester = Tester(self._wanted, self._settings)
        self._entered = tester
        return tester

    def __exit__(self, *_: object) -> None:
        if isinstance(self._entered, Tester):
            self._entered.close()

    async def __aenter__(self) -> AsyncTester:
        """Begin, on the running loop; raises as the other."""
        runtime = await _begun(self._wanted, self._settings)
        self._entered = AsyncTester(runtime)
        return self._entered

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._entered, AsyncTester):
            await self._entered.aclose()


class AsyncTester(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` of the application: ``await tester.get("/books/7")``, ``tester.stream("GET", ...)``.

    What a route raises is answered as a client sees it, and is in the log. ``timeout=`` of a request makes its client
    leave.
    """

    __test__ = False

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(transport=InProcess(runtime.app), base_url=_URL, timeout=None)
        self._runtime = runtime

    @property
    def instance(self) -> Any:  # noqa: ANN401 - the author's own
        """The object whose methods answer, the handler, or the application itself."""
        return _instance(self._runtime)

    async def call(self, method: str, /, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - the method's own
        """Call a method of the instance as code that works for a request: ``pillion.models`` is there."""
        return await _called(self._runtime, method, arguments, named)

    async def aclose(self) -> None:
        """End the lifespan and what is in progress."""
        await super().aclose()
        self._runtime.request_stop(_GRACE)
        await self._runtime.close()


class Tester(httpx.Client):
    """An ``httpx.Client`` of the application: ``tester.get("/books/7")``. See :class:`AsyncTester`."""

    __test__ = False

    def __init__(self, wanted: Wanted, settings: Mapping[str, JsonValue]) -> None:
        self._beside = LoopBeside("pillion-test")
        try:
            self._runtime = self._beside.run(_begun(wanted, settings))
        except BaseException:
            self._beside.stop()
            raise
        super().__init__(
            transport=InProcessFromThreads(InProcess(self._runtime.app), self._beside), base_url=_URL, timeout=None
        )

    @property
    def instance(self) -> Any:  # noqa: ANN401 - the author's own
        """See :attr:`AsyncTester.instance`."""
        return _instance(self._runtime)

    def call(self, method: str, /, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - the method's own
        """See :meth:`AsyncTester.call`."""
        return self._beside.run(_called(self._runtime, method, arguments, named))

    def close(self) -> None:
        """End the lifespan and what is in progress."""
        if self._beside.stopped:
            return
        super().close()
        self._runtime.request_stop(_GRACE)
        try:
            self._beside.run(self._runtime.close())
        finally:
            self._beside.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        where: TracebackType | None = None,
    ) -> None:
        super().__exit__(kind, error, where)
        self.close()


async def _begun(wanted: Wanted, settings: Mapping[str, JsonValue]) -> Runtime:
    from pillion.metrics import Collectors  # noqa: PLC0415 - `import pillion` is to stay light
    from pillion.server.metrics import ServerMetrics  # noqa: PLC0415 - as above
    from pillion.server.runtime import Runtime  # noqa: PLC0415 - as above

    registry = Collectors()
    runtime = Runtime(
        server_settings("127.0.0.1", {}, settings, quiet=True),
        wanted.models,
        None,
        None,
        registry,
        ServerMetrics(registry),
        classes=wanted.classes,
        applications=wanted.applications,
        objects=wanted.objects,
        listens=False,
    )
    loaded = asyncio.Event()
    try:
        await runtime.start(lambda _: loaded.set())
        await loaded.wait()
        _require_loaded(runtime)
    except BaseException:
        runtime.request_stop(0)
        await runtime.close()
        raise
    return runtime


def _require_loaded(runtime: Runtime) -> None:
    failed = [f"{status.name}: {status.reason}" for status in runtime.statuses() if status.reason]
    if failed:
        _fail("; ".join(failed))


def _fail(message: str) -> NoReturn:
    from pillion.server.failures import ExitCode, StartError  # noqa: PLC0415 - `import pillion` is to stay light

    raise StartError(ExitCode.USAGE, message)


def _instance(runtime: Runtime) -> Any:  # noqa: ANN401 - the author's own
    instances = [*runtime.application_instances().values()]
    if not instances:
        raise RuntimeError("models are tested here, and no application: call them by their routes")
    return instances[0]


async def _called(runtime: Runtime, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    from pillion.authoring.context import CURRENT, Shared  # noqa: PLC0415 - `import pillion` is to stay light

    function = getattr(_instance(runtime), method)
    working = Shared(runtime.plane, request_id="test")
    mark = CURRENT.set(working)
    try:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments, **named)
        result = await asyncio.to_thread(function, *arguments, **named)
        return await result if inspect.isawaitable(result) else result
    finally:
        CURRENT.reset(mark)
        working.end_all()
