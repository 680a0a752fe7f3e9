"""The revisions that an operator has kept of an InferenceService, and how to go back to one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.cli.cluster.objects import name_of, number_at, object_at, text_at
from pillion.cli.failures import CLUSTER, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pillion.cli.cluster.objects import Object

__all__ = ["CONTROLLER_REVISIONS", "PAUSED", "Revision", "revisions", "target", "undone"]

CONTROLLER_REVISIONS: Final = "controllerrevisions.apps"
PAUSED: Final = "serving.pillion.dev/paused"
_PREFIX: Final = "serving.pillion.dev/"
#: What going back leaves as it is: how many pods there are, and how versions take over, belong to no version.
_KEPT: Final = (
    "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling",
    "canaryTrafficPercent", "rollout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision and what came of it."""

    number: int
    digest: str
    state: str
    since: str
    message: str
    name: str
    predictor: Object

    @property
    def good(self) -> bool:
        """Whether all pods were of it at some time."""
        return self.state == "RolledOut"


def revisions(found: Iterable[Object]) -> list[Revision]:
    """Read ControllerRevisions, the oldest first."""
    read = [_revision(one) for one in found]
    return sorted(read, key=lambda revision: revision.number)


def target(known: Sequence[Revision], newest: str, wanted: int | None) -> Revision:
    """Return the revision to go back to: the one of that number, else the last good one before the newest.

    Args:
        known: what is kept.
        newest: the digest of the revision that the manifest asks for now.
        wanted: a number that was named.

    Raises:
        CommandError: there is no such revision.
    """
    good = [one for one in known if one.good and one.digest != newest]
    if wanted is not None:
        found = next((one for one in known if one.number == wanted), None)
        if found is None:
            there = ", ".join(str(one.number) for one in known) or "none"
            raise CommandError(f"there is no revision {wanted}; kept are: {there}", code=CLUSTER)
        return found
    if not good:
        raise CommandError("there is no revision to go back to: none was rolled out before this one", code=CLUSTER)
    return good[-1]


def undone(service: Object, revision: Revision) -> dict[str, Any]:
    """Return the predictor of that revision, with what of the present one belongs to no version."""
    now = object_at(service, "spec", "predictor")
    kept = {field: now[field] for field in _KEPT if field in now}
    return {field: value for field, value in revision.predictor.items() if field not in _KEPT} | kept


def _revision(found: Object) -> Revision:
    annotations = object_at(found, "metadata", "annotations")
    return Revision(
        number_at(found, "revision"),
        str(annotations.get(f"{_PREFIX}revision", "")),
        str(annotations.get(f"{_PREFIX}revision-state", "")),
        text_at(found, "metadata", "creationTimestamp"),
        str(annotations.get(f"{_PREFIX}revision-message", "")),
        name_of(found),
        object_at(found, "data", "predictor"),
    )
