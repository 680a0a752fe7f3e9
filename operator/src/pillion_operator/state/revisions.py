"""The revisions of a service as they are kept in the cluster: what was rolled out, what failed, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import Manifest, annotations_of, number_at, text_at, uid_of
from pillion_operator.state.names import (
    REVISION_ANNOTATION,
    REVISION_GENERATION_ANNOTATION,
    REVISION_MESSAGE_ANNOTATION,
    REVISION_STATE_ANNOTATION,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ANALYSIS",
    "Guards",
    "Revision",
    "RevisionState",
    "RolledBack",
    "failed",
    "last_good",
    "next_number",
    "revisions_of",
    "surplus",
]

#: How many are kept; the one that serves is always among them.
_KEPT: Final = 5


#: What the message of a revision begins with that lost its share by its requests.
ANALYSIS: Final = "Analysis: "


@unique
class RevisionState(StrEnum):
    """What came of a revision."""

    ROLLED_OUT = "RolledOut"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision.

    Attributes:
        digest: of its pod template, by which its pods are known.
        number: grows with each verdict; the greatest that was rolled out is the one to go back to.
        generation: of the manifest that the verdict was about.
        message: why it failed.
    """

    name: str
    uid: str
    digest: str
    number: int
    state: str
    generation: int = 0
    message: str = ""

    @property
    def judged(self) -> str:
        """What its requests were like where that is why it failed, else nothing."""
        return self.message.removeprefix(ANALYSIS) if self.message.startswith(ANALYSIS) else ""


@dataclass(frozen=True, slots=True)
class Guards:
    """What the pods of a revision that is gone back to have of the newest manifest: what guards access.

    Attributes:
        digest: by which these pods are known.
        taken: the fields that were taken over.
        lacking: those that could not be.
        why: they could not.
        refused: what these pods do not load, since the platform's policies deny it now.
    """

    digest: str = ""
    taken: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    why: str = ""
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolledBack:
    """That the newest revision was given up, and another serves."""

    failed: Revision
    serving: Revision
    guards: Guards = Guards()


def revisions_of(manifests: Iterable[Manifest]) -> tuple[Revision, ...]:
    """Read ControllerRevisions of ours, the oldest first."""
    found = [_revision(manifest) for manifest in manifests]
    return tuple(sorted(found, key=lambda revision: revision.number))


def last_good(revisions: Iterable[Revision], but: str = "") -> Revision | None:
    """Return the newest that was rolled out and is not the one with the digest `but`."""
    good = [one for one in revisions if one.state == RevisionState.ROLLED_OUT and one.digest != but]
    return max(good, key=lambda revision: revision.number, default=None)


def failed(revisions: Iterable[Revision], digest: str, generation: int) -> Revision | None:
    """Return the revision where it failed under this very generation: a changed manifest deserves another try."""
    found = (one for one in revisions if one.digest == digest and one.state == RevisionState.FAILED)
    return next((one for one in found if one.generation == generation), None)


def next_number(revisions: Iterable[Revision]) -> int:
    """Return the number of the next verdict."""
    return max((one.number for one in revisions), default=0) + 1


def surplus(revisions: Iterable[Revision], newest: str) -> tuple[Revision, ...]:
    """Return the oldest revisions that are one too many, never the newest nor the one to go back to."""
    ordered = sorted(revisions, key=lambda revision: revision.number)
    kept = {newest}
    good = last_good(ordered, newest)
    if good is not None:
        kept.add(good.digest)
    spare = [one for one in ordered if one.digest not in kept]
    return tuple(spare[: max(0, len(ordered) - _KEPT)])


def _revision(manifest: Manifest) -> Revision:
    annotations = annotations_of(manifest)
    generation = annotations.get(REVISION_GENERATION_ANNOTATION, "")
    return Revision(
        text_at(manifest, "metadata", "name"),
        uid_of(manifest),
        annotations.get(REVISION_ANNOTATION, ""),
        number_at(manifest, "revision"),
        annotations.get(REVISION_STATE_ANNOTATION, ""),
        int(generation) if generation.isascii() and generation.isdecimal() else 0,
        annotations.get(REVISION_MESSAGE_ANNOTATION, ""),
    )
