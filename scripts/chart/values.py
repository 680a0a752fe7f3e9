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


class Routes(_Part):
    """Ways in from outside, for services with `spec.networking`. One that is off needs no rights."""

    ingress: bool = Field(True, description="Make Ingresses for services that ask for one.")
    gateway: bool = Field(True, description="Make routes of the Gateway API, where it is installed.")


class Certificates(_Part):
    """Certificates that are made for services with `tls`. A way that is off needs no rights."""

    self_signed: bool = Field(
        False, description="Make and renew them for `tls.selfSigned`: takes the right to create and update Secrets."
    )
    cert_manager: bool = Field(True, description="Have cert-manager make them for `tls.certManager`, where it is.")


class Trainings(_Part):
    """Trainings that services' own pods are asked for."""

    from_services: bool = Field(
        False,
        description="Give pods of services with `jobs.enabled` a Role for TrainingJobs: takes the rights to write "
        "Roles and RoleBindings, and what these grant.",
    )


class KServe(_Part):
    """InferenceServices of KServe, served where its CRDs are installed."""

    enabled: bool = Field(
        False,
        description="Serve them: takes the rights to read them, to write their status, and to write InferenceServices "
        "of Pillion.",
    )
    objects: Literal["labelled", "all"] = Field(
        "labelled",
        description='Which of them: those with the label `serving.pillion.dev/managed: "true"`, or all but those with '
        '`"false"`. Where KServe\'s own controller is installed, none that it may work on.',
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


class Activator(_Part):
    """What takes requests for services without pods, and starts one: needed for `minReplicas: 0`."""

    enabled: bool = Field(True, description="Run the activator; without it every service keeps a pod.")
    replica_count: int = Field(2, ge=1, description="Replicas of the activator; all take requests.")
    max_connections: int = Field(1000, ge=1, description="Connections of a replica at a time.")
    max_connections_per_service: int = Field(500, ge=1, description="Those of one Service among them.")
    wait_seconds: int = Field(300, ge=1, description="How long a request waits for the first pod.")
    connection_age_seconds: int = Field(
        300, ge=1, description="The age at which a connection is ended as soon as nothing is on its way."
    )
    admission_policy: bool = Field(
        True,
        description="Have the API server hold the activator's rights to what it does, by ValidatingAdmissionPolicies: "
        "one replica for a Deployment of ours that has none, and its own addresses in slices of ours.",
    )
    resources: Open = Field(
        {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}},
        description="Requests and limits of the activator's container.",
    )


class SidecarInjector(_Part):
    """The webhook that gives pods a sidecar."""

    enabled: bool = Field(
        False,
        description="Give pods with the label `serving.pillion.dev/sidecar` the runtime as a sidecar, by a webhook.",
    )


class LabelRequirement(_Part):
    """One requirement of a label selector, as Kubernetes has it."""

    key: str = Field(min_length=1, description="The label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How it is compared.")
    values: list[str] = Field([], description="With what, for In and NotIn.")


class NamespaceSelector(_Part):
    """The labels of the namespaces that are looked after, where scope is selected."""

    match_labels: StringMap = Field({}, description="Labels that a namespace must have.")
    match_expressions: list[LabelRequirement] = Field([], description="Further requirements.")


class ApiServer(_Part):
    """Where the API server is, for NetworkPolicies."""

    from_: OpenList = Field(
        [],
        alias="from",
        description="Peers from which it asks the sidecar webhook, as `{ipBlock: {cidr: 10.0.0.10/32}}`; needed with "
        "`sidecarInjector.enabled`.",
    )
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        [443, 6443], min_length=1, description="Its ports, before and after its Service."
    )


class NetworkPolicy(_Part):
    """NetworkPolicies of the operator's and the activator's pods."""

    enabled: bool = Field(False, description="Close the pods to all but what they are for.")
    metrics_from: OpenList = Field([], description="Peers that may read metrics; empty: everybody.")
    api_server: ApiServer = ApiServer()
    egress: bool = Field(True, description="Bound what they may reach, too: DNS, the API server, and pods.")


class AdmissionPolicy(_Part):
    """What the API server says of manifests that are valid and risky."""

    enabled: bool = Field(
        True,
        description="Look for risks in manifests: no memory limit, images without a tag or with `latest`, files from "
        "web servers without a digest.",
    )
    actions: list[Literal["Warn", "Audit", "Deny"]] = Field(
        ["Warn", "Audit"],
        min_length=1,
        json_schema_extra={"uniqueItems": True},
        description="What is done about them: a warning to whoever applies, a note in the audit log, or a refusal in "
        "place of the warning.",
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
    runbook_url: str = Field(
        "docs/runbooks/{alert}.md",
        min_length=1,
        description="Where the runbooks are, in each alert's annotation `runbook_url`; `{alert}` stands for its name. "
        "The default is their place in the project.",
    )


class Dashboards(_Part):
    """Grafana's dashboards as ConfigMaps, for the sidecar that collects them."""

    enabled: bool = Field(False, description="Create a ConfigMap for each dashboard.")
    label: str = Field("grafana_dashboard", min_length=1, description="The label that the sidecar looks for.")
    label_value: str = Field("1", description="Its value.")
    labels: StringMap = Field({}, description="Further labels.")
    annotations: StringMap = Field({}, description="Annotations, such as `grafana_folder`.")


class Values(_Part):
    """Values of the Pillion chart."""

    name_override: str = Field("", max_length=50, description="Replaces the chart's name in names and labels.")
    fullname_override: str = Field("", max_length=50, description="Replaces the prefix of every name.")
    image: Image = Image()
    image_pull_secrets: OpenList = Field([], description="Pull secrets of the operator's own pods.")
    crds: CustomResourceDefinitions = CustomResourceDefinitions()
    scope: Literal["cluster", "namespaced", "selected"] = Field(
        "cluster",
        description="Look after every namespace, after the listed ones with Roles instead of ClusterRoles, or after "
        "those that `namespaceSelector` selects.",
    )
    namespaces: list[Namespace] = Field(
        [], description="Watched namespaces where scope is namespaced; empty: the release's."
    )
    namespace_selector: NamespaceSelector = NamespaceSelector()
    replica_count: int = Field(2, ge=0, description="Replicas of the operator; one leads.")
    leader_election: LeaderElection = LeaderElection()
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    cluster_domain: str = Field("cluster.local", min_length=1, description="The domain of cluster DNS.")
    builtin_runtimes: BuiltinRuntimes = BuiltinRuntimes()
    routes: Routes = Routes()
    certificates: Certificates = Certificates()
    trainings: Trainings = Trainings()
    kserve: KServe = KServe()
    model_policy: ModelPolicy = ModelPolicy()
    activator: Activator = Activator()
    sidecar_injector: SidecarInjector = SidecarInjector()
    network_policy: NetworkPolicy = NetworkPolicy()
    admission_policy: AdmissionPolicy = AdmissionPolicy()
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
    dashboards: Dashboards = Dashboards()
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
