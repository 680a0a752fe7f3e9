"""Deployed: whether the service that a completed training names serves its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import Verdict
from pillion_operator.state.manifest import condition_of, generation_of, key_of, number_at, object_at, text_at
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources import TrainingJob
    from pillion_operator.state.observed import ObservedTraining

TYPE: Final = "Deployed"


def deployed(job: TrainingJob, observed: ObservedTraining, *, has_artifact: bool) -> Verdict:
    """Judge: True once the service is Ready with this very model."""
    deploy = job.spec.deploy
    assert deploy is not None  # noqa: S101 - asked only where there is one
    name, service = deploy.inference_service, observed.service

    def no(reason: Reason, text: str) -> Verdict:
        return Verdict(TYPE, "False", reason, sentence(text, reason))

    if not has_artifact:
        return no(Reason.RESULT_LOST, "where the model is, is not known")
    if deploy.canary_traffic_percent not in (None, 100):
        text = f"InferenceService {name!r} was left alone: a share of its requests cannot be given yet"
        return no(Reason.CANARY_NOT_AVAILABLE, text)
    if service is None:
        return no(Reason.INFERENCE_SERVICE_NOT_FOUND, f"InferenceService {name!r} is not there")
    if object_at(service, "spec", "predictor").get("followTrainings") is not True:
        return no(Reason.NOT_FOLLOWED, f"InferenceService {name!r} does not follow trainings")
    own = key_of(observed.training).name
    # The training whose completion is told by this very status cannot have been counted yet.
    counted = text_at(observed.training, "status", "state") == "COMPLETED"
    if counted and observed.followed != own:
        text = f"InferenceService {name!r} serves the model of the newer training {observed.followed!r}"
        return Verdict(TYPE, "False", Reason.SUPERSEDED, sentence(text, ""))
    ready = condition_of(service, "Ready")
    current = number_at(service, "status", "observedGeneration") == generation_of(service)
    serves = current and text_at(service, "status", "training", "trainingJob") == own
    moving = condition_of(service, "Reconciling").get("status") == "True"
    if serves and ready.get("status") == "True" and not moving:
        return Verdict(TYPE, "True", Reason.ROLLED_OUT, f"InferenceService {name!r} serves the model.")
    said = text_at(ready, "message") if serves and ready.get("status") != "True" else ""
    text = f"InferenceService {name!r} takes the model up" + (f": {said}" if said else "")
    return Verdict(TYPE, "False", Reason.ROLLING_OUT, sentence(text, ""))
