"""How lines of the access log look: as every line of the log does, in the common format, or by a template.

Whoever sends a request chooses its path. So what is put into a line of text is written with escapes where it is not
printable, or could be taken for the end of a quoted text.
"""

from __future__ import annotations

import logging
import string
import time
from typing import TYPE_CHECKING, Any, Final

from pillion.server.logs import ABOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELDS", "AccessFormatter", "template_of"]

FIELDS: Final = (
    "application", "bytes", "client", "code", "method", "model", "ms", "path", "request_id", "route", "status", "time",
    "trace_id", "version",
)  # fmt: skip
_COMMON: Final = '{client} - - [{time}] "{method} {path} HTTP/{version}" {status} {bytes}'
_ABSENT: Final = "-"


def template_of(text: str) -> str:
    """The template that a format is: that of ``common``, or the text itself.

    Raises:
        ValueError: it has a field that there is not, or is none; the text says which there are.
    """
    if text == "common":
        return _COMMON
    try:
        names = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text)]
    except ValueError as error:
        raise ValueError(f"{text!r} is no template: {error}") from None
    fields = [name for name, _, _ in names if name is not None]
    plain = not any(spec or conversion for _, spec, conversion in names)
    if not fields or not plain or not set(fields) <= set(FIELDS):
        raise ValueError(f"{text!r}: write json, common, or a template of {{{'}, {'.join(FIELDS)}}}")
    return text


class AccessFormatter(logging.Formatter):
    """A line by a template.

    Args:
        template: of :func:`template_of`.
    """

    def __init__(self, template: str) -> None:
        super().__init__()
        self._template = template

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        values: dict[str, Any] = {**vars(record), **getattr(record, ABOUT, {})}
        moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(record.created))
        return self._template.format_map(_Shown({**{key: values.get(key) for key in FIELDS}, "time": moment}))


class _Shown(dict[str, str]):
    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__((key, _shown(value)) for key, value in values.items())


def _shown(value: object) -> str:
    text = "" if value is None else str(value)
    if not text:
        return _ABSENT
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
