"""What is wrong with a JSON document, said with the path of the field. Runs only after decoding has failed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode_json", "json_error", "named_input"]

_T = TypeVar("_T")
_PATH: Final = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_KINDS: Final = re.compile(r"^expected (?P<wanted>[a-z]+(?: \| [a-z]+)*), got (?P<got>[a-z]+)$")
_WORDS: Final = {
    "array": "a list", "bool": "true or false", "bytes": "base64 text", "float": "a number", "int": "a whole number",
    "null": "null", "object": "an object", "str": "text",
}  # fmt: skip
"""JSON's kinds as people call them; msgspec's are those of Python."""
_NOT_A_NUMBER: Final = re.compile(rb"-?(?:NaN|Infinity)\b")
_OF_INPUT: Final = re.compile(r"inputs\[(?P<index>\d+)\]\.data")
_LONGEST_NAME: Final = 64
_SEARCH_LIMIT: Final = 1024 * 1024
"""Bytes up to which the field of a NaN is looked for: the search decodes the document a second time."""


def decode_json(decode: Callable[[bytes | memoryview], _T], body: bytes | memoryview) -> _T:
    """Decode, with every failure as one kind of error.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; ``field`` is the path of what is wrong, such as ``inputs[0].data[3]``.
    """
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise json_error(error, body) from error


def json_error(error: Exception, body: bytes | memoryview) -> PillionError:
    """The error to answer with for what msgspec raised on ``body``."""
    if isinstance(error, RecursionError):
        return _invalid("the JSON is nested too deeply", remedy="send data flat, in row-major order")
    if isinstance(error, UnicodeError):
        return _invalid("the body is not valid UTF-8", remedy="JSON is sent as UTF-8; raw tensors as binary data")
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        found = _PATH.search(text)
        path = found["path"].lstrip(".") if found else ""
        problem = (text[: found.start()] if found else text).replace("`", "")
        problem = _in_words(problem[:1].lower() + problem[1:])
        return _invalid(f"{path}: {problem}" if path else problem, field=path or None)
    if not len(body):
        return _invalid("the body is empty", remedy="send a JSON document")
    if _NOT_A_NUMBER.search(body):
        path = _path_of_nan(body)
        return _invalid(
            f"{path or 'body'}: JSON has no NaN or Infinity",
            field=path,
            remedy="send null for a missing value, or the tensor as binary data",
        )
    return _invalid(f"the body is not valid JSON: {text.removeprefix('JSON is malformed: ')}")


def _in_words(problem: str) -> str:
    """``expected float | array | null, got str`` as ``expected a number, got text``.

    Lists and null are left out where something else is wanted, too: it is the value that is wrong, not its nesting.
    """
    found = _KINDS.match(problem)
    if found is None:
        return problem
    wanted = found["wanted"].split(" | ")
    values = [kind for kind in wanted if kind not in {"array", "null"}] or wanted
    told = [_WORDS.get(kind, kind) for kind in values]
    return f"expected {' or '.join(told)}, got {_WORDS.get(found['got'], found['got'])}"


def named_input(error: PillionError, body: bytes | memoryview) -> PillionError:
    """The error with the name of the input it is about, where its field is ``inputs[i]...`` and that has a name."""
    found = _OF_INPUT.match(error.field or "")
    if found is None:
        return error
    try:
        name = msgspec.json.decode(body, type=_Names).inputs[int(found["index"])].name
    except (msgspec.MsgspecError, UnicodeError, RecursionError, IndexError):
        return error
    problem = error.message.removeprefix(f"{error.field}: ")
    return _invalid(f"{error.field}: input {name!r}: {problem}", field=error.field, remedy=error.remedy)


class _Name(msgspec.Struct):
    name: str


class _Names(msgspec.Struct):
    inputs: list[_Name]


def _invalid(message: str, *, field: str | None = None, remedy: str | None = None) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, message, field=field, remedy=remedy)


class _Constant:
    """Stands in the decoded document where the text had NaN or Infinity."""


def _path_of_nan(body: bytes | memoryview) -> str | None:
    if len(body) > _SEARCH_LIMIT:
        return None
    try:
        document = json.loads(bytes(body), parse_constant=lambda _: _Constant())
    except (ValueError, RecursionError):
        return None
    # Depth first with a stack of our own: the document may be as deep as the parser allowed.
    stack: list[tuple[object, str]] = [(document, "")]
    while stack:
        value, path = stack.pop()
        if isinstance(value, _Constant):
            return path
        if isinstance(value, dict):
            stack.extend((item, _below(path, key)) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((item, f"{path}[{index}]") for index, item in reversed(list(enumerate(value))))
    return None


def _below(path: str, key: str) -> str:
    """The path of a member. A key that is no name is the sender's to know: errors are one line, and short."""
    if len(key) > _LONGEST_NAME or not key.isprintable():
        return f"{path}[...]"
    return f"{path}.{key}" if path else key
