"""The rights that the operator needs: the one place from which the chart's Roles are made.

A test runs the operator under exactly these, and checks that each is used. Secrets are readable by name only: neither
`list` nor `watch` is granted, and what must be known of them are the names that manifests and ServiceAccounts give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import (
    CHILDREN,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    EVENT,
    INFERENCE_SERVICE,
    JOB,
    LEASE,
    MODEL,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
    SERVING_RUNTIME,
    TRAINING_JOB,
    Kind,
)

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

__all__ = ["Rule", "cluster_rules", "lease_rules", "manifests", "namespace_rules"]

_READ: Final = ("get", "list", "watch")
#: Server-side apply needs `patch`, and `create` where the object is not there yet; taking out what others added is an
#: `update`.
_OWN: Final = (*_READ, "create", "patch", "update", "delete")


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a Role's `rules`."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def as_manifest(self) -> JsonObject:
        """Return it in wire form."""
        entry: JsonObject = {"apiGroups": [self.group], "resources": [self.resource], "verbs": [*self.verbs]}
        return entry | ({"resourceNames": [*self.names]} if self.names else {})


def _rule(kind: Kind, *verbs: str, subresource: str = "", names: tuple[str, ...] = ()) -> Rule:
    return Rule(kind.group, f"{kind.plural}/{subresource}" if subresource else kind.plural, verbs, names)


def namespace_rules() -> tuple[Rule, ...]:
    """Return what is needed in every namespace that is looked after."""
    return (
        _rule(INFERENCE_SERVICE, *_READ),
        _rule(INFERENCE_SERVICE, "patch", subresource="status"),
        # Owner references that block the owner's deletion need this where OwnerReferencesPermissionEnforcement is on.
        _rule(INFERENCE_SERVICE, "update", subresource="finalizers"),
        _rule(SERVING_RUNTIME, *_READ),
        _rule(SERVING_RUNTIME, "patch", subresource="status"),
        _rule(MODEL, *_READ),
        _rule(MODEL, "patch", subresource="status"),
        _rule(TRAINING_JOB, *_READ),
        _rule(TRAINING_JOB, "patch", subresource="status"),
        _rule(TRAINING_JOB, "update", subresource="finalizers"),
        # A Job is made once, suspended and resumed, and deleted where its training is cancelled.
        _rule(JOB, *_READ, "create", "patch", "delete"),
        *(_rule(kind, *_OWN) for kind in CHILDREN),
        _rule(DEPLOYMENT, "patch", subresource="scale"),
        # An annotation on a running pod makes the kubelet bring a changed ConfigMap to it at once.
        _rule(POD, *_READ, "patch"),
        _rule(SECRET, "get"),
        _rule(SERVICE_ACCOUNT, "get"),
        _rule(PERSISTENT_VOLUME_CLAIM, "get"),
        # For the labels that carry policies. In a Role it reaches that namespace only.
        _rule(NAMESPACE, "get"),
        _rule(EVENT, "get", "create", "patch"),
    )


def cluster_rules() -> tuple[Rule, ...]:
    """Return what is needed besides, where the whole cluster is looked after."""
    return (
        _rule(CLUSTER_SERVING_RUNTIME, *_READ, "create", "patch"),
        _rule(CLUSTER_SERVING_RUNTIME, "patch", subresource="status"),
    )


def lease_rules(lease_name: str = "pillion-operator") -> tuple[Rule, ...]:
    """Return what is needed in the operator's own namespace; a name cannot be checked while it is being created.

    The Lease has the name of the operator's Deployment, which it belongs to.
    """
    own = (lease_name,)
    return (_rule(LEASE, "create"), _rule(LEASE, "get", "update", names=own), _rule(DEPLOYMENT, "get", names=own))


def manifests(
    *,
    service_account: str,
    operator_namespace: str,
    namespaces: tuple[str, ...] = (),
    name: str = "pillion-operator",
    lease_name: str = "pillion-operator",
) -> tuple[JsonObject, ...]:
    """Return the Roles and bindings of one installation; without `namespaces` for the whole cluster."""
    found = _bound(
        "Role", f"{name}-lease", operator_namespace, lease_rules(lease_name), service_account, operator_namespace
    )
    if not namespaces:
        rules = (*namespace_rules(), *cluster_rules())
        return (*found, *_bound("ClusterRole", name, "", rules, service_account, operator_namespace))
    for namespace in namespaces:
        found += _bound("Role", name, namespace, namespace_rules(), service_account, operator_namespace)
    return found


def _bound(
    kind: str, name: str, namespace: str, rules: tuple[Rule, ...], account: str, account_namespace: str
) -> tuple[JsonObject, ...]:
    group = "rbac.authorization.k8s.io"
    metadata: JsonObject = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    subject: JsonObject = {"kind": "ServiceAccount", "name": account, "namespace": account_namespace}
    role: JsonObject = {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": metadata,
        "rules": [rule.as_manifest() for rule in rules],
    }
    binding: JsonObject = {
        "apiVersion": f"{group}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": [subject],
    }
    return role, binding
