"""Who may ask: what the runtime needs to know callers by keys, and by the cluster's own identities.

Source: Kubernetes, "Projected Volumes"; the admission plugin ServiceAccount mounts no second token at that path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import array
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["AuthParts", "auth_parts", "auth_settings", "check_auth", "reviewing_account"]

_KEYS_PATH: Final = "/etc/pillion/api-keys"
_ACCOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
#: The kubelet renews it at four fifths of that; an hour and a bit is what pods get elsewhere.
_TOKEN_SECONDS: Final = 3607


@dataclass(frozen=True, slots=True)
class AuthParts:
    """Volumes and mounts of the serving container."""

    volumes: tuple[JsonObject, ...] = ()
    mounts: tuple[JsonObject, ...] = ()


def auth_parts(service: InferenceService) -> AuthParts:
    """Return what mounts the keys, and the token with which the runtime asks the API server: about its callers, and
    for trainings.

    Only the container that serves gets that token: others of the pod may be anybody's.
    """
    auth = service.spec.auth
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    if auth and auth.api_keys:
        # The whole folder, not files of it: only so does the kubelet bring what changes.
        volumes.append({"name": "api-keys", "secret": {"secretName": auth.api_keys.secret_name}})
        mounts.append({"name": "api-keys", "mountPath": _KEYS_PATH, "readOnly": True})
    trains = service.spec.predictor.own_trainings is not None
    if (auth and auth.service_account) or trains:
        sources: list[JsonObject] = [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
        name = "reviewer" if auth and auth.service_account else "account"
        volumes.append({"name": name, "projected": {"sources": array(sources)}})
        mounts.append({"name": name, "mountPath": _ACCOUNT_PATH, "readOnly": True})
    return AuthParts(tuple(volumes), tuple(mounts))


def auth_settings(service: InferenceService) -> JsonObject:
    """Return the runtime's `auth` settings, nothing where everybody may ask."""
    auth = service.spec.auth
    settings: JsonObject = {}
    if auth and auth.api_keys:
        settings["api_keys"] = _KEYS_PATH
    if auth and auth.service_account:
        settings["inference_service"] = service.metadata.name or ""
    return settings


def check_auth(context: BuildContext) -> None:
    """Refuse to serve openly what is to ask its callers.

    Raises:
        PlanError: the container is another's, which knows nothing of it.
    """
    if context.service.spec.auth is None or context.ours:
        return
    text = f"spec.auth, and the container {context.container.get('name')!r} is not Pillion's runtime, which would ask"
    remedy = "serve with Pillion's runtime, or remove spec.auth and have that container ask by itself"
    raise PlanError(Problem(Reason.INVALID_SPEC, text, "spec.auth", transient=False, remedy=remedy))


def reviewing_account(service: InferenceService) -> str:
    """Return the ServiceAccount with which pods ask about callers' tokens, empty where they do not."""
    auth, predictor = service.spec.auth, service.spec.predictor
    if auth is None or auth.service_account is None:
        return ""
    return predictor.service_account_name or predictor.service_account or "default"
