"""The documents of the Open Inference Protocol that are not inference: server, models, repository index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion._version import __version__
from pillion.dataplane.call import ModelState
from pillion.protocol.extensions import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pillion.dataplane.call import ModelMetadata, ModelStatus
    from pillion.tensors import TensorSpec

__all__ = [
    "SERVER_NAME",
    "index_entries",
    "model_document",
    "model_entry",
    "models_document",
    "names",
    "root_document",
    "server_document",
    "v1_model_document",
]

SERVER_NAME: Final = "pillion"

Document = dict[str, Any]


def server_document() -> Document:
    """``GET /v2``."""
    return {"name": SERVER_NAME, "version": __version__, "extensions": list(EXTENSIONS)}


def root_document(statuses: Iterable[ModelStatus]) -> Document:
    """``GET /``: what this is, what it serves, and where to go from here.

    ``status`` is what V1 clients of KServe look for to see whether the server lives.
    """
    return {
        **server_document(),
        "status": "alive",
        "models": [
            {"name": status.name, "version": status.version, "state": status.state.value} for status in statuses
        ],
        "links": {
            "server": "/v2",
            "models": "/v2/models",
            "ready": "/v2/health/ready",
            "live": "/v2/health/live",
            "docs": "/docs",
            "openapi": "/openapi.json",
        },
    }


def names(statuses: Iterable[ModelStatus]) -> list[str]:
    """Each model once, in the order given."""
    return list(dict.fromkeys(status.name for status in statuses))


def models_document(statuses: Iterable[ModelStatus]) -> Document:
    """``GET /v1/models``: one document for clients of V1, who read ``models``, and for those of OpenAI."""
    first: dict[str, ModelStatus] = {}
    for status in statuses:
        first.setdefault(status.name, status)
    return {"models": list(first), "object": "list", "data": [model_entry(status) for status in first.values()]}


def model_entry(status: ModelStatus) -> Document:
    """One model as OpenAI's clients know it."""
    return {"id": status.name, "object": "model", "created": int(status.changed_at), "owned_by": SERVER_NAME}


def v1_model_document(status: ModelStatus) -> Document:
    """``GET /v1/models/{m}``, for both."""
    return {"name": status.name, "ready": status.state is ModelState.READY, **model_entry(status)}


def model_document(status: ModelStatus, versions: Sequence[str]) -> Document:
    """``GET /v2/models/{m}``: inputs and outputs as read from the artifact; empty until it has been loaded once."""
    metadata = status.metadata
    document: Document = {
        "name": status.name,
        "versions": list(versions),
        "platform": metadata.platform if metadata else "",
        "inputs": _inputs(metadata) if metadata else [],
        "outputs": [_tensor(spec) for spec in metadata.outputs] if metadata else [],
    }
    if status.acceleration is not None:
        document["parameters"] = {"accelerated_by": status.acceleration.by}
    return document


def _inputs(metadata: ModelMetadata) -> list[Document]:
    """The inputs; a matrix with named columns says the names, in order, since it may be sent as these columns."""
    inputs = [_tensor(spec) for spec in metadata.inputs]
    if metadata.columns:
        inputs[0].setdefault("parameters", {})["columns"] = [spec.name for spec in metadata.columns]
    return inputs


def _tensor(spec: TensorSpec) -> Document:
    document: Document = {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}
    parameters = {name: True for name in ("optional", "nullable") if getattr(spec, name)}
    if parameters:
        document["parameters"] = parameters
    return document


def index_entries(statuses: Iterable[ModelStatus], *, ready_only: bool) -> list[Document]:
    """``POST /v2/repository/index``."""
    return [
        {"name": status.name, "version": status.version, "state": status.state.value, "reason": status.reason}
        for status in statuses
        if not ready_only or status.state is ModelState.READY
    ]
