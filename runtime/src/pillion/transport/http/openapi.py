"""The OpenAPI document of the inference routes, with the models that are served now as examples.

Written down rather than derived from handlers: the routes are answered by the dispatcher, which has none. The shapes
are those of the Open Inference Protocol, section "HTTP/REST".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion._version import __version__
from pillion.tensors import Datatype
from pillion.transport.http.openapi_oip import OIP_SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.authoring.project import Project
    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.tasks import ServedTask
    from pillion.tensors import TensorSpec
    from pillion.transport.job_access import JobAccess

__all__ = ["document", "example_tensor"]

_ERRORS: Final = {
    "400": "The request is wrong: the text names the field.",
    "404": "No such model or version.",
    "413": "The body is too large.",
    "415": "The content type is not JSON.",
    "429": "The queue is full; see Retry-After.",
    "503": "Loading, failed to load, or draining; see Retry-After.",
    "504": "The deadline has passed.",
}

_COMPUTING: Final = ("/infer", ":predict", ":explain", "/invocations", "/invocations/{model}")


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
    project: Project | None = None,
    inference: bool = True,
) -> dict[str, Any]:
    """The document, with the names and inputs of the models that are known now, their tasks, and what generates.

    Without ``inference`` nothing is told of what computes. Its title is that of the ``project`` whose code is served,
    and ours where none is, or several are.
    """
    names = sorted({status.name for status in statuses})
    loaded = next((status for status in statuses if status.metadata is not None), None)
    example: dict[str, Any] | None = None
    if loaded is not None and loaded.metadata is not None:
        example = {"inputs": [example_tensor(spec) for spec in loaded.metadata.inputs if not spec.optional]}
    paths, schemas = _paths(_name_parameter(names), example), OIP_SCHEMAS
    if not inference:
        paths = {path: told for path, told in paths.items() if not path.endswith(_COMPUTING)}
    if tasks:
        from pillion.transport.http.openapi_tasks import TASK_ERROR, describe_tasks  # noqa: PLC0415 - only where tasks are

        task_paths, task_schemas = describe_tasks(tasks, reserved={*OIP_SCHEMAS, "Job", "OpenAIError", "TaskError"})
        paths = (task_paths if inference else {}) | paths
        schemas = task_schemas | OIP_SCHEMAS | {"TaskError": TASK_ERROR}
        if jobs is not None:
            from pillion.transport.http.openapi_jobs import JOB, describe_jobs  # noqa: PLC0415 - as above

            job_paths, job_schemas = describe_jobs(jobs, task_paths, reserved=schemas)
            paths = job_paths | paths
            schemas = job_schemas | schemas | {"Job": JOB}
    if any(texts) and inference:
        from pillion.transport.http.openapi_texts import OPENAI_ERROR, describe_texts  # noqa: PLC0415 - as above

        paths = paths | describe_texts(*texts, _name_parameter([*texts[0], *names]))
        schemas = schemas | {"OpenAIError": OPENAI_ERROR}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": _information(project, names),
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if root_path:
        described["servers"] = [{"url": root_path}]
    return described


def _information(project: Project | None, names: Sequence[str]) -> dict[str, str]:
    served = f"Open Inference Protocol v2 and V1. Models: {', '.join(names) or 'none'}."
    if project is None:
        return {"title": "Pillion", "version": __version__, "description": served}
    said = f"{project.description}\n\n{served}" if project.description else served
    return {"title": project.title, "version": project.version, "description": said}


def _name_parameter(names: Sequence[str]) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    if names:
        parameter["example"] = names[0]
    return parameter


def _paths(model: dict[str, Any], example: dict[str, Any] | None) -> dict[str, Any]:
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "example": "1"}
    versioned = "/v2/models/{model}/versions/{version}"
    paths: dict[str, Any] = {
        "/": _get("What this is, what it serves, and where to go from here", "ServerIndex", "server"),
        "/v2": _get("Name, version and extensions of the server", "ServerMetadata", "server"),
        "/v2/health/live": _get("Whether the server answers", "Live", "server"),
        "/v2/health/ready": _get("Whether every model is ready", "Ready", "server"),
        "/v2/models": _get("The models", "ModelNames", "models"),
        "/v2/repository/index": _post(
            "The models and their states", "IndexRequest", "RepositoryIndex", "repository", [], required=False
        ),
        "/v2/repository/models/{model}/load": _change("Load a model again", model),
        "/v2/repository/models/{model}/unload": _change("Unload a model", model),
        "/v2/models/stats": _get("Counts and times of every model", "ModelStatistics", "models"),
        "/v1/models": _get("The models", "V1Models", "v1"),
        "/v1/models/{model}": _get("State of a model", "V1Model", "v1", [model]),
        "/v1/models/{model}:predict": _post("Predict", "V1Request", "V1Response", "v1", [model]),
        "/v1/models/{model}:explain": _post("Explain a prediction", "V1Request", None, "v1", [model]),
        "/invocations": _post("Predict, the only model", "InvocationRequest", "V1Response", "mlflow", []),
        "/invocations/{model}": _post("Predict", "InvocationRequest", "V1Response", "mlflow", [model]),
    }
    paths["/v1/models/{model}:explain"]["post"]["responses"]["501"] = _error("The model explains nothing.")
    for base, parameters in (("/v2/models/{model}", [model]), (versioned, [model, version])):
        paths[base] = _get("Inputs and outputs of a model", "ModelMetadata", "models", parameters)
        paths[f"{base}/ready"] = _get("Whether a model is ready", "ModelReady", "models", parameters)
        paths[f"{base}/config"] = _get("A model in Triton's terms", "ModelConfig", "models", parameters)
        paths[f"{base}/stats"] = _get("Counts and times of a model", "ModelStatistics", "models", parameters)
        paths[f"{base}/infer"] = _post(
            "Infer", "InferenceRequest", "InferenceResponse", "inference", parameters, example=example
        )
    return paths


def _responses(schema: str | None) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}}
    errors = {status: _error(text) for status, text in _ERRORS.items()}
    return {"200": {"description": "OK", "content": {"application/json": content}}} | errors


def _error(text: str) -> dict[str, Any]:
    shape = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {"description": text, "content": {"application/json": shape}}


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
    required: bool = True,
) -> dict[str, dict[str, Any]]:
    operation = _get(summary, response, tag, parameters)["get"]
    if request is not None:
        content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{request}"}}
        if example is not None:
            content["example"] = example
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    return {"post": operation}


def _change(summary: str, model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A route of the repository extension that changes what is served."""
    described = _post(summary, None, "ModelChanged", "repository", [model])
    described["post"]["responses"] |= {
        "401": _error("No key, or another one, was shown."),
        "403": _error("Switched off; the text names the setting."),
        "409": _error("Another change of the model goes on."),
    }
    return described
