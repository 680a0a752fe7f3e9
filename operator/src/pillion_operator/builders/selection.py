"""Choosing the serving runtime of a model.

Order, as documented for the resource: one that the manifest names; else those that may be chosen automatically,
a namespace's own before the cluster's, the higher priority before the lower, an exact version before none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pillion_operator.state.plan import PlanError, Problem, RuntimeChoice
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pillion.resources import ModelSpec, ServingRuntimeSpec, SupportedModelFormat

__all__ = ["Candidate", "ranked", "select_runtime"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A serving runtime that the service could use."""

    kind: str
    name: str
    spec: ServingRuntimeSpec

    @property
    def clusterwide(self) -> bool:
        """Whether it serves every namespace."""
        return self.kind == "ClusterServingRuntime"


def select_runtime(model: ModelSpec, candidates: Sequence[Candidate]) -> tuple[Candidate, RuntimeChoice]:
    """Return the runtime for the model and why it is that one.

    Raises:
        PlanError: none fits; the problem lists what there is.
    """
    if model.runtime:
        return _named(model, model.runtime, candidates)
    rankings = _rankings(model, candidates)
    if not rankings:
        raise PlanError(_none_fits(model, candidates))
    clusterwide, negative_priority, inexact, _, best = rankings[0]
    equal = sorted({entry[4].name for entry in rankings if entry[:3] == rankings[0][:3]} - {best.name})
    others = len({entry[4].name for entry in rankings}) - 1 - len(equal)
    why = f"supports {_described(model)}{'' if inexact or not model.model_format.version else ' in this version'}"
    why += ", of the cluster" if clusterwide else ", of this namespace"
    why += f", priority {-negative_priority}" if negative_priority else ""
    if equal:
        named = ", ".join(repr(name) for name in equal)
        why += f"; {named} would fit as well, and the first by name is taken: name one in model.runtime to choose"
    why += f"; {others} other{'s' if others > 1 else ''} would fit" if others else ""
    return best, RuntimeChoice(best.kind, best.name, why)


def ranked(model: ModelSpec, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return the runtimes that may be chosen for a model that names none, the best first, each once."""
    found: dict[tuple[str, str], Candidate] = {}
    for *_, candidate in _rankings(model, candidates):
        found.setdefault((candidate.kind, candidate.name), candidate)
    return tuple(found.values())


def _rankings(model: ModelSpec, candidates: Iterable[Candidate]) -> list[tuple[bool, int, bool, str, Candidate]]:
    return sorted(
        (
            (candidate.clusterwide, -(supported.priority or 0), not _exact(model, supported), candidate.name, candidate)
            for candidate in candidates
            for supported in candidate.spec.supported_model_formats or []
            if supported.auto_select and _usable(model, candidate) and _fits(model, supported)
        ),
        key=lambda ranking: ranking[:4],
    )


def _named(model: ModelSpec, name: str, candidates: Iterable[Candidate]) -> tuple[Candidate, RuntimeChoice]:
    known = sorted((c for c in candidates if c.name == name), key=lambda candidate: candidate.clusterwide)
    if not known:
        raise PlanError(
            Problem(
                Reason.SERVING_RUNTIME_NOT_FOUND,
                f"the serving runtime {name!r} named in model.runtime is neither in this namespace nor in the cluster",
            )
        )
    chosen = known[0]
    if chosen.spec.disabled:
        raise PlanError(
            Problem(Reason.SERVING_RUNTIME_NOT_FOUND, f"the {chosen.kind} {name!r} named in model.runtime is disabled")
        )
    if not any(_fits(model, supported) for supported in chosen.spec.supported_model_formats or []):
        raise PlanError(
            Problem(Reason.NO_SERVING_RUNTIME, f"the {chosen.kind} {name!r} does not support {_described(model)}")
        )
    return chosen, RuntimeChoice(chosen.kind, chosen.name, "named in model.runtime")


def _usable(model: ModelSpec, candidate: Candidate) -> bool:
    spoken = candidate.spec.protocol_versions
    speaks = not model.protocol_version or not spoken or model.protocol_version in spoken
    return not candidate.spec.disabled and not candidate.spec.multi_model and speaks


def _fits(model: ModelSpec, supported: SupportedModelFormat) -> bool:
    asked = model.model_format
    if supported.name.casefold() != asked.name.casefold():
        return False
    return not asked.version or not supported.version or _covers(supported.version, asked.version)


def _exact(model: ModelSpec, supported: SupportedModelFormat) -> bool:
    asked = model.model_format.version
    return bool(asked and supported.version and _covers(supported.version, asked))


def _covers(supported: str, asked: str) -> bool:
    """Whether a supported version such as `1` covers an asked one such as `1.5`, or the other way round."""
    shorter, longer = sorted((supported.split("."), asked.split(".")), key=len)
    return longer[: len(shorter)] == shorter


def _described(model: ModelSpec) -> str:
    version = f" {model.model_format.version}" if model.model_format.version else ""
    return f"the model format {model.model_format.name!r}{version}"


def _none_fits(model: ModelSpec, candidates: Sequence[Candidate]) -> Problem:
    formats = sorted(
        {
            supported.name
            for candidate in candidates
            if _usable(model, candidate)
            for supported in candidate.spec.supported_model_formats or []
            if supported.auto_select
        }
    )
    protocol = f" over protocol {model.protocol_version}" if model.protocol_version else ""
    known = f"those there serve {', '.join(formats)}" if formats else "there is none at all"
    return Problem(Reason.NO_SERVING_RUNTIME, f"no serving runtime supports {_described(model)}{protocol} ({known})")
