"""Deployed: whether the service that a completed training names serves its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.resources import FORMAT_SHORTHANDS
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.manifest import condition_of, generation_of, key_of, number_at, object_at, text_at
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources import TrainingJob
    from pillion_operator.state.observed import ObservedTraining

TYPE: Final = "Deployed"
_PROMOTE: Final = "set deploy.canaryTrafficPercent to 100, or remove it, to give it all"


def deployed(job: TrainingJob, observed: ObservedTraining, *, has_artifact: bool) -> Verdict:
    """Judge: True once the service is Ready with this very model."""
    deploy = job.spec.deploy
    assert deploy is not None  # noqa: S101 - asked only where there is one
    name, service = deploy.inference_service, observed.service

    def no(reason: Reason, text: str) -> Verdict:
        return Verdict(TYPE, "False", reason, sentence(text, reason))

    if not has_artifact:
        return no(Reason.RESULT_LOST, "where the model is, is not known")
    if service is None:
        return no(Reason.INFERENCE_SERVICE_NOT_FOUND, f"InferenceService {name!r} is not there")
    predictor = object_at(service, "spec", "predictor")
    if predictor.get("followTrainings") is not True:
        return no(Reason.NOT_FOLLOWED, f"InferenceService {name!r} does not follow trainings")
    # One without a word of its own, `sklearn: {}`, has the training's model.
    if all(predictor.get(field) is None for field in ("model", *FORMAT_SHORTHANDS)):
        text = f"InferenceService {name!r} serves by containers of its own, which are given no model"
        remedy = "give it spec.predictor.model, or remove deploy"
        return Verdict(TYPE, "False", Reason.NOT_FOLLOWED, sentence(text, Reason.NOT_FOLLOWED, remedy))
    own = key_of(observed.training).name
    # The training whose completion is told by this very status cannot have been counted yet.
    counted = text_at(observed.training, "status", "state") == "COMPLETED"
    if counted and observed.followed != own:
        text = f"InferenceService {name!r} serves the model of the newer training {observed.followed!r}"
        return Verdict(TYPE, "False", Reason.SUPERSEDED, sentence(text, ""))
    ready = condition_of(service, "Ready")
    current = number_at(service, "status", "observedGeneration") == generation_of(service)
    progressing = condition_of(service, "Progressing")
    if current and text_at(progressing, "reason") == Reason.ROLLED_BACK:
        text = f"InferenceService {name!r} went back to what it served before: {text_at(progressing, 'message')}"
        return Verdict(TYPE, "False", Reason.ROLLED_BACK, text)
    serves = current and text_at(service, "status", "training", "trainingJob") == own
    moving = condition_of(service, "Reconciling").get("status") == "True"
    if serves and ready.get("status") == "True" and not moving:
        share = object_at(service, "status", "canary")
        if not share:
            return Verdict(TYPE, "True", Reason.ROLLED_OUT, f"InferenceService {name!r} serves the model.")
        text = (
            f"InferenceService {name!r} gives the model {number_at(share, 'actual')} % of the requests "
            f"({number_at(share, 'requested')} % are asked for)"
        )
        # Steps give it more by themselves.
        remedy = "" if text_at(share, "step") else _PROMOTE
        return Verdict(TYPE, "True", Reason.SHARED, sentence(text, "", remedy))
    said = text_at(ready, "message") if serves and ready.get("status") != "True" else ""
    text = f"InferenceService {name!r} takes the model up" + (f": {said}" if said else "")
    return Verdict(TYPE, "False", Reason.ROLLING_OUT, sentence(text, ""))
