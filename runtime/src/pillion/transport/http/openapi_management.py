"""The part of the OpenAPI document that is model management, and what it tells."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["management_document"]

_SCHEMAS: Final[dict[str, Any]] = {
    "ModelInfo": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "model_path": {"type": "string"},
            "size": {"type": "integer", "description": "Bytes of its files."},
            "metadata": {"type": "object"},
            "loaded": {"type": "boolean"},
            "module_id": {"type": "string", "description": "The format of its files."},
            "module_metadata": {"type": "object"},
            "state": {"type": "string", "enum": ["LOADING", "READY", "UNLOADING", "UNAVAILABLE", "ASLEEP"]},
            "reason": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
        },
    },
    "ModelInfos": {
        "type": "object",
        "required": ["models"],
        "properties": {"models": {"type": "array", "items": {"$ref": "#/components/schemas/ModelInfo"}}},
    },
    "ModelAlias": {
        "type": "object",
        "required": ["model_id", "alias", "version"],
        "properties": {
            "model_id": {"type": "string"},
            "alias": {"type": "string"},
            "version": {"type": "string", "description": "A version in the store, or another alias."},
        },
    },
    "ModelAliases": {
        "type": "object",
        "required": ["model_id", "aliases"],
        "properties": {
            "model_id": {"type": "string"},
            "aliases": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "ConfigOfModel": {
        "type": "object",
        "required": ["model_id", "config"],
        "properties": {
            "model_id": {"type": "string"},
            "version": {"type": "string", "description": "Where the model has several."},
            "config": {"type": "object", "description": "For the reconfigure of its class."},
        },
    },
    "ModelReconfigured": {
        "type": "object",
        "required": ["model_id", "version", "processes"],
        "properties": {
            "model_id": {"type": "string"},
            "version": {"type": "string"},
            "processes": {"type": "integer", "description": "Worker processes that took it; 0: the server's own did."},
        },
    },
    "ModelDeployment": {
        "type": "object",
        "description": "Exactly one of model_files, storage_uri and version says what is deployed.",
        "required": ["model_id"],
        "properties": {
            "model_id": {"type": "string"},
            "model_files": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["filename", "data"],
                    "properties": {
                        "filename": {"type": "string"},
                        "data": {"type": "string", "contentEncoding": "base64"},
                    },
                },
            },
            "storage_uri": {"type": "string"},
            "digest": {"type": "string"},
            "version": {"type": "string"},
            "metadata": {"type": "object"},
            "format": {"type": "string"},
        },
    },
    "ModelUpload": {
        "type": "object",
        "required": ["model_id"],
        "properties": {
            "model_id": {"type": "string"},
            "model_files": {"type": "array", "items": {"type": "string", "format": "binary"}},
            "metadata": {"type": "string", "description": "A JSON object."},
            "format": {"type": "string"},
        },
    },
    "ManagementError": {
        "type": "object",
        "required": ["details", "code", "id"],
        "properties": {"details": {"type": "string"}, "code": {"type": "integer"}, "id": {"type": "string"}},
    },
}
_ERRORS: Final = {
    "400": "The request is wrong; the text names the field.",
    "403": "Switched off; the text names the setting.",
    "404": "There is no such model.",
    "409": "The model is declared where the server was started.",
    "503": "The model does not serve.",
    "507": "The disk is full.",
}


def management_document(*, enabled: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Paths and schemas; those that change models only where that is switched on."""
    name = {"type": "string", "minLength": 1}
    one = {"name": "model_id", "in": "query", "required": True, "schema": name}
    purge = {"name": "purge", "in": "query", "schema": {"type": "boolean"}}
    many = {"name": "model_ids", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
    paths: dict[str, Any] = {
        "/info/models": {"get": _operation("What is known of models", _json("ModelInfos"), ["404"], many)},
        "/info/version": {"get": _operation("Versions of the server", _json(None), [])},
        "/health": {
            "get": _operation("Whether every model is ready", {"text/plain": {"schema": {"type": "string"}}}, [])
        },
    }
    if enabled:
        deploy = _operation("Deploy a model", _json("ModelInfo"), ["400", "403", "409", "507"])
        deploy["requestBody"] = {
            "required": True,
            "content": _json("ModelDeployment")
            | {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/ModelUpload"}}},
        }
        undeploy = _operation("Undeploy a model", _json(None), ["400", "403", "404", "409"], one, purge)
        which = {"name": "alias", "in": "query", "required": True, "schema": name}
        errors = ["400", "403", "404", "409"]
        give = _operation("Give an alias to a version", _json("ModelAliases"), errors)
        give["requestBody"] = {"required": True, "content": _json("ModelAlias")}
        paths["/management/aliases"] = {
            "get": _operation("The aliases of a model", _json("ModelAliases"), ["400", "403", "404"], one),
            "post": give,
            "delete": _operation("Take an alias away", _json("ModelAliases"), errors, one, which),
        }
        configure = _operation(
            "Give a model another config", _json("ModelReconfigured"), ["400", "403", "404", "409", "503"]
        )
        configure["requestBody"] = {"required": True, "content": _json("ConfigOfModel")}
        paths["/management/config"] = {"post": configure}
        paths["/management/models"] = {"post": deploy, "delete": undeploy}
    return paths, dict(_SCHEMAS)


def _operation(summary: str, content: dict[str, Any], errors: list[str], *parameters: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "OK", "content": content}}
    responses |= {status: {"description": _ERRORS[status], "content": _json("ManagementError")} for status in errors}
    return {"summary": summary, "tags": ["management"], "parameters": list(parameters), "responses": responses}


def _json(schema: str | None) -> dict[str, Any]:
    described = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    return {"application/json": {"schema": described}}
