"""Asking the API server of the cluster that the pod is in: whose token is it, and may they call this service?

Source: authentication.k8s.io/v1 TokenReview and authorization.k8s.io/v1 SubjectAccessReview.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, Final

import httpx

from pillion.errors import ErrorCode
from pillion.server.failures import ExitCode, StartError
from pillion.server.pod_account import ACCOUNT, PodAccount
from pillion.transport.reviewed_tokens import Refusal, Reviewed, Unreviewed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["AUDIENCE", "ClusterReviewer"]

AUDIENCE: Final = "pillion"
"""What a token must be made for, so that a service cannot use its callers' tokens at the API server."""
_ACCOUNT: Final = ACCOUNT
_RIGHTS: Final = "bind its ServiceAccount to the ClusterRole system:auth-delegator"


class ClusterReviewer:
    """Asks with the pod's own ServiceAccount, whose token is read anew each time: the kubelet renews it.

    Args:
        service: the InferenceService that callers must have the right for.
        environ: tells where the API server is.
        account: the folder with `token`, `ca.crt` and `namespace`.

    Raises:
        StartError: this is no pod with a ServiceAccount's token.
    """

    def __init__(self, service: str, environ: Mapping[str, str] = os.environ, account: Path | None = None) -> None:
        try:
            self._pod = PodAccount(account or _ACCOUNT, environ)
        except (OSError, ssl.SSLError) as error:
            raise StartError(
                ExitCode.USAGE,
                f"auth.inference_service needs a pod with a ServiceAccount's token ({error}): set "
                f"automountServiceAccountToken: true and serviceAccountName, and {_RIGHTS}",
            ) from None
        self._service = service

    async def review(self, token: str) -> Reviewed:
        """See :class:`~pillion.transport.reviewed_tokens.Reviewer`."""
        review = await self._ask(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [AUDIENCE]},
            },
        )
        if not review.get("authenticated") or AUDIENCE not in review.get("audiences", ()):
            reason = f"the token is none of this cluster, has ended, or was not made for the audience {AUDIENCE}"
            return Reviewed("", Refusal(ErrorCode.UNAUTHENTICATED, reason))
        user: dict[str, Any] = review.get("user", {})
        name: str = user.get("username", "")
        access = await self._ask(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": name,
                    "groups": user.get("groups", []),
                    "uid": user.get("uid", ""),
                    "extra": user.get("extra", {}),
                    "resourceAttributes": {
                        "group": "serving.pillion.dev",
                        "resource": "inferenceservices",
                        "subresource": "predict",
                        "verb": "create",
                        "namespace": self._pod.namespace,
                        "name": self._service,
                    },
                },
            },
        )
        if access.get("allowed"):
            return Reviewed(name, None)
        reason = (
            f"{name} may not call {self._service}: it needs the right to create inferenceservices/predict of"
            f" serving.pillion.dev in namespace {self._pod.namespace}"
        )
        return Reviewed(name, Refusal(ErrorCode.PERMISSION_DENIED, reason))

    async def close(self) -> None:
        """Close the connections."""
        await self._pod.close()

    async def _ask(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """The status of the answer.

        Raises:
            Unreviewed: there is none.
        """
        try:
            answer = await self._pod.ask("POST", path, body)
        except (OSError, httpx.HTTPError) as error:
            raise Unreviewed(f"the API server cannot be asked: {str(error) or type(error).__name__}") from None
        if answer.status_code == httpx.codes.FORBIDDEN:
            raise Unreviewed(f"the server may not create {path.rpartition('/')[2]}: {_RIGHTS}")
        if not answer.is_success:
            raise Unreviewed(f"the API server answered {answer.status_code}")
        found: dict[str, Any] = answer.json().get("status", {})
        return found
