"""Which names models and aliases may have, and how a version is referred to. Pure.

A name becomes a folder, a label of metrics and a part of URLs, so the rules are those of ``runtime.yaml``: letters,
digits, ``.``, ``_`` and ``-``, begun by a letter or a digit, without ``..``. What passes has no separator in it, so
joining it to a folder cannot leave that folder.
"""

from __future__ import annotations

import re
from typing import Final

from pillion.errors import ErrorCode, PillionError

__all__ = ["check_alias", "check_name", "split_reference"]

_ORDINARY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME: Final = 200
"""Bytes; what file systems allow is 255, and temporary names are made of it."""
_LONGEST_ALIAS: Final = 64
_SHOWN: Final = 80


def check_name(name: str, *, field: str = "model_id") -> str:
    """The name, if a model may have it.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; says which rule it breaks.
    """
    return _checked(name, field, _LONGEST_NAME, "a model's name")


def check_alias(alias: str, *, field: str = "alias") -> str:
    """The alias, if a version may have it.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; as of a name, and it may not be a number, which is a version.
    """
    _checked(alias, field, _LONGEST_ALIAS, "an alias")
    if alias.isdigit():
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"the alias {alias!r} is a number, as versions are",
            field=field,
            remedy="take a word, such as stable",
        )
    return alias


def split_reference(reference: str) -> tuple[str, str]:
    """``iris@stable`` and ``iris@3`` as name and the alias or version; the second is empty for ``iris``.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; a part is no name.
    """
    name, at, rest = reference.partition("@")
    check_name(name)
    if at:
        _checked(rest, "model_id", _LONGEST_ALIAS, "what stands behind the @")
    return name, rest


def _checked(text: str, field: str, longest: int, what: str) -> str:
    if not text:
        raise _refused(f"{what} is empty", field)
    if len(text) > longest:
        raise _refused(f"{what} is longer than {longest} characters", field)
    if ".." in text:
        raise _refused(f"{what} has '..' in it: {_shown(text)}", field)
    if not _ORDINARY.fullmatch(text):
        raise _refused(f"{what} has other characters than it may have: {_shown(text)}", field)
    return text


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _refused(message: str, field: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"{field}: {message}",
        field=field,
        remedy="use letters, digits, '.', '_' and '-', and begin with a letter or a digit",
    )
