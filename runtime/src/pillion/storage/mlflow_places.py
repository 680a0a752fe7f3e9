"""Where the files of one of MLflow's URIs are, as the tracking server tells it.

A version of a registered model may be a run's folder or a logged model again, so it is followed a few steps. What a run
has logged as a model is, since MLflow 3, a logged model of its own and no folder of the run; the run lists those.
Source: MLflow, "REST API" (model-versions, registered-models, runs, logged-models).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode

from pillion.storage.errors import StorageError
from pillion.storage.uri import MLFLOW_SCHEMES, parse_uri

if TYPE_CHECKING:
    from pillion.storage.uri import StorageUri

__all__ = ["Asked", "place_of"]

_MAX_STEPS: Final = 4
_MAX_MODELS_OF_RUN: Final = 100
_LOGGED: Final = re.compile(r"m-[0-9a-f]{32}")


class Asked(Protocol):
    """What answers questions: the tracking server."""

    async def ask(self, path: str, what: str) -> dict[str, Any]:
        """The JSON object that it answers."""
        ...

    def strange(self) -> StorageError:
        """The refusal of an answer that a tracking server does not give."""
        ...


async def place_of(uri: StorageUri, server: Asked) -> str:
    """The folder with the files, as the server names it: ``mlflow-artifacts:/...``, ``s3://...``, a path.

    Raises:
        StorageError: it does not know the model, the version, the alias or the run.
    """
    for _ in range(_MAX_STEPS):
        found = await (_of_run if uri.scheme == "runs" else _of_model)(uri.path, server)
        if found.partition(":")[0] not in MLFLOW_SCHEMES:
            return found
        try:
            uri = parse_uri(found)
        except StorageError:
            break
    raise server.strange()


async def _of_model(path: str, server: Asked) -> str:
    if _LOGGED.fullmatch(path):
        _, place = await _logged(path, server)
        return place
    name, _, alias = path.partition("@")
    name, _, version = name.partition("/")
    if alias:
        query = urlencode({"name": name, "alias": alias})
        told = await server.ask(
            f"mlflow/registered-models/alias?{query}", f"registered model {name!r} with the alias {alias!r}"
        )
        version = _text(told, server, "model_version", "version")
    query = urlencode({"name": name, "version": version})
    what = f"registered model {name!r} with the version {version!r}"
    return _text(await server.ask(f"mlflow/model-versions/get-download-uri?{query}", what), server, "artifact_uri")


async def _of_run(path: str, server: Asked) -> str:
    run, _, folder = path.partition("/")
    told = await server.ask(f"mlflow/runs/get?{urlencode({'run_id': run})}", f"run {run!r}")
    folder = folder.rstrip("/")
    models = _at(told, "run", "outputs", "model_outputs") or []
    if not isinstance(models, list):
        raise server.strange()
    for output in reversed(models[-_MAX_MODELS_OF_RUN:]):
        name, place = await _logged(_text(output, server, "model_id"), server)
        if folder == name or folder.startswith(f"{name}/"):
            return f"{place}{folder.removeprefix(name)}"
    return f"{_text(told, server, 'run', 'info', 'artifact_uri').rstrip('/')}/{folder}"


async def _logged(model: str, server: Asked) -> tuple[str, str]:
    """The name and the place of a logged model."""
    told = await server.ask(f"mlflow/logged-models/{quote(model, safe='')}", f"logged model {model!r}")
    name, place = (_text(told, server, "model", "info", key) for key in ("name", "artifact_uri"))
    return name, place.rstrip("/")


def _at(told: object, *keys: str) -> object:
    """What the answer has there, None where there is nothing."""
    for key in keys:
        told = told.get(key) if isinstance(told, dict) else None
    return told


def _text(told: object, server: Asked, *keys: str) -> str:
    """The text that the answer has there."""
    found = _at(told, *keys)
    if not isinstance(found, str) or not found:
        raise server.strange()
    return found
