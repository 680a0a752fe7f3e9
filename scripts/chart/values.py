"""The chart's values as a model: `values.schema.json` is generated from it, and a test holds `values.yaml` against it.

Helm checks the schema on install, upgrade, lint and template, so that a mistyped key is refused and not ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from pillion.runtimefile import TYPE_NAME

__all__ = ["Values", "schema"]

StringMap = dict[str, str]
#: A part of a Pod that Kubernetes itself checks.
Open = dict[str, JsonValue]
OpenList = list[Open]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Share = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^(100|[0-9]{1,2})%$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Image(_Part):
    """Where and which images: {registry}/{operator|runtime}:{tag}."""

    registry: str = Field("localhost", description="The one registry that both images come from.")
    operator: str = Field("pillion-operator", min_length=1, description="Repository of the operator's image.")
    runtime: str = Field("pillion-runtime", min_length=1, description="Repository of the runtime's image.")
    tag: str = Field("", description="Tag of both images; empty: the chart's appVersion.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the images are pulled."
    )


class CustomResourceDefinitions(_Part):
    """The custom resource definitions as part of the release."""

    enabled: bool = Field(True, description="Install and upgrade the definitions with the release.")
    keep: bool = Field(True, description="Leave the definitions and their objects in the cluster on uninstall.")


class LeaderElection(_Part):
    """One replica leads, the others wait."""

    enabled: bool = Field(True, description="Elect a leader by a Lease; without it one replica is allowed.")
    lease_duration_seconds: int = Field(12, ge=3, description="How long the lease lives without a renewal.")
    renew_deadline_seconds: int = Field(8, ge=2, description="How long the leader tries to renew before it ends.")
    retry_period_seconds: int = Field(2, ge=1, description="How often each replica tries.")


class BuiltinRuntimes(_Part):
    """The ClusterServingRuntimes that come with the operator."""

    enabled: bool = Field(
        True,
        description="Apply the built-in ClusterServingRuntimes. Those of PyTorch and Hugging Face use the images "
        "`{tag}-torch` and `{tag}-huggingface`.",
    )


class ModelPolicy(_Part):
    """What is accepted of model files."""

    pickle: Literal["deny", "perObject", "allow"] = Field(
        "perObject",
        description="Formats that can run code (pickle, joblib): never, where a manifest says `allowPickle: true`, or "
        "always. A namespace's label `serving.pillion.dev/pickle-policy` comes before it.",
    )
    code: Literal["deny", "perObject", "allow"] = Field(
        "perObject",
        description="Classes in Python that are fetched like a model (format `python`): never, where a manifest says "
        "`trustCode: true`, or always. A namespace's label `serving.pillion.dev/code-policy` comes before it.",
    )
    trusted_types: list[Annotated[str, Field(pattern=TYPE_NAME)]] = Field(
        [], description="Types, as `package.module.Name`, that skops files may hold in every namespace."
    )


class PodDisruptionBudget(_Part):
    """How many of the operator's replicas a drain leaves."""

    enabled: bool = Field(True, description="Create the budget.")
    min_available: Share | None = Field(None, description="Replicas that stay, a number or a percentage.")
    max_unavailable: Share | None = Field(1, description="Replicas that may go, a number or a percentage.")


class ServiceAccount(_Part):
    """The operator's identity."""

    create: bool = Field(True, description="Create the account.")
    name: str = Field("", description="Its name; empty: the release's full name.")
    annotations: StringMap = Field({}, description="Annotations, such as a cloud role.")
    labels: StringMap = Field({}, description="Further labels.")


class Rbac(_Part):
    """Roles and bindings."""

    create: bool = Field(True, description="Create the operator's roles and bindings.")
    aggregate_cluster_roles: bool = Field(
        True, description="Give the roles view, edit and admin their part of the custom resources."
    )


class MetricsService(_Part):
    """The Service in front of the operator's metrics and health."""

    annotations: StringMap = Field({}, description="Annotations of the Service.")
    labels: StringMap = Field({}, description="Further labels of the Service.")


class Metrics(_Part):
    """How the operator's metrics are found."""

    annotations: bool = Field(True, description="prometheus.io/* annotations on the operator's pods.")
    service: MetricsService = MetricsService()


class ServiceMonitor(_Part):
    """For the Prometheus operator; its CRDs must be in the cluster."""

    enabled: bool = Field(False, description="Create a ServiceMonitor.")
    interval: str = Field("30s", pattern=r"^[0-9]+(ms|s|m|h)$", description="How often to scrape.")
    scrape_timeout: str = Field("10s", pattern=r"^[0-9]+(ms|s|m|h)$", description="When a scrape has failed.")
    labels: StringMap = Field({}, description="Further labels, such as the one your Prometheus selects by.")
    annotations: StringMap = Field({}, description="Annotations.")


class PrometheusRule(_Part):
    """Alerts for the Prometheus operator; its CRDs must be in the cluster."""

    enabled: bool = Field(False, description="Create a PrometheusRule.")
    labels: StringMap = Field({}, description="Further labels.")
    annotations: StringMap = Field({}, description="Annotations.")
    additional_rules: OpenList = Field([], description="Rules beside the chart's own.")


class Values(_Part):
    """Values of the Pillion chart."""

    name_override: str = Field("", max_length=50, description="Replaces the chart's name in names and labels.")
    fullname_override: str = Field("", max_length=50, description="Replaces the prefix of every name.")
    image: Image = Image()
    image_pull_secrets: OpenList = Field([], description="Pull secrets of the operator's own pods.")
    crds: CustomResourceDefinitions = CustomResourceDefinitions()
    scope: Literal["cluster", "namespaced"] = Field(
        "cluster", description="Watch every namespace, or the listed ones with Roles instead of ClusterRoles."
    )
    namespaces: list[Namespace] = Field(
        [], description="Watched namespaces where scope is namespaced; empty: the release's."
    )
    replica_count: int = Field(2, ge=0, description="Replicas of the operator; one leads.")
    leader_election: LeaderElection = LeaderElection()
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    cluster_domain: str = Field("cluster.local", min_length=1, description="The domain of cluster DNS.")
    builtin_runtimes: BuiltinRuntimes = BuiltinRuntimes()
    model_policy: ModelPolicy = ModelPolicy()
    resources: Open = Field(
        {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        description="Requests and limits of the operator's container.",
    )
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    service_account: ServiceAccount = ServiceAccount()
    rbac: Rbac = Rbac()
    metrics: Metrics = Metrics()
    service_monitor: ServiceMonitor = ServiceMonitor()
    prometheus_rule: PrometheusRule = PrometheusRule()
    pod_security_context: Open = Field(
        {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        description="Security context of the operator's pods.",
    )
    security_context: Open = Field(
        {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        description="Security context of the operator's container.",
    )
    deployment_annotations: StringMap = Field({}, description="Annotations of the Deployment.")
    pod_annotations: StringMap = Field({}, description="Annotations of the pods.")
    pod_labels: StringMap = Field({}, description="Further labels of the pods.")
    common_labels: StringMap = Field({}, description="Labels of every object of the release.")
    node_selector: StringMap = Field({"kubernetes.io/os": "linux"}, description="Labels that a node must have.")
    affinity: Open = Field({}, description="Affinity of the pods.")
    tolerations: OpenList = Field([], description="Tolerations of the pods.")
    topology_spread_constraints: OpenList = Field([], description="How the pods spread over nodes and zones.")
    priority_class_name: str = Field("", description="Priority class of the pods.")
    termination_grace_period_seconds: int = Field(30, ge=0, description="Seconds a pod has to end by itself.")
    extra_env: OpenList = Field([], description="Further environment of the operator's container, as in a Pod.")
    volumes: OpenList = Field([], description="Further volumes of the pods.")
    volume_mounts: OpenList = Field([], description="Further mounts of the operator's container.")


def schema() -> dict[str, JsonValue]:
    """Return the JSON schema of the values, as Helm reads it.

    ``global`` is allowed at the top because Helm passes it to a chart that is a dependency of another.
    """
    made = Values.model_json_schema(by_alias=True)
    _strip(made)
    made["properties"]["global"] = {"type": "object", "description": "Values of a parent chart; not used here."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _strip(node: object) -> None:
    """Remove what says nothing: the titles that pydantic makes of field names."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for child in node.values():
            _strip(child)
    elif isinstance(node, list):
        for child in node:
            _strip(child)
