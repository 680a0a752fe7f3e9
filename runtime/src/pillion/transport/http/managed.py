"""Letting somebody manage models over HTTP, and telling the log of who tried (as :mod:`pillion.transport.grpc.managed`
does of gRPC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.errors import PillionError
from pillion.transport.management_access import CHANGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.management.audit import Who
    from pillion.transport.management_access import ManagementAccess

__all__ = ["admitted", "let_in"]


def let_in(access: ManagementAccess, headers: Mapping[bytes, bytes], what: str = CHANGES) -> str:
    """Let somebody in who may manage models, and tell which setting's key was shown, if any.

    ``what`` begins the sentence for those who are not.

    Raises:
        PillionError: ``PERMISSION_DENIED``, with the name of the setting; ``UNAUTHENTICATED``.
    """
    key = access.check(headers.get(b"authorization"), headers.get(b"x-api-key"), what)
    access.check_page(headers.get(b"host"), headers.get(b"origin"))
    return key


def admitted(
    access: ManagementAccess, headers: Mapping[bytes, bytes], action: str, model: str, who: Who, what: str = CHANGES
) -> Who:
    """The same for a change: who asks for it, with the key that was shown; the log is told of those who may not.

    Raises:
        PillionError: as :func:`let_in`.
    """
    from pillion.management.audit import refused  # noqa: PLC0415 - most servers never need it

    try:
        return msgspec.structs.replace(who, key=let_in(access, headers, what))
    except PillionError as error:
        refused(action, model, who, error)
        raise
