"""What surrounds predictions: batching, payload logs, HTTP settings, applications, certificates, the way in."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import MaxLen, MinLen
from pydantic import Field

from pillion.resources.annotations import AtomicOf, Count, Name, NamedList, Open, Percent, Positive, TextMap, Texts
from pillion.resources.base import ResourceModel
from pillion.resources.model import ModelStorageSpec
from pillion.resources.rules import Rule, TextRule

Seconds: TypeAlias = Positive
Host: TypeAlias = Annotated[str, MinLen(1), MaxLen(253)]
#: The `className` that asks for routes of the Gateway API.
GATEWAY_CLASS = "gateway"
Duration: TypeAlias = Annotated[
    str,
    MaxLen(32),
    TextRule(
        pattern="^([0-9]+([.][0-9]+)?(ms|s|m|h))+$",
        message="a duration is numbers with units, such as 500ms, 30s, 1h30m",
    ),
]


class LoggerStorageSpec(ModelStorageSpec):
    """Where payload logs are written."""

    service_account_name: Name | None = None
    """The ServiceAccount whose credentials are used."""


class LoggerSpec(ResourceModel):
    """Sends requests and responses as CloudEvents to a sink."""

    url: str | None = None
    """The sink."""

    mode: Literal["all", "request", "response"] | None = None
    """What is sent. Default: all."""

    metadata_headers: Texts | None = None
    """Request headers that are copied into the events."""

    metadata_annotations: Texts | None = None
    """Annotations of this object that are copied into the events."""

    sample_percent: Percent | None = None
    """The share of requests that are sent. Default: 100."""

    storage: LoggerStorageSpec | None = None
    """A store to write the events to instead of a sink."""

    marshaller_url: str | None = None
    """A service that turns the events into another form before they are stored."""

    batch_size: Positive | None = None
    """How many events are written at a time. Default: 1."""

    batch_interval: str | None = None
    """The longest time that an event waits for its batch to fill."""


class BatcherSpec(ResourceModel):
    """Bounds the calls that requests share. Requests share calls where the model's rows are independent."""

    max_batch_size: Positive | None = None
    """The number of rows that closes a batch. Default: 32."""

    max_latency: Count | None = None
    """The milliseconds that a request waits for others while the model is free. Default: 0."""

    timeout: Positive | None = None
    """The seconds after which a request in a batch is given up."""


class IssuerReference(ResourceModel):
    """Names an issuer of cert-manager."""

    name: Name
    """Its name."""

    kind: Annotated[str, MinLen(1), MaxLen(63)] | None = None
    """Default: Issuer."""

    group: Name | None = None
    """Default: cert-manager.io."""


class CertManagerSpec(ResourceModel):
    """A Certificate of cert-manager, which keeps the Secret."""

    issuer_ref: IssuerReference
    """Who signs."""

    duration: Duration | None = None
    """How long a certificate is good for. Default: cert-manager's."""


def _sources(tls: "TlsSpec") -> int:
    return (tls.secret_name is not None) + (tls.self_signed is True) + (tls.cert_manager is not None)


class TlsSpec(ResourceModel):
    """Serves HTTPS and gRPC over TLS; a renewed certificate is taken up in place."""

    secret_name: Name | None = None
    """A Secret of type kubernetes.io/tls in the same namespace, with `tls.crt` and `tls.key`."""

    client_ca_secret_name: Annotated[Name | None, Field(alias="clientCASecretName")] = None
    """A Secret whose `ca.crt` signs the certificates that clients must show."""

    mode: Literal["server", "mutual"] | None = None
    """Whether clients must show a certificate. Default: mutual where `clientCASecretName` is set, else server."""

    self_signed: bool | None = None
    """Whether the operator makes and renews the certificate. Its CA is in the ConfigMap `NAME-predictor-ca`."""

    cert_manager: CertManagerSpec | None = None
    """Has cert-manager make and renew the certificate."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="[has(self.secretName), has(self.selfSigned) && self.selfSigned, has(self.certManager)]"
            ".exists_one(s, s)",
            message="say once where the certificate comes from: secretName, selfSigned: true or certManager",
            field="secretName",
            holds=lambda tls: _sources(tls) == 1,
        ),
        Rule(
            cel="!has(self.mode) || self.mode != 'mutual' || has(self.clientCASecretName)",
            message="mode mutual needs clientCASecretName: the Secret whose ca.crt signs the clients' certificates",
            field="clientCASecretName",
            holds=lambda tls: tls.mode != "mutual" or tls.client_ca_secret_name is not None,
        ),
        Rule(
            cel="!has(self.mode) || self.mode != 'server' || !has(self.clientCASecretName)",
            message="clientCASecretName asks for client certificates; set mode: mutual, or leave one of the two out",
            field="mode",
            holds=lambda tls: tls.mode != "server" or tls.client_ca_secret_name is None,
        ),
    )


class ApiKeysSpec(ResourceModel):
    """Keys that callers show."""

    secret_name: Name
    """A Secret in the same namespace; each of its entries is one caller's key. Changes count without a restart."""


class ServiceAccountAuthSpec(ResourceModel):
    """Tokens of ServiceAccounts that callers show."""


class AuthSpec(ResourceModel):
    """Who may ask: callers of any kind that is named here. Absent: everybody who reaches the pods."""

    service_account: ServiceAccountAuthSpec | None = None
    """Callers with a ServiceAccount's token for the audience `pillion` and the right to `create`
    `inferenceservices/predict`. The pods' ServiceAccount needs the ClusterRole system:auth-delegator."""

    api_keys: ApiKeysSpec | None = None
    """Callers with a key of a Secret."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.serviceAccount) || has(self.apiKeys)",
            message="say who may ask: serviceAccount: {} or apiKeys, or both",
            field="apiKeys",
            holds=lambda auth: auth.service_account is not None or auth.api_keys is not None,
        ),
    )


class GatewayReference(ResourceModel):
    """Names a Gateway of the Gateway API."""

    name: Name
    """The Gateway's name."""

    namespace: Name | None = None
    """The Gateway's namespace. Default: this object's."""

    section_name: Name | None = None
    """The listener to use. Default: every listener that accepts the route."""


class RouteTlsSpec(ResourceModel):
    """Where TLS ends on the way in."""

    mode: Literal["Terminate", "Passthrough"] | None = None
    """`Terminate` ends it at the edge, `Passthrough` hands it on to the pods, which need `predictor.tls`.
    Default: Terminate."""

    secret_name: Name | None = None
    """The Secret with the certificate of an Ingress. A Gateway's listener names its own."""


class NetworkingSpec(ResourceModel):
    """The way in from outside the cluster. `hosts` and `path` may hold `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.x}}`
    and `{{.Annotations.x}}`.
    """

    class_name: Name | None = None
    """What makes the way in: `gateway` for routes of the Gateway API, or the name of an IngressClass. Default: routes
    where `gateway` is set, else an Ingress of the cluster's default class."""

    hosts: Annotated[AtomicOf[Host], MinLen(1), MaxLen(16)] | None = None
    """The host names to answer to. Default: every one that arrives there."""

    grpc_hosts: Annotated[AtomicOf[Host], MinLen(1), MaxLen(16)] | None = None
    """The host names to answer gRPC at, through a Gateway; none of `hosts`. Absent: gRPC stays inside the cluster."""

    path: Annotated[str, MaxLen(255), TextRule(pattern="^/", message="path begins with /")] | None = None
    """Below which path it is published; a Gateway takes it off again. Default: `/`."""

    gateway: GatewayReference | None = None
    """The Gateway that routes are attached to."""

    tls: RouteTlsSpec | None = None
    """Where TLS ends."""

    annotations: TextMap | None = None
    """Annotations of the routes, for what makes the way in."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.className) || (self.className == 'gateway') == has(self.gateway)",
            message="className gateway and the field gateway go together: name the Gateway in gateway, or an "
            "IngressClass in className",
            field="gateway",
            holds=lambda way: way.class_name is None or (way.class_name == GATEWAY_CLASS) == (way.gateway is not None),
        ),
        Rule(
            cel="!has(self.grpcHosts) || has(self.gateway)",
            message="grpcHosts needs gateway: an Ingress does not say which protocol it forwards",
            field="grpcHosts",
            holds=lambda way: way.grpc_hosts is None or way.gateway is not None,
        ),
        Rule(
            cel="!has(self.tls) || !has(self.tls.secretName) || !has(self.gateway)",
            message="the listener of a Gateway names its own certificate; leave out secretName",
            field="tls.secretName",
            holds=lambda way: way.tls is None or way.tls.secret_name is None or way.gateway is None,
        ),
        Rule(
            cel="!has(self.tls) || !has(self.tls.mode) || self.tls.mode != 'Passthrough' || "
            "(has(self.gateway) && has(self.hosts) && !has(self.path))",
            message="Passthrough needs gateway and hosts, and has no path: what hands TLS on sees no requests",
            field="tls.mode",
            holds=lambda way: (
                not way.passes_through or bool(way.gateway is not None and way.hosts and way.path is None)
            ),
        ),
    )

    @property
    def passes_through(self) -> bool:
        """Whether TLS is handed on to the pods."""
        return self.tls is not None and self.tls.mode == "Passthrough"


class HttpSpec(ResourceModel):
    """Settings of the HTTP server."""

    keep_alive_timeout_seconds: Seconds | None = None
    """How long idle connections stay. Default: 90."""

    request_timeout_seconds: Seconds | None = None
    """The longest a request may take; its header can shorten it. Default: none."""

    root_path: Annotated[str, MaxLen(255), TextRule(pattern="^/", message="rootPath begins with /")] | None = None
    """Below which path a proxy publishes it."""


class ApplicationSpec(ResourceModel):
    """A Python application that answers below a path of its own."""

    name: Annotated[str, MinLen(1), MaxLen(63)]
    """Its name."""

    import_path: Annotated[
        str,
        MaxLen(512),
        TextRule(
            pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$",
            message="importPath is module:attribute, such as shop.service:app",
        ),
    ]
    """Where it is, as `module:attribute`."""

    route_prefix: Annotated[str, MaxLen(255), TextRule(pattern="^/", message="routePrefix begins with /")] | None = None
    """Below which path it answers. Default: `/`."""

    args: Open | None = None
    """For its constructor."""

    config: Open | None = None
    """For its `reconfigure`, also when it changes."""

    max_ongoing_requests: Positive | None = None
    """Requests that run at a time."""

    max_queued_requests: Count | None = None
    """Requests that may wait; more are answered 429."""

    request_timeout_seconds: Seconds | None = None
    """Default: that of `http`."""


Applications: TypeAlias = Annotated[NamedList[ApplicationSpec], MaxLen(32)]


class SecretKeyReference(ResourceModel):
    """Names one key of a Secret."""

    name: Name
    """The Secret's name."""

    key: Annotated[str, MinLen(1), MaxLen(253)]
    """The key in the Secret."""


class ManagementSpec(ResourceModel):
    """Whether models may be loaded, unloaded and uploaded through the data ports."""

    enabled: bool | None = None
    """Whether management answers on the data ports. Default: false."""

    token: SecretKeyReference | None = None
    """The bearer token that management requests must carry."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.enabled) || !self.enabled || has(self.token)",
            message="management over the data ports needs token: the Secret and key that hold the bearer token",
            field="token",
            holds=lambda management: management.enabled is not True or management.token is not None,
        ),
    )


class NetworkPolicySpec(ResourceModel):
    """Which pods may connect. The cluster's network plugin must enforce NetworkPolicies."""

    from_: Annotated[AtomicOf[Open] | None, Field(alias="from")] = None
    """Peers that may reach the data ports, as in a NetworkPolicy. Empty: nobody. Default: every pod of the
    namespace."""

    admin_from: AtomicOf[Open] | None = None
    """Peers that may read the admin port, besides the operator. Empty: nobody. Default: every pod of the cluster, so
    that Prometheus can scrape."""

    egress: AtomicOf[Open] | None = None
    """What the pods may reach, as in a NetworkPolicy; the model's storage and DNS must be among it. Empty: nothing.
    Default: untouched."""


class MonitorSpec(ResourceModel):
    """An object of the Prometheus operator, which tells Prometheus to scrape the pods' admin port."""

    kind: Literal["ServiceMonitor", "PodMonitor"]
    """The kind of object. Where the cluster does not have it, `FieldsHonoured` says so until it does."""

    interval: Duration | None = None
    """How often to scrape. Default: Prometheus' own."""

    labels: TextMap | None = None
    """Labels by which Prometheus selects the object."""


class MetricsSpec(ResourceModel):
    """Metrics for Prometheus."""

    enabled: bool | None = None
    """Whether pods carry the annotations by which Prometheus finds them. Default: true."""

    on_data_port: bool | None = None
    """Whether `/metrics` answers on the data port too. Default: false."""

    monitor: MonitorSpec | None = None
    """An object of the Prometheus operator to create."""
