"""The process of one run of a training: ``python -m pillion.jobs.training_process ORDER REPORTS CONTROL LIFELINE``.

A clean interpreter in a session of its own. It has the order's file, a pipe to report through, one in which a byte
says that somebody wants it to stop, and its lifeline: when the server is gone, the kernel kills its whole group.
"""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import hashlib
import os
import resource
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pillion.authoring.checkpoints import digest_of
from pillion.authoring.run import Run, RunListener
from pillion.authoring.signature import define
from pillion.authoring.stream import Stream
from pillion.backends.api import ModelLoadError
from pillion.backends.python_source import failure_in_code, import_class
from pillion.durable import sync_folder, sync_tree
from pillion.errors import ErrorCode, PillionError
from pillion.execution import lifeline
from pillion.jobs.data import data_digest, data_files, from_files
from pillion.jobs.descendants import MARK, adopt_orphans, kill_all
from pillion.jobs.invalid import invalid_parameters
from pillion.jobs.places import check_source
from pillion.jobs.training_check import checked
from pillion.jobs.training_order import (
    ORDER,
    Checkpointed,
    Finished,
    Metrics,
    Progress,
    Refused,
    encode,
)

if TYPE_CHECKING:
    from pillion.authoring.model import Model
    from pillion.authoring.training import TrainSignature
    from pillion.backends.python_source import Imported
    from pillion.jobs.training_order import Report, TrainingOrder

__all__ = ["main"]

_NICE: Final = 5
"""Below the server, which answers requests on the same CPUs."""
_OF_ANOTHER_RUN: Final = 10.0
"""Seconds for a former run of the same job to be gone."""


class _Reports(RunListener):
    """Tells the server."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def tell(self, report: Report) -> None:
        line = encode(report) + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]

    def metrics(self, values: dict[str, float]) -> None:
        self.tell(Metrics(time.time(), dict(values)))

    def progress(self, fraction: float) -> None:
        self.tell(Progress(fraction))

    def checkpoint(self, number: int) -> None:
        self.tell(Checkpointed(number))


def main(arguments: list[str]) -> int:
    """Do the run; the exit status."""
    order_file, reports_at, control, line = arguments[0], *map(int, arguments[1:])
    for descriptor in (reports_at, control, line):
        os.set_inheritable(descriptor, False)
    lifeline.hold(line, group=True)
    adopt_orphans()
    faulthandler.enable()
    os.nice(_NICE)
    reports = _Reports(reports_at)
    cancelled = threading.Event()
    threading.Thread(target=_listen, args=(control, cancelled), daemon=True).start()
    try:
        order = ORDER.decode(Path(order_file).read_bytes())
        _hold(Path(order.folder))
        _bound(order)
        reports.tell(_run(order, reports, cancelled))
    except PillionError as error:
        reports.tell(Refused(error.code.value, str(error)))
        return 1
    return 0


def _listen(control: int, cancelled: threading.Event) -> None:
    if os.read(control, 1):
        cancelled.set()


def _hold(folder: Path) -> None:
    """Have the job to this process: a former run may be about to die."""
    held = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _OF_ANOTHER_RUN
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise PillionError(ErrorCode.INTERNAL, "a former run of this training does not end") from None
            time.sleep(0.05)
        else:
            return  # the descriptor stays open until the process ends


def _bound(order: TrainingOrder) -> None:
    if order.max_memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (order.max_memory_bytes, order.max_memory_bytes))
    if order.max_cpu_seconds:
        # SIGXCPU at the first, SIGKILL at the second.
        resource.setrlimit(resource.RLIMIT_CPU, (order.max_cpu_seconds, order.max_cpu_seconds + 5))


def _run(order: TrainingOrder, reports: _Reports, cancelled: threading.Event) -> Report:
    folder = Path(order.folder)
    try:
        imported = import_class(order.code)
        signature = _signature(imported, order)
        order = order if order.unchecked is None else checked(order, signature)
        arguments, digest = _arguments(signature, order, folder)
        seen = threading.Event()
        run = Run(folder / "checkpoints", reports, lambda: _seen(cancelled, seen))
        if signature.takes_run:
            arguments["run"] = run
        model = getattr(imported.cls, signature.method)(**arguments)
        _check(model, imported.cls, signature)
        return Finished(_saved(model, folder), digest, _code_digest(imported), cut_short=seen.is_set())
    except PillionError:
        raise
    except ModelLoadError as error:
        raise _failed(str(error)) from error
    except MemoryError as error:
        _show(error)
        allowed = f" ({order.max_memory_bytes} bytes are allowed: jobs.max_memory_bytes)" * bool(order.max_memory_bytes)
        raise _failed(f"the training ran out of memory{allowed}") from error
    except SystemExit as error:
        _show(error)
        raise _failed(f"the training called sys.exit({error.code!r})") from error
    except BaseException as error:
        _show(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _failed(f"there is no room left on the disk of {folder}: make some") from error
        failure = failure_in_code(error, Path(order.code.folder), order.route)
        raise _failed(str(failure)) from error


def _seen(cancelled: threading.Event, seen: threading.Event) -> bool:
    """Whether it is cancelled, and take note that the training knows."""
    if cancelled.is_set():
        seen.set()
    return cancelled.is_set()


def _check(model: object, cls: type[Any], signature: TrainSignature) -> None:
    if not isinstance(model, cls):
        raise _failed(
            f"{signature.owner}.{signature.method} returned {type(model).__name__},"
            f" and an instance of {signature.owner} is what a training gives"
        )


def _signature(imported: Imported, order: TrainingOrder) -> TrainSignature:
    signature = define(imported.cls).training
    if signature is None and order.unchecked is not None:
        raise _failed(f"the class {imported.cls.__name__} has no method that is marked with @train")
    if signature is None or (order.route and signature.name != order.route):
        if order.unchecked is not None and signature is not None:
            raise _failed(f"the class has no training {order.route!r}; it has: {signature.name}")
        raise _failed(f"the class has no training {order.route!r} any more: it was changed after the job was submitted")
    return signature


def _arguments(signature: TrainSignature, order: TrainingOrder, folder: Path) -> tuple[dict[str, Any], str]:
    """What the method is called with, and the digest of all data."""
    try:
        arguments = signature.arguments.validate_json(encode(order.parameters))
    except ValidationError as error:
        raise invalid_parameters(error, signature) from None
    files: list[Path] = []
    inline: dict[str, Any] = {}
    for parameter in signature.data:
        source = order.sources.get(parameter.name)
        if source is not None:
            path = folder / source.file
            if not source.file:
                # Again: what the path leads to may have changed since the request.
                check_source(source.uri, order.roots, f"parameters.{parameter.name}.uri")
                path = _fetched(source.uri, folder / "data" / parameter.name)
            arguments[parameter.name] = from_files(parameter, path)
            files += data_files(path)
        elif parameter.name in arguments:
            arguments[parameter.name] = Stream(arguments[parameter.name])
            inline[parameter.name] = order.parameters[parameter.name]
    return arguments, data_digest(files, encode(inline) if inline else b"")


def _fetched(uri: str, folder: Path) -> Path:
    from pillion.storage import FetchOptions, StorageError, fetch_sync  # noqa: PLC0415 - only for data elsewhere

    try:
        return fetch_sync(uri, folder, FetchOptions.from_environment(os.environ, reuse="revalidate")).model_path
    except StorageError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"data: {error}", field="data") from error


def _saved(model: Model, folder: Path) -> str:
    """Have the model in ``output``, all of it on disk or none; its digest."""
    partial, output = folder / ".output.partial", folder / "output"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(output, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save(partial)
    if not any(partial.iterdir()):
        raise _failed(f"{type(model).__name__}.save wrote nothing into the folder that it was given")
    sync_tree(partial)
    digest = digest_of(partial)
    partial.rename(output)
    sync_folder(folder)
    return digest


def _code_digest(imported: Imported) -> str:
    digest = hashlib.sha256()
    for file in imported.files:
        digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"


def _show(error: BaseException) -> None:
    """The traceback, into the log."""
    import traceback  # noqa: PLC0415 - only where something failed

    traceback.print_exception(error)
    sys.stderr.flush()


def _failed(text: str) -> PillionError:
    return PillionError(ErrorCode.MODEL_FAILED, text)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Now, while they are below this process, whatever they have made of their environment.
    kill_all(os.environ.get(MARK, "nobody's"), os.getpid())
    # Threads of the user's, and of libraries, must not keep a run that has ended from ending.
    os._exit(status)
