"""Jobs of whatever kind, where predictions and trainings may be kept at two places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.states import JobKind

if TYPE_CHECKING:
    from pillion.jobs.states import Job
    from pillion.jobs.store import JobFilter, Page
    from pillion.transport.job_access import JobAccess

__all__ = ["any_job", "any_page"]


async def any_job(access: JobAccess, identity: str) -> Job:
    """A job of that id.

    Raises:
        PillionError: ``NOT_FOUND``.
    """
    if access.keeps_apart:
        try:
            return await access.keeper().get(identity)
        except PillionError as error:
            if error.code is not ErrorCode.NOT_FOUND or not access.keeps_predictions:
                raise
    return await access.engine().get(identity)


async def any_page(access: JobAccess, which: JobFilter, after: int | None, size: int) -> Page:
    """A page of a list, the newest first.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: both kinds are asked for, and there is no order of both.
    """
    if access.keeps_apart and which.kind is not JobKind.PREDICTION:
        if which.kind is None and access.keeps_predictions:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                "kind: trainings of this server are objects of the cluster, predictions are not: name one of the kinds",
                field="kind",
                remedy="ask for kind=training, or kind=prediction",
            )
        return await access.keeper().page(which, after, size)
    return await access.engine().page(which, after, size)
