"""Where in a request something is wrong: pydantic's locations as the path that the sender knows.

Pydantic puts the name of the union's member that it tried between a field and what is wrong below it. No request has
such a key, so those parts are taken out, and said apart: ``pet.age`` of a ``Cat``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pillion.authoring.values import ListOf, MapOf, OptionalOf, Record, TupleOf, UnionOf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.values import ValueType

__all__ = ["below", "located", "path_text"]


def located(location: Sequence[int | str], signature: TaskSignature) -> tuple[list[int | str], str]:
    """The keys and indices that lead there, and the member of an untagged union that was tried; empty without one."""
    keys: list[int | str] = []
    tried = ""
    types = {parameter.name: parameter.type for parameter in signature.parameters}
    if signature.incoming is not None:
        types[signature.incoming.name] = signature.incoming.type
    here: ValueType | None = None
    for step, part in enumerate(location):
        here = types.get(str(part)) if step == 0 else here
        if step == 0:
            keys.append(part)
            continue
        while isinstance(here, OptionalOf):
            here = here.item
        if isinstance(here, UnionOf):
            member = next((one for one in here.members if part in one.tags or str(part).lower() in _names(one)), None)
            if here.tag is None:
                tried = _readable(str(part))
            here = None if member is None else member.type
            continue
        if part == "[key]":
            continue
        keys.append(part)
        here = below(here, part)
    return keys, tried


def _names(member: object) -> tuple[str, ...]:
    kind = getattr(member, "type", None)
    own = kind.name.lower() if isinstance(kind, Record) else ""
    return (str(getattr(member, "name", "")), own)


def _readable(label: str) -> str:
    """``function-after[build(), Picture]`` as ``Picture``."""
    found = re.search(r"([\w.]+(?:\[[^\[\]]*\])?)\]*$", label)
    return label if found is None else found[1]


def below(here: ValueType | None, part: int | str) -> ValueType | None:
    """The type of what lies there under a key or an index; None where there is nothing."""
    match here:
        case ListOf(item) | MapOf(item):
            return item
        case TupleOf(items) if isinstance(part, int) and part < len(items):
            return items[part]
        case Record(fields=fields):
            return next((field.type for field in fields if part in (field.key, field.name)), None)
        case _:
            return None


def path_text(location: Sequence[int | str]) -> str:
    """``pets[0].name``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "body"
