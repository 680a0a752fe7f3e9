"""The status of an InferenceService of KServe, from that of the one of ours that stands for it.

Names and shapes are KServe's. Two readers set what may stand in it: KServe's client waits for the condition Ready and
`observedGeneration`; Argo CD's rule for the kind takes every condition that is not True, but Stopped, for unfinished,
and `modelStatus.transitionStatus` alone for failed. So what is ignored is a condition that is True.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.kserve import deployment_mode
from pillion_operator.state.manifest import (
    array,
    condition_of,
    generation_of,
    number_at,
    object_at,
    text_at,
    value_at,
)
from pillion_operator.state.names import ALLOW_PICKLE_ANNOTATION, PREDICTOR
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import JsonValue

    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest

__all__ = ["FAILURES", "FIELDS_IGNORED", "mirrored_status", "refused_status"]

FIELDS_IGNORED: Final = "FieldsIgnored"
#: Reasons of Ready for which nothing gets better until somebody acts, as `config/argocd/inferenceservice.lua` has them.
FAILURES: Final = frozenset(
    {Reason.CRASH_LOOP_BACK_OFF, Reason.EVICTED, Reason.MODEL_LOAD_FAILED, Reason.OOM_KILLED, Reason.UNSAFE_FORMAT}
)
#: The reasons that KServe's schema has for a failure; its message has ours in front.
_THEIRS: Final[dict[str, str]] = {
    Reason.NO_SERVING_RUNTIME: "NoSupportingRuntime",
    Reason.SERVING_RUNTIME_NOT_FOUND: "RuntimeNotRecognized",
    Reason.DISABLED: "RuntimeDisabled",
    **dict.fromkeys((Reason.INVALID_SPEC, Reason.REFUSED, Reason.NAME_CONFLICT), "InvalidPredictorSpec"),
    **dict.fromkeys(
        (
            Reason.CRASH_LOOP_BACK_OFF,
            Reason.CREATE_CONTAINER_FAILED,
            Reason.EVICTED,
            Reason.IMAGE_PULL_BACK_OFF,
            Reason.OOM_KILLED,
            Reason.PODS_REFUSED,
            Reason.UNHEALTHY,
            Reason.UNSCHEDULABLE,
        ),
        "RuntimeUnhealthy",
    ),
}
#: KServe's names of conditions, and ours; those of components beside the predictor are there where these are.
_CONDITIONS: Final = {"IngressReady": "RoutesReady", "PredictorReady": "PredictorReady", "Ready": "Ready"}
_BESIDE: Final = {"TransformerReady": "TransformerReady", "ExplainerReady": "ExplainerReady"}
_ADDRESS: Final = ("url", "name", "CACerts")
_COMPONENT: Final = (
    "grpcUrl", "latestCreatedRevision", "latestReadyRevision", "latestRolledoutRevision", "previousRolledoutRevision",
    "restUrl", "url",
)  # fmt: skip
_FAILURE: Final = ("exitCode", "location", "modelRevisionName", "time")
_LONGEST: Final = 4000


def mirrored_status(service: Manifest, child: Manifest, removed: Sequence[str], timestamp: str) -> JsonObject | None:
    """Return the status of KServe's object; None while its child says nothing yet that is newer than what stands there.

    Args:
        service: KServe's, as stored.
        child: ours, as stored, made of the newest generation of the former.
        removed: sentences about fields that have no counterpart.
        timestamp: now.
    """
    current = number_at(child, "status", "observedGeneration", default=-1) == generation_of(child)
    if not current or not condition_of(child, "Ready"):
        if condition_of(service, "Ready"):
            return None
        return _starting(service, removed, timestamp)
    said = object_at(child, "status")
    status: JsonObject = {
        "observedGeneration": generation_of(service),
        "conditions": _conditions(service, _of_child(child, removed), timestamp),
        "deploymentMode": deployment_mode(service),
        **_texts(said, ("url", "servingRuntimeName", "clusterServingRuntimeName")),
        **_address(said),
    }
    components = {
        name: _texts(part, _COMPONENT) | _address(part) | (_traffic(said) if name == PREDICTOR else {})
        for name, part in object_at(said, "components").items()
        if isinstance(part, dict)
    }
    if components:
        status["components"] = {**components}
    model = _model_status(child)
    return status | ({"modelStatus": model} if model else {})


def refused_status(service: Manifest, reason: str, message: str, timestamp: str, *, lasting: bool = True) -> JsonObject:
    """Return the status where no child could be made; what stands there of a former generation stays.

    Args:
        service: KServe's, as stored.
        reason: one word for why.
        message: a sentence with the remedy.
        timestamp: now.
        lasting: whether the same manifest can never succeed.
    """
    told = (("PredictorReady", "False", reason, message, ""), ("Ready", "False", reason, message, ""))
    before = object_at(service, "status")
    same = value_at(before, "modelStatus", "lastFailureInfo", "message") == f"{reason}: {message}"
    since = text_at(before, "modelStatus", "lastFailureInfo", "time") if same else ""
    model: JsonObject = {
        "transitionStatus": "InvalidSpec" if lasting else "InProgress",
        "lastFailureInfo": {
            "reason": _THEIRS.get(reason, "InvalidPredictorSpec"),
            "message": f"{reason}: {message}",
            "time": since or timestamp,
        },
    }
    states = object_at(before, "modelStatus", "states")
    return {
        **before,
        "observedGeneration": generation_of(service),
        "conditions": _conditions(service, told, timestamp),
        "deploymentMode": deployment_mode(service),
        "modelStatus": model | ({"states": states} if states else {}),
    }


def _starting(service: Manifest, removed: Sequence[str], timestamp: str) -> JsonObject:
    text = "The operator has not looked at it yet."
    told = [(name, "Unknown", str(Reason.STARTING), text, "") for name in _CONDITIONS]
    return {
        "observedGeneration": generation_of(service),
        "conditions": _conditions(service, (*told, *_ignored(removed, {})), timestamp),
        "deploymentMode": deployment_mode(service),
        "modelStatus": {"transitionStatus": "InProgress", "states": {"activeModelState": "Pending"}},
    }


#: Type, status, reason, message, severity.
_Told = tuple[str, str, str, str, str]


def _of_child(child: Manifest, removed: Sequence[str]) -> list[_Told]:
    told: list[_Told] = []
    for theirs, ours in (_CONDITIONS | _BESIDE).items():
        found = condition_of(child, ours)
        if found:
            told.append((theirs, text_at(found, "status"), text_at(found, "reason"), _message(found), ""))
    stopped = condition_of(child, "Stopped")
    told.append(("Stopped", text_at(stopped, "status") or "False", "", "", "Info"))
    return [*told, *_ignored(removed, condition_of(child, "FieldsHonoured"))]


def _message(told: JsonObject) -> str:
    """Return what is said, with the way to consent that KServe's objects have."""
    message = text_at(told, "message")
    if text_at(told, "reason") != Reason.UNSAFE_FORMAT:
        return message
    return f'{message} Here that is the annotation {ALLOW_PICKLE_ANNOTATION}: "true".'


def _ignored(removed: Sequence[str], honoured: JsonObject) -> list[_Told]:
    """Say what has no effect, in a condition that is there only then."""
    without = [text_at(honoured, "message")] if honoured.get("status") == "False" else []
    if not removed and not without:
        return []
    text = " ".join([*(f"{sentence.rstrip('.')}." for sentence in removed), *without])
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    reason = text_at(honoured, "reason") if without else str(Reason.FIELDS_NOT_HONOURED)
    return [(FIELDS_IGNORED, "True", reason, shown, "Warning")]


def _conditions(service: Manifest, told: Iterable[_Told], timestamp: str) -> list[JsonValue]:
    """Return the conditions by their names; what did not change keeps its time."""
    return array(
        _condition(condition_of(service, kind), timestamp, type=kind, status=status, reason=reason, message=message,
                   severity=severity)
        for kind, status, reason, message, severity in sorted(told)
    )  # fmt: skip  # names and values read as pairs


def _condition(before: JsonObject, timestamp: str, **told: str) -> JsonObject:
    since = text_at(before, "lastTransitionTime") if before.get("status") == told["status"] else ""
    return {"lastTransitionTime": since or timestamp, **{field: value for field, value in told.items() if value}}


def _texts(part: JsonObject, fields: Iterable[str]) -> JsonObject:
    return {field: text_at(part, field) for field in fields if text_at(part, field)}


def _address(part: JsonObject) -> JsonObject:
    address = _texts(object_at(part, "address"), _ADDRESS)
    return {"address": address} if address else {}


def _traffic(status: JsonObject) -> JsonObject:
    """Return the shares of the newest version and the one before, where there are two."""
    share = number_at(status, "canary", "actual", default=-1)
    if share < 0:
        return {}
    newest: JsonObject = {"latestRevision": True, "percent": share}
    before: JsonObject = {"latestRevision": False, "percent": 100 - share, "tag": "prev"}
    return {"traffic": [newest, before]}


def _model_status(child: Manifest) -> JsonObject:
    """Return how far the model is; nothing of a service that is stopped."""
    if condition_of(child, "Stopped").get("status") == "True":
        return {}
    said = object_at(child, "status", "modelStatus")
    transition = _transition(child, text_at(said, "transitionStatus"))
    status: JsonObject = {"transitionStatus": transition}
    states = _texts(object_at(said, "states"), ("activeModelState", "targetModelState"))
    if "activeModelState" in states:
        status["states"] = states
    copies = object_at(said, "copies")
    if copies:
        status["copies"] = {name: copies[name] for name in ("failedCopies", "totalCopies") if name in copies}
    failure = object_at(said, "lastFailureInfo")
    if failure:
        status["lastFailureInfo"] = _failure(failure)
    return status


def _transition(child: Manifest, said: str) -> str:
    """Return KServe's word for how far the newest version is. What may still get well by itself is InProgress."""
    ready, stalled = condition_of(child, "Ready"), condition_of(child, "Stalled").get("status") == "True"
    failed = ready.get("status") == "False" and text_at(ready, "reason") in FAILURES
    if stalled or failed:
        return said if said in {"InvalidSpec", "BlockedByFailedLoad"} else _kind_of_failure(child, stalled=stalled)
    going_on = condition_of(child, "Reconciling").get("status") == "True"
    return "UpToDate" if ready.get("status") == "True" and not going_on else "InProgress"


def _kind_of_failure(child: Manifest, *, stalled: bool) -> str:
    reason = text_at(condition_of(child, "Stalled" if stalled else "Ready"), "reason")
    return "InvalidSpec" if _THEIRS.get(reason) == "InvalidPredictorSpec" else "BlockedByFailedLoad"


def _failure(failure: JsonObject) -> JsonObject:
    reason = text_at(failure, "reason")
    kept: JsonObject = {field: failure[field] for field in _FAILURE if field in failure}
    return kept | {
        "reason": _THEIRS.get(reason, "ModelLoadFailed"),
        "message": f"{reason}: {_message(failure)}",
    }
