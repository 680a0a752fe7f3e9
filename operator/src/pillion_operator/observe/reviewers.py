"""Whether pods may ask the API server about their callers: asked of the API server, which decides it.

Source: authorization.k8s.io/v1 SubjectAccessReview.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.observe.remembered import Remembered
from pillion_operator.state.kinds import SUBJECT_ACCESS_REVIEW
from pillion_operator.state.manifest import value_at
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.manifest import Key, Manifest

__all__ = ["ReviewerRights"]

_ROLE: Final = "system:auth-delegator"
#: By group, what is created to learn whose a token is and what they may.
_NEEDED: Final = {"authentication.k8s.io": "tokenreviews", "authorization.k8s.io": "subjectaccessreviews"}


class ReviewerRights:
    """Asks for the rights of ServiceAccounts, each once in a while."""

    def __init__(self, client: KubernetesClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._lacking: Remembered[tuple[str, ...]] = Remembered(clock)

    async def problem(self, account: Key) -> Problem | None:
        """Return what keeps pods of that ServiceAccount from knowing their callers.

        None also where the operator may not ask, as with a Role only: the runtime says it then.
        """
        lacking = self._lacking.get(account)
        if lacking is None:
            try:
                lacking = tuple([name for group, name in _NEEDED.items() if not await self._may(account, group, name)])
            except ApiError as error:
                if not error.refused:
                    raise
                lacking = ()
            self._lacking.put(account, lacking, found=not lacking)
        if not lacking:
            return None
        text = (
            f"ServiceAccount {account.name!r} may not create {' and '.join(lacking)}, so the pods know nobody by a "
            "token and turn away whoever shows one"
        )
        made = f"pillion-{account.namespace}-{account.name}"
        remedy = (
            f"have an administrator run 'kubectl create clusterrolebinding {made} --clusterrole={_ROLE} "
            f"--serviceaccount={account.namespace}:{account.name}'"
        )
        return Problem(Reason.CALLERS_NOT_REVIEWED, text, f"ServiceAccount/{account.name}", remedy=remedy)

    async def _may(self, account: Key, group: str, resource: str) -> bool:
        kind = SUBJECT_ACCESS_REVIEW
        groups = ("serviceaccounts", f"serviceaccounts:{account.namespace}", "authenticated")
        review: Manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "spec": {
                "user": f"system:serviceaccount:{account.namespace}:{account.name}",
                "groups": [f"system:{group_}" for group_ in groups],
                "resourceAttributes": {"group": group, "resource": resource, "verb": "create"},
            },
        }
        return value_at(await self._client.create(kind, review), "status", "allowed") is True
