"""The OpenAPI document of the inference routes, with the models that are served now as examples.

Written down rather than derived from handlers: the routes are answered by the dispatcher, which has none. The shapes
are those of the Open Inference Protocol, section "HTTP/REST".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion._version import __version__
from pillion.tensors import Datatype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.tasks import ServedTask
    from pillion.tensors import TensorSpec
    from pillion.transport.http.job_access import JobAccess

__all__ = ["document", "example_tensor"]

_DATATYPES: Final = [datatype.value for datatype in Datatype]
_PARAMETERS: Final = {
    "type": "object",
    "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
}
_SCHEMAS: Final[dict[str, Any]] = {
    "Error": {
        "type": "object",
        "required": ["error", "code", "id"],
        "properties": {
            "error": {"type": "string", "description": "What is wrong, and what to do about it."},
            "code": {"type": "string", "description": "The kind of error, stable across releases."},
            "id": {"type": "string", "description": "Id of the request, as in the logs."},
        },
    },
    "RequestInput": {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string", "enum": _DATATYPES},
            "parameters": _PARAMETERS,
            "data": {"type": "array", "items": {}, "description": "Row-major, flat or nested by shape."},
        },
    },
    "RequestOutput": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
    },
    "InferenceRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": _PARAMETERS,
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/RequestInput"}},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/RequestOutput"}},
        },
    },
    "InferenceResponse": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "id": {"type": "string"},
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "parameters": _PARAMETERS,
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/RequestInput"}},
        },
    },
    "TensorMetadata": {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string", "enum": _DATATYPES},
            "shape": {"type": "array", "items": {"type": "integer"}, "description": "-1: may vary."},
        },
    },
    "ModelMetadata": {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/TensorMetadata"}},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/TensorMetadata"}},
        },
    },
    "ServerMetadata": {
        "type": "object",
        "required": ["name", "version", "extensions"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
    },
    "V1Request": {
        "type": "object",
        "properties": {
            "instances": {"type": "array", "items": {}, "description": "One item a row."},
            "inputs": {"description": "Columns by name, or one array."},
        },
    },
    "InvocationRequest": {
        "type": "object",
        "description": "MLflow's scoring protocol: exactly one of these.",
        "properties": {
            "dataframe_split": {
                "type": "object",
                "required": ["data"],
                "properties": {
                    "columns": {"type": "array", "items": {"type": "string"}},
                    "data": {"type": "array", "items": {"type": "array", "items": {}}},
                },
            },
            "dataframe_records": {"type": "array", "items": {"type": "object"}},
            "instances": {"type": "array", "items": {}, "description": "One item a row."},
            "inputs": {"description": "Columns by name, or one array."},
        },
    },
    "V1Response": {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": {}}},
    },
}
_ERRORS: Final = {
    "400": "The request is wrong: the text names the field.",
    "404": "No such model or version.",
    "413": "The body is too large.",
    "415": "The content type is not JSON.",
    "429": "The queue is full; see Retry-After.",
    "503": "Loading, failed to load, or draining; see Retry-After.",
    "504": "The deadline has passed.",
}


def example_tensor(spec: TensorSpec) -> dict[str, object]:
    """One row of zeros (``"text"`` for BYTES, true for BOOL) that fits the spec, as the protocol's JSON."""
    shape = [1 if size < 0 else size for size in spec.shape]
    count = 1
    for size in shape:
        count *= size
    value: object = 0
    if spec.datatype is Datatype.BYTES:
        value = "text"
    elif spec.datatype is Datatype.BOOL:
        value = True
    elif spec.datatype.value.startswith(("FP", "BF")):
        value = 0.0
    return {"name": spec.name, "shape": shape, "datatype": spec.datatype.value, "data": [value] * min(count, 1024)}


def document(
    statuses: Sequence[ModelStatus],
    tasks: Sequence[ServedTask] = (),
    texts: tuple[Mapping[str, Generator], Mapping[str, Embedder]] = ({}, {}),
    *,
    root_path: str = "",
    jobs: JobAccess | None = None,
) -> dict[str, Any]:
    """The document, with the names and inputs of the models that are known now, their tasks, and what generates."""
    names = sorted({status.name for status in statuses})
    loaded = next((status for status in statuses if status.metadata is not None), None)
    example: dict[str, Any] | None = None
    if loaded is not None and loaded.metadata is not None:
        example = {"inputs": [example_tensor(spec) for spec in loaded.metadata.inputs if not spec.optional]}
    paths, schemas = _paths(_name_parameter(names), example), _SCHEMAS
    if tasks:
        from pillion.transport.http.openapi_tasks import TASK_ERROR, describe_tasks  # noqa: PLC0415 - only where tasks are

        task_paths, task_schemas = describe_tasks(tasks, reserved={*_SCHEMAS, "Job", "OpenAIError", "TaskError"})
        paths = task_paths | paths
        schemas = task_schemas | _SCHEMAS | {"TaskError": TASK_ERROR}
        if jobs is not None:
            from pillion.transport.http.openapi_jobs import JOB, describe_jobs  # noqa: PLC0415 - as above

            job_paths, job_schemas = describe_jobs(jobs, task_paths, reserved=schemas)
            paths = job_paths | paths
            schemas = job_schemas | schemas | {"Job": JOB}
    if any(texts):
        from pillion.transport.http.openapi_texts import OPENAI_ERROR, describe_texts  # noqa: PLC0415 - as above

        paths = paths | describe_texts(*texts, _name_parameter([*texts[0], *names]))
        schemas = schemas | {"OpenAIError": OPENAI_ERROR}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Pillion",
            "version": __version__,
            "description": f"Open Inference Protocol v2 and V1. Models: {', '.join(names) or 'none'}.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if root_path:
        described["servers"] = [{"url": root_path}]
    return described


def _name_parameter(names: Sequence[str]) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    if names:
        parameter["example"] = names[0]
    return parameter


def _paths(model: dict[str, Any], example: dict[str, Any] | None) -> dict[str, Any]:
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "example": "1"}
    versioned = "/v2/models/{model}/versions/{version}"
    paths: dict[str, Any] = {
        "/v2": _get("Name, version and extensions of the server", "ServerMetadata", "server"),
        "/v2/health/live": _get("Whether the server answers", None, "server"),
        "/v2/health/ready": _get("Whether every model is ready", None, "server"),
        "/v2/models": _get("The models", None, "models"),
        "/v2/repository/index": _post("The models and their states", None, None, "repository", []),
        "/v2/repository/models/{model}/load": _post("Load a model again", None, None, "repository", [model]),
        "/v2/repository/models/{model}/unload": _post("Unload a model", None, None, "repository", [model]),
        "/v2/models/stats": _get("Counts and times of every model", None, "models"),
        "/v1/models": _get("The models", None, "v1"),
        "/v1/models/{model}": _get("State of a model", None, "v1", [model]),
        "/v1/models/{model}:predict": _post("Predict", "V1Request", "V1Response", "v1", [model]),
        "/v1/models/{model}:explain": _post("Explain a prediction", "V1Request", None, "v1", [model]),
        "/invocations": _post("Predict, the only model", "InvocationRequest", "V1Response", "mlflow", []),
        "/invocations/{model}": _post("Predict", "InvocationRequest", "V1Response", "mlflow", [model]),
    }
    for base, parameters in (("/v2/models/{model}", [model]), (versioned, [model, version])):
        paths[base] = _get("Inputs and outputs of a model", "ModelMetadata", "models", parameters)
        paths[f"{base}/ready"] = _get("Whether a model is ready", None, "models", parameters)
        paths[f"{base}/config"] = _get("A model in Triton's terms", None, "models", parameters)
        paths[f"{base}/stats"] = _get("Counts and times of a model", None, "models", parameters)
        paths[f"{base}/infer"] = _post(
            "Infer", "InferenceRequest", "InferenceResponse", "inference", parameters, example=example
        )
    return paths


def _responses(schema: str | None) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}}
    errors = {
        status: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for status, text in _ERRORS.items()
    }
    return {"200": {"description": "OK", "content": {"application/json": content}}} | errors


def _get(
    summary: str, schema: str | None, tag: str, parameters: Sequence[dict[str, Any]] = ()
) -> dict[str, dict[str, Any]]:
    operation: dict[str, Any] = {"summary": summary, "tags": [tag], "responses": _responses(schema)}
    if parameters:
        operation["parameters"] = list(parameters)
    return {"get": operation}


def _post(
    summary: str,
    request: str | None,
    response: str | None,
    tag: str,
    parameters: Sequence[dict[str, Any]],
    *,
    example: dict[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    operation = _get(summary, response, tag, parameters)["get"]
    if request is not None:
        content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{request}"}}
        if example is not None:
            content["example"] = example
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return {"post": operation}
