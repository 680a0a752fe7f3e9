"""The process in front of the workers: binds the ports, keeps the workers running, answers the admin port for all.

It imports neither transports nor what models need (a test holds the list): it starts in a tenth of a second, has a
fifth of a server's memory, and nothing of a model's can end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion._version import __version__
from pillion.execution import restarts
from pillion.execution.cgroup import available_cpus
from pillion.execution.native_threads import per_call
from pillion.server.admin import AdminApp
from pillion.server.control import opened
from pillion.server.failures import ExitCode, StartError
from pillion.server.front import judgement
from pillion.server.front.admin import AdminPort
from pillion.server.front.families import cumulative, known, merged, of_workers
from pillion.server.front.messages import Begin
from pillion.server.front.process import FrontProcess
from pillion.server.front.seat import Seat
from pillion.server.front.view import Together
from pillion.server.ports import bind, reserve
from pillion.server.signals import HANDLED

if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from pillion.runtimefile import DesiredApplication, DesiredModel
    from pillion.server.front.admin import Asked
    from pillion.server.front.families import Family
    from pillion.server.front.judgement import Standing
    from pillion.server.front.messages import Settled, View
    from pillion.server.settings import Settings

__all__ = ["WORKER", "Supervisor"]

_log = logging.getLogger(__name__)

WORKER: Final = "pillion.server.front.worker"
_TO_END_SECONDS: Final = 15.0
"""For a worker to end after its grace: what it closes then has bounds of its own, which are less together."""


class Supervisor:
    """Serves with several front workers until stopped.

    Args:
        settings: all of them.
        workers: how many.
        models: what to serve; where ``config`` is given, its models are used.
        applications: what answers below paths of their own, likewise.
        config: a runtime.yaml that each worker reads and follows.
        module: what a worker runs.
        extra: told to each worker, for ``module``.
        on_settled: called once with what each worker said when its models were loaded or had failed.
    """

    def __init__(
        self,
        settings: Settings,
        workers: int,
        *,
        models: Sequence[DesiredModel] = (),
        applications: Sequence[DesiredApplication] = (),
        config: Path | None = None,
        module: str = WORKER,
        extra: Mapping[str, str] | None = None,
        on_settled: Callable[[list[Settled]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._seats = [Seat(number) for number in range(workers)]
        self._models = tuple(models)
        self._applications = tuple(applications)
        self._config = config
        self._module = module
        self._extra = dict(extra or {})
        self._on_settled = on_settled
        self._cpus = per_call(available_cpus(), workers)
        self._retired: list[Family] = []
        """What workers that have ended had counted."""
        self._deletion: bool | None = None
        """The drain that was asked for; None: none was."""
        self._stop = asyncio.Event()
        self._data_ports = contextlib.ExitStack()
        """Closed at once when a stop is asked for: a connection that nobody accepts any more is to be refused."""
        self._came_up = False
        """Whether a worker has ever come to the end of its start."""
        self._failure: StartError | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or :meth:`stop`. In the main thread.

        Raises:
            StartError: a port cannot be used, or no worker can be started, with what the worker said.
        """
        if not sys.executable:
            raise StartError(ExitCode.UNEXPECTED, "this program does not know its Python interpreter: set workers to 1")
        asyncio.run(self._main())
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop soon. On the event loop only."""
        self._data_ports.close()
        self._stop.set()
        for process in self._processes():
            process.end()

    async def _main(self) -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack, self._data_ports:
            http = self._data_ports.enter_context(bind(settings.http.host, settings.http.port, section="http"))
            admin = stack.enter_context(bind(settings.admin.host, settings.admin.port, section="admin"))
            grpc = self._data_ports.enter_context(reserve(settings.grpc.host, settings.grpc.port, section="grpc"))
            control = await opened(settings.control.socket, self._drain)
            if control is not None:
                stack.callback(control.close)
            self._settings = msgspec.structs.replace(
                settings,
                http=msgspec.structs.replace(settings.http, port=http.getsockname()[1]),
                grpc=msgspec.structs.replace(settings.grpc, port=grpc.getsockname()[1]),
                admin=msgspec.structs.replace(settings.admin, port=admin.getsockname()[1]),
            )
            for number in HANDLED:
                loop.add_signal_handler(number, self._on_signal, number)
            keepers = [asyncio.create_task(self._keep(seat, http)) for seat in self._seats]
            for keeper in keepers:
                keeper.add_done_callback(self._kept)
            port = AdminPort(self._answer)
            await port.open(admin)
            _log.info("supervising %d front workers", len(self._seats), extra={"cpus_each": self._cpus})
            await self._stop.wait()
            await self._end(keepers)
            port.close()
        if self._failure is None:
            _log.info("all front workers have ended")

    async def _end(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the workers, which have been told to end."""
        _, left = await asyncio.wait(keepers, timeout=self._settings.drain.grace_seconds + _TO_END_SECONDS)
        for process in self._processes() if left else ():
            process.kill("it did not end within its grace")
        if left:
            await asyncio.wait(left)
        for task in self._tasks:
            task.cancel()
        for keeper in keepers:
            keeper.result()

    def _on_signal(self, number: signal.Signals) -> None:
        again = "; again: cutting what is left" if self._stop.is_set() else ""
        _log.info("received %s%s", number.name, again)
        self.stop()

    def _processes(self) -> list[FrontProcess]:
        return [seat.process for seat in self._seats if seat.process is not None]

    # --- workers

    async def _keep(self, seat: Seat, http: socket.socket) -> None:
        """Keep a worker in this place until the server stops."""
        while not self._stop.is_set():
            process = FrontProcess(self._begin(seat), self._settled)
            seat.starts += 1
            seat.process = process
            how = await self._life(process, http)
            self._retire(process)
            seat.process = None
            if self._stop.is_set():
                if process.ending or process.failed:
                    _log.error("front worker %d (process %d) %s", seat.number, process.pid, how)
                return
            if not self._came_up:
                self._give_up(seat, process, how)
                return
            came_up = process.settled is not None and process.settled.ready
            seat.failures = 0 if came_up else seat.failures + 1
            seconds = restarts.delay(seat.failures)
            _log.error(
                "front worker %d (process %d) %s; another is started%s",
                seat.number,
                process.pid,
                how,
                f" in {seconds:g} s" if seconds else "",
                extra={"starts": seat.starts},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    async def _life(self, process: FrontProcess, http: socket.socket) -> str:
        """From start to end; how it ended."""
        try:
            await process.start(self._module, os.environ, http)
        except OSError as error:
            return f"cannot be started: {error}"
        if self._stop.is_set():
            process.end()
        elif self._deletion is not None:
            self._spawn(process.drain(self._deletion))
        return await process.ended()

    def _begin(self, seat: Seat) -> Begin:
        return Begin(
            number=seat.number,
            settings=self._settings,
            cpus=self._cpus,
            at_once=seat.starts == 0,
            models=self._models,
            applications=self._applications,
            config="" if self._config is None else str(self._config),
            extra=self._extra,
        )

    def _give_up(self, seat: Seat, process: FrontProcess, how: str) -> None:
        """End the start as that of one process would have: a supervisor above restarts the whole."""
        if process.failed is not None:
            self._failure = StartError(ExitCode(process.failed.code), process.failed.message)
        else:
            self._failure = StartError(
                ExitCode.UNEXPECTED, f"front worker {seat.number} {how}, before its models were loaded"
            )
        self._abandon()

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """A place that nobody keeps is a fault of ours: better to end, and be started again."""
        if not keeper.cancelled() and keeper.exception() is not None:
            self._abandon()

    def _abandon(self) -> None:
        self._data_ports.close()
        self._stop.set()
        for process in self._processes():
            process.kill()

    def _settled(self) -> None:
        self._came_up = True
        said = [process.settled for process in self._processes() if process.settled is not None]
        if self._on_settled is not None and len(said) == len(self._seats):
            tell, self._on_settled = self._on_settled, None
            tell(said)
        self._spawn(self._review())

    async def _review(self) -> None:
        """Replace workers whose first models have failed although another has them."""
        standings, _ = await self._asked()
        for number in judgement.replaceable(standings):
            process = self._seats[number].process
            if process is not None and process.settled is not None and not process.settled.ready:
                process.end(f"its models did not load, those of another worker did: {standings[number].reason}")

    def _retire(self, process: FrontProcess) -> None:
        """Keep what it had counted. The series of models that nobody has any more go."""
        there = [other.families for other in self._processes() if other is not process and other.families]
        versions = set().union(*map(known, there)) if there else None
        self._retired = cumulative(merged((self._retired, process.families)), versions)

    # --- drain and admin port

    async def _drain(self, deletion: bool) -> None:  # noqa: FBT001 - the control protocol's own field
        self._deletion = deletion
        drains = [asyncio.create_task(process.drain(deletion)) for process in self._processes()]
        if drains:
            await asyncio.wait(drains)

    async def _answer(self, asked: Asked) -> tuple[int, str, bytes]:
        path = asked[1]
        scraped = path == "/metrics"
        standings, views = await self._asked(families=scraped, live=path == "/debug/requests")
        together = Together(
            standings,
            views,
            self._families(standings) if scraped else (),
            version=__version__,
            draining=self._deletion is not None or self._stop.is_set(),
            stopping=self._stop.is_set(),
        )
        return AdminApp(together, together).answer(*asked)

    async def _asked(self, *, families: bool = False, live: bool = False) -> tuple[list[Standing], list[View]]:
        """How every worker is, and what those said that answered."""
        seats = list(self._seats)
        answers = await asyncio.gather(*(_ask(seat.process, families=families, live=live) for seat in seats))
        standings = [seat.standing(view) for seat, view in zip(seats, answers, strict=True)]
        return standings, [view for view in answers if view is not None]

    def _families(self, standings: Sequence[Standing]) -> list[Family]:
        # What a worker counted that has just ended is in its last snapshot, and in the sum, until it is retired.
        parts = (*(process.families for process in self._processes()), self._retired)
        return [*merged(parts), *of_workers(standings)]

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _ask(process: FrontProcess | None, *, families: bool, live: bool) -> View | None:
    return None if process is None else await process.ask(families=families, live=live)
