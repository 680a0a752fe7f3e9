"""What a class of the user's says of itself: its tasks, its ``predict``, its ``load``.

Everything that can be wrong with a class is found here, when it is loaded, and is said with class, method and
parameter. The first registered signature of a task is the contract of its name.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from pillion.authoring.errors import AuthoringError
from pillion.authoring.explain import ExplainSignature, explain_signature
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
from pillion.authoring.types import AnyValue, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.text import Embedder, Generator
    from pillion.authoring.training import TrainSignature
    from pillion.authoring.types import ValueType

__all__ = ["ModelDefinition", "Parameter", "TaskSignature", "define"]

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

    @property
    def names(self) -> str:
        """Its parameters, for messages."""
        return ", ".join(parameter.name for parameter in self.parameters) or "none"


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
    return _signature(cls, attribute, name)


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
    cls: type[Model], attribute: str, name: str, gives: tuple[ValueType, Any] | None = None
) -> TaskSignature:
    """The signature of a method; ``gives`` is what it gives where that is known beforehand."""
    place = f"{cls.__name__}.{attribute}"
    function = _function(cls, attribute, place)
    hints = _hints(function, cls, place)
    parameters: list[Parameter] = []
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        here = f"{place}, parameter {parameter.name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise AuthoringError(f"{here}: requests name their fields: no *, ** or position-only parameters")
        if not parameter.name.isascii():
            raise AuthoringError(f"{here}: field names are ASCII letters, digits and _")
        described, annotation = describe(hints.get(parameter.name, Any), here)
        required = parameter.default is parameter.empty
        default = None if required else _json_default(parameter.default)
        parameters.append(Parameter(parameter.name, described, required, default))
        if not required:
            annotation = NotRequired[Annotated[annotation, Field(json_schema_extra={"default": default})]]
        fields[parameter.name] = annotation
    hint = hints.get("return", Any)
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    streams, on_loop, item = item_type(hint, generates=generates)
    if generates and not streams:
        raise AuthoringError(f"{place}: it yields, and declares to return {hint}: make that Iterator[...] of an item")
    returns, answer = gives or describe(item if streams else hint, f"{place}, return type")
    summary, _, description = (inspect.getdoc(function) or "").partition("\n")
    # A decorator may have made an async method of a plain one, or may have forgotten to.
    made = (function, inspect.getattr_static(cls, attribute))
    return TaskSignature(
        name=name,
        owner=cls.__name__,
        method=attribute,
        asynchronous=on_loop
        or any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in made),
        parameters=tuple(parameters),
        arguments=_arguments(f"{camel_case(name)}Arguments", fields, place),
        returns=returns,
        answer=TypeAdapter(answer),
        summary=summary.strip(),
        description=description.strip(),
        streams=streams,
    )


def _arguments(name: str, fields: dict[str, Any], place: str) -> TypeAdapter[dict[str, Any]]:
    # A TypedDict and not a model: its fields may have any name, and what comes out is the keyword arguments.
    make: Any = TypedDict  # made at run time, which checkers do not follow
    shape = make(name, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid", val_json_bytes="base64", ser_json_bytes="base64")
    try:
        return TypeAdapter(shape)
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
