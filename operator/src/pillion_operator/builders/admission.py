"""Answers to the API server's questions about objects that are being made. Source: admission.k8s.io/v1."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec

from pillion_operator.state.manifest import array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources.base import JsonObject

__all__ = ["API_VERSION", "allowed", "denied", "failed"]

API_VERSION: Final = "admission.k8s.io/v1"
_INVALID, _UNAVAILABLE = 422, 503


def allowed(uid: str, patch: Sequence[JsonObject] = (), warnings: Sequence[str] = ()) -> JsonObject:
    """Return the answer that lets the object pass, changed by a JSON patch where there is one."""
    response: JsonObject = {"uid": uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(msgspec.json.encode(array(patch))).decode()}
    if warnings:
        response["warnings"] = array(warnings)
    return _review(response)


def denied(uid: str, message: str) -> JsonObject:
    """Return the answer that refuses the object: it has to be changed."""
    return _refused(uid, _INVALID, "Invalid", message)


def failed(uid: str, message: str) -> JsonObject:
    """Return the answer that refuses the object for now: the same may pass later."""
    return _refused(uid, _UNAVAILABLE, "ServiceUnavailable", message)


def _refused(uid: str, code: int, reason: str, message: str) -> JsonObject:
    status: JsonObject = {"status": "Failure", "code": code, "reason": reason, "message": message}
    return _review({"uid": uid, "allowed": False, "status": status})


def _review(response: JsonObject) -> JsonObject:
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
