"""Who hands a job in, as the job's store knows them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.jobs.asked import Submitter
from pillion.transport.authentication import bearer, shown_digest

if TYPE_CHECKING:
    from pillion.transport.authentication import Callers
    from pillion.transport.management_access import ManagementAccess

__all__ = ["submitter_of"]


async def submitter_of(
    callers: Callers | None, access: ManagementAccess, authorization: bytes | None, key: bytes | None
) -> Submitter:
    """Who shows these headers, by the name of what opened the door; without a door, by what they show.

    Raises:
        PillionError: they may not call any more.
    """
    digest = shown_digest(authorization, key)
    if callers is not None:
        return Submitter(await callers.name(authorization, key), digest)
    shown = key if key is not None else bearer(authorization)
    managing = None if access.token is None or shown is None else access.token.named(shown)
    return Submitter(digest if managing is None else f"key:{managing}", digest)
