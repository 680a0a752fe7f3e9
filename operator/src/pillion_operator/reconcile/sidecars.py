"""The answer to a pod that is being made: with a sidecar where it asks for one. Every replica answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import InferenceService
from pillion_operator.builders.admission import allowed, denied, failed
from pillion_operator.builders.configmap import CONFIG_FILE
from pillion_operator.builders.declared import service_of
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.sidecar import Sidecar, SidecarError, sidecar_patch, sidecar_request
from pillion_operator.builders.sidecar_service import not_carried_over, on_sockets
from pillion_operator.builders.trained import followed, following, lacks_training
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, INFERENCE_SERVICE, MODEL, TRAINING_JOB
from pillion_operator.state.manifest import Key, is_deleting, key_of, object_at, text_at, uid_of
from pillion_operator.state.names import SIDECAR_LABEL, runtime_config_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources.base import JsonObject
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.candidates import RuntimeCandidates
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.references import ReferenceReader
    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.settings import RenderSettings

__all__ = ["SidecarAdmission", "SidecarParts"]

_log: Final = logging.getLogger(__name__)
#: The API server waits five seconds, and then knows nothing of the reason.
_ANSWER_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class SidecarParts:
    """What an answer is made of."""

    client: KubernetesClient
    store: Store
    candidates: RuntimeCandidates
    references: ReferenceReader
    policies: NamespacePolicies
    settings: RenderSettings
    on_answer: Callable[[str], None] = lambda outcome: None  # noqa: ARG005 - the default takes no note


class SidecarAdmission:
    """Answers AdmissionReviews of pods."""

    def __init__(self, parts: SidecarParts) -> None:
        self._parts = parts

    async def answer(self, review: JsonObject) -> JsonObject:
        """Return the review with its response."""
        request = object_at(review, "request")
        uid, namespace, pod = text_at(request, "uid"), text_at(request, "namespace"), object_at(request, "object")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                patch, warnings = await self._decide(namespace, pod)
        except SidecarError as refusal:
            self._parts.on_answer("denied")
            return denied(uid, str(refusal))
        except (ApiError, TimeoutError) as error:
            self._parts.on_answer("failed")
            _log.warning("a pod in namespace %s could not be looked at: %s", namespace, error)
            why = str(error) or f"no answer of the API server within {_ANSWER_SECONDS:g} s"
            return failed(uid, f"the sidecar cannot be worked out now, try again: {why}")
        self._parts.on_answer("changed" if patch else "unchanged")
        return allowed(uid, patch, warnings)

    async def _decide(self, namespace: str, pod: Manifest) -> tuple[list[JsonObject], list[str]]:
        request = sidecar_request(pod)
        if request is None:
            return [], []
        key = Key(namespace, request.service)
        service, uid = await self._service(key)
        desired = await self._plan(key, service, uid)
        patch = sidecar_patch(pod, _sidecar_of(desired, request.service), request)
        return patch, not_carried_over(service, pod)

    async def _service(self, key: Key) -> tuple[InferenceService, str]:
        where = f"metadata.labels[{SIDECAR_LABEL}]"
        # One that was made a moment ago may not have come by the watch yet.
        stored = self._parts.store.get(INFERENCE_SERVICE, key) or await self._parts.client.get(INFERENCE_SERVICE, key)
        if stored is None or is_deleting(stored):
            names = sorted(key_of(found).name for found in self._parts.store.all(INFERENCE_SERVICE, key.namespace))
            there = f"there are {', '.join(names)}" if names else "there is none"
            raise SidecarError(
                f"{where}: there is no InferenceService {key.name!r} in namespace {key.namespace!r} ({there}): create "
                "it first, or name another"
            )
        try:
            return on_sockets(InferenceService.from_api(stored)), uid_of(stored)
        except ValidationError as error:
            wrong = error.errors()[0]["msg"]
            raise SidecarError(f"{where}: the InferenceService {key.name!r} is not valid: {wrong}") from error

    async def _plan(self, key: Key, service: InferenceService, uid: str) -> Desired:
        """Plan as for the service's own pods.

        Raises:
            SidecarError: there is no plan.
            ApiError: the API server could not be asked.
        """
        parts = self._parts
        if service.spec.predictor.follow_trainings:
            service = following(service, followed(key, parts.store.all(TRAINING_JOB, key.namespace)))
        models = [model for model in parts.store.all(MODEL, key.namespace) if service_of(model) == key]
        # What the manifest refers to may come later: the pod waits for it.
        references = await parts.references.read(service, healthy=True, fetches=bool(models))
        desired = plan(
            service,
            uid,
            parts.candidates.of(key.namespace),
            references.credentials,
            parts.settings,
            rules=await parts.policies.read(key.namespace),
            models=models,
        )
        problem = lacks_training(service) or desired.problem
        if problem is not None:
            raise SidecarError(
                f"metadata.labels[{SIDECAR_LABEL}]: the InferenceService {key.name!r} cannot be served: "
                f"{problem.sentence}"
            )
        return desired


def _sidecar_of(desired: Desired, service: str) -> Sidecar:
    def manifest(kind: Kind, name: str | None = None) -> Manifest:
        found = (child.manifest for child in desired.children if child.kind == kind)
        return next((one for one in found if name is None or key_of(one).name == name), {})

    template = object_at(manifest(DEPLOYMENT), "spec", "template")
    return Sidecar(template, text_at(manifest(CONFIG_MAP, runtime_config_name(service)), "data", CONFIG_FILE))
