"""``models.json``: the models that others declared for a server that runs, beside those of its own ``runtime.yaml``.

The operator renders it from the `Model` resources of a service into a ConfigMap that is mounted as a folder, so that it
changes in running pods. Unlike in ``runtime.yaml``, files are not in place yet: the runtime fetches and verifies them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from pillion.policy import ConsentPolicy
from pillion.runtimefile import API_VERSION, ExecutionSettings, Name, TypeName, Version

__all__ = ["MODELS_FILE", "DeclaredModel", "ModelsFile", "ModelsFileError", "dump", "load"]

MODELS_FILE = "models.json"
"""The file's name in its folder."""
MOST_MODELS = 100
"""Models in one file."""


class ModelsFileError(ValueError):
    """The file cannot be used; the text names the field."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A part of the file."""


class DeclaredModel(_Part, frozen=True, kw_only=True):
    """One model to fetch, verify and serve."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    """Of this declaration: another one where anything about it changed. Only compared."""
    name: Name
    version: Version
    """Another one with each change, so that the new is loaded beside the old."""
    uri: Annotated[str, Meta(min_length=1, max_length=2048)]
    """Where the files are: a bucket, the web, or a volume that the server's pod has, as ``file:``."""
    store: str = ""
    """The entry that describes the bucket, a file in the server's folder of such; empty: the server's own."""
    store_parameters: dict[str, str] = {}
    """What is to be otherwise than that entry says."""
    digest: str = ""
    """``sha256:...`` that the files must have, where known."""
    format: str | None = None
    format_version: str | None = None
    allow_pickle: bool = False
    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    trust_code: bool = False
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    trusted_types: tuple[TypeName, ...] = ()
    execution: ExecutionSettings = ExecutionSettings()
    config: dict[str, Any] = {}
    """For the ``reconfigure`` of its class. A change of it alone, with another id, loads nothing anew."""

    def __post_init__(self) -> None:
        """Refuse names that would lead out of a folder."""
        for field in ("name", "version"):
            if ".." in getattr(self, field):
                raise ValueError(f"{field} must not contain '..'")
        if "/" in self.store or self.store in {".", ".."}:
            raise ValueError("store must be the name of a file")


class ModelsFile(_Part, frozen=True, kw_only=True):
    """The whole file."""

    api_version: Literal["runtime.pillion.dev/v1"] = API_VERSION
    models: Annotated[tuple[DeclaredModel, ...], Meta(max_length=MOST_MODELS)] = ()

    def __post_init__(self) -> None:
        """Refuse a name that is there twice."""
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"model {name!r} is declared twice")


#: Made here, once: msgspec takes types apart at their first use, and two threads that do so at once crash the process.
_DECODER: Final = msgspec.json.Decoder(ModelsFile)


def load(text: bytes | str) -> ModelsFile:
    """Read the file's text.

    Raises:
        ModelsFileError: it is no JSON, or not of this schema.
    """
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise ModelsFileError(str(error)) from error


def dump(models: tuple[DeclaredModel, ...]) -> str:
    """The file's text, in stable order, so that equal content is equal text."""
    document = msgspec.to_builtins(ModelsFile(models=tuple(sorted(models, key=lambda model: model.name))))
    document["apiVersion"] = API_VERSION
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"
