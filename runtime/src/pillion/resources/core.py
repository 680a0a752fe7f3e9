"""The parts of Kubernetes' core/v1 that manifests embed: containers, environment, ports, probes, resources.

These are typed because people write them by hand most. What lies deeper (security contexts, life cycle hooks,
affinity) stays an open object: the API server checks it when the Deployment is applied. Field names follow the
core/v1 API of Kubernetes 1.34; they carry no descriptions, which would triple the CRD.
"""

from typing import Annotated, Literal, TypeAlias

from annotated_types import MaxLen, MinLen
from pydantic import Field

from pillion.resources.annotations import (
    AtomicMap,
    AtomicOf,
    IntOrString,
    ListMap,
    Name,
    NamedList,
    NamedOpen,
    Open,
    OpenObject,
    PortNumber,
    Quantity,
    Texts,
)
from pillion.resources.base import JsonObject, ResourceModel

#: A container's or volume's name: an RFC 1123 label.
LabelName: TypeAlias = Annotated[str, MinLen(1), MaxLen(63)]


class LocalObjectReference(ResourceModel):
    """Names an object in the same namespace."""

    name: Name


class KeySelector(ResourceModel):
    """Names one key of a ConfigMap or Secret."""

    name: Name
    key: str
    optional: bool | None = None


class FieldSelector(ResourceModel):
    """Names a field of the pod."""

    api_version: str | None = None
    field_path: str


class ResourceFieldSelector(ResourceModel):
    """Names a resource of a container."""

    container_name: str | None = None
    resource: str
    divisor: Quantity | None = None


class EnvVarSource(ResourceModel):
    """Says where an environment variable's value comes from."""

    config_map_key_ref: Annotated[KeySelector, AtomicMap()] | None = None
    secret_key_ref: Annotated[KeySelector, AtomicMap()] | None = None
    field_ref: Annotated[FieldSelector, AtomicMap()] | None = None
    resource_field_ref: Annotated[ResourceFieldSelector, AtomicMap()] | None = None
    file_key_ref: Open | None = None


class EnvVar(ResourceModel):
    """One environment variable."""

    name: Annotated[str, MinLen(1)]
    value: str | None = None
    value_from: EnvVarSource | None = None


class EnvFromReference(ResourceModel):
    """Names a ConfigMap or Secret whose every key becomes a variable."""

    name: Name
    optional: bool | None = None


class EnvFromSource(ResourceModel):
    """Takes many environment variables from one object."""

    prefix: str | None = None
    config_map_ref: EnvFromReference | None = None
    secret_ref: EnvFromReference | None = None


class ResourceRequirements(ResourceModel):
    """What a container asks for and may use at most."""

    limits: dict[str, Quantity] | None = None
    requests: dict[str, Quantity] | None = None
    claims: NamedList[NamedOpen] | None = None


class ContainerPort(ResourceModel):
    """A port that a container listens on."""

    name: str | None = None
    container_port: PortNumber
    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    host_port: PortNumber | None = None
    host_ip: Annotated[str | None, Field(alias="hostIP")] = None


class HttpHeader(ResourceModel):
    """A header of a probe's request."""

    name: str
    value: str


class HttpGetAction(ResourceModel):
    """Probes by an HTTP request."""

    path: str | None = None
    port: IntOrString | None = None
    host: str | None = None
    scheme: Literal["HTTP", "HTTPS"] | None = None
    http_headers: AtomicOf[HttpHeader] | None = None


class ExecAction(ResourceModel):
    """Probes by a command."""

    command: Texts | None = None


class GrpcAction(ResourceModel):
    """Probes by the standard gRPC health service."""

    port: PortNumber
    service: str | None = None


class TcpSocketAction(ResourceModel):
    """Probes by opening a connection."""

    port: IntOrString
    host: str | None = None


class Probe(ResourceModel):
    """How the kubelet asks a container whether it is well."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    grpc: GrpcAction | None = None
    tcp_socket: TcpSocketAction | None = None
    initial_delay_seconds: int | None = None
    timeout_seconds: int | None = None
    period_seconds: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    termination_grace_period_seconds: int | None = None


class VolumeMount(ResourceModel):
    """Where a volume appears in a container."""

    name: LabelName
    mount_path: str
    sub_path: str | None = None
    sub_path_expr: str | None = None
    read_only: bool | None = None
    recursive_read_only: str | None = None
    mount_propagation: str | None = None


VolumeMounts: TypeAlias = Annotated[list[VolumeMount], ListMap(("mountPath",))]
OpenVolumeMount: TypeAlias = Annotated[JsonObject, OpenObject(("name", "mountPath"))]
PullPolicy: TypeAlias = Literal["Always", "IfNotPresent", "Never"]


class ProcessFields(ResourceModel):
    """The plain fields of a container, shared by everything that becomes one container."""

    image: str | None = None
    image_pull_policy: PullPolicy | None = None
    command: Texts | None = None
    args: Texts | None = None
    working_dir: str | None = None
    resources: ResourceRequirements | None = None
    lifecycle: Open | None = None
    security_context: Open | None = None


class ContainerFields(ProcessFields):
    """All fields of a container but its name."""

    env: NamedList[EnvVar] | None = None
    env_from: AtomicOf[EnvFromSource] | None = None
    ports: AtomicOf[ContainerPort] | None = None
    volume_mounts: VolumeMounts | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    volume_devices: AtomicOf[NamedOpen] | None = None
    resize_policy: AtomicOf[Open] | None = None
    restart_policy: str | None = None
    restart_policy_rules: AtomicOf[Open] | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    tty: bool | None = None
    termination_message_path: str | None = None
    termination_message_policy: Literal["File", "FallbackToLogsOnError"] | None = None


class OpenEnvVar(ResourceModel):
    """One environment variable whose source is left open."""

    name: Annotated[str, MinLen(1)]
    value: str | None = None
    value_from: Open | None = None


class SmallContainerFields(ProcessFields):
    """The fields of a container that people set, the deeper ones open.

    Eleven format shorthands stand beside each other; in full they alone would fill the CRD.
    """

    env: NamedList[OpenEnvVar] | None = None
    env_from: AtomicOf[Open] | None = None
    ports: AtomicOf[Open] | None = None
    volume_mounts: Annotated[list[OpenVolumeMount], ListMap(("mountPath",))] | None = None
    liveness_probe: Open | None = None
    readiness_probe: Open | None = None
    startup_probe: Open | None = None


class Container(ContainerFields):
    """A container of the pod."""

    name: LabelName


class InitContainer(SmallContainerFields):
    """A container that runs before the others, or beside them as a native sidecar."""

    name: LabelName
    restart_policy: str | None = None
    volume_devices: AtomicOf[Open] | None = None
    resize_policy: AtomicOf[Open] | None = None
    restart_policy_rules: AtomicOf[Open] | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    tty: bool | None = None
    termination_message_path: str | None = None
    termination_message_policy: str | None = None


class Toleration(ResourceModel):
    """Lets the pod onto nodes with a taint."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class HostAlias(ResourceModel):
    """A line of /etc/hosts."""

    ip: str
    hostnames: Texts | None = None


class RollingUpdate(ResourceModel):
    """How many pods a rollout may add or take at a time."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DeploymentStrategy(ResourceModel):
    """How new pods replace old ones."""

    type: Literal["RollingUpdate", "Recreate"] | None = None
    rolling_update: RollingUpdate | None = None


__all__ = [
    "Container",
    "ContainerFields",
    "ContainerPort",
    "DeploymentStrategy",
    "EnvFromSource",
    "EnvVar",
    "HostAlias",
    "LabelName",
    "LocalObjectReference",
    "Probe",
    "ProcessFields",
    "ResourceRequirements",
    "RollingUpdate",
    "Toleration",
    "VolumeMount",
]
