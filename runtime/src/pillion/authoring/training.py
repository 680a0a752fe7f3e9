"""A class's training, read from the signature of the method that is marked with ``@train``."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NotRequired, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from pillion.authoring.errors import AuthoringError
from pillion.authoring.json_bytes import reading_base64
from pillion.authoring.model import Model
from pillion.authoring.names import camel_case
from pillion.authoring.run import Run
from pillion.authoring.stream import Stream
from pillion.authoring.train import TrainOptions, train_options_of
from pillion.authoring.types import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.values import ValueType

__all__ = ["DataParameter", "PlainParameter", "TrainSignature", "training_of"]

_CONFIG: Final = ConfigDict(extra="forbid", val_json_bytes="base64", ser_json_bytes="base64")


@dataclass(frozen=True, slots=True, eq=False)
class DataParameter:
    """A parameter that is a ``Stream``."""

    name: str
    required: bool
    item: ValueType
    items: TypeAdapter[dict[str, Any]]
    """Validates ``{"item": ...}``, which is how every item is read."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainParameter:
    """A parameter that is no data."""

    name: str
    required: bool
    type: ValueType


@dataclass(frozen=True, slots=True, eq=False)
class TrainSignature:
    """What a training takes. Compared by identity."""

    name: str
    """Of the route: ``{Task}{Class}Train``."""
    owner: str
    method: str
    data: tuple[DataParameter, ...]
    plain: tuple[PlainParameter, ...]
    required: frozenset[str]
    """Names of the parameters that have no default."""
    arguments: TypeAdapter[dict[str, Any]]
    """Validates a request's parameters, data as lists; gives those that were sent."""
    takes_run: bool
    summary: str = ""
    description: str = ""

    @property
    def names(self) -> str:
        """Its parameters, for messages."""
        return ", ".join([*(one.name for one in self.data), *(one.name for one in self.plain)]) or "none"


def training_of(cls: type[Model], first_task: str | None) -> TrainSignature | None:
    """The training of a class; None where it has none.

    Args:
        cls: the class.
        first_task: the task that names the route where the mark does not.

    Raises:
        AuthoringError: it cannot be offered as it is written.
    """
    marked = _marked(cls)
    if not marked:
        return None
    if len(marked) > 1:
        raise AuthoringError(f"{cls.__name__}: {' and '.join(marked)} are both marked with @train: keep one")
    ((attribute, options),) = marked.items()
    place = f"{cls.__name__}.{attribute}"
    member = inspect.getattr_static(cls, attribute)
    if not isinstance(member, classmethod):
        raise AuthoringError(f"{place}: a training makes a model, so it is a class method: add @classmethod")
    function: Callable[..., Any] = inspect.unwrap(member.__func__)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise AuthoringError(f"{place}: has to be a plain method, neither async nor one that yields")
    if cls.save is Model.save:
        raise AuthoringError(
            f"{place}: what it returns has to be kept: write save(self, path), which load(self, artifact) reads"
        )
    return _read(cls, attribute, function, place, options.task or first_task or "")


def _marked(cls: type[Model]) -> dict[str, TrainOptions]:
    """Members that are marked, also where a subclass overrides one without marking it again."""
    found: dict[str, TrainOptions] = {}
    for base in reversed(cls.__mro__):
        for attribute, member in vars(base).items():
            options = train_options_of(member)
            if options is not None:
                found[attribute] = options
    return {attribute: options for attribute, options in found.items() if callable(getattr(cls, attribute, None))}


def _read(cls: type[Model], attribute: str, function: Callable[..., Any], place: str, task: str) -> TrainSignature:
    try:
        hints = typing.get_type_hints(function, localns=dict(vars(cls)), include_extras=True)
    except Exception as error:
        raise AuthoringError(f"{place}: its annotations cannot be resolved: {error}") from error
    _check_return(cls, hints.get("return", Any), place)
    data: list[DataParameter] = []
    fields: dict[str, Any] = {}
    plain: list[PlainParameter] = []
    required: set[str] = set()
    takes_run = False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        here = f"{place}, parameter {parameter.name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise AuthoringError(f"{here}: requests name their fields: no *, ** or position-only parameters")
        hint = hints.get(parameter.name, Any)
        if hint is Run or (parameter.name == "run" and hint is Any):
            takes_run = True
            continue
        if parameter.default is parameter.empty:
            required.add(parameter.name)
        if hint is Stream or get_origin(hint) is Stream:
            item = (get_args(hint) or (Any,))[0]
            described, annotation = describe(item, here)
            data.append(
                DataParameter(
                    parameter.name, parameter.name in required, described, _adapter("Item", {"item": annotation}, here)
                )
            )
            fields[parameter.name] = NotRequired[list[annotation]]  # type: ignore[valid-type] # made at run time
            continue
        described, annotation = describe(hint, here)
        plain.append(PlainParameter(parameter.name, parameter.name in required, described))
        if parameter.name not in required:
            default = _json_default(parameter.default)
            annotation = NotRequired[Annotated[annotation, Field(json_schema_extra={"default": default})]]
        fields[parameter.name] = annotation
    summary, _, description = (inspect.getdoc(function) or "").partition("\n")
    name = f"{camel_case(task)}{cls.__name__}Train"
    return TrainSignature(
        name=name,
        owner=cls.__name__,
        method=attribute,
        data=tuple(data),
        plain=tuple(plain),
        required=frozenset(required),
        arguments=_adapter(f"{name}Parameters", fields, place),
        takes_run=takes_run,
        summary=summary.strip(),
        description=description.strip(),
    )


def _check_return(cls: type[Model], hint: Any, place: str) -> None:  # noqa: ANN401 - annotations are any object
    if hint in (Any, typing.Self) or isinstance(hint, typing.TypeVar) or hint is cls:
        return
    if isinstance(hint, type) and issubclass(cls, hint):
        return
    raise AuthoringError(f"{place}: it returns {hint}, and has to return an instance of the class: -> Self")


def _adapter(name: str, fields: dict[str, Any], place: str) -> TypeAdapter[dict[str, Any]]:
    make: Any = TypedDict  # made at run time, which checkers do not follow
    shape = make(name, fields)
    shape.__pydantic_config__ = _CONFIG
    try:
        return reading_base64(TypeAdapter(shape))
    except Exception as error:
        raise AuthoringError(f"{place}: its parameters cannot be validated: {error}") from error


def _json_default(value: Any) -> Any:  # noqa: ANN401 - any default
    try:
        return to_jsonable_python(value)
    except ValueError:
        return None
