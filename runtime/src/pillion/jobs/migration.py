"""Which version of Pillion may use which job store: pure decisions, the same for every kind of store.

Tables change by steps that follow each other. Most add something that servers of versions before do not notice, so
that both can use the store while one replaces the other, and after a way back. A step that takes something away says
how many steps a server has to know to use the store after it. Such a step is published one version later than the code
that can do without: so the version before knows enough, and a rolling update from it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pillion._version import __version__
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Step", "StoreVersion", "after", "check_living", "pending"]


class Step(NamedTuple):
    """A change of the tables; one that was published stays as it is.

    Attributes:
        text: what the database is told.
        needs: how many steps a server has to know to use the store after this one; 0 where whoever could use it
            before still can.
    """

    text: str
    needs: int = 0


class StoreVersion(NamedTuple):
    """Where a store is.

    Attributes:
        steps: how many it has been through.
        needs: how many a server has to know to use it.
        written_by: the version of Pillion that took the last step; empty where that is not known.
    """

    steps: int = 0
    needs: int = 0
    written_by: str = ""


def pending(found: StoreVersion, known: Sequence[Step], where: str, elsewhere: str) -> Sequence[Step]:
    """The steps that the store has not been through; none where a newer version has taken more than are known here.

    Args:
        found: the store.
        known: all steps that this version knows.
        where: what the store is called in errors.
        elsewhere: how another one is named instead.

    Raises:
        JobStoreError: a newer version has changed it in a way that this one does not know.
    """
    if found.needs > len(known):
        newer = f"Pillion {found.written_by}" if found.written_by else "a newer Pillion"
        raise JobStoreError(
            f"{where} was changed by {newer} in a way that this version ({__version__}) cannot use: it needs a server"
            f" that knows {found.needs} steps of its tables, and this one knows {len(known)}. Nothing was changed."
            f" Run {newer} again; or restore the backup from before that update; or {elsewhere} to begin anew"
        )
    return known[found.steps :]


def after(found: StoreVersion, steps: Sequence[Step]) -> StoreVersion:
    """Where the store is when it has been through these as well, with this version."""
    needs = max(found.needs, *(step.needs for step in steps)) if steps else found.needs
    return StoreVersion(found.steps + len(steps), needs, __version__ if steps else found.written_by)


def check_living(step: Step, knows: int | None, where: str) -> None:
    """Whether a step may be taken while other servers use the store.

    Args:
        step: to be taken.
        knows: the fewest steps that any of them knows; None where there is none.
        where: what the store is called in errors.

    Raises:
        JobStoreError: one of them could not use it any more.
    """
    if knows is not None and knows < step.needs:
        raise JobStoreError(
            f"{where} has to be changed for this version ({__version__}) in a way that servers which use it now could"
            f" not: they know {knows} steps of its tables, and {step.needs} are needed. Nothing was changed. Update"
            " them to the version before this one first, or stop all of them (0 replicas), and start this one again"
        )
