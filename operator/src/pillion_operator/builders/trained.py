"""The model of a service that follows trainings: that of the newest completed TrainingJob that names it.

The service's spec is not written. What it serves is worked out at each look from what is declared: its own manifest,
and the TrainingJobs beside it. Without the training, or without the word `followTrainings`, it is its own storageUri.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources import FORMAT_SHORTHANDS
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    is_deleting,
    key_of,
    object_at,
    text_at,
)
from pillion_operator.state.plan import Followed, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.resources import InferenceService

__all__ = ["deploys_to", "followed", "following", "lacks_training"]


def deploys_to(training: Manifest) -> Key | None:
    """Return the service that a completed training's model goes to; None where there is none for it."""
    name = text_at(training, "spec", "deploy", "inferenceService")
    done = text_at(training, "status", "state") == "COMPLETED" and object_at(training, "status", "artifact")
    return Key(key_of(training).namespace, name) if name and done and not is_deleting(training) else None


def followed(service: Key, trainings: Iterable[Manifest]) -> Followed | None:
    """Return the training that a service which follows them serves the model of, None where there is none."""
    fitting = [training for training in trainings if deploys_to(training) == service]
    newest = max(
        fitting, key=lambda found: (text_at(found, "status", "completionTime"), key_of(found).name), default=None
    )
    if newest is None:
        return None
    artifact = object_at(newest, "status", "artifact")
    share = object_at(newest, "spec", "deploy").get("canaryTrafficPercent")
    return Followed(
        key_of(newest).name,
        text_at(artifact, "uri"),
        text_at(artifact, "digest"),
        share if isinstance(share, int) else None,
    )


def following(service: InferenceService, training: Followed | None) -> InferenceService:
    """Return the service with the training's model in place of its own; unchanged where it follows none.

    A share that the training asks for goes before one that the service has: it is about this very model.
    """
    predictor = service.spec.predictor
    if training is None or not predictor.follow_trainings:
        return service
    update = {"storage_uri": training.uri, "digest": training.digest, "storage": None}
    for field in ("model", *FORMAT_SHORTHANDS):
        model = getattr(predictor, field)
        if model is not None:
            share = {} if training.share is None else {"canary_traffic_percent": training.share}
            changed = predictor.model_copy(update={field: model.model_copy(update=update), **share})
            return service.model_copy(update={"spec": service.spec.model_copy(update={"predictor": changed})})
    return service


def lacks_training(service: InferenceService) -> Problem | None:
    """Return why a service that follows trainings has nothing to serve yet, None where it has."""
    predictor = service.spec.predictor
    model = predictor.serving_model
    if not predictor.follow_trainings or model is None or model.storage_uri or model.storage:
        return None
    text = "no training has completed yet that names this service, and it has no storageUri of its own"
    return Problem(Reason.WAITING_FOR_TRAINING, text, "spec.predictor")
