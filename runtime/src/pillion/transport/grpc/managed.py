"""Letting somebody change models over gRPC, and telling the log of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pillion.errors import PillionError
from pillion.transport.authentication import AUTHORIZATION, KEY_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grpc.aio import ServicerContext

    from pillion.management.audit import Who
    from pillion.transport.management_access import ManagementAccess

__all__ = ["admitted", "managed"]


def admitted(
    access: ManagementAccess, action: str, model: str, context: ServicerContext[Any, Any], request_id: str
) -> Who:
    """Who calls, if they may change models; else the log is told that they tried.

    Raises:
        PillionError: ``PERMISSION_DENIED``, ``UNAUTHENTICATED``.
    """
    from pillion.management.audit import Who, refused  # noqa: PLC0415 - most servers never need it

    shown = {key: _bytes(value) for key, value in context.invocation_metadata() or ()}
    peer = context.peer()
    try:
        key = access.check(shown.get(AUTHORIZATION), shown.get(KEY_HEADER))
    except PillionError as error:
        refused(action, model, Who(peer, request_id=request_id), error)
        raise
    return Who(peer, key, request_id)


@contextlib.contextmanager
def managed(
    access: ManagementAccess, action: str, model: str, context: ServicerContext[Any, Any], request_id: str
) -> Iterator[None]:
    """Around a change.

    Raises:
        PillionError: as :func:`admitted`.
    """
    from pillion.management.audit import audited  # noqa: PLC0415 - as above

    with audited(action, model, admitted(access, action, model, context, request_id)):
        yield


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
