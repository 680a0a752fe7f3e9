"""Options that are given as a name and a value, in one text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pillion.cli.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["pair_of", "set_values"]


def pair_of(option: str, text: str, form: str) -> tuple[str, str]:
    """The name and the value of ``text``.

    Args:
        option: as it is typed.
        text: what was given to it.
        form: as its help says it, such as ``NAME=VALUE``.

    Raises:
        CommandError: one of both is not there.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CommandError(f"{option} {text}: write it as {form}", code=2)
    return name, value


def set_values(texts: Iterable[str], form: str) -> dict[str, Any]:
    """What ``--set`` was given, by name: JSON, else the text itself.

    Raises:
        CommandError: as :func:`pair_of`.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, value = pair_of("--set", text, form)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
