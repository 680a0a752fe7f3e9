"""One Model: what it comes to among those of its service, and how far each pod is with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.placementfile import Placed
from pillion.resources import InferenceService
from pillion_operator.builders.declared import Declarations, declaration_id, declarations, service_of
from pillion_operator.builders.own_models import reserved
from pillion_operator.builders.placement import placement_in
from pillion_operator.judge.model import ModelFacts, in_pods, model_status, next_look
from pillion_operator.judge.placement import holding, room_problem, wanted_of
from pillion_operator.report.events import model_happenings
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, INFERENCE_SERVICE, MODEL
from pillion_operator.state.manifest import (
    Key,
    annotations_of,
    is_deleting,
    is_reachable,
    key_of,
    number_at,
    object_at,
    text_at,
    timestamp_of,
    uid_of,
)
from pillion_operator.state.names import models_config_name, predictor_name, runtime_config_name
from pillion_operator.state.plan import Problem
from pillion_operator.state.policies import consent_of
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.placementfile import PlacementFile
    from pillion_operator.builders.declared import Reserved
    from pillion_operator.observe.declared_status import DeclaredStatusReader
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.store import Store
    from pillion_operator.report.events import EventWriter
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.policies import ModelsConsent, NamespaceRules

__all__ = ["ModelParts", "ModelReconciler"]

#: Services whose Models' last answer is kept.
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class ModelParts:
    """What a reconcile of a Model is made of."""

    store: Store
    policies: NamespacePolicies
    pods: DeclaredStatusReader
    status: StatusWriter
    events: EventWriter
    wall_clock: Callable[[], float]


class ModelReconciler:
    """Says of one Model where it serves. What makes it serve is its service's reconcile."""

    def __init__(self, parts: ModelParts) -> None:
        self._parts = parts
        self._last: dict[Key, tuple[object, Declarations]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Write the status where it changed; return the seconds after which to look again.

        Raises:
            ApiError: the API server could not be asked; try again.
        """
        stored = self._parts.store.get(MODEL, key)
        if stored is None or is_deleting(stored):
            return None
        facts = await self._facts(stored)
        latest = self._parts.store.get(MODEL, key)
        if latest is None or is_deleting(latest):
            return None
        timestamp = timestamp_of(self._parts.wall_clock())
        status = model_status(facts, timestamp)
        news = model_happenings(stored, status)
        await self._parts.status.write(stored, status, MODEL)
        for happening in news:
            await self._parts.events.post(stored, happening)
        return next_look(facts)

    async def _facts(self, model: Manifest) -> ModelFacts:
        store, service = self._parts.store, service_of(model)
        name = text_at(model, "spec", "name") or key_of(model).name
        found = store.get(INFERENCE_SERVICE, service)
        if found is None or is_deleting(found):
            text = f"InferenceService {service.name!r}, named in spec.inferenceServiceRef, is not there"
            return ModelFacts(model, name, problem=Problem(Reason.INFERENCE_SERVICE_NOT_FOUND, text, service.name))
        rules = await self._parts.policies.read(service.namespace)
        consent = consent_of(annotations_of(found))
        stored = [one for one in store.all(MODEL, service.namespace) if service_of(one) == service]
        told = self._told(service, found, stored, rules, consent)
        problem = told.refused.get(key_of(model)) or self._unsuited(service)
        if problem is not None:
            return ModelFacts(model, name, problem=problem)
        # A pod that has no address yet is counted by the Deployment, and has nothing to say.
        pods = [p for p in store.pods(service) if is_reachable(p)]
        reports = await self._parts.pods.read(pods)
        deployment = store.get(DEPLOYMENT, Key(service.namespace, predictor_name(service.name)))
        wanted = 0 if deployment is None else number_at(deployment, "spec", "replicas", default=1)
        placement = self._placement(found)
        if placement is not None and wanted:
            placed = placement.models.get(name, Placed(missing=1))  # where it is not decided yet
            wanted, reports = wanted_of(placed), tuple(holding(placed, reports))
            problem = room_problem(name, placement)
        url = text_at(found, "status", "url")
        return ModelFacts(
            model,
            name,
            url=f"{url}/v2/models/{name}" if url else "",
            problem=problem,
            wanted=wanted,
            pods=in_pods(declaration_id(model), reports),
        )

    def _told(
        self, service: Key, found: Manifest, stored: Sequence[Manifest], rules: NamespaceRules, consent: ModelsConsent
    ) -> Declarations:
        """Return what the Models of a service come to. Each of many asks the same, so the last answer is kept."""
        asked = tuple((uid_of(one), text_at(one, "metadata", "resourceVersion")) for one in (found, *stored))
        known = self._last.get(service)
        if known is not None and known[0] == (asked, rules, consent):
            return known[1]
        told = declarations(service.name, stored, rules, consent, _reserved(found))
        while len(self._last) >= _REMEMBERED:
            self._last.pop(next(iter(self._last)))
        self._last[service] = ((asked, rules, consent), told)
        return told

    def _placement(self, service: Manifest) -> PlacementFile | None:
        """Return the decision which pods have which models, None where all have all."""
        if "modelPlacement" not in object_at(service, "spec", "predictor"):
            return None
        key = key_of(service)
        config = self._parts.store.get(CONFIG_MAP, Key(key.namespace, models_config_name(key.name)))
        return placement_in(config)

    def _unsuited(self, service: Key) -> Problem | None:
        """Return why the service's pods can take no declared model, None where they can or nobody knows yet."""
        store = self._parts.store
        runs = store.get(DEPLOYMENT, Key(service.namespace, predictor_name(service.name))) is not None
        ours = store.get(CONFIG_MAP, Key(service.namespace, runtime_config_name(service.name))) is not None
        if not runs or ours:
            return None
        text = f"the serving container of the InferenceService {service.name!r} is not Pillion's runtime"
        return Problem(Reason.RUNTIME_NOT_SUPPORTED, text, service.name, transient=False)


def _reserved(service: Manifest) -> Reserved | None:
    """Return what its own models have; None for a service that is not valid, and whose pods stay as they are."""
    try:
        return reserved(InferenceService.from_api(service))
    except ValidationError:
        return None
