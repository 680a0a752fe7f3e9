"""Taking trainings: which there are, whether a request fits, and what its process is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import ValidationError

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.invalid import invalid_parameter, invalid_parameters
from pillion.jobs.places import check_place, check_source, roots_of
from pillion.jobs.states import JobKind
from pillion.jobs.training_order import DataSource, TrainingOrder, TrainingRequest, encode
from pillion.modelstore import check_name
from pillion.runtimefile import Code
from pillion.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pillion.authoring.signature import ModelDefinition
    from pillion.authoring.training import TrainSignature
    from pillion.jobs.asked import Submitter
    from pillion.jobs.engine import JobEngine
    from pillion.jobs.settings import JobSettings
    from pillion.jobs.states import Job
    from pillion.runtimefile import DesiredModel

__all__ = [
    "TrainingDesk",
    "TrainingRoute",
    "code_of",
    "found_training",
    "opened",
    "order_of",
    "trainer_of",
    "training_routes",
    "validate",
]

_RETRY_WHILE_LOADING: Final = 1.0
_REQUEST: Final = msgspec.json.Decoder(TrainingRequest)


class TrainingRoute(msgspec.Struct, frozen=True):
    """A training that is offered, and the model that is served of its class."""

    desired: DesiredModel
    definition: ModelDefinition
    signature: TrainSignature


class TrainingDesk:
    """Takes requests for trainings.

    Args:
        engine: has them done.
        routes: the trainings that are offered now.
        deployable: raises where a model of that name cannot be deployed here.
        loading: whether there may be more trainings in a moment.
        registrable: raises where no version of that name can be kept.
    """

    def __init__(
        self,
        engine: JobEngine,
        routes: Callable[[], Sequence[TrainingRoute]],
        deployable: Callable[[str], None],
        loading: Callable[[], bool],
        registrable: Callable[[str], Awaitable[None]],
    ) -> None:
        self.engine = engine
        self._routes = routes
        self._deployable = deployable
        self._loading = loading
        self._registrable = registrable

    def find(self, name: str) -> TrainingRoute:
        """The training of that name.

        Raises:
            PillionError: ``NOT_FOUND``; the text lists what there is. ``NOT_READY`` while it may be one of a class that
                is being loaded.
        """
        return found_training(self._routes(), name, loading=self._loading)

    async def submit(
        self,
        name: str,
        body: bytes | memoryview,
        *,
        request_id: str,
        idempotency_key: str,
        caller: Submitter | None = None,
        priority: int = 0,
    ) -> Job:
        """Take one: everything that can be wrong with the request is said before it is queued.

        Raises:
            PillionError: with the field; ``QUEUE_FULL``, ``NOT_READY``.
        """
        route = self.find(name)
        roots = roots_of(self.engine.settings, code_of(route))
        request = opened(body)
        if request.output_path:
            _check_output(Path(request.output_path), roots)
        _, sources = validate(route.signature, request)
        for parameter, source in sources.items():
            if not source.file:
                check_source(source.uri, roots, f"parameters.{parameter}.uri")
        await self._registrable(request.model_name)
        if request.deploy:
            self._deployable(request.model_name)
        return await self.engine.submit(
            JobKind.TRAINING,
            model=request.model_name,
            task=name,
            request=body,
            request_id=request_id,
            idempotency_key=idempotency_key,
            caller=caller,
            priority=priority,
            details={
                "served": route.desired.name,
                "parent": route.desired.digest,
                **({"output_path": request.output_path} if request.output_path else {}),
                **({"deploy": "true"} if request.deploy else {}),
            },
        )


def found_training(routes: Sequence[TrainingRoute], name: str, *, loading: Callable[[], bool]) -> TrainingRoute:
    """The training of that name.

    Raises:
        PillionError: ``NOT_FOUND``; ``NOT_READY``: see :meth:`TrainingDesk.find`.
    """
    for route in routes:
        if route.signature.name == name:
            return route
    if loading():
        raise PillionError(
            ErrorCode.NOT_READY,
            f"the class with the training {name[:100]!r} may be one that is still being loaded",
            retry_after=_RETRY_WHILE_LOADING,
        )
    names = [route.signature.name for route in routes]
    raise PillionError(
        ErrorCode.NOT_FOUND,
        f"there is no training {name[:100]!r}; trainings: {', '.join(names) or 'none'}{nearest(name[:100], names)}",
    )


def training_routes(definitions: Sequence[tuple[DesiredModel, ModelDefinition]]) -> list[TrainingRoute]:
    """The trainings of classes; of two with one name the first model's counts."""
    found: dict[str, TrainingRoute] = {}
    for desired, definition in definitions:
        signature = definition.training
        if signature is not None:
            found.setdefault(signature.name, TrainingRoute(desired, definition, signature))
    return list(found.values())


def trainer_of(routes: Sequence[TrainingRoute], training: str) -> DesiredModel:
    """The served model whose class has that training, with where the class can be imported from.

    Raises:
        PillionError: ``NOT_FOUND``: none has.
    """
    for route in routes:
        if route.signature.name == training:
            return msgspec.structs.replace(route.desired, code=code_of(route))
    raise PillionError(
        ErrorCode.NOT_FOUND,
        f"it was made by the training {training!r}, whose class is not served here",
        remedy="serve the class, whose code loads what its trainings make",
    )


def opened(body: bytes | memoryview) -> TrainingRequest:
    """Read a request's body.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: not JSON, or not of that form; names the field.
    """
    try:
        request = _REQUEST.decode(body)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").strip(".") or "body"
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {text}", field=field) from None
    except msgspec.DecodeError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the body is not valid JSON: {error}", field="body") from None
    check_name(request.model_name, field="model_name")
    return request


def _check_output(path: Path, roots: Sequence[str]) -> None:
    said = ""
    if not path.is_absolute() or ".." in path.parts:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT, "output_path: write an absolute path without '..'", field="output_path"
        )
    check_place(path, roots, "output_path")
    if path.exists():
        said = "it is there already: name a folder that is not"
    elif not path.parent.is_dir():
        said = f"the folder {path.parent} is not there"
    if said:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"output_path: {said}", field="output_path")


def validate(signature: TrainSignature, request: TrainingRequest) -> tuple[dict[str, Any], dict[str, DataSource]]:
    """Check a request's parameters; gives those that came as values, and the data that lies elsewhere.

    Raises:
        InvalidArguments: with the path of each field.
    """
    given = dict(request.parameters)
    sources: dict[str, DataSource] = {}
    for parameter in signature.data:
        value = given.get(parameter.name)
        if isinstance(value, dict):
            sources[parameter.name] = _source(parameter.name, value)
            del given[parameter.name]
    try:
        signature.arguments.validate_json(encode(given))
    except ValidationError as error:
        raise invalid_parameters(error, signature) from None
    absent = [one.name for one in signature.data if one.required and one.name not in given.keys() | sources.keys()]
    if absent:
        raise invalid_parameter(absent[0], "is missing", "missing")
    for parameter in signature.data:
        if parameter.required and parameter.name in given and not given[parameter.name]:
            raise invalid_parameter(parameter.name, "is empty: a training needs data", "too_short")
    return given, sources


def _source(name: str, value: dict[str, Any]) -> DataSource:
    """Data that lies elsewhere, as ours or caikit's clients write it."""
    match value:
        case {"jsondata": {"data": list()}}:
            raise invalid_parameter(name, "give the items themselves: a list", "list_type")
        case {"file": {"filename": str(path)}} if len(value) == 1:
            return DataSource(path)
    try:
        source = msgspec.convert(value, DataSource)
    except msgspec.ValidationError as error:
        raise invalid_parameter(name, f'a list of items, or {{"uri": "..."}}: {error}', "data_source") from None
    if source.file and ("/" in source.file or source.file.startswith(".")):
        raise invalid_parameter(f"{name}.file", "it is the server's to name", "data_source")
    return source


def code_of(route: TrainingRoute) -> Code:
    """Where the class can be imported from.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: nowhere.
    """
    if route.desired.code is not None:
        return msgspec.structs.replace(route.desired.code, class_name=route.definition.cls.__name__)
    cls = route.definition.cls
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None or "." in cls.__qualname__:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{cls.__qualname__} cannot be imported by the training's process: put it into a file, at its top level",
        )
    return Code(module=str(file), class_name=cls.__name__, folder=str(Path(file).parent))


def order_of(
    job: Job,
    body: bytes,
    folder: Path,
    definitions: Sequence[tuple[DesiredModel, ModelDefinition]],
    settings: JobSettings,
) -> TrainingOrder:
    """What a run's process is told.

    Raises:
        PillionError: the class is served no more, or has changed so that the request does not fit.
    """
    routes = {route.signature.name: route for route in training_routes(definitions)}
    route = routes.get(job.task)
    if route is None:
        raise PillionError(
            ErrorCode.NOT_FOUND, f"the class with the training {job.task!r} is not served any more", field="task"
        )
    given, sources = validate(route.signature, opened_again(body))
    code = code_of(route)
    return TrainingOrder(
        code=code,
        roots=list(roots_of(settings, code)),
        route=job.task,
        parameters=given,
        sources=sources,
        folder=str(folder),
        device=route.desired.device or "cpu",
        max_memory_bytes=settings.max_memory_bytes,
        max_cpu_seconds=settings.max_cpu_seconds,
    )


def opened_again(body: bytes) -> TrainingRequest:
    """A request that was taken before: where its model goes has been looked at then."""
    return _REQUEST.decode(body)
