"""A server's description of its tasks and trainings, by its OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.client.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TaskSpec", "TrainingSpec", "checked", "tasks_of", "trainings_of"]

_OK: Final = "200"
_PREFIX: Final = "/api/v1/task/"
_TRAININGS: Final = "/api/v1/"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as the server describes it.

    Attributes:
        name: as it is called.
        models: that have it.
        parameters: schemas by name, in their order.
        required: names of those without a default.
        result: schema of the answer, or of each item; None for a file.
        streams: whether it answers with a stream.
        summary: of the method's docstring.
    """

    name: str
    models: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]
    result: Mapping[str, Any] | None
    streams: bool
    summary: str


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """A training as the server describes it.

    Attributes:
        name: as it is begun.
        parameters: schemas by name.
        required: names of those without a default.
        data: names of those that are data: a list of items, or ``{"uri": ...}``.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]
    data: tuple[str, ...]


def trainings_of(document: Mapping[str, Any]) -> dict[str, TrainingSpec]:
    """The trainings of a server by name."""
    found = {}
    for path, operations in document.get("paths", {}).items():
        name = path.removeprefix(_TRAININGS)
        if "/" in name or not name.endswith("Train") or "post" not in operations:
            continue
        content = operations["post"]["requestBody"]["content"]["application/json"]
        body = resolved(content["schema"], document)
        given = resolved(body["properties"]["parameters"], document)
        parameters: dict[str, Mapping[str, Any]] = given.get("properties", {})
        data = tuple(key for key, schema in parameters.items() if "oneOf" in schema)
        found[name] = TrainingSpec(name, parameters, frozenset(given.get("required", ())), data)
    return found


def tasks_of(document: Mapping[str, Any]) -> dict[str, TaskSpec]:
    """The tasks of a server by name."""
    return {spec.name: spec for spec in _specs(document)}


def _specs(document: Mapping[str, Any]) -> Iterator[TaskSpec]:
    paths = document.get("paths", {})
    for path, operations in paths.items():
        name = path.removeprefix("/")
        operation = operations.get("post")
        # A task answers at /name, at /model/name and at caikit's path; who has the third has the first.
        if operation is None or "/" in name or not _is_task(name, paths):
            continue
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = resolved(content.get("schema", {}), document)
        answers: dict[str, Any] = operation["responses"].get(_OK, {}).get("content", {})
        media = next(iter(answers), "")
        streams = media == "text/event-stream"
        schema: dict[str, Any] = answers.get(media, {}).get("schema", {})
        if streams:
            schema = _item(schema)
        yield TaskSpec(
            name=name,
            models=tuple(
                other.split("/")[1] for other in paths if other.endswith(f"/{name}") and other.count("/") == 2
            ),
            parameters=body.get("properties", {}),
            required=frozenset(body.get("required", ())),
            result=None if schema.get("format") == "binary" else schema,
            streams=streams,
            summary=operation.get("summary", ""),
        )


def _is_task(name: str, paths: Mapping[str, Any]) -> bool:
    kebab = name.replace("_", "-")
    return any(f"{_PREFIX}{prefix}{kebab}" in paths for prefix in ("", "server-streaming-"))


def _item(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What an event ``message`` holds, of the schema of a stream's events."""
    for event in schema.get("oneOf", ()):
        fields = event.get("properties", {})
        if fields.get("event", {}).get("const") == "message":
            item: dict[str, Any] = fields["data"]["contentSchema"]
            return item
    return {}


def resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference leads to."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = document
    for key in str(reference).removeprefix("#/").split("/"):
        found = found[key]
    return found  # type: ignore[no-any-return] # a part of the document


def checked(spec: TaskSpec, arguments: Mapping[str, object]) -> None:
    """Refuse names that the task does not have, and those that are missing, before anything is sent.

    Raises:
        InvalidInput: as the server would, with the same fields.
    """
    has = ", ".join(spec.parameters) or "none"
    fields = {
        name: f"task {spec.name!r} has no such parameter; it has: {has}"
        for name in arguments
        if name not in spec.parameters
    }
    fields |= {name: "is required" for name in spec.parameters if name in spec.required and name not in arguments}
    if fields:
        sentence = "; ".join(f"{name}: {reason}" for name, reason in fields.items())
        raise InvalidInput(422, sentence, "422", fields=fields)
