"""What one pod says of the models that Model objects declare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import number_at, objects_at, text_at, word_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion_operator.state.plan import Problem

__all__ = ["DeclaredReport", "OwnModel", "PodReport", "reports_of"]

_LONGEST: Final = 2000


@dataclass(frozen=True, slots=True)
class OwnModel:
    """One of the models that an InferenceService itself declares.

    Attributes:
        name: the name by which requests call it.
        id: what pods report it by; empty where it is left out.
        problem: why it is left out, or stays as it was, while the others are served.
    """

    name: str
    id: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class DeclaredReport:
    """One declaration in one pod."""

    state: str
    digest: str = ""
    reason: str = ""
    cause: str = ""
    lasting: bool = False
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class PodReport:
    """All declarations that a pod knows.

    Attributes:
        pod: its name.
        reached: whether it answered.
        supported: whether its runtime can be told of models at all.
        error: why it does not follow the file as it is now.
        models: by the id of their declaration.
        served: names of those of which it serves some version.
        placement: by which the placement is known that it follows; empty where it follows none.
    """

    pod: str
    reached: bool = False
    supported: bool = False
    error: str = ""
    models: Mapping[str, DeclaredReport] = field(default_factory=dict)
    served: frozenset[str] = frozenset()
    placement: str = ""


def reports_of(pod: str, answer: object) -> PodReport:
    """Read a runtime's `/status`; what is not as documented is passed over."""
    if not isinstance(answer, dict):
        return PodReport(pod)
    models = {
        text_at(entry, "id"): DeclaredReport(
            text_at(entry, "state"),
            text_at(entry, "digest"),
            text_at(entry, "reason")[:_LONGEST],
            word_at(entry, "cause"),
            entry.get("lasting") is True,
            number_at(entry, "bytes"),
        )
        for entry in objects_at(answer, "declared")
    }
    error = text_at(answer, "declaredError")[:_LONGEST]
    served = frozenset(text_at(one, "name") for one in objects_at(answer, "declared") if text_at(one, "serving"))
    supported, placement = "declared" in answer, text_at(answer, "placement")
    return PodReport(pod, True, supported, error, models, served, placement)
