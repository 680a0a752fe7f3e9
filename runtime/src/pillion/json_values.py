"""Values as JSON by orjson, with what it lacks: integers of any size, arrays of the other byte order, and a word
where a number is none.

orjson refuses an integer of more than 64 bits, and writes NaN and infinities as ``null``, which says something else
than the program did. Neither is looked for in values that have none: the first is an exception, and the second leaves
a ``null`` in the bytes.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    Default = Callable[[Any], Any]

__all__ = ["NotANumberError", "document_bytes", "json_bytes", "json_document"]

_MENDED: Final = ("64-bit", "endian")
"""What orjson says of values that are written another way."""
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""How MessagePack begins NaN and infinities; other bytes may look like it."""
_LONG: Final = re.compile(rb"[0-9]{19}")
"""Of which an integer of more than 64 bits has at least one; so have some texts."""
_SIGNED: Final = -(2**63)
_UNSIGNED: Final = 2**64


class NotANumberError(ValueError):
    """NaN or an infinity, which JSON cannot carry; the text says where."""


def json_bytes(value: object, default: Default, option: int) -> bytes:
    """The value as JSON.

    Args:
        value: of types that orjson knows, or ``default``.
        default: makes another value of one that orjson does not know, and raises TypeError for what cannot be written.
        option: of orjson.

    Raises:
        NotANumberError: it holds NaN or an infinity.
        TypeError: it holds what ``default`` refuses, or keys of a type that JSON has no form for.
        ValueError: an integer has more digits than Python writes.
        RecursionError: it contains itself.
    """
    try:
        body = orjson.dumps(value, default=default, option=option)
    except TypeError as error:
        if not any(word in str(error) for word in _MENDED):
            raise
        return orjson.dumps(_mended(value, default, ""), default=default, option=option)
    if body.find(b"null") >= 0 and _may_hold_one(value, default):  # ``in`` takes three times as long for small ones
        _mended(value, default, "")
    return body


def json_document(text: bytes) -> Any:  # noqa: ANN401 - JSON
    """What a text of JSON says; orjson makes floats of integers of more than 64 bits.

    Raises:
        ValueError: it is no JSON, or has integers of more digits than Python reads.
    """
    document = orjson.loads(text)
    if _LONG.search(text) is None:
        return document
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def document_bytes(document: object) -> bytes:
    """The text of JSON of a value that was read of such, and so has no NaN."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_mended(document, _refuse, ""))


def _refuse(value: object) -> Any:  # noqa: ANN401 - never returns
    raise TypeError(f"{type(value).__name__} is no type that JSON knows")


def _may_hold_one(value: object, default: Default) -> bool:
    """Whether it is worth looking at each value: MessagePack, as fast as orjson, keeps what is no number as it is."""

    def plain(inner: Any) -> Any:  # noqa: ANN401 - what msgspec does not know
        if _is_of_arrays(inner):
            return None if _is_finite(inner) else math.nan
        return default(inner)

    try:
        return _NOT_FINITE.search(msgspec.msgpack.encode(value, enc_hook=plain)) is not None
    except (OverflowError, RecursionError, TypeError, ValueError):
        return True  # of types that it does not know


def _mended(value: Any, default: Default, path: str) -> Any:  # noqa: ANN401 - whatever was given
    """The same for orjson, as values that it writes as they are.

    Raises:
        NotANumberError: as above.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {_key(key): _mended(one, default, f"{path}[{key!r}]") for key, one in value.items()}
    if kind is list or kind is tuple:
        return [_mended(one, default, f"{path}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, enum.Enum):
        return _mended(value.value, default, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _no_number(value, path)
        return value
    if isinstance(value, int):
        return value if _SIGNED <= value < _UNSIGNED else orjson.Fragment(int.__repr__(value))
    if _is_of_arrays(value):
        if not _is_finite(value):
            raise _no_number(_first(value), path)
        return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: _mended(getattr(value, name), default, f"{path}.{name}") for name in names}
    return _of_a_class(value, default, path)


def _of_a_class(value: Any, default: Default, path: str) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, dict):
        return _mended(dict(value), default, path)
    if isinstance(value, list):
        return _mended(list(value), default, path)
    try:
        orjson.dumps(value)  # times, UUIDs, fragments, texts of a class: known, and without values of their own
    except TypeError:
        return _mended(default(value), default, path)
    return value


def _key(key: Any) -> Any:  # noqa: ANN401 - a key of a dict
    if isinstance(key, float) and not math.isfinite(key):
        raise _no_number(key, " as a key")
    if isinstance(key, int) and not _SIGNED <= key < _UNSIGNED:
        return int.__repr__(key)
    return key


def _is_of_arrays(value: object) -> bool:
    """Whether it is an array or a scalar of numpy, or one that looks like it."""
    return hasattr(value, "dtype") and hasattr(value, "byteswap")


def _is_finite(array: Any) -> bool:  # noqa: ANN401 - an array or a scalar
    return array.dtype.kind != "f" or bool((abs(array) < math.inf).all())


def _first(array: Any) -> float:  # noqa: ANN401 - an array or a scalar
    flat = array.reshape(-1)
    return float(flat[~(abs(flat) < math.inf)][0])


def _no_number(value: float, path: str) -> NotANumberError:
    where = f" at {path}" if path.startswith(("[", ".")) else path
    return NotANumberError(f"it holds {value}{where}, which JSON cannot carry")
