"""The operator's configuration: flags over environment (`PILLION_OPERATOR_*`) over defaults."""

from __future__ import annotations

import os
import re
import socket
import uuid
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, NoDecode, SettingsConfigDict

from pillion.policy import ConsentPolicy
from pillion.runtimefile import TYPE_NAME
from pillion_operator.client.lease import LeaseTimes
from pillion_operator.state.settings import RenderSettings

__all__ = ["OperatorSettings"]

Seconds = Annotated[float, Gt(0)]
Names = Annotated[tuple[str, ...], NoDecode]


def _identity() -> str:
    # A container that restarts in its pod keeps the host name; the former process may still be on its way out.
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


class OperatorSettings(BaseSettings):
    """Every setting of `pillion-operator`."""

    model_config = SettingsConfigDict(
        env_prefix="PILLION_OPERATOR_",
        env_ignore_empty=True,
        cli_prog_name="pillion-operator",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        extra="ignore",
        frozen=True,
    )

    namespaces: Names = ()
    """Namespaces to look after, separated by commas; none means the whole cluster."""
    kubeconfig: Path | None = None
    """Kubeconfig to use; by default the pod's service account, else KUBECONFIG."""

    runtime_image: str = RenderSettings().runtime_image
    """Image of the built-in serving runtimes and of the storage init container."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of that image."""
    image_pull_secrets: Names = ()
    """Names of Secrets for pulling that image, in the namespaces of InferenceServices; separated by commas."""
    cluster_domain: str = "cluster.local"
    """Domain of cluster DNS."""
    builtin_runtimes: CliImplicitFlag[bool] = True
    """Whether the built-in ClusterServingRuntimes are created and kept."""

    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Formats that can run code: deny, perObject or allow; a namespace's label comes before it."""
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Classes that are fetched like a model: deny, perObject or allow; a namespace's label comes before it."""
    trusted_types: Names = ()
    """Types that skops files may hold in every namespace, as package.module.Name; separated by commas."""

    leader_election: CliImplicitFlag[bool] = True
    """Whether replicas elect a leader; switch it off only where there can never be two."""
    lease_name: str = "pillion-operator"
    """Name of the Lease."""
    lease_namespace: str = ""
    """Namespace of the Lease; by default the operator's own."""
    deployment_name: str = ""
    """Name of the operator's own Deployment, in that namespace: the Lease goes when it is deleted."""
    lease_duration_seconds: Seconds = LeaseTimes().duration
    """Time without renewal after which another replica takes over."""
    lease_renew_deadline_seconds: Seconds = LeaseTimes().renew_deadline
    """Time without renewal after which the leader stops writing and ends."""
    lease_retry_seconds: Seconds = LeaseTimes().retry
    """Time between attempts to take or renew the lease."""
    identity: str = Field(default_factory=_identity)
    """This replica's name in the Lease."""

    workers: Annotated[int, Ge(1), Le(64)] = 8
    """How many InferenceServices are worked on at a time."""
    resync_seconds: Seconds = 60.0
    """Time between the lists that correct what watches missed."""

    http_host: str = "0.0.0.0"  # noqa: S104 - Prometheus and the kubelet come from outside
    """Address of metrics and probes."""
    http_port: Annotated[int, Ge(0), Le(65535)] = 8083
    """Port of metrics and probes; 0 lets the system choose."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""

    @field_validator("trusted_types")
    @classmethod
    def _types(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in names if not re.fullmatch(TYPE_NAME, name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no type: write package.module.Name")
        return names

    @field_validator("namespaces", "image_pull_secrets", "trusted_types", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_duration_seconds:
            raise ValueError("the lease needs retry < renew deadline < duration; set all three, or none")
        return self

    @property
    def render(self) -> RenderSettings:
        """The settings that manifests depend on."""
        return RenderSettings(
            runtime_image=self.runtime_image,
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=self.image_pull_secrets,
            cluster_domain=self.cluster_domain,
            pickle_policy=self.pickle_policy,
            code_policy=self.code_policy,
            trusted_types=self.trusted_types,
            operator_namespace=pod_namespace(),
        )

    @property
    def lease_times(self) -> LeaseTimes:
        """The election's times."""
        return LeaseTimes(self.lease_duration_seconds, self.lease_renew_deadline_seconds, self.lease_retry_seconds)


def pod_namespace() -> str:
    """Return the operator's own namespace where the pod says it, else nothing."""
    return os.environ.get("POD_NAMESPACE", "")
