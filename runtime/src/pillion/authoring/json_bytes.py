"""Bytes of pydantic models in JSON: base64 text, as those of everything else that tasks take and give.

A model reads bytes in JSON as UTF-8 text unless its class says otherwise, which no schema tells and which takes only
some bytes. The class may be somebody else's, so it stays as it is: what validates a task's arguments is made of what
pydantic has read of it, with bytes that are base64.
"""

from __future__ import annotations

import base64
import binascii
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeVar

from pydantic import EncodedBytes, SecretBytes, TypeAdapter
from pydantic.types import Base64Encoder, Base64UrlEncoder
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["reading_base64"]

_Adapted = TypeVar("_Adapted", bound=TypeAdapter[Any])


class _Alphabet(NamedTuple):
    name: str
    encode: Callable[[bytes], bytes]


_CLASSES: Final = frozenset({"model", "dataclass"})
_NO_SCHEMAS: Final = frozenset({"default", "metadata", "expected", "serialization", "config", "cls"})
"""Keys of a schema whose values are none, whatever they look like."""
_URL_SAFE: Final = str.maketrans("-_", "+/")
_COMPLETE: Final = "__pydantic_complete__"
_ALPHABETS: Final = {
    Base64Encoder: _Alphabet("base64", base64.standard_b64encode),
    Base64UrlEncoder: _Alphabet("base64url", base64.urlsafe_b64encode),
}
"""Of encoders that leave out what is none of theirs, and whose texts are read as those of other bytes."""
_building: Final = threading.Lock()


def reading_base64(adapter: _Adapted, *, everywhere: bool = False) -> _Adapted:
    """The adapter, whose models take and describe bytes in JSON as base64, with either alphabet and with or without
    padding. Types that encode bytes by themselves (``Base64Bytes``) read their own text, as secrets do.

    Args:
        adapter: it is changed.
        everywhere: also outside of models, where its own configuration does not say so.
    """
    rewriting = _Rewriting()
    schema = rewriting.of(adapter.core_schema, inside=everywhere)
    if rewriting.replaced:
        adapter.core_schema = schema
        adapter.validator = _validator(schema, rewriting.classes)
    return adapter


class _Rewriting:
    """One schema, node by node."""

    def __init__(self) -> None:
        self.classes: set[type[Any]] = set()
        self.replaced = False

    def of(self, node: Any, *, inside: bool) -> Any:  # noqa: ANN401 - schemas are dicts of anything
        if isinstance(node, list | tuple):
            return type(node)([self.of(one, inside=inside) for one in node])
        if not isinstance(node, dict):
            return node
        kind = node.get("type")
        if not isinstance(kind, str):  # schemas by names
            return {name: self.of(one, inside=inside) for name, one in node.items()}
        if _is_text(node):
            return self.text_in(node)
        if inside and kind == "bytes":
            self.replaced = True
            return _in_base64(node)
        if kind in _CLASSES:
            self.classes.add(node["cls"])
            inside = True
        return {key: one if key in _NO_SCHEMAS else self.of(one, inside=inside) for key, one in node.items()}

    def text_in(self, node: dict[str, Any]) -> dict[str, Any]:
        """The schema of a type whose bytes are text in JSON."""
        inner: Any = node["schema"]
        if inner.get("type") != "bytes":  # a validator between them
            return {**node, "schema": self.of(inner, inside=False)}
        self.replaced = True
        encoder = getattr(getattr(_called(node), "__self__", None), "encoder", None)
        read = {**node, "schema": _as_text(inner, encoder)}
        if encoder in _ALPHABETS:
            metadata = node.get("metadata", {})
            said = {"contentEncoding": _ALPHABETS[encoder].name}
            read["metadata"] = {**metadata, "pydantic_js_updates": {**metadata.get("pydantic_js_updates", {}), **said}}
        return read


def _is_text(node: dict[str, Any]) -> bool:
    """Whether bytes are text in JSON by their type, which encodes them by itself or is a secret."""
    called = _called(node)
    return called is SecretBytes or isinstance(getattr(called, "__self__", None), EncodedBytes)


def _called(node: dict[str, Any]) -> Any:  # noqa: ANN401 - any function
    function = node.get("function")
    return function.get("function") if isinstance(function, dict) else None


def _as_text(node: dict[str, Any], encoder: Any) -> Any:  # noqa: ANN401 - schemas are dicts of anything
    """The schema of bytes that are read of a text as it is, whatever configuration counts around it."""
    alphabet = _ALPHABETS.get(encoder)

    def read(value: Any) -> Any:  # noqa: ANN401 - what is no text is refused as no bytes
        if alphabet is None or not isinstance(value, str | bytes):
            return value.encode() if isinstance(value, str) else value
        text = value if isinstance(value, str) else value.decode("latin-1")
        return alphabet.encode(_decoded("".join(text.split())))

    return core_schema.no_info_before_validator_function(read, node)


def _validator(schema: CoreSchema, classes: set[type[Any]]) -> SchemaValidator:
    """What validates by that schema, and not by what its classes validate by where nobody rewrote them: pydantic takes
    that, but for classes that are not complete yet.
    """
    with _building:
        own = {cls: vars(cls) for cls in classes}
        complete = {cls: names[_COMPLETE] for cls, names in own.items() if _COMPLETE in names}
        try:
            for cls in complete:
                setattr(cls, _COMPLETE, False)
            return SchemaValidator(schema)
        finally:
            for cls, was in complete.items():
                setattr(cls, _COMPLETE, was)


class _Base64Text:
    """Annotates bytes that are base64 in JSON: for its schema, and for the documentation made of that."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - a type
        return core_schema.json_or_python_schema(core_schema.bytes_schema(), handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # As pydantic has it where a class says base64. Limits are of the bytes, not of the text.
        return {"type": "string", "format": "base64url"}


_TEMPLATE: Final[dict[str, Any]] = dict(TypeAdapter(Annotated[bytes, _Base64Text()]).core_schema)


def _in_base64(node: dict[str, Any]) -> dict[str, Any]:
    """The schema of bytes, for JSON with the decoding in front of it."""
    outer: dict[str, Any] = {key: node[key] for key in ("ref", "serialization") if key in node}
    inner: Any = {key: one for key, one in node.items() if key not in ("ref", "serialization", "metadata")}
    return {
        **_TEMPLATE,
        **outer,
        "metadata": {**node.get("metadata", {}), **_TEMPLATE["metadata"]},
        "json_schema": core_schema.no_info_before_validator_function(_decoded, inner),
        "python_schema": inner,
    }


def _decoded(value: Any) -> Any:  # noqa: ANN401 - any JSON; what is no text is refused as no bytes
    if not isinstance(value, str):
        return value
    text = value.translate(_URL_SAFE).rstrip("=")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:  # of binascii, or for what is not ASCII
        raise PydanticCustomError(
            "bytes_invalid_encoding", "Data should be valid base64: {reason}", {"reason": str(error)}
        ) from None
