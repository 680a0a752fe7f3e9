"""One description of a value's type, from which JSON schema, protobuf, validation and encoding all follow.

:func:`describe` turns an annotation into a type of :mod:`pillion.authoring.values`, and into what pydantic validates
requests against. They are one step because what pydantic cannot do (arrays and files, also inside dataclasses) is
replaced on the way.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import types
import typing
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, TypeAdapter, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from typing_extensions import is_typeddict

from pillion.authoring.arrays import array_annotation, dtype_in
from pillion.authoring.encoded import encoded_by, encoded_scalar
from pillion.authoring.errors import AuthoringError
from pillion.authoring.files import file_annotation, file_type
from pillion.authoring.unions import choice_values, discriminator_in, union_of
from pillion.authoring.values import (
    AnyValue,
    ArrayOf,
    FileOf,
    Kind,
    ListOf,
    MapOf,
    Nothing,
    OptionalOf,
    Record,
    RecordField,
    Scalar,
    TupleOf,
    UnionOf,
    ValueType,
)

if typing.TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["describe"]

_PLAIN: Final[dict[Any, Scalar]] = {
    str: Scalar(Kind.STRING, example="text"),
    int: Scalar(Kind.INTEGER, example=0),
    float: Scalar(Kind.NUMBER, example=0.0),
    bool: Scalar(Kind.BOOLEAN, example=True),
    bytes: Scalar(Kind.BYTES, example=""),
    dt.datetime: Scalar(Kind.TIMESTAMP, example="2026-01-01T00:00:00Z"),
}
_LISTS: Final = frozenset(
    {list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection}
)
_MAPS: Final = frozenset({dict, collections.abc.Mapping, collections.abc.MutableMapping})
_STREAMS: Final = frozenset(
    {
        collections.abc.Iterator,
        collections.abc.AsyncIterator,
        collections.abc.AsyncIterable,
        collections.abc.Generator,
        collections.abc.AsyncGenerator,
    }
)
_JSON_KINDS: Final = {
    "string": (Kind.STRING, "text"),
    "integer": (Kind.INTEGER, 0),
    "number": (Kind.NUMBER, 0.0),
    "boolean": (Kind.BOOLEAN, True),
}


@dataclass(slots=True)
class _Reader:
    """Reads the annotations of one signature; remembers records, so that one that contains itself ends."""

    place: str
    records: dict[Any, tuple[Record, Any]] = field(default_factory=dict)

    def read(self, annotation: Any) -> tuple[ValueType, Any]:  # noqa: ANN401 - annotations are any object
        if annotation is Any or annotation is object:
            return AnyValue(), Any
        if annotation is type(None):
            return Nothing(), None
        plain = _PLAIN.get(annotation) if isinstance(annotation, type) else None
        if plain is not None:
            return plain, annotation
        file = file_type(annotation)
        if file is not None:
            return file, file_annotation(file)
        if annotation is np.ndarray or get_origin(annotation) is np.ndarray:
            dtype = dtype_in(annotation)
            if dtype is not None and dtype.kind not in "biuf":
                raise self.refusal(annotation, "arrays hold numbers or booleans; use list[str] for text")
            return ArrayOf(dtype), array_annotation(dtype)
        for meant in ("__supertype__", "__value__"):  # a NewType; a name of Python 3.12's `type` statement
            if hasattr(annotation, meant) and not isinstance(annotation, type):
                return self.read(getattr(annotation, meant))
        if isinstance(annotation, type) and not get_args(annotation):
            return self.read_class(annotation)
        return self.read_generic(annotation)

    def read_generic(self, annotation: Any) -> tuple[ValueType, Any]:  # noqa: ANN401 - type hints have no type of their own
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            tag = discriminator_in(arguments[1:])
            if tag is not None:
                return self.read_union(get_args(arguments[0]), tag)
            if encoded_by(arguments[1:]):
                return encoded_scalar(annotation), annotation
            inner, rewritten = self.read(arguments[0])
            return inner, Annotated[(rewritten, *arguments[1:])]
        if origin is Union or origin is types.UnionType:
            return self.read_union(arguments)
        if origin in _STREAMS:
            raise self.refusal(annotation, "only a whole result can come as a stream: use list[...] here")
        if origin in _LISTS or (origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis):
            inner, rewritten = self.read(arguments[0] if arguments else Any)
            shape = (rewritten, Ellipsis) if origin is tuple else rewritten
            return ListOf(inner), (
                list if origin in (collections.abc.Iterable, collections.abc.Collection) else origin
            )[shape]
        if origin is tuple and arguments and arguments != ((),):
            members = [self.read(one) for one in arguments]
            return TupleOf(tuple(one for one, _ in members)), tuple[tuple(rewritten for _, rewritten in members)]  # type: ignore[misc] # made at run time
        if origin in _MAPS:
            if arguments and arguments[0] is not str:
                raise self.refusal(annotation, "keys are text in JSON: use dict[str, ...]")
            inner, rewritten = self.read(arguments[1] if arguments else Any)
            return MapOf(inner), dict[str, rewritten]  # type: ignore[valid-type] # made at run time
        if origin is Literal:
            return self.read_choice(annotation, list(arguments))
        return self.read_other(annotation)

    def read_union(self, members: tuple[Any, ...], tag: str | None = None) -> tuple[ValueType, Any]:
        present = [member for member in members if member is not type(None)]
        read = [self.read(member) for member in present]
        described, rewritten = read[0]
        if len(read) > 1:
            if any(isinstance(one, FileOf) for one, _ in read):
                raise self.refusal(Union[members], "a file cannot be told from text: give it a parameter of its own")  # noqa: UP007 - made at run time
            union = union_of([(one, member) for (one, _), member in zip(read, present, strict=True)], tag)
            described, rewritten = union, Union[tuple(one for _, one in read)]  # noqa: UP007 - made at run time
            if tag or union.tag:
                rewritten = Annotated[rewritten, Field(discriminator=tag or union.tag)]
        if len(present) < len(members):
            return OptionalOf(described), Union[rewritten, None]  # noqa: UP007 - made at run time
        return described, rewritten

    def read_choice(self, annotation: Any, values: list[Any]) -> tuple[ValueType, Any]:  # noqa: ANN401 - type hints have no type of their own
        plain = choice_values(value for value in values if value is not None)
        kinds = {type(value) for value in plain}
        if kinds not in ({str}, {int}):
            raise self.refusal(annotation, "its values have to be all text or all whole numbers")
        kind = Kind.STRING if kinds == {str} else Kind.INTEGER
        scalar = Scalar(kind, TypeAdapter(annotation), plain[0], plain)
        return (scalar if len(plain) == len(values) else OptionalOf(scalar)), annotation

    def read_class(self, cls: type[Any]) -> tuple[ValueType, Any]:
        if cls in _LISTS:
            return ListOf(AnyValue()), cls
        if cls in _MAPS:
            return MapOf(AnyValue()), dict[str, Any]
        if issubclass(cls, Enum):
            return self.read_choice(cls, list(cls))
        if issubclass(cls, RootModel):
            inner, _ = self.read(_whole(cls.model_fields["root"]))
            return inner, cls
        if issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls) or is_typeddict(cls):
            return self.read_record(cls)
        return self.read_other(cls)

    def read_record(self, cls: type[Any]) -> tuple[ValueType, Any]:
        known = self.records.get(cls)
        if known is not None:
            return known
        record = Record(cls, cls.__name__)
        self.records[cls] = (record, cls)
        rewritten: Any = cls
        if issubclass(cls, BaseModel):
            record.fields = self.model_fields(cls)
        elif dataclasses.is_dataclass(cls):
            record.fields, shadow = self.dataclass_fields(cls)
            if shadow is not None:
                rewritten = shadow
                self.records[cls] = (record, shadow)
        else:
            record.fields = tuple(
                RecordField(name, self.inner(cls, name, hint), _must_have(cls, name, hint), name, name)
                for name, hint in self.hints(cls).items()
            )
        return record, rewritten

    def model_fields(self, cls: type[BaseModel]) -> tuple[RecordField, ...]:
        found = []
        for name, info in cls.model_fields.items():
            alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
            out = info.serialization_alias or info.alias or name
            annotation = _whole(info)
            if isinstance(info.discriminator, str):
                annotation = Annotated[annotation, Field(discriminator=info.discriminator)]
            inner = self.inner(cls, name, annotation)
            found.append(RecordField(name, inner, info.is_required(), alias or name, out))
        for name, computed in cls.model_computed_fields.items():
            inner = self.inner(cls, name, computed.return_type)
            found.append(RecordField(name, inner, False, name, computed.alias or name, computed=True))
        return tuple(found)

    def dataclass_fields(self, cls: type[Any]) -> tuple[tuple[RecordField, ...], Any]:
        """The fields, and what stands for the class in validation where pydantic cannot take it as it is."""
        hints = self.hints(cls)
        found: list[RecordField] = []
        annotations: dict[str, Any] = {}
        replaced = False
        for item in dataclasses.fields(cls):
            if not item.init:
                continue
            inner, rewritten = self.at(cls, item.name).read(hints[item.name])
            default: Any = ...
            if item.default is not dataclasses.MISSING:
                default = item.default
            elif item.default_factory is not dataclasses.MISSING:
                default = Field(default_factory=item.default_factory)
            found.append(RecordField(item.name, inner, default is ..., item.name, item.name))
            annotations[item.name] = (rewritten, default)
            replaced = replaced or _is_replaced(inner)
        if not replaced:
            return tuple(found), None
        try:
            config = ConfigDict(extra="forbid", val_json_bytes="base64", ser_json_bytes="base64")
            shadow = create_model(cls.__name__, __config__=config, **annotations)
        except PydanticSchemaGenerationError:
            raise self.refusal(cls, "a class that holds arrays cannot hold others of itself") from None

        def build(given: BaseModel) -> Any:  # noqa: ANN401 - an instance of cls
            return cls(**{name: getattr(given, name) for name in given.model_fields_set})

        return tuple(found), Annotated[shadow, AfterValidator(build)]

    def inner(self, cls: type[Any], name: str, annotation: Any) -> ValueType:  # noqa: ANN401 - type hints have no type of their own
        """The type of a field of a class that pydantic validates by itself."""
        found, _ = self.at(cls, name).read(_unwrapped(annotation))
        if _is_replaced(found) and not dataclasses.is_dataclass(cls):
            raise AuthoringError(f"{self.place}: {cls.__name__}.{name} holds an array or a file: make it a dataclass")
        return found

    def at(self, cls: type[Any], name: str) -> _Reader:
        return _Reader(f"{self.place}: {cls.__name__}.{name}", self.records)

    def hints(self, cls: type[Any]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(cls, include_extras=True)
        except Exception as error:
            raise AuthoringError(
                f"{self.place}: the annotations of {cls.__name__} cannot be resolved: {error}"
            ) from error

    def read_other(self, annotation: Any) -> tuple[ValueType, Any]:  # noqa: ANN401 - type hints have no type of their own
        """Types that pydantic knows and that are written as text or a number: dates, UUIDs, decimals, URLs, paths."""
        try:
            adapter = TypeAdapter(annotation)
            schema = adapter.json_schema(mode="serialization")
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError):
            raise self.refusal(annotation) from None
        kind = _JSON_KINDS.get(str(schema.get("type")))
        if kind is None:
            raise self.refusal(annotation)
        return Scalar(kind[0], adapter, _EXAMPLES.get(str(schema.get("format")), kind[1])), annotation

    def refusal(self, annotation: Any, remedy: str = "") -> AuthoringError:  # noqa: ANN401 - type hints have no type of their own
        name = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
        remedy = (
            remedy or "use str, int, float, bool, bytes, lists, dicts, dataclasses, pydantic models or numpy arrays"
        )
        return AuthoringError(f"{self.place}: the type {name} cannot be served ({remedy})")


_EXAMPLES: Final = {
    "date": "2026-01-01",
    "time": "12:00:00",
    "duration": "PT1S",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "uri": "http://localhost/",
}


def _must_have(cls: Any, key: str, hint: Any) -> bool:  # noqa: ANN401 - type hints have no type of their own
    """Whether a TypedDict needs the key. Its own word misses NotRequired where annotations are text."""
    return key in cls.__required_keys__ and get_origin(hint) is not typing.NotRequired


def _whole(info: FieldInfo) -> Any:  # noqa: ANN401 - type hints have no type of their own
    """A field's annotation, with what pydantic has put beside it and writes its values as another text."""
    encoding = encoded_by(info.metadata)
    return Annotated[(info.annotation, *encoding)] if encoding else info.annotation


def _unwrapped(annotation: Any) -> Any:  # noqa: ANN401 - type hints have no type of their own
    """Without TypedDict's Required and NotRequired."""
    origin = get_origin(annotation)
    if origin in (typing.Required, typing.NotRequired):
        return get_args(annotation)[0]
    return annotation


def _is_replaced(value: ValueType, seen: frozenset[int] = frozenset()) -> bool:
    match value:
        case ArrayOf() | FileOf():
            return True
        case OptionalOf(item) | ListOf(item) | MapOf(item):
            return _is_replaced(item, seen)
        case TupleOf(items):
            return any(_is_replaced(item, seen) for item in items)
        case UnionOf(members):
            return any(_is_replaced(member.type, seen) for member in members)
        case Record():
            if id(value) in seen:
                return False
            return any(_is_replaced(f.type, seen | {id(value)}) for f in value.fields)
        case _:
            return False


def describe(annotation: object, place: str) -> tuple[ValueType, Any]:
    """The type of a value, and the annotation that pydantic validates it by.

    Args:
        annotation: resolved, as :func:`typing.get_type_hints` gives it.
        place: class, method and parameter, for errors.

    Raises:
        AuthoringError: no protocol could carry it.
    """
    return _Reader(place).read(annotation)
