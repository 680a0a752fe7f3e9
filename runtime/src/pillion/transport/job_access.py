"""What jobs, over HTTP and gRPC, ask of the server around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.jobs.engine import JobEngine
    from pillion.jobs.states import JobKind
    from pillion.jobs.training import TrainingDesk, TrainingRoute

__all__ = ["JobAccess"]


class JobAccess(Protocol):
    """Which kinds of jobs there are, and who takes them. Made so that a server without jobs imports none of it."""

    predictions: bool
    """Whether there are prediction jobs."""
    trainings: bool
    """Whether there are trainings."""

    def engine(self, kind: JobKind | None = None) -> JobEngine:
        """Who takes jobs of that kind, or of any.

        Raises:
            PillionError: ``NOT_READY``: this server has no place to keep them.
        """
        ...

    def desk(self) -> TrainingDesk:
        """Who takes trainings.

        Raises:
            PillionError: as above.
        """
        ...

    def routes(self) -> Sequence[TrainingRoute]:
        """The trainings of the classes that are served now."""
        ...
