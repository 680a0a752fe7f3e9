"""From what a user names to what the runtime serves: manifest, file or NAME=URI to a ``runtime.yaml``.

:func:`render_runtime_file` is pure; :func:`resolve` looks at the disk. Storage that only a cluster has is found on this
machine by a rule that can be said in one sentence: a ConfigMap or claim ``iris`` is the folder ``iris``, or the one
model file ``iris.*``, beside the manifest; ``--map configmap://iris=PATH`` says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.names import model_name
from pillion.cli.failures import CommandError
from pillion.execution_settings import execution_of
from pillion.runtimefile import Code, DesiredModel, ExecutionSettings, RuntimeFile
from pillion.storage.uri import is_uri, redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.resources import InferenceService

__all__ = [
    "Consent",
    "Source",
    "cluster_only",
    "code_target",
    "manifest_sources",
    "named_source",
    "render_runtime_file",
    "resolve",
]

_MODEL_SUFFIXES: Final = (
    *(".skops", ".onnx", ".joblib", ".pkl", ".pickle", ".json", ".ubj", ".txt", ".bst"),
    *(".pt2", ".pt", ".pth", ".safetensors"),
)
_LOCAL: Final = frozenset(
    {"name", "model", "models", "timeout", "container_concurrency", "execution", "applications", "http"}
)
"""Fields of the predictor, besides the formats, that mean something on one machine."""
_NAME: Final = r"[A-Za-z_]\w*"
_DOTTED: Final = rf"{_NAME}(?:\.{_NAME})*"
_CLUSTER_SCHEMES: Final = ("configmap://", "pvc://")


@dataclass(frozen=True, slots=True)
class Source:
    """One model to serve and where its files are said to be."""

    name: str
    uri: str
    """As written: a storage URI or a path."""
    format: str | None = None
    format_version: str | None = None
    version: str = "1"
    digest: str = ""
    allow_pickle: bool = False
    trust_code: bool = False
    trusted_types: tuple[str, ...] = ()
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    code: Code | None = None
    """A class of the user's; ``uri`` is then its artifact, or empty."""
    graph: dict[str, Any] | None = None
    """It is a graph of the others; ``uri`` is then empty."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """For the ``reconfigure`` of its class."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What whoever starts the server accepts of artifacts, beside what manifests say."""

    allow_pickle: bool = False
    trusted_types: tuple[str, ...] = ()


def named_source(text: str, consent: Consent) -> Source:
    """``iris.skops``, ``NAME=PATH``, ``NAME=URI``, ``service.py:Class`` or ``package.module:Class``.

    Raises:
        CommandError: no usable name can be made of it.
    """
    name, equals, uri = text.partition("=")
    if not equals or "/" in name or ":" in name:
        name, uri = "", text
    code = code_target(uri, Path.cwd())
    if code is not None:
        name = name or model_name(code.class_name or Path(code.module).stem)
        uri = ""
    elif not name:
        last = uri.rstrip("/").rpartition("/")[2]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", last.partition("?")[0])
        for suffix in _MODEL_SUFFIXES:
            name = name.removesuffix(suffix)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or ".." in name:
        raise CommandError(f"{text}: no model name can be made of it: write NAME={uri or text}", code=2)
    return Source(name, uri, allow_pickle=consent.allow_pickle, trusted_types=consent.trusted_types, code=code)


def code_target(text: str, beside: Path, *, dotted: bool = False) -> Code | None:
    """``service.py:Class``, ``service.py`` or ``package.module:Class``; None for what names no code.

    Where ``dotted``, what stands behind the colon may be an attribute of an attribute.
    """
    attribute = _DOTTED if dotted else _NAME
    file = re.fullmatch(rf"(.+\.py)(?::({attribute}))?", text)
    if file is not None:
        path = (beside / Path(file[1]).expanduser()).resolve()
        return Code(module=str(path), class_name=file[2] or "", folder=str(path.parent))
    module = re.fullmatch(rf"({_DOTTED}):({attribute})", text)
    if module is not None:
        return Code(module=module[1], class_name=module[2], folder=str(beside.resolve()))
    return None


def manifest_sources(service: InferenceService, consent: Consent) -> tuple[Source, ...]:
    """The models of an InferenceService.

    Raises:
        CommandError: its predictor is something that only a cluster can run.
    """
    graph = _graph(service)
    if graph and service.spec.predictor.serving_model is None and not service.spec.predictor.models:
        return graph
    return (*_models(service, consent), *graph)


def _graph(service: InferenceService) -> tuple[Source, ...]:
    given = service.spec.graph
    if given is None:
        return ()
    from pillion.resources.graph_models import graph_name  # noqa: PLC0415 - few services have graphs

    return (Source(graph_name(service), "", graph=given.to_api()),)


def _models(service: InferenceService, consent: Consent) -> tuple[Source, ...]:
    predictor = service.spec.predictor
    name = service.metadata.name or "model"
    execution = execution_of(predictor)
    if predictor.models:
        return tuple(
            Source(
                name=model.name,
                uri=_uri(model.storage_uri, f"predictor.models[{index}]"),
                format=model.model_format.name,
                format_version=model.model_format.version,
                version=model.version or "1",
                digest=model.digest or "",
                allow_pickle=consent.allow_pickle or bool(model.allow_pickle),
                trust_code=bool(model.trust_code),
                trusted_types=_trusted(consent, model.trusted_types),
                execution=execution,
                config=model.config or {},
            )
            for index, model in enumerate(predictor.models)
        )
    model = predictor.serving_model
    if model is None and predictor.applications:
        return ()
    if model is None:
        raise CommandError(
            f"{name}: spec.predictor has containers, which need a cluster: serve here what has a model or applications",
            code=2,
        )
    return (
        Source(
            name=name,
            # The first of several is the model's: paths of a pod mean nothing here, so the others stay away.
            uri=_uri(
                model.storage_uri or next((one.uri for one in predictor.storage_uris or ()), None), "predictor.model"
            ),
            format=model.model_format.name,
            format_version=model.model_format.version,
            digest=model.digest or "",
            allow_pickle=consent.allow_pickle or bool(model.allow_pickle),
            trust_code=bool(model.trust_code),
            trusted_types=_trusted(consent, model.trusted_types),
            execution=execution,
        ),
    )


def _trusted(consent: Consent, types: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*consent.trusted_types, *(types or ())]))


def _uri(uri: str | None, place: str) -> str:
    if not uri:
        raise CommandError(f"spec.{place}.storageUri is not set: name the model's files", code=2)
    return uri


def cluster_only(service: InferenceService) -> tuple[str, ...]:
    """Fields that are set and mean nothing on one machine, so that they can be named rather than ignored."""
    spec = service.spec
    formats = {spec.predictor.format_shorthand[0]} if spec.predictor.format_shorthand else set()
    fields = [
        f"predictor.{_camel(name)}"
        for name in sorted(spec.predictor.model_fields_set - _LOCAL - formats)
        if getattr(spec.predictor, name) is not None
    ]
    if len(spec.predictor.storage_uris or ()) == 1:  # it is served
        fields.remove("predictor.storageUris")
    http = spec.predictor.http
    if http and http.request_timeout_seconds and not spec.predictor.applications:  # it is about them
        fields.append("predictor.http.requestTimeoutSeconds")
    fields += [name for name in ("transformer", "explainer", "canary", "networking", "auth") if getattr(spec, name)]
    return tuple(f"spec.{name}" for name in fields)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def render_runtime_file(sources: Sequence[Source], paths: Mapping[str, Path]) -> RuntimeFile:
    """The runtime.yaml for sources whose files are in place.

    Args:
        sources: the models.
        paths: where the files of each URI are on this machine.
    """
    return RuntimeFile(
        models=tuple(
            DesiredModel(
                name=source.name,
                version=source.version,
                path=str(paths[source.uri]) if source.uri else "",
                format=source.format,
                format_version=source.format_version,
                uri=redact(source.uri),
                digest=source.digest,
                allow_pickle=source.allow_pickle,
                trust_code=source.trust_code,
                trusted_types=source.trusted_types,
                execution=source.execution,
                code=source.code,
                graph=source.graph,
                parameters=dict(source.parameters),
                config=dict(source.config),
            )
            for source in sources
        )
    )


def resolve(uri: str, *, beside: Path, mapped: Mapping[str, Path]) -> Path | None:
    """The path of a URI on this machine; None for one that has to be fetched.

    Args:
        uri: storage URI or path.
        beside: folder of the manifest, or the current one; relative paths start there.
        mapped: by ``--map``: URI, or its beginning, to path.

    Raises:
        CommandError: nothing is there; says where it was looked for.
    """
    for prefix, path in sorted(mapped.items(), key=lambda item: -len(item[0])):
        if uri == prefix or uri.startswith(prefix.rstrip("/") + "/"):
            return _existing(path / uri[len(prefix) :].strip("/"), uri)
    if uri.startswith(_CLUSTER_SCHEMES):
        return _cluster_storage(uri, beside)
    if uri.startswith("file://"):
        return _existing(Path(uri.removeprefix("file://")), uri)
    if is_uri(uri):
        return None
    return _existing(beside / Path(uri).expanduser(), uri)


def _existing(path: Path, uri: str) -> Path:
    if not path.exists():
        raise CommandError(f"{uri}: no such file: {path}", code=2)
    return path.resolve()


def _cluster_storage(uri: str, beside: Path) -> Path:
    scheme, _, rest = uri.partition("://")
    name, _, key = rest.strip("/").partition("/")
    folder = beside / name
    if folder.is_dir():
        return _existing(folder / key, uri)
    files = sorted(file for file in beside.glob(f"{name}.*") if file.suffix in _MODEL_SUFFIXES)
    if key:
        files = [beside / key] if (beside / key).is_file() else []
    if len(files) == 1:
        return files[0].resolve()
    what = "ConfigMap" if scheme == "configmap" else "volume claim"
    found = f" (found {', '.join(file.name for file in files)})" if files else ""
    looked = f"the file {key}" if key else f"one model file {name}.*"
    raise CommandError(
        f"{uri}: a {what} of a cluster. On this machine it is the folder {name}/ or {looked} beside the manifest, "
        f"in {beside}{found}. Put it there, or say where it is: --map {scheme}://{name}=PATH",
        code=2,
    )
