"""``runtime.yaml``: the small versioned file that tells a runtime what to serve.

The operator renders it into a mounted ConfigMap and ``pillion serve -f`` writes it to a temporary file; the runtime
reads it, watches it, and knows nothing of Kubernetes. ``models`` may change while the runtime runs. ``settings``
holds the same keys as :class:`pillion.server.settings.Settings` and is read once at start: whoever writes the file
restarts the process when they change.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from pillion.policy import ConsentPolicy
from pillion.route_prefix import normal_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "API_VERSION",
    "CODE_FOLDER",
    "DEVICE",
    "PYTHON",
    "TYPE_NAME",
    "Code",
    "DesiredApplication",
    "DesiredModel",
    "ExecutionSettings",
    "RuntimeFile",
    "RuntimeFileError",
    "check_applications",
    "cpu_lists",
    "dump",
    "load",
]

API_VERSION: Final = "runtime.pillion.dev/v1"
CODE_FOLDER: Final = "/app"
"""Where the user's code is in an image made on the runtime."""
PYTHON: Final = "python"
"""The format of a folder that holds a class."""
TYPE_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)+$"
"""How the name of a type is written: package, module and name."""

DEVICE: Final = r"^(auto|[a-z]{2,12}(:[0-9]{1,3})?)$"
"""How a device is written."""

_MOST_CPUS: Final = 8191
"""The kernel knows no higher number."""
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, Meta(min_length=1, max_length=253, pattern=_NAME)]
Version = Annotated[str, Meta(min_length=1, max_length=128, pattern=_NAME)]
TypeName = Annotated[str, Meta(pattern=TYPE_NAME)]
Positive = Annotated[int, Meta(ge=1)]


class RuntimeFileError(ValueError):
    """The file cannot be used; the text names file, field and remedy."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A part of the file. Checked where it is read (:func:`load`) and where it is written (:func:`dump`)."""


class ExecutionSettings(_Part, frozen=True, kw_only=True):
    """How a model's code is run."""

    executor: Literal["auto", "inline", "thread", "process"] = "auto"
    """``inline`` runs on the event loop (only for models of some ten microseconds), ``thread`` in a pool, ``process``
    in worker processes that each load the model; ``auto`` decides between the first two by measuring at warm-up."""
    threads: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Threads of the pool; by default the CPU quota of the process."""
    processes: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Worker processes of the executor ``process``; by default one per CPU of the quota."""
    affinity: Literal["none", "spread"] = "none"
    """``spread`` binds each worker process to a share of the CPUs of its own."""
    cpus: str | None = None
    """CPUs that the worker processes are bound to, as in ``0-3,8``; lists for each of them are separated by ``;``."""
    idempotent: bool | None = None
    """Whether a request may be computed again when its worker process dies over it: once, by another worker. By default
    true for artifacts, which only compute, and false for classes."""
    max_calls_per_worker: Positive | None = None
    """Calls that a worker process answers before another takes its place; by default it stays."""
    max_rss_per_worker: Positive | None = None
    """Bytes of memory that a worker process may hold before another takes its place; by default it stays."""
    abandoned_grace_seconds: Annotated[float, Meta(ge=0)] | None = None
    """How long a worker process may compute on for a client that has left, or beyond a deadline, before it is killed.
    By default 0.8 seconds, or what loading the model took if that was longer."""
    max_in_flight: Positive | None = None
    """Requests that run at the same time; more wait in the queue. By default the number of threads."""
    max_queue: Annotated[int, Meta(ge=0)] | None = None
    """Requests that may wait; one more is answered "queue full". By default the server's setting."""
    concurrency: Literal["fixed", "auto"] | None = None
    """``auto`` finds out by the time of calls how many do well at a time, ``maxInFlight`` at most; not for models whose
    requests share calls. By default the server's setting."""
    max_bytes_in_flight: Positive | None = None
    """Bytes of the input tensors of requests that run or wait; one more is answered "queue full". By default only the
    server's limits hold."""
    priority_levels: Annotated[int, Meta(ge=0, le=16)] | None = None
    """Levels of priority that requests may ask for, 0 for none. By default the server's setting, as the next."""
    default_priority: Annotated[int, Meta(ge=0, le=16)] = 0
    """Level of requests that ask for none; 0 for the lowest."""
    timeout_seconds: Annotated[float, Meta(gt=0)] | None = None
    """Deadline of a request that brings none. By default the server's setting."""
    batching: Literal["auto", "on", "off"] = "auto"
    """Whether requests may share calls. ``auto``: where the model was seen at its warm-up to compute rows independently
    of each other, and faster together; ``on``: where it was seen to compute them independently."""
    max_batch_size: Positive | None = None
    """Rows computed by one call at most, by default 32; a request with more makes a call of its own."""
    max_batch_bytes: Positive | None = None
    """Bytes of the inputs of one call at most, by default 4 MiB."""
    accelerate: Literal["none", "onnx"] | None = None
    """``onnx``: a scikit-learn model is converted when it is loaded, and computed by ONNX Runtime where that gives
    equal answers faster; else it is served as it is, and log and ``/status`` say why. By default the server's setting.
    """
    device: Annotated[str, Meta(pattern=DEVICE)] | None = None
    """Where the model computes: ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` for CUDA where there is a device. By default
    the server's setting. One that is not there, or that the library has no use for, is refused."""
    intra_op_threads: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Threads that the library may use inside one call. By default the server's setting, else a share of the quota."""
    max_batch_delay_seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """How long a request waits for others although the model is free."""

    def __post_init__(self) -> None:
        """Refuse CPUs that nobody could read."""
        if self.cpus is not None:
            cpu_lists(self.cpus)


class Code(_Part, frozen=True, kw_only=True):
    """A class of the user's. Whoever writes this has decided that its code may run."""

    module: Annotated[str, Meta(min_length=1)]
    """Path of a ``.py`` file, or name of a module."""
    class_name: str = ""
    """By default the module's only :class:`pillion.Model`."""
    folder: str
    """Goes first on the import path: what the module's neighbours are found in."""


class DesiredModel(_Part, frozen=True, kw_only=True):
    """One model that should be served."""

    name: Name
    version: Version = "1"
    path: str
    """File or folder that holds the artifact, already in place on this machine; empty for a class without one."""
    format: str | None = None
    """Name of the backend (``sklearn``, ``onnx``, ``torch`` and others), or ``python`` for a folder with a class; found
    from the files where absent."""
    format_version: str | None = None
    uri: str = ""
    """Where the artifact came from, for status and logs."""
    digest: str = ""
    """``sha256:...`` where known."""
    allow_pickle: bool = False
    """Whether the model's owner accepts formats that can run code on loading."""
    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """What the platform says of such formats; ``deny`` forbids them whatever ``allowPickle`` says."""
    trust_code: bool = False
    """Whether the model's owner lets a class run that was fetched like a model: format ``python``, without ``code``."""
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """What the platform says of such classes; ``deny`` forbids them whatever ``trustCode`` says."""
    trusted_types: tuple[TypeName, ...] = ()
    """Types, as ``package.module.Name``, that a skops file may hold besides those that are always trusted."""
    execution: ExecutionSettings = ExecutionSettings()
    parameters: dict[str, Any] = {}
    """Passed to the backend. Values as JSON has them."""
    config: dict[str, Any] = {}
    """What the ``reconfigure`` of its class is given when it is loaded, and whenever this changes."""
    code: Code | None = None
    """The model is a class written in Python."""
    graph: dict[str, Any] | None = None
    """The model is a graph of others: the document of :class:`pillion.graph.document.Graph`."""

    @property
    def device(self) -> str | None:
        """Where the model computes, by its owner's word."""
        asked = self.parameters.get("device", self.execution.device)
        return None if asked is None else str(asked)

    @property
    def is_python(self) -> bool:
        """Whether the model is a class: one that is named, or one that lies in the folder at ``path``."""
        return self.code is not None or self.format == PYTHON

    def __post_init__(self) -> None:
        """Refuse names that would lead out of a folder, and graphs that cannot run."""
        for field in ("name", "version"):
            if ".." in getattr(self, field):
                raise ValueError(f"{field} must not contain '..'")
        if self.graph is not None:
            from pillion.graph.check import read  # noqa: PLC0415 - few models are graphs

            try:
                read(self.graph, self.name)
            except ValueError as error:
                raise ValueError(f"graph: {error}") from None


class DesiredApplication(_Part, frozen=True, kw_only=True):
    """One application that should answer. What it is, its code says: see :mod:`pillion.applications`."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    code: Code
    """Where it is; ``className`` is the attribute, with dots where it is one of another object."""
    route_prefix: str = "/"
    """The path below which it answers."""
    args: dict[str, Any] = {}
    """Arguments for its constructor, by name. Values as JSON has them."""
    config: dict[str, Any] = {}
    """What its ``reconfigure`` is given when it is built, and whenever this changes."""
    max_ongoing_requests: Positive | None = None
    """Requests that it works on at a time; more wait. By default the server's ``limits.max_in_flight``."""
    max_queued_requests: Annotated[int, Meta(ge=0)] | None = None
    """Requests that may wait; one more is answered 429. By default the server's ``limits.max_queue``."""
    request_timeout_seconds: Annotated[float, Meta(gt=0)] | None = None
    """The longest a request may take. By default the server's ``http.request_timeout_seconds``."""

    def __post_init__(self) -> None:
        """Refuse a prefix that cannot be, and write it as it is compared."""
        msgspec.structs.force_setattr(self, "route_prefix", normal_prefix(self.route_prefix))


class RuntimeFile(_Part, frozen=True, kw_only=True):
    """The whole file."""

    api_version: Literal["runtime.pillion.dev/v1"] = API_VERSION
    settings: dict[str, Any] = {}
    models: tuple[DesiredModel, ...] = ()
    applications: tuple[DesiredApplication, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a version that is there twice, and applications in each other's way."""
        check_applications(self.applications)
        counted = Counter((model.name, model.version) for model in self.models)
        for (name, version), count in counted.items():
            if count > 1:
                raise ValueError(f"model {name!r} version {version!r} is declared twice")


def check_applications(applications: Sequence[DesiredApplication]) -> None:
    """Refuse applications of one name or one prefix.

    Raises:
        ValueError: there are some; names both.
    """
    names: set[str] = set()
    prefixes: dict[str, str] = {}
    for application in applications:
        if application.name in names:
            raise ValueError(f"two applications are called {application.name!r}: give each a name of its own")
        names.add(application.name)
        other = prefixes.setdefault(application.route_prefix, application.name)
        if other != application.name:
            raise ValueError(
                f"applications {other!r} and {application.name!r} have the same routePrefix "
                f"{application.route_prefix}: give each its own"
            )


def cpu_lists(text: str) -> tuple[tuple[int, ...], ...]:
    """The CPUs that ``execution.cpus`` names: one list, or one for each worker process.

    Raises:
        ValueError: it names none.
    """
    return tuple(_cpus(one, text) for one in text.split(";"))


def _cpus(text: str, whole: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and first.isascii()) or (dash and not (last.isdecimal() and last.isascii())):
            raise ValueError(f"cpus: {whole!r} is no list of CPUs: write numbers and ranges, as in 0-3,8")
        begin, end = int(first), int(last or first)
        if end < begin or end > _MOST_CPUS:
            raise ValueError(f"cpus: {part.strip()!r} is no range of CPUs: they ascend, to {_MOST_CPUS} at most")
        found.update(range(begin, end + 1))
    return tuple(sorted(found))


def load(text: str, *, source: str) -> RuntimeFile:
    """Read the file's text.

    Raises:
        RuntimeFileError: not YAML, or not of this schema; names ``source`` and the field.
    """
    return _checked(_parsed(text, source), source)


def _parsed(text: str, source: str) -> object:
    """The document; JSON is read as such, because that needs no YAML library in a server that starts."""
    if text.startswith("{"):
        with contextlib.suppress(msgspec.DecodeError):  # then it is YAML in flow style, or nothing
            return msgspec.json.decode(text)
    import yaml  # noqa: PLC0415 - as above

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RuntimeFileError(f"{source}: not valid YAML: {error}") from error
    return document if document is not None else {}


def dump(file: RuntimeFile) -> str:
    """The file's text: JSON, which is YAML too, in stable order and without absent values, so that equal content is
    equal text.

    Raises:
        RuntimeFileError: a value that :func:`load` would refuse.
    """
    document: dict[str, Any] = msgspec.to_builtins(file)
    _checked(document, "runtime.yaml")
    for model in document.get("models", []):
        if not model.get("execution", True):
            del model["execution"]
    document["apiVersion"] = API_VERSION
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"


def _checked(document: object, source: str) -> RuntimeFile:
    try:
        return msgspec.convert(document, RuntimeFile)
    except msgspec.ValidationError as error:
        raise RuntimeFileError(f"{source}: {_sentence(str(error))}") from error


def _sentence(text: str) -> str:
    """msgspec's message with the field in front, as ``models.0.path: missing``."""
    problem, _, path = text.partition(" - at `$")
    parts = path.rstrip("`").replace("[", ".").replace("]", "").strip(".").split(".")
    for said, short in (("Object missing required field ", "missing"), ("Object contains unknown field ", "unknown")):
        if problem.startswith(said):
            parts.append(problem.removeprefix(said).strip("`"))
            problem = short
    return f"{'.'.join(part for part in parts if part) or 'document'}: {problem}"
