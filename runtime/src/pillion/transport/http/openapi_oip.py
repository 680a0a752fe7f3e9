"""Schemas of the OpenAPI document: the Open Inference Protocol (section "HTTP/REST"), V1, and MLflow's scoring."""

from __future__ import annotations

from typing import Any, Final

from pillion.model import ModelState
from pillion.tensors import Datatype

__all__ = ["OIP_SCHEMAS"]

_DATATYPES: Final = [datatype.value for datatype in Datatype]
_PARAMETERS: Final = {
    "type": ["object", "null"],
    "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
}
_NAME: Final = {"type": "string"}
_NAMES: Final = {"type": "array", "items": _NAME}
_STATE: Final = {"type": "string", "enum": [state.value for state in ModelState]}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON schemas
    return {"type": "object", "required": required.split(), "properties": properties}


OIP_SCHEMAS: Final[dict[str, Any]] = {
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
            "id": {"type": ["string", "null"]},
            "parameters": _PARAMETERS,
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/RequestInput"}},
            "outputs": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/RequestOutput"}},
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
    "ServerIndex": _object(
        "name version extensions status models links",
        name=_NAME,
        version=_NAME,
        extensions=_NAMES,
        status={"type": "string", "const": "alive"},
        models={
            "type": "array",
            "items": _object("name version state", name=_NAME, version=_NAME, state=_STATE),
        },
        links={"type": "object", "additionalProperties": _NAME},
    ),
    "Live": _object("live", live={"type": "boolean"}),
    "Ready": _object("ready", ready={"type": "boolean"}),
    "ModelReady": _object("name ready", name=_NAME, ready={"type": "boolean"}),
    "ModelNames": _object("models", models=_NAMES),
    "IndexRequest": _object(ready={"type": "boolean", "default": False, "description": "Only those that are ready."}),
    "RepositoryIndex": {
        "type": "array",
        "items": _object("name version state reason", name=_NAME, version=_NAME, state=_STATE, reason=_NAME),
    },
    "ModelChanged": _object("name load", name=_NAME, load={"type": "boolean"}),
    "ModelConfig": {
        "type": "object",
        "required": ["name"],
        "description": "Triton's ModelConfig as JSON.",
        "properties": {"name": _NAME},
    },
    "ModelStatistics": {
        "type": "object",
        "required": ["model_stats"],
        "description": "Triton's ModelStatisticsResponse as JSON.",
        "properties": {"model_stats": {"type": "array", "items": {"type": "object"}}},
    },
    "OpenAIModel": _object(
        "id object created owned_by",
        id=_NAME,
        object={"type": "string", "const": "model"},
        created={"type": "integer"},
        owned_by=_NAME,
    ),
    "V1Models": _object(
        "models object data",
        models=_NAMES,
        object={"type": "string", "const": "list"},
        data={"type": "array", "items": {"$ref": "#/components/schemas/OpenAIModel"}},
    ),
    "V1Model": _object("name ready", name=_NAME, ready={"type": "boolean"}),
    "V1Request": {
        "type": "object",
        "anyOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        "properties": {
            "instances": {"type": "array", "items": {}, "description": "One item a row."},
            "inputs": {"description": "Columns by name, or one array."},
        },
    },
    "InvocationRequest": {
        "type": "object",
        "description": "MLflow's scoring protocol: exactly one of these.",
        "oneOf": [
            {"required": ["dataframe_split"]},
            {"required": ["dataframe_records"]},
            {"required": ["instances"]},
            {"required": ["inputs"]},
        ],
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
