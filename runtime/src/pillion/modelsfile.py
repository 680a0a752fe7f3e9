"""``models.json``: the models that others declared for a server that runs, beside those of its own ``runtime.yaml``.

The operator renders it from the `Model` resources of a service into a ConfigMap that is mounted as a folder, so that it
changes in running pods. Unlike in ``runtime.yaml``, files are not in place yet: the runtime fetches and verifies them.

Whoever reads it may be of an older release than who wrote it: a model that has something in it that the reader does not
know is refused by itself, and the others are taken. So whatever a new release has to say goes into models, and nothing
beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from pillion._version import __version__
from pillion.policy import ConsentPolicy
from pillion.runtimefile import API_VERSION, ExecutionSettings, Name, TypeName, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MODELS_FILE",
    "DeclaredModel",
    "FoundModels",
    "ModelsFile",
    "ModelsFileError",
    "RefusedModel",
    "check",
    "dump",
    "load",
]

MODELS_FILE = "models.json"
"""The file's name in its folder."""
MOST_MODELS = 100
"""Models of one service where every pod has all of them."""
MOST_PLACED_MODELS = 512
"""Models in one file: as many only where they are placed over the pods, which runtimes of earlier releases cannot."""


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


class RefusedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose declaration is not understood."""

    id: str
    name: str
    reason: str
    """A sentence that names the field."""


class ModelsFile(_Part, frozen=True, kw_only=True):
    """The whole file."""

    api_version: Literal["runtime.pillion.dev/v1"] = API_VERSION
    models: Annotated[tuple[DeclaredModel, ...], Meta(max_length=MOST_PLACED_MODELS)] = ()

    def __post_init__(self) -> None:
        """Refuse a name that is there twice."""
        _check_names([model.name for model in self.models])


class FoundModels(msgspec.Struct, frozen=True):
    """What could be read of a file."""

    models: tuple[DeclaredModel, ...] = ()
    refused: tuple[RefusedModel, ...] = ()


class _Written(_Part, frozen=True, kw_only=True):
    """The whole file, with its models as they came."""

    api_version: Literal["runtime.pillion.dev/v1"] = API_VERSION
    models: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=MOST_PLACED_MODELS)] = ()


class _Named(msgspec.Struct, frozen=True):
    """What has to be known of a model to report on it."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    name: Annotated[str, Meta(min_length=1, max_length=253)]


#: Made here, once: msgspec takes types apart at their first use, and two threads that do so at once crash the process.
_DECODER: Final = msgspec.json.Decoder(_Written)
_MODEL_DECODER: Final = msgspec.json.Decoder(DeclaredModel)
_NAME_DECODER: Final = msgspec.json.Decoder(_Named)


def load(text: bytes | str) -> FoundModels:
    """Read the file's text; a model that is not understood is among the refused, and takes the others nothing.

    Raises:
        ModelsFileError: it is no JSON, not of this schema but for what is in the models, or has a name twice.
    """
    models: list[DeclaredModel] = []
    refused: list[RefusedModel] = []
    try:
        for number, written in enumerate(_DECODER.decode(text).models):
            found = _model(bytes(written), number)
            models.append(found) if isinstance(found, DeclaredModel) else refused.append(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # as of bytes that are no UTF-8
        raise ModelsFileError(str(error)) from error
    _check_names([*(model.name for model in models), *(model.name for model in refused)])
    return FoundModels(tuple(models), tuple(refused))


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModelsFileError(f"model {name!r} is declared twice")
        seen.add(name)


def _model(written: bytes, number: int) -> DeclaredModel | RefusedModel:
    try:
        return _MODEL_DECODER.decode(written)
    except msgspec.ValidationError as error:
        try:
            named = _NAME_DECODER.decode(written)
        except msgspec.ValidationError:  # nothing to report it by
            raise ModelsFileError(f"models[{number}]: {error}") from error
        return RefusedModel(id=named.id, name=named.name, reason=_reason(str(error)))


def _reason(said: str) -> str:
    """The sentence for a declaration that msgspec says this of."""
    return (
        f"its declaration is not understood by this runtime, Pillion {__version__}: {said}; "
        "serve it with the release that wrote it, or correct it"
    )


def check(model: DeclaredModel) -> None:
    """See whether a file may have that model.

    Raises:
        ModelsFileError: a reader would refuse it.
    """
    try:
        _MODEL_DECODER.decode(msgspec.json.encode(model))
    except msgspec.ValidationError as error:
        raise ModelsFileError(str(error)) from error


def dump(models: tuple[DeclaredModel, ...]) -> str:
    """The file's text, in stable order, so that equal content is equal text."""
    document = msgspec.to_builtins(ModelsFile(models=tuple(sorted(models, key=lambda model: model.name))))
    document["apiVersion"] = API_VERSION
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"
