"""Steps that call what a graph names: models of the own server, and those of other services.

Between steps of a graph are values as JSON has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from pillion.applications.models import ModelHandle
from pillion.applications.remote import remote
from pillion.composition.errors import CompositionError
from pillion.composition.step import Step
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.applications.remote import RemoteModel
    from pillion.authoring.signature import TaskSignature
    from pillion.composition.session import FlowCall

__all__ = ["LocalStep", "RemoteStep", "UrlStep"]


class LocalStep(Step):
    """A model of the server that the graph is in."""

    kind = "model"

    def __init__(self, name: str, model: str, task: str | None) -> None:
        self.name = name
        self.model = model
        self.task = task

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as JSON has them
        """Call it."""
        plane = call.plane
        if plane is None:
            raise CompositionError(f"step {self.name!r} calls the model {self.model!r} of a server, and this is none")
        handle = ModelHandle(self.model, call, plane)
        if self.task is None:
            return await _predicted(handle, value)
        signature = plane.find(self.task, self.model).signature
        arguments = _arguments(value, signature)
        if signature.streams:
            return [item async for item in handle.stream(self.task, **arguments)]
        return await handle.task(self.task, **arguments)


class RemoteStep(Step):
    """A model of another service."""

    kind = "service"

    def __init__(self, name: str, service: str, model: str | None, task: str | None) -> None:
        self.name = name
        self.service = service
        self.model = model
        self.task = task
        self._handle = _checked(service, model)

    def prepare(self, closing: Callable[[Callable[[], None]], None]) -> RemoteModel:
        """Its handle; connections are made by calls."""
        del closing
        return self._handle

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as above
        """Call it."""
        del call
        if self.task is None:
            return await _predicted(self._handle, value)
        return await self._handle.task_of(self.task, value)


class UrlStep(Step):
    """Anything that is sent JSON and answers JSON."""

    kind = "url"

    def __init__(self, name: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise CompositionError(f"step {name!r}: url: {url!r} is not http(s)://HOST/PATH")
        self.name = name
        self.url = url
        self._path = parts._replace(scheme="", netloc="").geturl() or "/"
        self._handle = _checked(f"{parts.scheme}://{parts.netloc}", None)

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as above
        """Post it."""
        del call
        return await self._handle.post(self._path, value)


def _checked(service: str, model: str | None) -> RemoteModel:
    try:
        return remote(service, model)
    except ValueError as error:
        raise CompositionError(str(error)) from None


async def _predicted(handle: ModelHandle | RemoteModel, value: Any) -> Any:  # noqa: ANN401 - as above
    """Outputs for rows, or for inputs by name."""
    outputs = await (handle.predict(None, **value) if isinstance(value, dict) else handle.predict(value))
    if isinstance(outputs, dict):
        return {name: _listed(array) for name, array in outputs.items()}
    return _listed(outputs)


def _listed(array: Any) -> Any:  # noqa: ANN401 - as above
    given = np.asarray(array)
    if given.dtype.kind in "OS":
        texts = [one.decode() if isinstance(one, bytes) else one for one in given.ravel().tolist()]
        return np.array(texts, dtype=object).reshape(given.shape).tolist()
    return given.tolist()


def _arguments(value: Any, signature: TaskSignature) -> dict[str, Any]:  # noqa: ANN401 - as above
    """An object whose names are parameters of the task is its arguments; else the value is its one required one."""
    known = {parameter.name for parameter in signature.parameters}
    required = [parameter.name for parameter in signature.parameters if parameter.required]
    if isinstance(value, dict) and value.keys() <= known and set(required) <= value.keys():
        return value
    if len(required) == 1:
        return {required[0]: value}
    raise PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"task {signature.name!r} takes {signature.names}, and the step before it gave {type(value).__name__}",
        remedy="give an object with these names",
    )
