"""The fields of core/v1 PodSpec that stand inline in a component, as in KServe."""

from typing import Annotated, Literal, TypeAlias

from annotated_types import MaxLen
from pydantic import Field

from pillion.resources.annotations import (
    AtomicOf,
    Count,
    ListMap,
    Name,
    NamedList,
    NamedOpen,
    Open,
    OpenObject,
    Quantity,
    TextMap,
)
from pillion.resources.base import JsonObject, ResourceModel
from pillion.resources.core import (
    Container,
    HostAlias,
    InitContainer,
    LocalObjectReference,
    ResourceRequirements,
    Toleration,
)

HostAliases: TypeAlias = Annotated[list[HostAlias], ListMap(("ip",))]
SpreadConstraint: TypeAlias = Annotated[JsonObject, OpenObject(("topologyKey", "whenUnsatisfiable"))]
SpreadConstraints: TypeAlias = Annotated[list[SpreadConstraint], ListMap(("topologyKey", "whenUnsatisfiable"))]


class SchedulingFields(ResourceModel):
    """The pod fields that both components and serving runtimes have."""

    volumes: NamedList[NamedOpen] | None = None
    node_selector: TextMap | None = None
    affinity: Open | None = None
    tolerations: AtomicOf[Toleration] | None = None
    image_pull_secrets: NamedList[LocalObjectReference] | None = None
    host_ipc: Annotated[bool | None, Field(alias="hostIPC")] = None
    scheduler_name: str | None = None
    resource_claims: NamedList[NamedOpen] | None = None


class PodFieldsWithoutContainers(SchedulingFields):
    """Every field of a pod but its containers."""

    restart_policy: Literal["Always"] | None = None
    termination_grace_period_seconds: Count | None = None
    active_deadline_seconds: Count | None = None
    dns_policy: str | None = None
    service_account_name: Name | None = None
    service_account: Name | None = None
    automount_service_account_token: bool | None = None
    node_name: str | None = None
    host_network: bool | None = None
    host_pid: Annotated[bool | None, Field(alias="hostPID")] = None
    share_process_namespace: bool | None = None
    security_context: Open | None = None
    hostname: str | None = None
    subdomain: str | None = None
    host_aliases: HostAliases | None = None
    priority_class_name: str | None = None
    priority: int | None = None
    dns_config: Open | None = None
    readiness_gates: AtomicOf[Open] | None = None
    runtime_class_name: str | None = None
    enable_service_links: bool | None = None
    preemption_policy: str | None = None
    overhead: dict[str, Quantity] | None = None
    topology_spread_constraints: SpreadConstraints | None = None
    set_hostname_as_fqdn: Annotated[bool | None, Field(alias="setHostnameAsFQDN")] = None
    os: NamedOpen | None = None
    host_users: bool | None = None
    scheduling_gates: NamedList[NamedOpen] | None = None
    resources: ResourceRequirements | None = None
    hostname_override: str | None = None


class PodFields(PodFieldsWithoutContainers):
    """Every field of a pod that makes sense in a template."""

    containers: Annotated[NamedList[Container], MaxLen(20)] | None = None
    """The containers of the pod. The one named `kserve-container` or `runtime` serves the predictions; with no model
    beside it, so does a single container of any name. Others run next to it."""

    init_containers: NamedList[InitContainer] | None = None
    """Containers that run to the end, or as native sidecars, before the others start."""
