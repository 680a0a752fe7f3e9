"""What a class of the user's says of itself: its tasks, its ``predict``, its ``load``.

Everything that can be wrong with a class is found here, when it is loaded, and is said with class, method and
parameter. The first registered signature of a task is the contract of its name.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from pillion.authoring.batches import item_hint, result_hint
from pillion.authoring.errors import AuthoringError
from pillion.authoring.explain import ExplainSignature, explain_signature
from pillion.authoring.files import files_in
from pillion.authoring.incoming import incoming_item
from pillion.authoring.json_bytes import reading_base64
from pillion.authoring.model import Model
from pillion.authoring.names import camel_case, same_task
from pillion.authoring.predict import PredictSignature, predict_signature
from pillion.authoring.task import TaskOptions, options_of
from pillion.authoring.text import (
    EMBED,
    GENERATE,
    VECTORS,
    TextMethods,
    check_pieces,
    embedder,
    generator,
    is_text,
    item_type,
)
from pillion.authoring.train import has_training
from pillion.authoring.types import describe
from pillion.authoring.values import AnyValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.batches import Batch
    from pillion.authoring.text import Embedder, Generator
    from pillion.authoring.training import TrainSignature
    from pillion.authoring.values import ValueType

__all__ = ["Incoming", "ModelDefinition", "Parameter", "TaskSignature", "define"]

_RESERVED: Final = frozenset({"api", "docs", "health", "info", "management", "metrics", "openapi", "redoc", "v1", "v2"})
"""First segments of the server's own routes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a task."""

    name: str
    type: ValueType
    required: bool
    default: Any = None
    """As JSON, where it is not required and can be written so."""


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """The parameter whose values a client sends one by one."""

    name: str
    type: ValueType
    """Of one value."""
    item: TypeAdapter[dict[str, Any]]
    """Validates ``{name: value}``."""
    make: Callable[[Any], Any] | None
    """Makes what the method is given of an iterator; None where it is that itself."""
    asynchronous: bool
    """Whether it is read with ``async for``."""

    def given(self, values: Any) -> Any:  # noqa: ANN401 - iterators of either kind
        """What the method is given for an iterator over the values."""
        return values if self.make is None else self.make(values)


@dataclass(frozen=True, slots=True, eq=False)
class TaskSignature:
    """One task: what it takes and gives. Compared by identity."""

    name: str
    owner: str
    """Name of the class."""
    method: str
    asynchronous: bool
    parameters: tuple[Parameter, ...]
    arguments: TypeAdapter[dict[str, Any]]
    """Validates the arguments of a request; gives those that were sent."""
    returns: ValueType
    """Of the result; of each item where it streams."""
    answer: TypeAdapter[Any]
    """Knows the JSON schema of the same."""
    summary: str = ""
    description: str = ""
    streams: bool = False
    """Whether its results come one by one."""
    batch: Batch | None = None
    """How many calls the method takes at once; None for one."""
    items: tuple[str, ...] = ()
    """Parameters of which it is given lists then, one item a call."""
    incoming: Incoming | None = None
    """What clients send one by one, where they do."""
    converts: bool = False
    """Whether reading its arguments makes images, or calls ``from_file`` of a class: too much for the event loop."""

    @property
    def names(self) -> str:
        """Its parameters, for messages."""
        names = [parameter.name for parameter in self.parameters]
        return ", ".join([*names, self.incoming.name] if self.incoming is not None else names) or "none"


@dataclass(frozen=True, slots=True, eq=False)
class ModelDefinition:
    """A class that can be served."""

    cls: type[Model]
    tasks: tuple[TaskSignature, ...]
    """In the order of their declaration."""
    predict: PredictSignature | None
    takes_artifact: bool
    explain: ExplainSignature | None = None
    text: TextMethods = TextMethods()  # noqa: RUF009 - a value that nobody changes
    """Its ``generate`` and ``embed``."""
    needs_artifact: bool = False
    """Whether it cannot be loaded without one."""
    training: TrainSignature | None = None

    @property
    def name(self) -> str:
        """Of the class."""
        return self.cls.__name__


def define(cls: object) -> ModelDefinition:
    """Read the class.

    Raises:
        AuthoringError: it cannot be served as it is.
    """
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise AuthoringError(f"{_name(cls)} is not a pillion.Model: write class {_name(cls)}(Model)")
    tasks: dict[str, TaskSignature] = {}
    for attribute, options in _marked(cls).items():
        signature = _task(cls, attribute, options)
        other = tasks.get(same_task(signature.name))
        if other is not None:
            raise AuthoringError(f"{cls.__name__}: {other.method} and {attribute} are both the task {signature.name!r}")
        tasks[same_task(signature.name)] = signature
    predict = None
    if callable(getattr(cls, "predict", None)) and "predict" not in tasks:
        predict = predict_signature(cls)
    text = TextMethods(_generator(cls), _embedder(cls))
    if predict is None and not tasks and text.generate is None and text.embed is None:
        raise AuthoringError(
            f"{cls.__name__} has neither predict nor a task: mark a method with @task, or write predict(self, x),"
            " generate(self, prompt) or embed(self, texts)"
        )
    explain = None
    if callable(getattr(cls, "explain", None)) and "explain" not in tasks:
        explain = explain_signature(cls, predict)
    takes, needs = _artifact(cls)
    training = None
    if has_training(cls):
        from pillion.authoring.training import training_of  # noqa: PLC0415 - most classes have none

        training = training_of(cls, next((task.name for task in tasks.values()), None))
    return ModelDefinition(cls, tuple(tasks.values()), predict, takes, explain, text, needs, training)


def _name(thing: object) -> str:
    return getattr(thing, "__name__", None) or repr(thing)


def _marked(cls: type[Model]) -> dict[str, TaskOptions]:
    """Methods that are tasks, also where a subclass overrides one without marking it again."""
    found: dict[str, TaskOptions] = {}
    for base in reversed(cls.__mro__):
        for attribute, member in vars(base).items():
            options = options_of(member)
            if options is not None:
                found[attribute] = options
    return {attribute: options for attribute, options in found.items() if callable(getattr(cls, attribute, None))}


def _task(cls: type[Model], attribute: str, options: TaskOptions) -> TaskSignature:
    place = f"{cls.__name__}.{attribute}"
    name = options.name or attribute
    if name.startswith("_") or same_task(name) in _RESERVED:
        raise AuthoringError(f'{place}: {name!r} is a route of the server: name the task otherwise, @task("name")')
    return _signature(cls, attribute, name, batch=options.batch)


def _generator(cls: type[Model]) -> Generator | None:
    """The method ``generate``, unless its author made it a task that takes or gives something else."""
    method = getattr(cls, GENERATE, None)
    if not callable(method):
        return None
    place = f"{cls.__name__}.{GENERATE}"
    hints = _hints(_function(cls, GENERATE, place), cls, place)
    if options_of(inspect.getattr_static(cls, GENERATE)) is not None:
        if not is_text(hints.get("return", Any)) or not hints.keys() & {"prompt", "messages"}:
            return None
    else:
        check_pieces(hints.get("return", Any), place)
    return generator(_signature(cls, GENERATE, GENERATE, gives=(AnyValue(), str)), place)


def _embedder(cls: type[Model]) -> Embedder | None:
    """The method ``embed``, unless its author made it a task that takes something else."""
    method = getattr(cls, EMBED, None)
    if not callable(method):
        return None
    place = f"{cls.__name__}.{EMBED}"
    function = _function(cls, EMBED, place)
    marked = options_of(inspect.getattr_static(cls, EMBED)) is not None
    if marked and "texts" not in inspect.signature(function).parameters:
        return None
    signature = _signature(cls, EMBED, EMBED, gives=(VECTORS, list[list[float]]))
    if signature.streams:
        raise AuthoringError(f"{place}: it gives all vectors at once: return an array, one row a text")
    return embedder(signature, place)


def _function(cls: type[Model], attribute: str, place: str) -> Callable[..., Any]:
    function = inspect.unwrap(inspect.getattr_static(cls, attribute))
    if isinstance(function, staticmethod | classmethod):
        raise AuthoringError(f"{place}: a task is a method that takes self, not a static or class method")
    return typing.cast("Callable[..., Any]", function)


def _signature(
    cls: type[Model],
    attribute: str,
    name: str,
    gives: tuple[ValueType, Any] | None = None,
    batch: Batch | None = None,
) -> TaskSignature:
    """The signature of a method; ``gives`` is what it gives where that is known beforehand."""
    place = f"{cls.__name__}.{attribute}"
    function = _function(cls, attribute, place)
    hints = _hints(function, cls, place)
    taken = _Taken()
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        _take(taken, parameter, hints.get(parameter.name, Any), f"{place}, parameter {parameter.name}", batch)
    hint = hints.get("return", Any)
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    streams, on_loop, item = item_type(hint, generates=generates)
    if generates and not streams:
        raise AuthoringError(f"{place}: it yields, and declares to return {hint}: make that Iterator[...] of an item")
    if batch is not None:
        if streams or not taken.items:
            raise AuthoringError(f"{place}: batch= is for a method that is given lists and returns one")
        hint = result_hint(hint, place)
    returns, answer = gives or describe(item if streams else hint, f"{place}, return type")
    for file in files_in(returns):
        if file.write is None:
            raise AuthoringError(f"{place}, return type: {file.name} cannot be made a file: write a method to_file")
    summary, _, description = (inspect.getdoc(function) or "").partition("\n")
    # A decorator may have made an async method of a plain one, or may have forgotten to.
    made = (function, inspect.getattr_static(cls, attribute))
    asynchronous = on_loop or any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in made)
    if taken.incoming is not None and taken.incoming.asynchronous != asynchronous:
        remedy = "an async method is given AsyncIterator[...], a plain one Iterator[...]"
        raise AuthoringError(f"{place}, parameter {taken.incoming.name}: {remedy}")
    return TaskSignature(
        name=name,
        owner=cls.__name__,
        method=attribute,
        asynchronous=asynchronous,
        parameters=tuple(taken.parameters),
        arguments=_arguments(f"{camel_case(name)}Arguments", taken.fields, place),
        returns=returns,
        answer=reading_base64(TypeAdapter(answer), everywhere=True),
        summary=summary.strip(),
        description=description.strip(),
        streams=streams,
        batch=batch,
        items=tuple(taken.items),
        converts=any(file.name != "File" for one in taken.parameters for file in files_in(one.type)),
        incoming=taken.incoming,
    )


@dataclass(slots=True)
class _Taken:
    """What a method takes."""

    parameters: list[Parameter] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    """By name: what pydantic validates each by."""
    items: list[str] = field(default_factory=list)
    incoming: Incoming | None = None


def _take(taken: _Taken, parameter: inspect.Parameter, hint: Any, here: str, batch: Batch | None) -> None:  # noqa: ANN401 - type hints have no type of their own
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise AuthoringError(f"{here}: requests name their fields: no *, ** or position-only parameters")
    if not parameter.name.isascii():
        raise AuthoringError(f"{here}: field names are ASCII letters, digits and _")
    required = parameter.default is parameter.empty
    streamed = incoming_item(hint)
    if streamed is not None:
        if not required or taken.incoming is not None or batch is not None:
            raise AuthoringError(f"{here}: a task takes one stream, without a default and without batch=")
        described, annotation = describe(streamed.item, here)
        item = _arguments("Item", {parameter.name: annotation}, here)
        taken.incoming = Incoming(parameter.name, described, item, streamed.make, streamed.asynchronous)
        return
    if batch is not None and required:
        hint = item_hint(hint, here)
        taken.items.append(parameter.name)
    described, annotation = describe(hint, here)
    for file in files_in(described):
        if file.read is None:
            raise AuthoringError(f"{here}: {file.name} cannot be made of a file: write a class method from_file")
    default = None if required else _json_default(parameter.default)
    taken.parameters.append(Parameter(parameter.name, described, required, default))
    if not required:
        annotation = NotRequired[Annotated[annotation, Field(json_schema_extra={"default": default})]]
    taken.fields[parameter.name] = annotation


def _arguments(name: str, fields: dict[str, Any], place: str) -> TypeAdapter[dict[str, Any]]:
    # A TypedDict and not a model: its fields may have any name, and what comes out is the keyword arguments.
    make: Any = TypedDict  # made at run time, which checkers do not follow
    shape = make(name, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid", val_json_bytes="base64", ser_json_bytes="base64")
    try:
        return reading_base64(TypeAdapter(shape))
    except Exception as error:
        raise AuthoringError(f"{place}: its parameters cannot be validated: {error}") from error


def _hints(function: Callable[..., Any], cls: type[Model], place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(vars(cls)), include_extras=True)
    except NameError as error:
        raise AuthoringError(f"{place}: {error}: import the type where it exists at run time") from error
    except Exception as error:
        raise AuthoringError(f"{place}: its annotations cannot be resolved: {error}") from error


def _json_default(value: Any) -> Any:  # noqa: ANN401 - any default
    try:
        return to_jsonable_python(value)
    except ValueError:
        return None


def _artifact(cls: type[Model]) -> tuple[bool, bool]:
    """Whether ``load`` takes an artifact, and whether it needs one."""
    load = cls.load
    if load is Model.load:
        return False, False
    if inspect.iscoroutinefunction(load):
        raise AuthoringError(f"{cls.__name__}.load: has to be a plain method, not async")
    named = [
        parameter for parameter in list(inspect.signature(load).parameters.values())[1:] if parameter.kind in (0, 1, 3)
    ]
    required = [parameter for parameter in named if parameter.default is parameter.empty]
    if len(required) > 1 or any(parameter.kind == parameter.KEYWORD_ONLY for parameter in required):
        raise AuthoringError(f"{cls.__name__}.load: takes nothing, or the artifact: load(self) or load(self, artifact)")
    # With a default it is a model that can be trained, and is served before it has been.
    optional = bool(named) and named[0].name == "artifact" and named[0].kind != named[0].KEYWORD_ONLY
    return bool(required) or optional, bool(required)
