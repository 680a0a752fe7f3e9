"""The types of values that every protocol can carry: what :mod:`pillion.authoring.types` reads annotations into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from pydantic import TypeAdapter

    from pillion.authoring.file import File

__all__ = [
    "AnyValue",
    "ArrayOf",
    "FileOf",
    "Kind",
    "ListOf",
    "MapOf",
    "Nothing",
    "OptionalOf",
    "Record",
    "RecordField",
    "Scalar",
    "TupleOf",
    "UnionMember",
    "UnionOf",
    "ValueType",
]


@unique
class Kind(Enum):
    """The scalars that every protocol can carry."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value.

    ``adapter`` turns values that are written as text or numbers (enums, dates, UUIDs, URLs) into those; None where
    the value is the plain Python type itself.
    """

    kind: Kind
    adapter: TypeAdapter[Any] | None = None
    example: Any = None
    choices: tuple[str | int, ...] = ()
    """All values, of an enum or a ``Literal``."""
    encoded: bool = False
    """Whether its type writes bytes (or text) as another text, by ``adapter``: ``Base64Bytes`` and the like."""


@dataclass(frozen=True, slots=True)
class AnyValue:
    """Whatever JSON can say."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """None: what a method gives that returns nothing."""


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """A numpy array; ``dtype`` None for whichever numeric one comes."""

    dtype: np.dtype[Any] | None


@dataclass(frozen=True, slots=True)
class FileOf:
    """What travels as a file."""

    name: str
    read: Callable[[File], Any] | None
    """Makes a value of what was sent; None for a type that can only be given."""
    write: Callable[[Any], File] | None
    """Makes a file of a value; None for a type that can only be taken."""
    media_type: str = "application/octet-stream"
    """For documentation."""


@dataclass(frozen=True, slots=True)
class OptionalOf:
    """A value or None."""

    item: ValueType


@dataclass(frozen=True, slots=True)
class ListOf:
    """Values in order."""

    item: ValueType


@dataclass(frozen=True, slots=True)
class TupleOf:
    """So many values in order, each of a type of its own."""

    items: tuple[ValueType, ...]


@dataclass(frozen=True, slots=True)
class UnionMember:
    """One of the types of a union."""

    name: str
    """Unique in its union; the field of the ``oneof`` in protobuf."""
    type: ValueType
    tags: tuple[str | int, ...] = ()
    """Values of the union's tag that mean it."""


@dataclass(frozen=True, slots=True)
class UnionOf:
    """A value of one of several types."""

    members: tuple[UnionMember, ...]
    tag: str | None = None
    """The field that says which, where all are records that have it; else the value itself has to."""


@dataclass(frozen=True, slots=True)
class MapOf:
    """Values by name."""

    item: ValueType


@dataclass(frozen=True, slots=True)
class RecordField:
    """One field of a record."""

    name: str
    type: ValueType
    required: bool
    key: str
    """Its name in a request: the alias where there is one."""
    out_key: str
    """Its name in an answer."""
    computed: bool = False
    """In answers only."""


@dataclass(slots=True, eq=False)
class Record:
    """A dataclass, pydantic model or TypedDict. Compared by identity: a record may contain itself."""

    python: type[Any]
    name: str
    fields: tuple[RecordField, ...] = ()


ValueType = Scalar | AnyValue | Nothing | ArrayOf | FileOf | OptionalOf | ListOf | TupleOf | UnionOf | MapOf | Record
