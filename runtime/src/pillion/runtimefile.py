"""``runtime.yaml``: the small versioned file that tells a runtime what to serve.

The operator renders it into a mounted ConfigMap and ``pillion serve -f`` writes it to a temporary file; the runtime
reads it, watches it, and knows nothing of Kubernetes. ``models`` may change while the runtime runs. ``settings``
holds the same keys as :class:`pillion.server.settings.Settings` and is read once at start: whoever writes the file
restarts the process when they change.
"""

from __future__ import annotations

from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic.alias_generators import to_camel

__all__ = ["API_VERSION", "DesiredModel", "ExecutionSettings", "RuntimeFile", "RuntimeFileError", "dump", "load"]

API_VERSION: Final = "runtime.pillion.dev/v1"


class RuntimeFileError(ValueError):
    """The file cannot be used; the text names file, field and remedy."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)


class ExecutionSettings(_Part):
    """How a model's code is run."""

    executor: Literal["auto", "inline", "thread"] = "auto"
    """``inline`` runs on the event loop (only for models of some ten microseconds), ``thread`` in a pool; ``auto``
    decides by measuring at warm-up."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """Threads of the pool; by default the CPU quota of the process."""
    max_in_flight: int | None = Field(default=None, ge=1)
    """Requests that run at the same time; more wait in the queue. By default the number of threads."""
    max_queue: int | None = Field(default=None, ge=0)
    """Requests that may wait; one more is answered "queue full". By default the server's setting."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """Deadline of a request that brings none. By default the server's setting."""


class DesiredModel(_Part):
    """One model that should be served."""

    name: str = Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(default="1", min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    path: str
    """File or folder that holds the artifact, already in place on this machine."""
    format: str | None = None
    """Name of the backend (``sklearn``, ``onnx``); found from the files where absent."""
    format_version: str | None = None
    uri: str = ""
    """Where the artifact came from, for status and logs."""
    digest: str = ""
    """``sha256:...`` where known."""
    allow_pickle: bool = False
    """Whether formats that can run code on loading are accepted for this model."""
    execution: ExecutionSettings = ExecutionSettings()
    parameters: dict[str, JsonValue] = {}
    """Passed to the backend."""

    @field_validator("name", "version")
    @classmethod
    def _no_dots_only(cls, value: str) -> str:
        if ".." in value:
            raise ValueError("must not contain '..'")
        return value


class RuntimeFile(_Part):
    """The whole file."""

    api_version: Literal["runtime.pillion.dev/v1"] = API_VERSION
    settings: dict[str, JsonValue] = {}
    models: tuple[DesiredModel, ...] = ()

    @field_validator("models")
    @classmethod
    def _unique(cls, models: tuple[DesiredModel, ...]) -> tuple[DesiredModel, ...]:
        seen: set[tuple[str, str]] = set()
        for model in models:
            key = (model.name, model.version)
            if key in seen:
                raise ValueError(f"model {model.name!r} version {model.version!r} is declared twice")
            seen.add(key)
        return models


def load(text: str, *, source: str) -> RuntimeFile:
    """Read the file's text.

    Raises:
        RuntimeFileError: not YAML, or not of this schema; names ``source`` and the field.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RuntimeFileError(f"{source}: not valid YAML: {error}") from error
    try:
        return RuntimeFile.model_validate(document if document is not None else {})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in issue['loc']) or 'document'}: {issue['msg']}" for issue in error.errors()
        )
        raise RuntimeFileError(f"{source}: {problems}") from error


def dump(file: RuntimeFile) -> str:
    """The file's text: stable order, absent values left out, so that equal content is equal text."""
    return yaml.safe_dump(
        file.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"apiVersion": API_VERSION}, sort_keys=True
    )
