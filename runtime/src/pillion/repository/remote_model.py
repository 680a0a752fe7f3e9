"""What a server knows of a model that its worker processes have loaded, and how it asks for the model's calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.execution.remote import RemoteExplanation, RemoteStream, RemoteTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.authoring.field_numbers import FieldLock
    from pillion.authoring.signature import ModelDefinition, TaskSignature
    from pillion.authoring.text import TextMethods
    from pillion.backends.api import InputRule, LoadedModel
    from pillion.execution.api import Interrupt
    from pillion.model import Acceleration, Libraries, ModelMetadata
    from pillion.repository.served import RepositorySettings, Served
    from pillion.runtimefile import DesiredModel
    from pillion.tensors import Tensor

__all__ = ["Description", "RemoteModel", "RemoteTaskModel", "RemoteTextModel", "callables", "describe", "known"]


@dataclass(frozen=True, slots=True)
class Description:
    """What a server has to know of a model that it has not loaded."""

    metadata: ModelMetadata
    rules: tuple[InputRule, ...]
    default_outputs: tuple[str, ...]
    any_input_name: bool
    libraries: Libraries | None
    files: tuple[str, ...]
    own_code: bool
    checks: bool
    """Whether its class says how it is."""
    generates: bool
    converses: bool
    """Whether it takes messages, where it generates text."""
    embeds: bool
    format: str
    typical_seconds: float | None
    shares_calls: bool
    acceleration: Acceleration | None


def describe(served: Served, found: str, typical: float | None) -> Description:
    """In the worker: its model, for the server."""
    model = served.model
    text: TextMethods | None = getattr(model, "text", None)
    generate = None if text is None else text.generate
    return Description(
        metadata=msgspec.structs.replace(model.metadata, labels=served.metadata.labels),
        rules=model.rules,
        default_outputs=model.default_outputs,
        any_input_name=model.any_input_name,
        libraries=model.libraries,
        files=tuple(getattr(model, "files", ())),
        own_code=hasattr(model, "tasks"),
        checks=bool(getattr(model, "checks", False)),
        generates=generate is not None,
        converses=generate is not None and generate.messages,
        embeds=text is not None and text.embed is not None,
        format=found,
        typical_seconds=typical,
        shares_calls=served.shares_calls,
        acceleration=served.acceleration,
    )


def callables(model: LoadedModel) -> dict[str, TaskSignature]:
    """In the worker: what can be called of its model, by the names that the server uses."""
    return _named(getattr(model, "tasks", {}), getattr(model, "text", None))


def _named(tasks: Mapping[str, TaskSignature], text: TextMethods | None) -> dict[str, TaskSignature]:
    """The tasks by their names, and ``generate`` and ``embed`` by names that no task has: one may be called so, too."""
    if text is None:
        return dict(tasks)
    methods = {f".{one.task.name}": one.task for one in (text.generate, text.embed) if one is not None}
    return {**tasks, **methods}


class RemoteModel:
    """A model in worker processes (see :class:`~pillion.backends.api.LoadedModel`)."""

    def __init__(self, description: Description) -> None:
        self.metadata = description.metadata
        self.rules = description.rules
        self.default_outputs = description.default_outputs
        self.any_input_name = description.any_input_name
        self.libraries = description.libraries
        self.files = description.files

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Never called: the executor sends the call away."""
        del inputs, outputs, interrupt
        raise RuntimeError("the model runs in worker processes")

    def begin_explanation(self) -> RemoteExplanation:
        """See :class:`~pillion.backends.api.ExplainedModel`."""
        return RemoteExplanation()

    def close(self) -> None:
        """It goes with its workers."""


class RemoteTextModel(RemoteModel):
    """One that clients of language models can call (see :class:`~pillion.backends.api.StreamModel`)."""

    def __init__(self, description: Description, text: TextMethods, tasks: Mapping[str, TaskSignature]) -> None:
        super().__init__(description)
        self.text = text
        self._names = {signature: name for name, signature in _named(tasks, text).items()}

    def begin(self, task: TaskSignature, arguments: Mapping[str, Any]) -> RemoteTask:
        """See :class:`~pillion.backends.api.TaskModel`."""
        return RemoteTask(self._names[task], arguments)

    def stream(self, task: TaskSignature, arguments: Mapping[str, Any]) -> RemoteStream:
        """See :class:`~pillion.backends.api.StreamModel`."""
        return RemoteStream(self._names[task], arguments)


class RemoteTaskModel(RemoteTextModel):
    """A class of the user's in worker processes (see :class:`~pillion.backends.api.TaskModel`)."""

    def __init__(self, description: Description, definition: ModelDefinition, lock: FieldLock | None) -> None:
        tasks = {signature.name: signature for signature in definition.tasks}
        super().__init__(description, definition.text, tasks)
        self.definition = definition
        self.checks = description.checks
        self.tasks = tasks
        self.lock = lock


def known(description: Description, desired: DesiredModel, settings: RepositorySettings) -> RemoteModel:
    """The model as the server knows it."""
    if description.own_code:
        return RemoteTaskModel(description, *_definition(desired, settings))
    if description.generates or description.embeds:
        from pillion.backends import hub_methods  # noqa: PLC0415 - few models need it

        text = hub_methods.embedding()
        if description.generates:
            text = hub_methods.generation(messages=description.converses)
        return RemoteTextModel(description, text, {})
    return RemoteModel(description)


def _definition(desired: DesiredModel, settings: RepositorySettings) -> tuple[ModelDefinition, FieldLock | None]:
    """What can be asked of the class, and its lock. A worker has loaded it, so its code may run."""
    from pillion.authoring.signature import define  # noqa: PLC0415 - only classes need it
    from pillion.backends import python  # noqa: PLC0415 - as above
    from pillion.repository.loader import with_code  # noqa: PLC0415 - it imports this module

    found = python.find(with_code(desired, settings), settings.classes)
    return define(found.cls), found.lock()
