"""Protobuf for a domain: its tasks, and its jobs and trainings with the types of their parameters, in one file.

``Nlp`` with the task ``classify`` of ``class Mood``, which can be trained, is

- ``nlp.NlpService`` with ``ClassifyPredict``,
- ``nlp.NlpJobService`` with ``SubmitClassifyJob``, which takes the message of the direct call, and
  ``GetClassifyJobResult``, which gives its answer,
- ``nlp.NlpTrainingService`` with ``ClassifyMoodTrain``.

What needs no types, as cancelling a job, is in the services of ``pillion.runtime``, whose ``Job`` these give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2

from pillion.authoring.field_numbers import FieldLock
from pillion.authoring.names import camel_case, same_task
from pillion.authoring.values import Kind, ListOf, Scalar
from pillion.protocol.message_writer import nested_name
from pillion.protocol.runtime_files import RUNTIME_FILE
from pillion.protocol.task_schema import ServiceDraft, service_name, service_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.training import TrainSignature
    from pillion.protocol.task_schema import ServiceSchema, TaskMethod

__all__ = ["DomainSchema", "JobMethods", "TrainMethod", "domain_schema"]

_JOB: Final = ".pillion.runtime.Job"
_JOB_REQUEST: Final = ".pillion.runtime.JobRequest"
_TEXT: Final = Scalar(Kind.STRING)
_Field = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True, slots=True)
class JobMethods:
    """The two methods of a task's jobs."""

    submit: str
    result: str
    task: TaskMethod
    """Of the direct call, whose messages they have."""


@dataclass(frozen=True, slots=True)
class TrainMethod:
    """The method of a training, which is called as the training is."""

    signature: TrainSignature
    request: type[Message]


@dataclass(frozen=True, slots=True)
class DomainSchema:
    """The services of a domain."""

    tasks: ServiceSchema
    """The file is that of all of them."""
    job_service: str
    """With the package; empty where it is not offered."""
    jobs: tuple[JobMethods, ...]
    training_service: str
    trainings: tuple[TrainMethod, ...]


def domain_schema(
    domain: str,
    signatures: Iterable[TaskSignature],
    lock: FieldLock,
    *,
    jobs: bool = True,
    trainings: Sequence[TrainSignature] = (),
) -> DomainSchema:
    """The services of a domain, which have the tasks and trainings of all of its classes.

    Of a task that several classes have, the first by the classes' names is written down; the others take and give the
    same (see :mod:`pillion.repository.agreement`). What the lock does not know of the domain yet has the numbers that
    it has in the services of the classes, so that messages to either mean the same.

    Args:
        domain: its name.
        signatures: of the tasks of all classes.
        lock: whose numbers count.
        jobs: whether there is a service of jobs.
        trainings: of all classes, without two of one name.
    """
    ordered = sorted(signatures, key=lambda one: (one.owner != domain, one.owner))
    chosen: dict[str, TaskSignature] = {}
    for signature in ordered:
        chosen.setdefault(same_task(signature.name), signature)
    tasks = list(chosen.values())
    name = service_name(domain)
    known = dict(lock.services.get(name, {}))
    there = service_schema(domain, tasks).numbers
    for owner in dict.fromkeys(task.owner for task in tasks):
        for message, numbers in lock.services.get(service_name(owner), {}).items():
            if message in there:
                known.setdefault(message, numbers)
    draft = ServiceDraft(domain, tasks)
    submitted = _write_jobs(draft) if jobs else {}
    requests = _write_trainings(draft, trainings)
    if submitted or requests:
        draft.writer.file.dependency.append(RUNTIME_FILE)
    schema, message_class = draft.finish(FieldLock(services={name: known}))
    prefix = name.removesuffix("Service")
    return DomainSchema(
        schema,
        f"{prefix}JobService" if submitted else "",
        tuple(JobMethods(*submitted[one.task], one) for one in schema.methods if one.task in submitted),
        f"{prefix}TrainingService" if requests else "",
        tuple(TrainMethod(one, message_class(request)) for one, request in requests),
    )


def _write_jobs(draft: ServiceDraft) -> dict[str, tuple[str, str]]:
    """Methods for each task whose request is one message: by the task, the names of both."""
    found: dict[str, tuple[str, str]] = {}
    offered = [(task, request, response) for _, task, request, response in draft.tasks if task.incoming is None]
    if not offered:
        return found
    service = draft.writer.file.service.add(name=f"{draft.owner}JobService")
    for task, request, response in offered:
        base = camel_case(task.name)
        submit, result = found[task.name] = f"Submit{base}Job", f"Get{base}JobResult"
        service.method.add(name=submit, input_type=draft.type_name(request), output_type=_JOB)
        given = service.method.add(name=result, input_type=_JOB_REQUEST, output_type=draft.type_name(response))
        if task.streams:
            given.server_streaming = True
    return found


def _write_trainings(draft: ServiceDraft, trainings: Sequence[TrainSignature]) -> list[tuple[TrainSignature, str]]:
    """A method for each: the names of their requests."""
    found: list[tuple[TrainSignature, str]] = []
    if not trainings:
        return found
    writer = draft.writer
    service = writer.file.service.add(name=f"{draft.owner}TrainingService")
    for training in sorted(trainings, key=lambda one: one.name):
        request, parameters = writer.unique(f"{training.name}Request"), writer.unique(f"{training.name}Parameters")
        _write_parameters(draft, parameters, training)
        message = writer.file.message_type.add(name=request)
        full = f"{draft.package}.{request}"
        writer.add(message, full, 1, "model_name", _TEXT)
        writer.add(message, full, 2, "output_path", _TEXT)
        writer.add(message, full, 3, "deploy", Scalar(Kind.BOOLEAN))
        message.field.append(_of_message("parameters", 4, draft.type_name(parameters)))
        service.method.add(name=training.name, input_type=draft.type_name(request), output_type=_JOB)
        found.append((training, request))
    return found


def _write_parameters(draft: ServiceDraft, name: str, training: TrainSignature) -> None:
    """The message of a training's parameters; data are items, or a URI of them."""
    writer, full = draft.writer, f"{draft.package}.{name}"
    message = descriptor_pb2.DescriptorProto(name=name)
    for number, parameter in enumerate(training.data, 1):
        inner = f"{nested_name(parameter.name)}Source"
        data = message.nested_type.add(name=inner)
        writer.add(data, f"{full}.{inner}", 1, "items", ListOf(parameter.item))
        writer.add(data, f"{full}.{inner}", 2, "uri", _TEXT)
        message.field.append(_of_message(parameter.name, number, f".{full}.{inner}"))
    for number, plain in enumerate(training.plain, len(training.data) + 1):
        writer.add(message, full, number, plain.name, plain.type)
    writer.file.message_type.append(message)


def _of_message(name: str, number: int, type_name: str) -> descriptor_pb2.FieldDescriptorProto:
    one = _Field(name=name, number=number, json_name=name, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_MESSAGE)
    one.type_name = type_name
    return one
