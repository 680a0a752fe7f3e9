"""Which services there are for the tasks that are served, and which models answer them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.contract import differences
from pillion.authoring.field_numbers import FieldLock
from pillion.authoring.names import same_task
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.domain_schema import domain_schema
from pillion.protocol.task_schema import service_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from grpc.aio import ServicerContext

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.training import TrainSignature
    from pillion.dataplane.tasks import ServedTask
    from pillion.protocol.domain_schema import DomainSchema
    from pillion.protocol.task_schema import ServiceSchema
    from pillion.transport.grpc.runtime_services import RuntimeParts

__all__ = ["TaskService", "model_of", "services_of"]

_log: Final = logging.getLogger("pillion.grpc")
_MODEL_ID: Final = "mm-model-id"


@dataclass(frozen=True, slots=True)
class TaskService:
    """The service of a class or of a domain."""

    schema: ServiceSchema
    contracts: Mapping[str, TaskSignature]
    """By task: what its messages were made of."""
    models: Mapping[str, tuple[str, ...]]
    """By task: the models that answer."""
    domain: DomainSchema | None = None
    """Where it is that of a domain: its jobs and trainings, too."""


def model_of(models: Sequence[str], context: ServicerContext[Any, Any]) -> str:
    """The model that a call names, or the only one that there is.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: there are several, and it names none.
    """
    for key, value in context.invocation_metadata() or ():
        if key == _MODEL_ID:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    if len(models) == 1:
        return models[0]
    raise PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"several models have this service: {', '.join(models)}",
        field=_MODEL_ID,
        remedy=f"name one in the metadata {_MODEL_ID}",
    )


def services_of(tasks: Sequence[ServedTask], runtime: RuntimeParts | None) -> dict[str, TaskService]:
    """By name. A domain that is called as one of its classes has that class's service, with more tasks."""
    return {**_services_of_classes(tasks), **_services_of_domains(tasks, runtime)}


def _services_of_classes(tasks: Sequence[ServedTask]) -> dict[str, TaskService]:
    """Of classes with one name and different tasks the first is the contract."""
    by_model: dict[tuple[str, str], list[ServedTask]] = {}
    for task in tasks:
        by_model.setdefault((task.signature.owner, task.model), []).append(task)
    services: dict[str, TaskService] = {}
    for (owner, model), own in by_model.items():
        schema = service_schema(owner, [task.signature for task in own], own[0].lock)
        known = services.get(schema.name)
        if known is not None and _content(known.schema) != _content(schema):
            _log.warning(
                "model %s: another class %s with other tasks is served by gRPC as %s: rename one of them",
                model, owner, schema.name,
            )  # fmt: skip
            continue
        _warn(schema)
        models = (model,) if known is None else (*known.models[own[0].signature.name], model)
        contracts = {task.signature.name: task.signature for task in own} if known is None else known.contracts
        schema = schema if known is None else known.schema
        services[schema.name] = TaskService(schema, contracts, dict.fromkeys(contracts, models))
    return services


def _services_of_domains(tasks: Sequence[ServedTask], runtime: RuntimeParts | None) -> dict[str, TaskService]:
    """Of a domain in several folders the lock of the first model counts."""
    by_domain: dict[str, list[ServedTask]] = {}
    for task in tasks:
        if task.lock is not None and task.lock.domain:
            by_domain.setdefault(task.lock.domain, []).append(task)
    services: dict[str, TaskService] = {}
    for domain, own in by_domain.items():
        whole = domain_schema(
            domain,
            [task.signature for task in own],
            own[0].lock or FieldLock(),
            jobs=runtime is not None and runtime.jobs.predictions,
            trainings=_trainings(runtime, {task.model for task in own}),
        )
        schema = whole.tasks
        if schema.changes.added or schema.changes.types:  # what is not served now is not gone
            _warn(schema)
        contracts: dict[str, TaskSignature] = {}
        models: dict[str, tuple[str, ...]] = {}
        written = {same_task(method.task): (method.task, method.signature) for method in schema.methods}
        for task in own:
            name, contract = written[same_task(task.signature.name)]
            contracts[name] = contract
            found = differences(contract, task.signature)
            if found:  # versions of one model may differ, and one of them serves
                _log.warning("model %s is not reached by %s: %s", task.model, schema.name, "; ".join(found))
                continue
            models[name] = (*models.get(name, ()), task.model)
        services[schema.name] = TaskService(schema, contracts, models, whole)
    return services


def _trainings(runtime: RuntimeParts | None, models: Collection[str]) -> list[TrainSignature]:
    """Those of the classes of these models."""
    if runtime is None or not runtime.jobs.trainings:
        return []
    return [route.signature for route in runtime.jobs.routes() if route.desired.name in models]


def _warn(schema: ServiceSchema) -> None:
    if schema.changes:
        _log.warning(
            "%s: proto.lock does not know all of its fields (%s): run pillion proto before clients use them",
            schema.name, schema.changes,
        )  # fmt: skip


def _content(schema: ServiceSchema) -> bytes:
    return schema.file.SerializeToString(deterministic=True)
