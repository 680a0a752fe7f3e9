"""The rights that the operator needs: the one place from which the chart's Roles are made.

A test runs the operator under exactly these, and checks that each is used. Secrets are readable by name only: neither
`list` nor `watch` is granted, and what must be known of them are the names that manifests and ServiceAccounts give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import (
    BATCH_PREDICTION,
    CERTIFICATE,
    CHILDREN,
    CLUSTER_SERVING_RUNTIME,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    GATEWAY,
    GATEWAY_ROUTES,
    INFERENCE_SERVICE,
    INGRESS,
    JOB,
    KSERVE_INFERENCE_SERVICE,
    LEASE,
    MODEL,
    MUTATING_WEBHOOK_CONFIGURATION,
    NAMESPACE,
    OPTIONAL,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    ROLE,
    ROLE_BINDING,
    ROUTES,
    SECRET,
    SERVICE_ACCOUNT,
    SERVING_RUNTIME,
    SUBJECT_ACCESS_REVIEW,
    TRAINING_JOB,
    VALIDATING_WEBHOOK_CONFIGURATION,
    Kind,
)
from pillion_operator.state.kserve import KSERVE_WEBHOOK
from pillion_operator.state.names import WEBHOOK_CONFIGURATION, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Collection

    from pillion.resources.base import JsonObject

__all__ = [
    "Rule",
    "activator_manifests",
    "activator_own_rules",
    "activator_rules",
    "cert_manager_rules",
    "cluster_rules",
    "gateway_rules",
    "ingress_rules",
    "kserve_cluster_rules",
    "kserve_rules",
    "lease_rules",
    "manifests",
    "namespace_rules",
    "selector_rules",
    "self_signed_rules",
    "service_training_rules",
    "used_rules",
    "webhook_cluster_rules",
    "webhook_rules",
]

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
        _rule(BATCH_PREDICTION, *_READ),
        _rule(BATCH_PREDICTION, "patch", subresource="status"),
        _rule(BATCH_PREDICTION, "update", subresource="finalizers"),
        # A Job is made once, suspended and resumed, and deleted where its training is cancelled.
        _rule(JOB, *_READ, "create", "patch", "delete"),
        *(
            _rule(kind, *_OWN)
            for kind in CHILDREN
            if kind not in {ENDPOINT_SLICE, CERTIFICATE, ROLE, ROLE_BINDING, *ROUTES}
        ),
        # Its lists are whole or ours: nobody adds an entry that would have to be taken out.
        _rule(ENDPOINT_SLICE, *_READ, "create", "patch", "delete"),
        _rule(DEPLOYMENT, "patch", subresource="scale"),
        # What was rolled out is kept, to go back to.
        _rule(CONTROLLER_REVISION, *_READ, "create", "patch", "delete"),
        # An annotation on a running pod makes the kubelet bring a changed ConfigMap to it at once.
        _rule(POD, *_READ, "patch"),
        _rule(SECRET, "get"),
        _rule(SERVICE_ACCOUNT, "get"),
        _rule(PERSISTENT_VOLUME_CLAIM, "get"),
        # For the labels that carry policies. In a Role it reaches that namespace only.
        _rule(NAMESPACE, "get"),
        _rule(EVENT, "get", "create", "patch"),
    )


def ingress_rules() -> tuple[Rule, ...]:
    """Return what ways in by Ingresses need in every namespace that is looked after."""
    return (_rule(INGRESS, *_OWN),)


def gateway_rules() -> tuple[Rule, ...]:
    """Return what ways in by the Gateway API need; a Gateway's listeners say where a route answers."""
    return (*(_rule(kind, *_OWN) for kind in GATEWAY_ROUTES), _rule(GATEWAY, "get"))


def self_signed_rules() -> tuple[Rule, ...]:
    """Return what certificates of the operator's own need. Whoever makes pods can read and use every Secret beside
    them anyway; the operator writes only Secrets that it has made.
    """
    return (_rule(SECRET, "create", "update"),)


def cert_manager_rules() -> tuple[Rule, ...]:
    """Return what certificates by cert-manager need; it writes their Secrets by itself."""
    return (_rule(CERTIFICATE, *_OWN),)


def service_training_rules() -> tuple[Rule, ...]:
    """Return what trainings through services' own APIs need: their pods may make TrainingJobs by a Role of theirs.

    Nobody grants what they may not do, so the operator may do it, too; it never does.
    """
    return (
        _rule(ROLE, *_OWN),
        _rule(ROLE_BINDING, *_OWN),
        _rule(TRAINING_JOB, "create", "patch"),
    )


def kserve_rules() -> tuple[Rule, ...]:
    """Return what KServe's InferenceServices need: one of ours stands for each, and has its status mirrored."""
    return (
        _rule(KSERVE_INFERENCE_SERVICE, *_READ),
        _rule(KSERVE_INFERENCE_SERVICE, "patch", subresource="status"),
        _rule(INFERENCE_SERVICE, "create", "patch", "update", "delete"),
    )


def kserve_cluster_rules() -> tuple[Rule, ...]:
    """Return what they need besides: whether KServe's own controller is there. Its webhook has no namespace."""
    return (_rule(VALIDATING_WEBHOOK_CONFIGURATION, "get", names=(KSERVE_WEBHOOK,)),)


def cluster_rules() -> tuple[Rule, ...]:
    """Return what is needed besides, where the whole cluster is looked after."""
    return (
        _rule(CLUSTER_SERVING_RUNTIME, *_READ, "create", "patch"),
        _rule(CLUSTER_SERVING_RUNTIME, "patch", subresource="status"),
        # Whether the pods of a service that knows callers by their tokens may ask about those.
        _rule(SUBJECT_ACCESS_REVIEW, "create"),
    )


def used_rules(kinds: Collection[Kind], *, cluster: bool) -> tuple[Rule, ...]:
    """Return what is used in a namespace of a cluster that has those of the optional kinds.

    Left out is what only some clusters ask for: owner references that block a deletion.
    """
    lacks = {(kind.group, kind.plural) for kind in OPTIONAL if kind not in kinds}
    theirs = kserve_rules() if KSERVE_INFERENCE_SERVICE in kinds else ()
    routes = (*ingress_rules(), *gateway_rules())
    theirs += service_training_rules() if ROLE in kinds else ()
    rules = (*namespace_rules(), *routes, *cert_manager_rules(), *theirs, *(cluster_rules() if cluster else ()))
    gateways = any(kind in kinds for kind in GATEWAY_ROUTES)
    return tuple(
        rule
        for rule in rules
        if (rule.group, rule.resource) not in lacks
        and not rule.resource.endswith("/finalizers")
        and (gateways or rule.resource != GATEWAY.plural)
    )


def selector_rules() -> tuple[Rule, ...]:
    """Return what is needed besides, where namespaces are selected by their labels."""
    return (_rule(NAMESPACE, "list", "watch"),)


def lease_rules(lease_name: str = "pillion-operator") -> tuple[Rule, ...]:
    """Return what is needed in the operator's own namespace; a name cannot be checked while it is being created.

    The Lease has the name of the operator's Deployment, which it belongs to.
    """
    own = (lease_name,)
    return (
        _rule(LEASE, "create"),
        _rule(LEASE, "get", "update", names=own),
        _rule(DEPLOYMENT, "get", names=own),
        # Where the activator's replicas are.
        _rule(ENDPOINT_SLICE, "list"),
    )


def activator_rules() -> tuple[Rule, ...]:
    """Return what the activator needs in every namespace whose services it stands for.

    The chart's ValidatingAdmissionPolicies narrow both patches: one replica where there is none, and the addresses in
    slices of the operator.
    """
    return (
        _rule(ENDPOINT_SLICE, "list", "watch", "patch"),
        _rule(INFERENCE_SERVICE, "list", "watch"),
        _rule(DEPLOYMENT, "get", "patch", subresource="scale"),
    )


def activator_own_rules() -> tuple[Rule, ...]:
    """Return what the activator needs in its own namespace: where its replicas are."""
    return (_rule(ENDPOINT_SLICE, "list", "watch"),)


def webhook_rules(secret: str = WEBHOOK_SECRET) -> tuple[Rule, ...]:
    """Return what the sidecar injector needs in the operator's own namespace: the Secret comes with the chart."""
    return (_rule(SECRET, "get", "update", names=(secret,)),)


def webhook_cluster_rules(configuration: str = WEBHOOK_CONFIGURATION) -> tuple[Rule, ...]:
    """Return what it needs besides: its configuration, which comes with the chart and has no namespace."""
    return (_rule(MUTATING_WEBHOOK_CONFIGURATION, "get", "patch", names=(configuration,)),)


def manifests(
    *,
    service_account: str,
    operator_namespace: str,
    namespaces: tuple[str, ...] = (),
    name: str = "pillion-operator",
    lease_name: str = "pillion-operator",
    selected: bool = False,
    sidecar_injector: bool = False,
    kserve: bool = False,
) -> tuple[JsonObject, ...]:
    """Return the Roles and bindings of one installation; without `namespaces` for the whole cluster.

    `selected` where it looks after those namespaces of the cluster that have some labels; `kserve` where KServe's
    InferenceServices are served.
    """
    found = _bound(
        "Role", f"{name}-lease", operator_namespace, lease_rules(lease_name), service_account, operator_namespace
    )
    watched = (
        *namespace_rules(),
        *ingress_rules(),
        *gateway_rules(),
        *self_signed_rules(),
        *cert_manager_rules(),
        *service_training_rules(),
        *(kserve_rules() if kserve else ()),
    )
    if kserve:
        found += _bound(
            "ClusterRole", f"{name}-kserve", "", kserve_cluster_rules(), service_account, operator_namespace
        )
    if sidecar_injector:
        account = (service_account, operator_namespace)
        found += _bound("Role", f"{name}-webhook", operator_namespace, webhook_rules(), *account)
        found += _bound("ClusterRole", f"{name}-webhook", "", webhook_cluster_rules(), *account)
    if not namespaces:
        rules = (*watched, *cluster_rules(), *(selector_rules() if selected else ()))
        return (*found, *_bound("ClusterRole", name, "", rules, service_account, operator_namespace))
    for namespace in namespaces:
        found += _bound("Role", name, namespace, watched, service_account, operator_namespace)
    return found


def activator_manifests(
    *, service_account: str, operator_namespace: str, namespaces: tuple[str, ...] = (), name: str = "pillion-activator"
) -> tuple[JsonObject, ...]:
    """Return the Roles and bindings of the activator; without `namespaces` for the whole cluster."""
    account = (service_account, operator_namespace)
    found = _bound("Role", f"{name}-own", operator_namespace, activator_own_rules(), *account)
    if not namespaces:
        return (*found, *_bound("ClusterRole", name, "", activator_rules(), *account))
    for namespace in namespaces:
        found += _bound("Role", name, namespace, activator_rules(), *account)
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
