"""Letting somebody change models over gRPC, and telling the log of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pillion.errors import PillionError
from pillion.transport.authentication import AUTHORIZATION, KEY_HEADER
from pillion.transport.management_access import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grpc.aio import ServicerContext

    from pillion.management.audit import Who
    from pillion.transport.management_access import ManagementAccess

__all__ = ["admitted", "let_in", "managed", "shown"]


def shown(context: ServicerContext[Any, Any]) -> dict[str, bytes]:
    """The metadata of a call."""
    return {key: _bytes(value) for key, value in context.invocation_metadata() or ()}


def let_in(access: ManagementAccess, context: ServicerContext[Any, Any], what: str = CHANGES) -> str:
    """Let somebody in who may manage models, and tell which setting's key was shown, if any.

    ``what`` begins the sentence for those who are not.

    Raises:
        PillionError: ``PERMISSION_DENIED``, with the name of the setting; ``UNAUTHENTICATED``.
    """
    metadata = shown(context)
    return access.check(metadata.get(AUTHORIZATION), metadata.get(KEY_HEADER), what)


def admitted(
    access: ManagementAccess,
    action: str,
    model: str,
    context: ServicerContext[Any, Any],
    request_id: str,
    what: str = CHANGES,
) -> Who:
    """Who calls, if they may change models; else the log is told that they tried.

    Raises:
        PillionError: as :func:`let_in`.
    """
    from pillion.management.audit import Who, refused  # noqa: PLC0415 - most servers never need it

    peer = context.peer()
    try:
        key = let_in(access, context, what)
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
