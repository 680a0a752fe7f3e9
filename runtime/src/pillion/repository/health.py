"""``check_health`` of models: what their authors say of whether they can work, and what is done where they cannot.

A model that is unhealthy is not ready. It still answers who asks: readiness keeps new requests away where others
serve. After some failures in a row it is loaded anew beside itself, or the worker process that failed is replaced.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pillion.repository.entry import pause_after
from pillion.repository.upkeep import begun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pillion.execution.process import ProcessExecutor
    from pillion.execution.worker_link import WorkerLink
    from pillion.repository.entry import Entry, Key
    from pillion.repository.served import RepositorySettings, Served

__all__ = ["Course", "ModelHealth", "judged"]

_log: Final = logging.getLogger(__name__)


_MOST_LEFT: Final = 4
"""Questions that may hang of models that are there no more, of one name and version: then nothing is loaded anew. Until
then it is, seldom and seldomer: what they hang on may be over, and they still hang."""


@dataclass(frozen=True, slots=True)
class Course:
    """How it went with one model.

    Attributes:
        failures: answers in a row that said that it is unhealthy, since it was mended last.
        mended: how often it was mended since it was healthy.
        not_before: when it may be mended again, on the repository's clock.
    """

    failures: int = 0
    mended: int = 0
    not_before: float = 0.0


def judged(course: Course, *, healthy: bool, now: float, limit: int) -> tuple[Course, bool]:
    """Return how it goes on after an answer, and whether the model is to be mended now.

    Args:
        course: so far.
        healthy: what was answered.
        now: on the same clock.
        limit: failures in a row after which it is mended; 0: it never is.
    """
    if healthy:
        return Course(), False
    failures = course.failures + 1
    if not limit or failures < limit or now < course.not_before:
        return replace(course, failures=failures), False
    mended = course.mended + 1
    return Course(0, mended, now + pause_after(mended)), True


class ModelHealth:
    """Asks models, and has those mended that failed too often. Event loop's thread only.

    Args:
        settings: how often they are asked, and how long they may take.
        entries: every version.
        clock: monotonic.
        tell: takes note of why a version is unhealthy; empty: it is not.
        reload: loads a version anew, beside what serves.
    """

    def __init__(
        self,
        settings: RepositorySettings,
        entries: Mapping[Key, Entry],
        clock: Callable[[], float],
        tell: Callable[[Key, Entry, str], None],
        reload: Callable[[Key, Entry], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._entries = entries
        self._clock = clock
        self._tell = tell
        self._reload = reload
        self._courses: dict[Key, Course] = {}
        self._asked: dict[Served, tuple[Key, asyncio.Future[Any]]] = {}
        self._left: dict[Key, set[asyncio.Future[Any]]] = {}
        """Questions that hang, in threads that cannot be ended, of models that another has taken the place of."""
        self._looks: dict[Key, asyncio.Task[None]] = {}

    async def first(self, key: Key, served: Served) -> str:
        """Ask a model that was just loaded; why it is unhealthy, empty where it is not."""
        return _said(await self._ask(key, served)) if _checks(served) else ""

    async def watch(self) -> None:
        """Ask for ever. A model that takes its time, or is loaded anew, keeps no other from being asked."""
        try:
            while True:
                await asyncio.sleep(self._settings.health_period_seconds)
                for gone in self._courses.keys() - self._entries.keys():
                    del self._courses[gone]
                for key, entry in list(self._entries.items()):
                    if key not in self._looks:
                        look = self._looks[key] = asyncio.create_task(self._look(key, entry))
                        look.add_done_callback(functools.partial(self._looked, key))
        finally:
            for look in self._looks.values():
                look.cancel()

    def _looked(self, key: Key, look: asyncio.Task[None]) -> None:
        del self._looks[key]
        error = None if look.cancelled() else look.exception()
        if error is not None:
            _log.error("model %s version %s could not be asked how it is", *key, exc_info=error)

    async def _look(self, key: Key, entry: Entry) -> None:
        served = entry.served
        if served is None or entry.removed or entry.suspended or not _checks(served):
            return
        failed = await self._ask(key, served)
        if entry.served is not served:  # another has taken over
            return
        why = _said(failed)
        course = self._courses.get(key, Course())
        self._courses[key], mend = judged(
            course, healthy=not why, now=self._clock(), limit=self._settings.health_failures
        )
        self._tell(key, entry, why)
        if not mend:
            return
        processes = _processes(served)
        if processes is not None:
            _replace(processes, failed, key[0])
        elif len(self._left.get(key, ())) >= _MOST_LEFT:
            # One more would hang as well, and each keeps a thread and its model's memory.
            _log.error(
                "model %s version %s is unhealthy, and check_health of %d before it still hang: it is not loaded "
                "anew; restart the server, or serve it in worker processes",
                *key,
                _MOST_LEFT,
                extra={"model": key[0]},
            )
        else:
            _log.error("model %s version %s is unhealthy and is loaded anew", *key, extra={"model": key[0]})
            await self._reload(key, entry)

    async def _ask(self, key: Key, served: Served) -> list[tuple[WorkerLink | None, BaseException]]:
        """Who failed, and how: worker processes, or None for the model in this one."""
        seconds = self._settings.health_timeout_seconds
        processes = _processes(served)
        if processes is not None:
            from pillion.repository import in_workers  # noqa: PLC0415 - only for models that are asked

            return [*await in_workers.ask(processes, seconds)]
        _, asked = self._asked.get(served, (key, None))
        if asked is None:
            if len(self._left.get(key, ())) > _MOST_LEFT:
                return [(None, RuntimeError("check_health of those before it hangs: it is not asked"))]
            try:
                asked = begun(served.model.check_health())  # type: ignore[attr-defined]  # it has one, see _checks
            except Exception as refused:  # noqa: BLE001 - as where there is no thread for it; the others are still asked
                return [(None, refused)]
            self._asked[served] = key, asked
        await asyncio.wait((asked,), timeout=seconds)
        if not asked.done():  # and is not asked twice
            return [(None, TimeoutError(f"it did not answer within {seconds:g} s"))]
        self._asked.pop(served, None)
        error = asyncio.CancelledError("it was cancelled") if asked.cancelled() else asked.exception()
        return [] if error is None else [(None, error)]

    def forget(self, served: Served) -> None:
        """It is let go."""
        key, asked = self._asked.pop(served, (None, None))
        if key is None or asked is None or asked.done():
            return
        if isinstance(asked, asyncio.Task):
            asked.cancel()
            return
        self._left.setdefault(key, set()).add(asked)  # a thread, which goes on
        asked.add_done_callback(functools.partial(self._gone, key))

    def _gone(self, key: Key, asked: asyncio.Future[Any]) -> None:
        if not asked.cancelled():
            asked.exception()  # looked at: nobody else does
        self._left[key].discard(asked)
        if not self._left[key]:
            del self._left[key]


def _replace(executor: ProcessExecutor, failed: list[tuple[WorkerLink | None, BaseException]], name: str) -> None:
    for link, error in failed:
        if link is None:
            continue
        _log.error("model %s: worker process %d is unhealthy and is replaced", name, link.process.pid)
        if isinstance(error, TimeoutError):
            link.process.kill()  # it would answer nobody else either; its successor follows
        else:
            executor.replace(link)


def _processes(served: Served) -> ProcessExecutor | None:
    from pillion.repository import in_workers  # noqa: PLC0415 - only for models that are asked

    return in_workers.processes_of(served)


def _checks(served: Served) -> bool:
    return bool(getattr(served.model, "checks", False))


def _said(failed: list[tuple[WorkerLink | None, BaseException]]) -> str:
    if not failed:
        return ""
    link, error = failed[0]
    text = str(error) or type(error).__name__
    return text if link is None else f"worker process {link.process.pid}: {text}"
