"""Types of pydantic that write bytes or text as another text by themselves: ``Base64Bytes``, ``Base64UrlBytes`` and
whatever else has ``EncodedBytes`` or ``EncodedStr`` in it. On every protocol they are the text that they write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import EncodedBytes, EncodedStr, TypeAdapter
from pydantic_core import PydanticSerializationError

from pillion.authoring.errors import ResultError
from pillion.authoring.unions import rooted
from pillion.authoring.values import Kind, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["encoded_by", "encoded_maker", "encoded_scalar"]


def encoded_by(metadata: Iterable[Any]) -> tuple[Any, ...]:
    """What writes values as another text, of what annotates them."""
    return tuple(one for one in metadata if isinstance(one, EncodedBytes | EncodedStr))


def encoded_scalar(annotation: Any) -> Scalar:  # noqa: ANN401 - type hints have no type of their own
    """The type of a value that is annotated so."""
    adapter = TypeAdapter[Any](annotation)
    return Scalar(Kind.STRING, adapter, _example(adapter), encoded=True)


def _example(adapter: TypeAdapter[Any]) -> str:
    """A text that the type reads, if it is one that can be found."""
    for value in (b"text", "text"):
        try:
            shown = adapter.dump_python(value, warnings="none")
            return shown if isinstance(shown, str) else str(shown, "utf-8")
        except (PydanticSerializationError, TypeError, ValueError, AttributeError):
            continue
    return "text"


def encoded_maker(adapter: TypeAdapter[Any], *, dumped: bool) -> Callable[[Any], str]:
    """What makes the text of a value that a method returned; where it is ``dumped``, the type has done so."""

    def make(value: Any) -> str:  # noqa: ANN401 - what a method returned
        value = rooted(value)
        if not isinstance(value, bytes | bytearray | memoryview | str):
            raise ResultError(f"is {type(value).__name__}, and bytes are declared")
        try:
            if not dumped:
                value = adapter.dump_python(value if isinstance(value, str) else bytes(value))
            return value if type(value) is str else str(value, "utf-8")
        except (PydanticSerializationError, TypeError, ValueError, AttributeError) as error:
            raise ResultError(f"cannot be written as text by its type: {error}") from None

    return make
