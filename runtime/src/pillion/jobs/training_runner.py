"""Trainings in processes of this machine (see :class:`~pillion.jobs.runner.JobRunner`)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import re
import signal
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.execution.exits import FAULTS, exit_reason, signal_name
from pillion.jobs.folders import FILES, JobFolders, write_atomically
from pillion.jobs.log import JobLog
from pillion.jobs.outputs import keep_output
from pillion.jobs.process import JobProcess
from pillion.jobs.runner import Done, Failed, Lost, Postponed, Stopped
from pillion.jobs.states import Failure
from pillion.jobs.store import JobStoreError, StoreFullError
from pillion.jobs.training import order_of
from pillion.jobs.training_order import (
    REPORT,
    Checkpointed,
    Finished,
    Metrics,
    Progress,
    Refused,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from pillion.authoring.signature import ModelDefinition
    from pillion.jobs.process import Ending
    from pillion.jobs.runner import Control, Outcome
    from pillion.jobs.settings import JobSettings
    from pillion.jobs.states import Job
    from pillion.jobs.training_order import Report, TrainingOrder
    from pillion.runtimefile import DesiredModel

__all__ = ["LOG", "METRICS", "TrainingRunner", "without_secrets"]

_log: Final = logging.getLogger(__name__)
LOG: Final = "log"
METRICS: Final = "metrics"
_WITHOUT_ROOM: Final = 30.0
"""Seconds until a training that had no room on the disk is tried again."""
_SECRET: Final = re.compile(r"PILLION_(API_KEY|(AUTH|JOBS|LOGGER|MANAGEMENT|TLS)(__.*)?)", re.IGNORECASE)
"""Variables that are the server's business alone: keys, and sections as a whole that may hold one."""


class TrainingRunner:
    """Runs each training in a process of its own.

    Args:
        settings: bounds and places; there is a folder.
        definitions: the classes that are served now.
        deploy: serves a version that a job made.
    """

    stops_at_once = True

    def __init__(
        self,
        settings: JobSettings,
        definitions: Callable[[], Sequence[tuple[DesiredModel, ModelDefinition]]],
        deploy: Callable[[Job, str], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._folders = JobFolders(None if settings.folder is None else settings.folder / FILES, settings.inline_bytes)
        self._definitions = definitions
        self._deploy = deploy

    async def run(self, job: Job, request: bytes, control: Control) -> Outcome:
        """Do the run, in a thread that stays with the process."""
        if control.stopping.is_set():
            return Stopped()
        folder = self._folders.of(job.id)
        try:
            order = order_of(job, request, folder, self._definitions(), self._settings)
            write_atomically(folder / "order.json", encode(order))
            attended = _Attended(folder, self._settings, asyncio.get_running_loop(), control)
        except StoreFullError as error:
            return Postponed(str(error), _WITHOUT_ROOM)  # which is no fault of the job
        except JobStoreError as error:
            return Failed(Failure(ErrorCode.INTERNAL.value, str(error)))
        except OSError as error:
            return Failed(Failure(ErrorCode.INTERNAL.value, f"its log cannot be kept: {error.strerror}"))
        process = JobProcess(
            "pillion.jobs.training_process",
            job.id,
            str(folder / "order.json"),
            without_secrets(os.environ),
            self._settings.cancel_grace_seconds,
            attended.printed,
            attended.reported,
        )
        told = asyncio.create_task(_tell(control, process))
        try:
            if job.attempts > 1 or attended.resumed:
                attended.printed(b"--- run %d ---\n" % (job.attempts))
            ending = await _in_thread(process.run, f"training-{job.id[:8]}")
        except OSError as error:
            return Failed(Failure(ErrorCode.INTERNAL.value, f"its process cannot be started: {error.strerror}"))
        finally:
            told.cancel()
            attended.close()
        return await self._judged(job, order, ending, attended, folder, control)

    async def _judged(
        self,
        job: Job,
        order: TrainingOrder,
        ending: Ending,
        attended: _Attended,
        folder: Path,
        control: Control,
    ) -> Outcome:
        last = attended.last
        if isinstance(last, Finished) and ending.status == 0 and not ending.stopped:
            try:
                details = await asyncio.to_thread(keep_output, self._settings.models, job, folder, last, order)
            except (OSError, PillionError, ValueError) as error:
                return Failed(Failure(ErrorCode.INTERNAL.value, f"the model could not be kept: {error}"))
            reason = ""
            if "deploy" in job.details:
                if control.stopping.is_set():
                    return Stopped()  # nobody wants it to be served any more, or the next run finds what is kept
                reason = await self._deployed(job, details)
            return Done(json.dumps(details).encode(), details=details, reason=reason)
        if ending.stopped:
            return Stopped()
        if isinstance(last, Refused):
            return Failed(Failure(last.code, f"{last.message} (GET /management/trainings/{job.id}/logs has more)"))
        return _lost(job, ending.status, got_on=attended.got_on)

    async def _deployed(self, job: Job, details: dict[str, str]) -> str:
        """Serve what was made; why that could not be, which costs the version nothing."""
        try:
            await self._deploy(job, details["version"])
        except PillionError as error:
            details["deployed"] = "false"
            return f"version {details['version']} is kept, and not deployed: {error}"
        details["deployed"] = "true"
        return ""


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the server's environment a training's process gets."""
    return {name: value for name, value in variables.items() if not _SECRET.fullmatch(name)}


def _lost(job: Job, status: int, *, got_on: bool) -> Outcome:
    """What the end of a process means that said nothing."""
    where = f"GET /management/trainings/{job.id}/logs has what it printed"
    if status >= 0:
        text = f"the training's process ended with status {status} before the training had: does it call os._exit?"
        return Failed(Failure(ErrorCode.MODEL_FAILED.value, f"{text} ({where})"))
    if -status == signal.SIGXCPU:
        text = "the training used up its processor time (jobs.max_cpu_seconds)"
        return Failed(Failure(ErrorCode.MODEL_FAILED.value, f"{text} ({where})"))
    if -status in FAULTS:
        text = f"the training's process was ended by {signal_name(-status)}, which native code brings on itself"
        return Failed(Failure(ErrorCode.MODEL_FAILED.value, f"{text} ({where})"))
    return Lost(f"the training's process {exit_reason(status)} ({where})", got_on=got_on)


class _Attended:
    """What a process prints and reports, taken in its thread, told to the engine on its loop."""

    def __init__(self, folder: Path, settings: JobSettings, loop: asyncio.AbstractEventLoop, control: Control) -> None:
        self._log = JobLog(folder, LOG, settings.max_log_bytes)
        self._metrics = JobLog(folder, METRICS, settings.max_log_bytes)
        self._loop = loop
        self._control = control
        self.resumed = (folder / "checkpoints").is_dir()
        self.last: Report | None = None
        """What it said of its end."""
        self.got_on = False
        """Whether it has made a checkpoint."""

    def printed(self, text: bytes) -> None:
        self._log.append(text)
        self._on_loop(self._control.changed)

    def reported(self, line: bytes) -> None:
        try:
            report = REPORT.decode(line)
        except msgspec.MsgspecError:  # a training that writes into our pipe; it is its own log that suffers
            _log.warning("a training's process reported what is no report: %r", line[:100])
            return
        match report:
            case Metrics(at, values):
                self._metrics.append(encode({"at": at, **values}) + b"\n")
                self._on_loop(self._control.changed)
            case Progress(fraction):
                self._on_loop(functools.partial(self._control.got_on, fraction, False))
            case Checkpointed():
                self.got_on = True
                self._on_loop(functools.partial(self._control.got_on, None, True))
            case Finished() | Refused():
                self.last = report

    def close(self) -> None:
        self._log.close()
        self._metrics.close()

    def _on_loop(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(work)


async def _tell(control: Control, process: JobProcess) -> None:
    await control.stopping.wait()
    process.stop()


async def _in_thread(work: Callable[[], Ending], name: str) -> Ending:
    """Run blocking work in a thread of its own: those of the pool are few, and this may take days."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Ending] = loop.create_future()

    def settle(ending: Ending | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif ending is not None:
            future.set_result(ending)

    def body() -> None:
        ending: Ending | None = None
        failure: BaseException | None = None
        try:
            ending = work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever awaits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, ending, failure)

    threading.Thread(target=body, name=name, daemon=True).start()
    return await future
