"""The pod's first process: restores, has the training run in a process of its own, and stores what it made.

The training runs as it does on a laptop (`pillion.jobs.training_process`), in a session of its own whose process group
never outlives this process. What it prints is the pod's log. Told to end, this process asks the training to stop,
uploads the newest checkpoint, and leaves the rest to the next pod.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import PillionError
from pillion.execution.exits import FAULTS, signal_name
from pillion.jobs.folders import write_atomically
from pillion.jobs.process import JobProcess
from pillion.jobs.training_order import (
    REPORT,
    Checkpointed,
    Finished,
    Metrics,
    Progress,
    Refused,
    TrainingOrder,
    UncheckedData,
    encode,
)
from pillion.podword import DONE, FAILED, LOST, STOPPED, EndedError
from pillion.runtimefile import Code
from pillion.storage import StorageError, parse_uri
from pillion.trainingpod.status import PodStatus
from pillion.trainingpod.storing import store_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.jobs.process import Ending
    from pillion.trainingpod.checkpoints import RemoteCheckpoints, Uploader
    from pillion.trainingpod.order import PodOrder

__all__ = ["PodRun", "code_of"]

_log: Final = logging.getLogger(__name__)
_FOR_THE_TRAINING: Final = 0.5
"""Share of the grace that the training has to stop; the rest is for the upload."""
_LINE: Final = 300
_MEMORY_EVENTS: Final = Path("/sys/fs/cgroup/memory.events")


class PodRun:
    """One run.

    Args:
        order: what to do.
        environment: of the pod: the storage's settings, and what the training sees.
        status: is kept up to date.
    """

    def __init__(self, order: PodOrder, environment: Mapping[str, str], status: PodStatus) -> None:
        self._order = order
        self._environment = environment
        self._status = status
        self._work = Path(order.work)
        self._checkpoints = self._work / "checkpoints"
        self._process: JobProcess | None = None
        self._stopping = threading.Event()
        self._last: Finished | Refused | None = None
        self._tail = b""
        self._uploader: Uploader | None = None

    def stop(self) -> None:
        """The pod is to end. Any thread but a signal handler's, any number of times."""
        self._stopping.set()
        if self._process is not None:
            self._process.stop()

    def run(self) -> dict[str, Any]:
        """Do it; what the status says of the model.

        Raises:
            EndedError: there is no model.
        """
        self._work.mkdir(parents=True, exist_ok=True)
        remote = self._restored()
        if self._order.dataset:
            link = self._work / self._dataset_name
            link.unlink(missing_ok=True)
            link.symlink_to(self._order.dataset)
        write_atomically(self._work / "order.json", encode(self._training_order()))
        ending = self._trained(remote)
        made = self._stored(self._judged(ending))
        self._forget(remote)
        return made

    def _restored(self) -> RemoteCheckpoints | None:
        """Have the last checkpoint where the training looks for it."""
        place = self._order.checkpoint
        if place is None:
            return None
        own = f"{place.at.rstrip('/')}/{self._order.uid}"
        try:
            if own.startswith("file://"):
                folder = Path(parse_uri(own).path)
                folder.mkdir(parents=True, exist_ok=True)
                self._checkpoints.unlink(missing_ok=True)
                self._checkpoints.symlink_to(folder)
                numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]
                self._resumed(max(numbers, default=None))
                return None
            from pillion.trainingpod.checkpoints import RemoteCheckpoints  # noqa: PLC0415 - obstore, where it is needed

            remote = RemoteCheckpoints(own, self._environment)
            self._checkpoints.mkdir(exist_ok=True)
            self._resumed(remote.restore(self._checkpoints))
        except StorageError as error:
            raise EndedError.of_storage(error, "the checkpoints cannot be read") from None
        except OSError as error:
            remedy = "check the claim, and set securityContext.fsGroup to a group that may write to it"
            text = f"the checkpoints at {place.uri} cannot be used: {error.strerror}"
            raise EndedError(FAILED, "DestinationUnusable", text, remedy) from None
        return remote

    def _resumed(self, number: int | None) -> None:
        if number is not None:
            _log.info("going on from checkpoint %d", number)
            self._status.update(resumed_from=number, checkpoint=number)

    @property
    def _dataset_name(self) -> str:
        """The data's name in the folder of the run: of one file the ending says what it is."""
        data = Path(self._order.dataset)
        return f"dataset{data.suffix}" if data.is_file() else "dataset"

    def _training_order(self) -> TrainingOrder:
        order = self._order
        return TrainingOrder(
            code=code_of(order.module),
            route=order.task,
            parameters=order.parameters,
            sources={},
            folder=str(self._work),
            unchecked=UncheckedData(order.dataset_uri, self._dataset_name, order.dataset_parameter),
        )

    def _trained(self, remote: RemoteCheckpoints | None) -> Ending:
        if remote is not None:
            from pillion.trainingpod.checkpoints import Uploader  # noqa: PLC0415 - as above

            self._uploader = Uploader(remote, self._checkpoints, self._order.every_seconds, self._uploaded)
        self._process = JobProcess(
            "pillion.jobs.training_process",
            self._order.uid,
            str(self._work / "order.json"),
            self._environment,
            self._order.grace_seconds * _FOR_THE_TRAINING,
            self._printed,
            self._reported,
        )
        if self._stopping.is_set():
            self._process.stop()
        self._status.update(phase="training")
        try:
            return self._process.run()
        except OSError as error:
            raise EndedError(
                LOST, "TrainingLost", f"the training's process cannot be started: {error.strerror}"
            ) from None
        finally:
            self._status.update(phase="storing")
            if self._uploader is not None:
                # Nobody goes on from a training that has said how it ended.
                self._uploader.close(upload=not isinstance(self._last, Finished | Refused) or self._stopping.is_set())

    def _printed(self, text: bytes) -> None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        self._tail = (self._tail + text)[-4 * _LINE :]

    @property
    def _last_line(self) -> str:
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:_LINE] if lines else ""

    def _reported(self, line: bytes) -> None:
        try:
            report = REPORT.decode(line)
        except msgspec.MsgspecError:
            _log.warning("the training reported what is no report: %r", line[:100])
            return
        match report:
            case Metrics(_, values):
                self._status.logged(values)
            case Progress(fraction):
                self._status.update(progress=round(fraction, 4))
            case Checkpointed(number):
                if self._uploader is None:
                    self._status.update(checkpoint=number if self._order.checkpoint else None)
                else:
                    self._uploader.wanted(number)
            case Finished() | Refused():
                self._last = report

    def _uploaded(self, number: int, trouble: str) -> None:
        if trouble:
            _log.warning("checkpoint %d could not be uploaded: %s", number, trouble)
            self._status.update(warning=f"checkpoint {number} could not be uploaded: {trouble}")
        else:
            self._status.update(checkpoint=number, warning=None)

    def _judged(self, ending: Ending) -> Finished:
        # A model that was done when the pod was told to end is no less done; one that was broken off for it is.
        if isinstance(self._last, Finished) and ending.status == 0 and not self._last.cut_short:
            return self._last
        if ending.stopped:
            raise EndedError(STOPPED, "Terminated", "the pod was told to end; the training goes on from its checkpoint")
        if isinstance(self._last, Refused):
            raise EndedError(FAILED, "TrainingFailed", self._last.message)
        said = self._last_line
        last = f"; its last line: {said}" if said else ""
        if ending.status >= 0:
            text = f"the training's process ended with status {ending.status} before the training had{last}"
            raise EndedError(FAILED, "TrainingFailed", text, "do not call os._exit")
        number = -ending.status
        name = signal_name(number)
        if number in FAULTS:
            text = f"the training's process was ended by {name}, which native code brings on itself{last}"
            raise EndedError(FAILED, "TrainingFailed", text)
        if number == signal.SIGKILL and _ran_out_of_memory():
            raise EndedError(
                LOST,
                "OOMKilled",
                "the training used more memory than its limit and was killed",
                "raise resources.limits.memory",
            )
        raise EndedError(LOST, "TrainingLost", f"the training's process was ended by {name}{last}")

    def _stored(self, made: Finished) -> dict[str, Any]:
        output = self._order.output
        if output is None:
            raise EndedError(FAILED, "TrainingFailed", "there is no output.uri to store the model at")
        lineage = {
            "module": self._order.module,
            "data_digest": made.data_digest,
            "code_digest": made.code_digest,
            "metrics": self._status.metrics,
        }
        try:
            stored = store_model(self._order, output, self._work / "output", lineage, self._environment)
        except StorageError as error:
            raise EndedError.of_storage(error, "the model cannot be stored") from None
        except OSError as error:
            raise EndedError(LOST, "UploadFailed", f"the model cannot be stored: {error.strerror}") from None
        return {**stored, "dataDigest": made.data_digest, "codeDigest": made.code_digest}

    def _forget(self, remote: RemoteCheckpoints | None) -> None:
        """Remove the checkpoints: nobody goes on from them any more. What cannot be removed costs the model nothing."""
        try:
            if remote is not None:
                remote.remove()
            elif self._order.checkpoint is not None:
                import shutil  # noqa: PLC0415 - rarely needed

                shutil.rmtree(self._checkpoints.resolve(), ignore_errors=True)
        except StorageError as error:
            _log.warning("the checkpoints could not be removed: %s", error)


def code_of(module: str) -> Code:
    """Return where the class can be imported from: `file.py:Class`, or `package.module:Class`."""
    name, _, cls = module.partition(":")
    if name.endswith(".py"):
        path = Path(name).resolve()
        return Code(module=str(path), class_name=cls, folder=str(path.parent))
    return Code(module=name, class_name=cls, folder=str(Path.cwd()))


def _ran_out_of_memory() -> bool:
    with contextlib.suppress(OSError, ValueError):
        events = dict(line.split() for line in _MEMORY_EVENTS.read_text().splitlines())
        return int(events.get("oom_kill", "0")) > 0
    return False


def run_pod(order: PodOrder, environment: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Run it to its end, with signals and `/status`; exit code and last word."""
    from pillion.podstatus import serve_status  # noqa: PLC0415 - the standard library's server, once

    status = PodStatus()
    try:
        server = serve_status(status.document, order.port)
    except OSError as error:
        return FAILED, {"reason": "TrainingFailed", "message": f"port {order.port} is taken: {error.strerror}"}
    _log.info("/status answers on port %d", server.server_port)
    pod = PodRun(order, environment, status)

    def told(*_: object) -> None:
        # Locks that the interrupted code may hold are no handler's to take.
        threading.Thread(target=pod.stop, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    ended: list[tuple[int, dict[str, Any]]] = []
    worker = threading.Thread(target=lambda: ended.append(_outcome(pod, status)), name="training")
    worker.start()
    worker.join()
    server.shutdown()
    return ended[0]


def _outcome(pod: PodRun, status: PodStatus) -> tuple[int, dict[str, Any]]:
    try:
        artifact = pod.run()
    except EndedError as error:
        _log.error("%s", error)
        return error.status, error.fields
    except PillionError as error:
        _log.error("%s", error)
        return FAILED, {"reason": "TrainingFailed", "message": str(error)}
    except Exception as error:  # noqa: BLE001 - the last line of defence: the operator must learn the kind of defect
        _log.critical("a defect of Pillion", exc_info=error)
        return LOST, {"reason": "InternalError", "message": type(error).__name__, "remedy": "report it"}
    _log.info("the model is at %s", artifact["uri"])
    return DONE, {"reason": "Completed", "artifact": artifact, "metrics": status.metrics}


def own_environment() -> dict[str, str]:
    """Return the variables for the training and the storage: all but the order, which is ours."""
    from pillion.trainingpod.order import VARIABLE  # noqa: PLC0415 - one name

    return {name: value for name, value in os.environ.items() if name != VARIABLE}
