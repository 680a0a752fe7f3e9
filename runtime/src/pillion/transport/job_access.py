"""What jobs, over HTTP and gRPC, ask of the server around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.jobs.engine import JobEngine
    from pillion.jobs.states import JobKind
    from pillion.jobs.training import TrainingRoute
    from pillion.jobs.training_keeper import TrainingKeeper

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

    @property
    def keeps_apart(self) -> bool:
        """Whether trainings are objects of the cluster, kept apart from other jobs."""
        ...

    @property
    def keeps_predictions(self) -> bool:
        """Whether there is a place for prediction jobs."""
        ...

    def keeper(self) -> TrainingKeeper:
        """Who keeps trainings.

        Raises:
            PillionError: as above.
        """
        ...

    def training(self, name: str) -> TrainingRoute:
        """The training of that name.

        Raises:
            PillionError: ``NOT_FOUND``; ``NOT_READY`` while it may be one of a class that is being loaded.
        """
        ...

    def routes(self) -> Sequence[TrainingRoute]:
        """The trainings of the classes that are served now."""
        ...
