"""What a handler gives back, as the body of an answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

import orjson

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
        try:
            return orjson.dumps(value, default=_plain, option=_OPTIONS)
        except TypeError as error:
            if "endian" not in str(error):
                raise
            # orjson refuses arrays of the other byte order without asking for their plain form
            return orjson.dumps(_native(value), default=lambda one: _native(_plain(one)), option=_OPTIONS)
    except (RecursionError, TypeError, ValueError) as error:
        cause = error.__cause__
        if isinstance(cause, UnencodableError):
            raise cause from None
        raise UnencodableError(
            f"the result, a {type(value).__qualname__}, cannot be encoded as JSON: {error}"
        ) from error


def _native(value: Any) -> Any:  # noqa: ANN401 - whatever was given
    """The same, as values that JSON has, with arrays of this machine's byte order."""
    if hasattr(value, "dtype") and hasattr(value, "byteswap"):
        return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    if type(value) is dict:
        return {key: _native(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return [_native(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: _native(getattr(value, name)) for name in names}
    return value


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
