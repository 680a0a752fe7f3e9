"""Jobs in the OpenAPI document: those of each task, each training with its own parameters, and their management."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from pillion.jobs.states import JobState
from pillion.transport.http.openapi_events import EVENT_STREAM, event_stream
from pillion.transport.http.openapi_tasks import TEMPLATE, exact, renamed, task_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pillion.jobs.training import TrainingRoute
    from pillion.transport.job_access import JobAccess

__all__ = ["JOB", "describe_jobs"]

_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
JOB: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["kind", "task", "state", "submission_timestamp", "completion_timestamp", "reasons"],
    "properties": {
        "prediction_id": {"type": "string"},
        "model_id": {"type": "string"},
        "training_id": {"type": "string"},
        "model_name": {"type": "string", "description": "What a training makes."},
        "kind": {"type": "string", "enum": ["prediction", "training"]},
        "task": {"type": "string"},
        "state": {"type": "string", "enum": [state.value for state in JobState]},
        "submission_timestamp": {"type": "string", "format": "date-time"},
        "start_timestamp": _TIME,
        "completion_timestamp": _TIME,
        "reasons": {"type": "array", "items": {"type": "string"}},
        "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "attempts": {"type": "integer"},
        "priority": {"type": "integer"},
        "cancel_requested": {"type": "boolean"},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_JOB: Final = {"$ref": "#/components/schemas/Job"}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key again, within the time that jobs are kept, gives the job of the first time.",
}
_PRIORITY: Final = {
    "name": "priority",
    "in": "query",
    "schema": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0},
    "description": "Higher runs first.",
}
_TASK_PREFIX: Final = "/api/v1/task/"


def describe_jobs(
    access: JobAccess, task_paths: Mapping[str, Any], reserved: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Paths and schemas.

    Args:
        access: which jobs there are.
        task_paths: those of tasks, whose bodies and results jobs have, too.
        reserved: names of schemas that are taken.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    if access.predictions:
        for path, operations in task_paths.items():
            if path.startswith(_TASK_PREFIX):
                paths |= _predictions(path, operations["post"])
    if access.trainings:
        described, schemas = _trainings(list(access.routes()), reserved)
        paths |= described
        paths |= _management(bool(described))
    if access.predictions or access.trainings:
        more = [
            _query("kind", {"type": "string", "enum": ["prediction", "training"]}),
            _query("job_id", {"type": "string"}),
        ]
        paths["/management/jobs"] = {"get": _listing("All jobs, the newest first; one by its id", "jobs", more)}
    return paths, schemas


def _predictions(path: str, direct: dict[str, Any]) -> dict[str, Any]:
    one = _query("prediction_id", {"type": "string"}, required=True)
    tags = direct["tags"]
    submit = {
        "summary": f"{direct['summary']}: as a job",
        "tags": tags,
        "parameters": [_KEY, _PRIORITY],
        "requestBody": direct["requestBody"],
        "responses": {"202": _json("It waits", _submitted("prediction_id", "model_id"))} | task_errors() | _no_room(),
    }
    result = copy.deepcopy(direct["responses"]["200"])
    for media, content in list(result["content"].items()):
        if media == EVENT_STREAM:  # a job's result is the list of what would have come one by one
            item = content["schema"]["oneOf"][0]["properties"]["data"]["contentSchema"]
            result = _json("All items", {"type": "array", "items": item})
    results = {
        "summary": f"{direct['summary']}: the result of a job",
        "tags": tags,
        "parameters": [one],
        "responses": {"200": result, "409": _error("It has not ended, or was canceled.")} | task_errors(),
    }
    return {
        f"{path}/job": {
            "post": submit,
            "get": _operation("A job as it is now", tags, [one]),
            "delete": _operation("Cancel a job; one that has ended stays as it is", tags, [one]),
        },
        f"{path}/job/results": {"get": results},
    }


def _trainings(routes: list[TrainingRoute], reserved: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (route.signature.name, "validation", route.signature.arguments) for route in routes
    ]
    if not inputs:
        return {}, {}
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=TEMPLATE)
    found, schemas = exact(found), exact(definitions.get("$defs", {}))
    taken = {name: f"Training{name}" for name in schemas if name in reserved}
    if taken:
        found = renamed(found, taken)
        schemas = {taken.get(name, name): schema for name, schema in renamed(schemas, taken).items()}
    paths: dict[str, Any] = {}
    for route in routes:
        signature = route.signature
        parameters = found[signature.name, "validation"]
        if "$ref" in parameters:
            parameters = schemas.pop(parameters["$ref"].rpartition("/")[2])
        body = _training_body(route, parameters)
        operation: dict[str, Any] = {
            "summary": signature.summary or f"Train {signature.owner}",
            "tags": [route.desired.name],
            "parameters": [_KEY, _PRIORITY],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "202": _json("It waits", _submitted("training_id", "model_name")),
                "403": _error("Data or output_path lie outside of the folders of jobs.roots."),
                "409": _error("deploy: a model of this name is declared where the server was started."),
                **task_errors(),
                **_no_room(),
            },
        }
        if signature.description:
            operation["description"] = signature.description
        paths[f"/api/v1/{signature.name}"] = {"post": operation}
    return paths, schemas


def _training_body(route: TrainingRoute, parameters: dict[str, Any]) -> dict[str, Any]:
    properties = dict(parameters.get("properties", {}))
    uri = {"type": "string", "minLength": 1}
    elsewhere = {"type": "object", "additionalProperties": False, "required": ["uri"], "properties": {"uri": uri}}
    for data in route.signature.data:
        properties[data.name] = {
            "oneOf": [properties[data.name] | {"minItems": 1}, elsewhere],
            "description": "Items, or where they are: JSONL, JSON, CSV, Parquet, or a folder of them.",
        }
    return {
        "type": "object",
        "required": ["model_name", "parameters"],
        "additionalProperties": False,
        "properties": {
            "model_name": {"type": "string", "description": "What is made: its next version."},
            "output_path": {"type": "string", "description": "A folder for a copy of the model; not there yet."},
            "deploy": {
                "type": "boolean",
                "default": False,
                "description": "Serve the version when it is there, in place of the one before it.",
            },
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "required": sorted(route.signature.required),
                "properties": properties,
            },
        },
    }


def _management(any_training: bool) -> dict[str, Any]:  # noqa: FBT001 - one use, above
    if not any_training:
        return {}
    tags = ["trainings"]
    one = _query("training_id", {"type": "string"}, required=True)
    listing = _listing(
        "Trainings, the newest first; one by its id", "trainings", [_query("training_id", {"type": "string"})]
    )
    path = {"name": "training_id", "in": "path", "required": True, "schema": {"type": "string"}}
    follow = [path, _query("follow", {"type": "boolean"}), _query("after", {"type": "integer", "minimum": 0})]
    logs, metrics = _operation("What a training has printed", tags, follow), _operation("Its numbers", tags, follow)
    logs["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}} | _followed(
        "log", {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
    )
    numbers = {"type": "object", "properties": {"metrics": {"type": "array", "items": {"type": "object"}}}}
    metrics["responses"]["200"]["content"] = {"application/json": {"schema": numbers}} | _followed(
        "metrics", {"type": "object"}
    )
    return {
        "/management/trainings": {
            "get": listing,
            "delete": _operation("Cancel a training; one that has ended stays as it is", tags, [one]),
        },
        "/management/trainings/{training_id}/logs": {"get": logs},
        "/management/trainings/{training_id}/metrics": {"get": metrics},
    }


def _followed(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    error = {"$ref": "#/components/schemas/TaskError"}
    return event_stream({name: schema, "job": _JOB, "end": _JOB, "error": error})


def _listing(summary: str, name: str, more: list[dict[str, Any]]) -> dict[str, Any]:
    page = {
        "type": "object",
        "required": [name, "next"],
        "properties": {name: {"type": "array", "items": _JOB}, "next": {"type": ["string", "null"]}},
    }
    states = {"type": "array", "items": {"type": "string", "enum": [state.value for state in JobState]}}
    parameters = [
        *more,
        _query("state", states),
        *(_query(field, {"type": "string"}) for field in ("model_id", "task")),
        *(_query(field, {"type": "string", "format": "date-time"}) for field in ("since", "until")),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        _query("after", {"type": "integer", "minimum": 1}),
    ]
    operation = _operation(summary, ["jobs"], parameters)
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {"anyOf": [page, _JOB]}
    return operation


def _operation(summary: str, tags: list[str], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": tags,
        "parameters": parameters,
        "responses": {"200": _json("The job", _JOB)} | task_errors(),
    }


def _submitted(identity: str, model: str) -> dict[str, Any]:
    names = (identity, model, "state")
    return {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}


def _json(description: str, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON schema
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error(description: str) -> dict[str, Any]:
    return _json(description, {"$ref": "#/components/schemas/TaskError"})


def _no_room() -> dict[str, Any]:
    return {"507": _error("There is no room: the disk is full, or jobs.max_stored_bytes is reached.")}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    if schema.get("type") == "string" and "enum" not in schema:
        schema = {**schema, "minLength": 1}
    return {"name": name, "in": "query", "required": required, "schema": schema}
