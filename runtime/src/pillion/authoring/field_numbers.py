"""The numbers that protobuf fields have once and for all, in the file ``proto.lock`` beside the code.

``pillion proto`` writes it, people commit it, and a server numbers its messages by it. Which field gets which number is
decided in :mod:`pillion.protocol.field_numbers`; here is the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from pillion.authoring.errors import AuthoringError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOCK_NAME",
    "FieldLock",
    "FieldNumber",
    "MessageNumbers",
    "Reserved",
    "ServiceNumbers",
    "check_domain",
    "lock_folder",
    "lock_text",
    "read_lock",
]

LOCK_NAME: Final = "proto.lock"
_MOST_BYTES: Final = 16 * 2**20
_Number = Annotated[int, msgspec.Meta(ge=1, le=2**29 - 1)]
_PROTOCOLS_OWN: Final = range(19000, 20000)
"""Numbers that protobuf keeps for itself."""


class FieldNumber(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The number of a field, and the type that it has under it."""

    number: _Number
    type: str


class Reserved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that no other field may have: the field is gone, or has another type under another number."""

    number: _Number
    name: str
    type: str


class MessageNumbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of one message by their names."""

    fields: dict[str, FieldNumber] = {}
    reserved: tuple[Reserved, ...] = ()

    def numbers(self) -> list[int]:
        """Every number that was ever given away."""
        return [*(one.number for one in self.fields.values()), *(one.number for one in self.reserved)]


ServiceNumbers = dict[str, MessageNumbers]
"""By the names of messages, without the package and nested ones with dots."""


class FieldLock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    version: Literal[1, 2] = 1
    """2 where it names a domain, which those who read the first do not know."""
    services: dict[str, ServiceNumbers] = {}
    """By the full names of services."""
    domain: str = ""
    """Whose service has the tasks of all classes, as ``Nlp`` has ``nlp.NlpService``; empty: each class is its own."""


_DOMAIN: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
# Made once, at the import: msgspec crashes where two threads take the same type apart at once.
_LOCK: Final = msgspec.json.Decoder(FieldLock)


def read_lock(folder: Path) -> FieldLock | None:
    """The lock of a folder; None where there is none.

    Raises:
        AuthoringError: it cannot be read, or gives a number twice. Serving without it could change numbers silently.
    """
    file = folder / LOCK_NAME
    remedy = "take it from version control again; deleting it would number all fields anew"
    try:
        if not file.is_file():
            return None
        if file.stat().st_size > _MOST_BYTES:
            raise AuthoringError(f"{file}: longer than {_MOST_BYTES} bytes: {remedy}")
        lock = _LOCK.decode(file.read_bytes())
    except OSError as error:
        raise AuthoringError(f"{file}: cannot be read: {error.strerror or error}") from None
    except msgspec.DecodeError as error:  # a merge that left its marks, for one
        raise AuthoringError(f"{file}: {error}: {remedy}") from None
    if lock.domain:
        check_domain(lock.domain)
    for service, messages in lock.services.items():
        for name, message in messages.items():
            _check(message, f"{file}: {service}, {name}")
    return lock


def _check(message: MessageNumbers, place: str) -> None:
    seen: set[int] = set()
    for number in message.numbers():
        if number in seen:
            raise AuthoringError(
                f"{place}: the number {number} is given twice: two branches may have added a field each; take the"
                " lock of the one that is served already, and run pillion proto"
            )
        if number in _PROTOCOLS_OWN:
            raise AuthoringError(f"{place}: {number} is among the numbers that protobuf keeps for itself")
        seen.add(number)


def lock_text(services: Mapping[str, ServiceNumbers], domain: str = "") -> str:
    """The file's text: sorted by names, so that a review shows what changed and nothing else."""
    ordered = {
        service: {
            name: MessageNumbers(
                dict(sorted(message.fields.items(), key=lambda one: one[1].number)),
                tuple(sorted(message.reserved, key=lambda one: one.number)),
            )
            for name, message in sorted(messages.items())
        }
        for service, messages in sorted(services.items())
    }
    return msgspec.json.format(msgspec.json.encode(_document(ordered, domain)), indent=2).decode() + "\n"


def _document(services: dict[str, ServiceNumbers], domain: str) -> dict[str, object]:
    if not domain:
        return {"version": 1, "services": services}
    return {"version": 2, "domain": domain, "services": services}


def check_domain(domain: str) -> None:
    """Look at the name of a domain.

    Raises:
        AuthoringError: it is no name of a class.
    """
    if _DOMAIN.fullmatch(domain) is None:
        raise AuthoringError(f"the domain {domain[:80]!r}: write it as the name of a class: Nlp, CustomerCare")


def lock_folder(cls: type[object], file: str | None) -> Path:
    """Where the lock of a class lies that a running program handed over: where its outermost package does.

    Args:
        cls: the class.
        file: of its module; None where it has none.
    """
    if file is None:
        return Path.cwd()
    path = Path(file)
    depth = cls.__module__.count(".") + (path.name == "__init__.py")
    return path.parents[min(depth, len(path.parents) - 1)]
