"""What a handler gives back, as the body of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

import orjson

from pillion.json_values import NotANumberError, json_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EVENTS", "UnencodableError", "encoded", "item_of"]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
BYTES: Final = b"application/octet-stream"
LINES: Final = b"application/x-ndjson"
EVENTS: Final = b"text/event-stream"
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class UnencodableError(TypeError):
    """A result that no answer can be made of; the text has the type's name."""


def encoded(value: object) -> tuple[bytes, bytes | None]:
    """Body and media type: ``str`` is text, ``bytes`` are bytes, None is an empty body, everything else JSON.

    Raises:
        UnencodableError: it holds something that JSON has no form for.
    """
    if isinstance(value, str):
        return value.encode(), TEXT
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), BYTES
    if value is None:
        return b"", None
    return _json(value), JSON


def item_of(value: object) -> tuple[bytes, bytes]:
    """An item of a stream, and the media type of a stream that begins with it: values are lines of JSON."""
    if isinstance(value, str):
        return value.encode(), TEXT
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), BYTES
    return _json(value) + b"\n", LINES


def _json(value: object) -> bytes:
    try:
        return json_bytes(value, _plain, _OPTIONS)
    except UnencodableError:
        raise
    except (RecursionError, TypeError, ValueError) as error:
        cause = error.__cause__
        if isinstance(cause, UnencodableError):
            raise cause from None
        remedy = ": give None for it, or a text" if isinstance(error, NotANumberError) else ""
        raise UnencodableError(
            f"the result, a {type(value).__qualname__}, cannot be encoded as JSON: {error}{remedy}"
        ) from error


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever JSON has no form for
    """What stands for a value that orjson does not know."""
    dump: Callable[..., object] | None = getattr(value, "model_dump", None)
    if dump is not None and hasattr(type(value), "model_fields"):
        return dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (AbstractSet, tuple)):
        return list(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # arrays that orjson does not take: strided, float16
        return value.tolist()
    kind = type(value)
    raise UnencodableError(
        f"the result holds a {kind.__module__}.{kind.__qualname__}, which JSON has no form for: return a Response, "
        "str, bytes, or values that JSON has"
    )
