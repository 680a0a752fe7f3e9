"""The routes of jobs, in front of what answers them: a server that has no jobs imports no more than this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.transport.http.routes import Route, resolve_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.tasks import TaskPlane
    from pillion.transport.http.answer import Answer
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.jobs import JobHandler
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target
    from pillion.transport.http.trainings import TrainingHandler
    from pillion.transport.job_access import JobAccess

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["JobRoutes"]

_PREDICTIONS: Final = frozenset({Route.JOB, Route.JOB_RESULTS})


class JobRoutes:
    """Which routes of jobs there are, and who answers them."""

    def __init__(self, access: JobAccess, plane: TaskPlane, options: DispatchOptions) -> None:
        self._access = access
        self._plane = plane
        self._options = options
        self._predictions: JobHandler | None = None
        self._trainings: TrainingHandler | None = None

    def target(self, path: str) -> Target | None:
        """The route of a path; None where it is none, or leads to what is switched off."""
        target = resolve_job(path)
        if target is None or not (self._plane.expects_tasks() or self._access.routes()):
            return None
        if target.route is Route.JOBS:
            return target if self._access.predictions or self._access.trainings else None
        there = self._access.predictions if target.route in _PREDICTIONS else self._access.trainings
        return target if there else None

    async def answer(
        self, target: Target, method: str, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
    ) -> Answer:
        """One request.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        if target.route in _PREDICTIONS or target.route is Route.JOBS:
            if self._predictions is None:
                from pillion.transport.http.jobs import JobHandler  # noqa: PLC0415 - see the module's docstring

                self._predictions = JobHandler(self._access, self._plane, self._options)
            return await self._predictions.answer(target, method, headers, receive, caller)
        if self._trainings is None:
            from pillion.transport.http.trainings import TrainingHandler  # noqa: PLC0415 - as above

            self._trainings = TrainingHandler(self._access, self._options)
        return await self._trainings.answer(target, method, headers, receive, caller)
