"""Tasks across the seam between transports and the data plane: as :mod:`pillion.dataplane.call`, for typed calls.

A transport finds the task, decodes what it received into its arguments by the signature, awaits
:meth:`TaskPlane.perform` and encodes the plain value that comes back. Admission, deadline, queue, metrics and
cancellation are those of every request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgspec

from pillion.authoring.names import same_task
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

    from pillion.authoring.field_numbers import FieldLock
    from pillion.authoring.signature import TaskSignature
    from pillion.dataplane.call import Call, WireProtocol
    from pillion.dataplane.streams import ItemStream

__all__ = ["ServedTask", "TaskDirectory", "TaskPlane", "TaskResult", "task_named"]


class ServedTask(msgspec.Struct, frozen=True):
    """A task of a model that is loaded now."""

    model: str
    version: str
    signature: TaskSignature
    lock: FieldLock | None = None
    """Of the numbers of its protobuf fields, where one lies beside its code."""


class TaskResult(msgspec.Struct, frozen=True):
    """The answer: who computed it, and the plain value (see :func:`pillion.authoring.results.plain`)."""

    model: str
    version: str
    value: Any


class TaskPlane(Protocol):
    """What every transport may ask of the data plane about tasks."""

    def tasks(self) -> Sequence[ServedTask]:
        """The tasks of the version of each model that answers requests. The same object until something changes."""
        ...

    def expects_tasks(self) -> bool:
        """Whether there are tasks, or a model that may have some and is not loaded."""
        ...

    def find(self, task: str, model: str | None = None, version: str | None = None) -> ServedTask:
        """The task that a request means; ``-`` and ``_`` are the same in its name.

        Raises:
            PillionError: ``NOT_FOUND`` for a task that nobody has, ``INVALID_ARGUMENT`` for one that this model has not
                or that several models have; ``UNKNOWN_MODEL``, ``NOT_READY``. The text lists what there is.
        """
        ...

    def refused(self, error: PillionError, protocol: WireProtocol, model: str, version: str | None = None) -> None:
        """Count a call that a transport could not hand over (see :class:`~pillion.dataplane.call.InferencePlane`)."""
        ...

    def perform(self, task: ServedTask, arguments: Mapping[str, Any], call: Call) -> Coroutine[Any, Any, TaskResult]:
        """Run one call of a task through admission, queue and executor.

        Up to its first wait the coroutine may be driven outside of any task, as
        :meth:`pillion.dataplane.call.InferencePlane.infer`.

        Raises:
            PillionError: with the code that says why.
        """
        ...

    async def stream(self, task: ServedTask, arguments: Mapping[str, Any], call: Call) -> ItemStream:
        """See :meth:`pillion.dataplane.streams.StreamPlane.stream`."""
        ...


def task_named(tasks: Mapping[str, TaskSignature], name: str) -> TaskSignature | None:
    """The task of that name; ``-`` and ``_`` are the same."""
    found = tasks.get(name)
    if found is not None:
        return found
    wanted = same_task(name)
    return next((task for known, task in tasks.items() if same_task(known) == wanted), None)


class TaskDirectory:
    """Which model has which task. Made anew when models change."""

    def __init__(self, tasks: Iterable[ServedTask]) -> None:
        self.tasks = tuple(tasks)
        self._by_name: dict[str, list[ServedTask]] = {}
        for task in self.tasks:
            self._by_name.setdefault(same_task(task.signature.name), []).append(task)

    def serving(self, name: str) -> ServedTask | None:
        """The task of that name, whoever has it; None for an unknown one.

        Raises:
            PillionError: ``INVALID_ARGUMENT``: several models have it.
        """
        found = self._by_name.get(name) or self._by_name.get(same_task(name))
        if found is None:
            return None
        if len(found) > 1:
            models = ", ".join(task.model for task in found)
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"several models have the task {found[0].signature.name!r}: {models}",
                field="model_id",
                remedy=f"name one: POST /{found[0].model}/{found[0].signature.name}",
            )
        return found[0]

    def refuse(self, name: str, model: str | None = None, tasks: Mapping[str, TaskSignature] | None = None) -> NoReturn:
        """Say that there is no such task, and which there are.

        Raises:
            PillionError: always; ``INVALID_ARGUMENT`` where another model has the task, else ``NOT_FOUND``.
        """
        known = list(tasks or {}) if model is not None else [task.signature.name for task in self.tasks]
        listed = ", ".join(dict.fromkeys(known)) or "none"
        code = ErrorCode.INVALID_ARGUMENT if same_task(name) in self._by_name else ErrorCode.NOT_FOUND
        subject = "there is no task" if model is None else f"model {model!r} has no task"
        raise PillionError(
            code,
            f"{subject} {name[:100]!r}; it has: {listed}" if model else f"{subject} {name[:100]!r}; tasks: {listed}",
        )
