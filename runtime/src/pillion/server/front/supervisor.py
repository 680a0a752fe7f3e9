"""The process in front of the workers: binds the ports, keeps the workers running, answers the admin port for all.

It imports neither transports nor what models need (a test holds the list): it starts in a tenth of a second, has a
fifth of a server's memory, and nothing of a model's can end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion._version import __version__
from pillion.execution import restarts
from pillion.execution.cgroup import available_cpus
from pillion.execution.native_threads import per_call
from pillion.running import registered
from pillion.server.admin import AdminApp
from pillion.server.control import opened
from pillion.server.failures import ExitCode, StartError
from pillion.server.front import judgement
from pillion.server.front.admin import AdminPort
from pillion.server.front.families import cumulative, known, merged, of_workers
from pillion.server.front.messages import Begin
from pillion.server.front.process import FrontProcess
from pillion.server.front.rolling import Rolling
from pillion.server.front.seat import Seat
from pillion.server.front.view import Together
from pillion.server.ports import bind, reserve
from pillion.server.signals import HANDLED, handled
from pillion.server.terminal import Terminal

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from pillion.runtimefile import DesiredApplication, DesiredModel
    from pillion.server.front.admin import Asked
    from pillion.server.front.families import Family
    from pillion.server.front.judgement import Standing
    from pillion.server.front.messages import Settled, View
    from pillion.server.front.rolling import Living
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
        contexts: one for each worker, packed (:mod:`pillion.worker_context`).
        read_contexts: gives them anew when the workers are to be replaced; a ValueError leaves all as it is.
        server_id: by which ``pillion.stop`` finds the server, here and in the workers; empty: it does not.
        log_config: for :func:`logging.config.dictConfig` in each worker.
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
        contexts: Sequence[bytes] | None = None,
        read_contexts: Callable[[], Sequence[bytes]] | None = None,
        server_id: str = "",
        log_config: dict[str, Any] | None = None,
    ) -> None:
        self._settings = settings
        self._seats = [Seat(number) for number in range(workers)]
        self._models = tuple(models)
        self._applications = tuple(applications)
        self._config = config
        self._module = module
        self._extra = dict(extra or {})
        self._on_settled = on_settled
        self._contexts = contexts
        self._read_contexts = read_contexts
        self._server_id = server_id
        self._log_config = log_config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: socket.socket
        self._keepers: set[asyncio.Task[None]] = set()
        self._beside: set[FrontProcess] = set()
        """Processes without a seat: successors that load, and those that were replaced and end."""
        self._terminal = Terminal()
        self._lock = threading.RLock()  # a signal's handler may come while its thread has it
        self._pending: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        """What was asked before the loop ran."""
        self.ports: dict[str, int] = {}
        """The real ports, once they are bound."""
        self._cpus = per_call(available_cpus(), workers)
        self._retired: list[Family] = []
        """What workers that have ended had counted."""
        self._deletion: bool | None = None
        """The drain that was asked for; None: none was."""
        self._signalled = False
        self._stop = asyncio.Event()
        self._rolling = Rolling(self._seats, self, self._stop)
        self._data_ports = contextlib.ExitStack()
        """Closed at once when a stop is asked for: a connection that nobody accepts any more is to be refused."""
        self._came_up = False
        """Whether a worker has ever come to the end of its start."""
        self._failure: StartError | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or :meth:`stop`; signals are handled in the main thread only.

        Raises:
            StartError: a port cannot be used, or no worker can be started, with what the worker said.
            ValueError: its server id is taken.
        """
        if not sys.executable:
            raise StartError(ExitCode.UNEXPECTED, "this program does not know its Python interpreter: set workers to 1")
        # nohup has it ignored
        hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        signals = (*HANDLED, signal.SIGHUP) if hangs_up else HANDLED
        registration = registered(self._server_id, self.stop_soon) if self._server_id else contextlib.nullcontext()
        with registration, handled(self._on_signal, signals):
            asyncio.run(self._main())
        if self._failure is not None:
            raise self._failure

    def stop_soon(self) -> None:
        """Have all workers drain, and return at once. Any thread, any number of times."""
        self._on_loop(self._stop_once)

    def cut_soon(self) -> None:
        """The same, but requests in progress are cut."""
        self._on_loop(self._cut)

    def _on_loop(self, call: Callable[..., None], *given: object) -> None:
        with self._lock:
            loop = self._loop
            if loop is None:
                self._pending.append((call, given))
                return
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(call, *given)

    def _stop_once(self) -> None:
        if not self._stop.is_set():
            _log.info("asked to stop by the program")
            self.stop()

    def stop(self) -> None:
        """Stop soon; asked again, that changes nothing. On the event loop only."""
        if self._stop.is_set():
            return
        self._data_ports.close()
        self._stop.set()
        for process in self._processes():
            if not process.ending:  # told twice, it would cut what it lets end
                process.end()

    def _cut(self) -> None:
        self.stop()
        for process in self._processes():
            process.cut()

    async def _main(self) -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack, self._data_ports:
            own = settings.http
            http = self._data_ports.enter_context(bind(own.host, own.port, section="http", backlog=own.backlog))
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
            now = self._settings
            self.ports = {"http": now.http.port, "grpc": now.grpc.port, "admin": now.admin.port}
            self._http = http
            for seat in self._seats:
                self._hold(seat)
            port = AdminPort(self._answer)
            await port.open(admin)
            _log.info("supervising %d front workers", len(self._seats), extra={"cpus_each": self._cpus})
            with self._lock:
                self._loop = loop
            for call, given in self._pending:
                call(*given)
            await self._stop.wait()
            await self._end()
            port.close()
        if self._failure is None:
            _log.info("all front workers have ended")

    async def _end(self) -> None:
        """Wait for the workers, which have been told to end."""
        keepers = {*self._keepers, asyncio.create_task(self._rolling.ended())}
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
        self._on_loop(self._react, number)

    def _react(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP and not self._terminal.gone():
            if self._came_up and not self._stop.is_set():
                self._replace()
            else:
                _log.warning("received SIGHUP while the workers start or stop: it changes nothing")
            return
        # The first signal cuts nothing, also where the program has asked for the stop before it.
        again, self._signalled = self._signalled, True
        _log.info("received %s%s", number.name, "; again: cutting what is left" if again else "")
        (self._cut if again else self.stop)()

    def _replace(self) -> None:
        if self._read_contexts is not None:
            try:
                self._contexts = self._read_contexts()
            except ValueError as error:
                _log.error("received SIGHUP: the workers stay as they are: %s", error)
                return
        _log.info("received SIGHUP: replacing the workers one by one")
        self._rolling.begin()

    def _processes(self) -> list[FrontProcess]:
        return [*(seat.process for seat in self._seats if seat.process is not None), *self._beside]

    # --- workers

    def _hold(self, seat: Seat, first: Living | None = None) -> None:
        """Keep a worker in this place from now on; ``first`` is there already."""
        seat.holder += 1
        keeper = asyncio.create_task(self._keep(seat, seat.holder, first))
        self._keepers.add(keeper)
        keeper.add_done_callback(self._kept)

    async def _keep(self, seat: Seat, holder: int, first: Living | None) -> None:
        """Keep a worker in this place until the server stops, or somebody else keeps one."""
        while not self._stop.is_set() and seat.holder == holder:
            if first is None:
                process = self._made(seat, self._settled, at_once=seat.starts == 0)
                seat.process = process
                how = await self._life(process)
            else:
                (process, life), first = first, None
                how = await life
            self._retire(process)
            if seat.holder != holder:
                self._beside.discard(process)
                if process.failed:
                    _log.error("front worker %d (process %d), which was replaced, %s", seat.number, process.pid, how)
                return
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

    def _made(self, seat: Seat, on_settled: Callable[[], None], *, at_once: bool) -> FrontProcess:
        seat.starts += 1
        return FrontProcess(self._begin(seat, at_once=at_once), on_settled, self._stop_once)

    async def _life(self, process: FrontProcess) -> str:
        """From start to end; how it ended."""
        try:
            await process.start(self._module, os.environ, self._http)
        except OSError as error:
            return f"cannot be started: {error}"
        if self._stop.is_set():
            process.end()
        elif self._deletion is not None:
            self._spawn(process.drain(self._deletion))
        return await process.ended()

    # --- replacing them (see Rolling)

    def begin_successor(self, seat: Seat, on_settled: Callable[[], None]) -> Living:
        """Start a process beside the one in the seat."""
        process = self._made(seat, on_settled, at_once=False)
        self._beside.add(process)
        return process, asyncio.create_task(self._life(process))

    def seat_successor(self, seat: Seat, successor: Living) -> None:
        """Give it the seat, and end the process that had it."""
        former, seat.process = seat.process, successor[0]
        self._beside.discard(successor[0])
        seat.failures = 0
        self._hold(seat, successor)
        if former is not None:
            self._beside.add(former)
            former.end("it was replaced")

    def give_up_successor(self, process: FrontProcess) -> None:
        """It has ended and gets no seat."""
        self._beside.discard(process)
        self._retire(process)

    def _begin(self, seat: Seat, *, at_once: bool) -> Begin:
        return Begin(
            number=seat.number,
            settings=self._settings,
            cpus=self._cpus,
            at_once=at_once,
            models=self._models,
            applications=self._applications,
            config="" if self._config is None else str(self._config),
            extra=self._extra,
            context=None if self._contexts is None else self._contexts[seat.number],
            server_id=self._server_id,
            log_config=self._log_config,
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
        elif not self._stop.is_set():
            self._keepers.discard(keeper)

    def _abandon(self) -> None:
        self._data_ports.close()
        self._stop.set()
        for process in self._processes():
            process.kill()

    def _settled(self) -> None:
        self._came_up = True
        there = [seat.process for seat in self._seats if seat.process is not None]
        said = [process.settled for process in there if process.settled is not None]
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
