"""Protocol buffers' text format, as far as ``config.pbtxt`` uses it: into dictionaries, without a schema.

Source: protobuf.dev, "Text Format Language Specification". Without the message's definition a field that is written
once cannot be told from a list of one, so every field is a list of its values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Message", "TextprotoError", "parse_textproto"]

Value: TypeAlias = "str | Message"
Message: TypeAlias = dict[str, list["Value"]]

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<mark>[{}\[\]<>:,;])"""
    r"""|(?P<word>[-+.\w/]+)"""
)


class TextprotoError(ValueError):
    """The text is not of that format; says in which line."""


class _Tokens:
    """The tokens of a text, one looked at ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = self._split()
        self.now = next(self._all, "")

    def take(self) -> str:
        taken, self.now = self.now, next(self._all, "")
        return taken

    def expected(self, what: str) -> TextprotoError:
        line = self._text.count("\n", 0, self.at) + 1
        return TextprotoError(f"line {line}: {what} expected, found {self.now or 'the end'!r}")

    def _split(self) -> Iterator[str]:
        self.at = 0
        while self.at < len(self._text):
            match = _TOKEN.match(self._text, self.at)
            if match is None:
                line = self._text.count("\n", 0, self.at) + 1
                raise TextprotoError(f"line {line}: {self._text[self.at]!r} has no meaning there")
            self.at = match.end()
            if match.lastgroup != "space":
                yield match[0]


def parse_textproto(text: str) -> Message:
    """The fields of a message.

    Raises:
        TextprotoError: not of that format.
    """
    tokens = _Tokens(text)
    return _message(tokens, end="")


def _message(tokens: _Tokens, *, end: str) -> Message:
    fields: Message = {}
    while tokens.now != end:
        if not re.fullmatch(r"[A-Za-z_]\w*", tokens.now):
            raise tokens.expected("the name of a field")
        values = fields.setdefault(tokens.take(), [])
        colon = tokens.now == ":"
        if colon:
            tokens.take()
        if tokens.now == "[":
            values += _list(tokens)
        elif colon or tokens.now in {"{", "<"}:
            values.append(_value(tokens))
        else:
            raise tokens.expected("':' or '{'")
        if tokens.now in {",", ";"}:
            tokens.take()
    tokens.take()
    return fields


def _list(tokens: _Tokens) -> list[Value]:
    tokens.take()
    values: list[Value] = []
    while tokens.now != "]":
        values.append(_value(tokens))
        if tokens.now == ",":
            tokens.take()
        elif tokens.now != "]":
            raise tokens.expected("',' or ']'")
    tokens.take()
    return values


def _value(tokens: _Tokens) -> Value:
    if tokens.now in {"{", "<"}:
        return _message(tokens, end="}" if tokens.take() == "{" else ">")
    if tokens.now in {"", "}", "]", ">", ":", ",", ";"}:
        raise tokens.expected("a value")
    pieces = [_plain(tokens.take())]
    while tokens.now.startswith(('"', "'")):  # strings side by side are one
        pieces.append(_plain(tokens.take()))
    return "".join(pieces)


def _plain(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith(('"', "'")) else token
