"""The operator's configuration: flags over environment (`PILLION_OPERATOR_*`) over defaults."""

from __future__ import annotations

import os
import re
import socket
import uuid
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, field_validator, model_validator
from pydantic_settings import CliImplicitFlag, SettingsConfigDict

from pillion.policy import ConsentPolicy
from pillion.runtimefile import TYPE_NAME
from pillion_operator.builders.serving_certificate import SERVICE_TIMES, CertificateTimes
from pillion_operator.client.lease import LeaseTimes
from pillion_operator.program import Names, ProgramSettings
from pillion_operator.state.kinds import (
    CERTIFICATE,
    GATEWAY_ROUTES,
    INGRESS,
    KSERVE_INFERENCE_SERVICE,
    OPTIONAL,
    ROLE,
    ROLE_BINDING,
    Kind,
)
from pillion_operator.state.kserve import KServeScope
from pillion_operator.state.names import WEBHOOK_CONFIGURATION, WEBHOOK_SECRET
from pillion_operator.state.settings import RenderSettings

__all__ = ["OperatorSettings"]

Seconds = Annotated[float, Gt(0)]


def _identity() -> str:
    # A container that restarts in its pod keeps the host name; the former process may still be on its way out.
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


class OperatorSettings(ProgramSettings):
    """Every setting of `pillion-operator`."""

    model_config = SettingsConfigDict(
        env_prefix="PILLION_OPERATOR_",
        cli_prog_name="pillion-operator",
    )

    namespaces: Names = ()
    """Namespaces to look after, separated by commas; none means the whole cluster."""
    namespace_selector: str = ""
    """Label selector of the namespaces to look after, in place of their names, such as tenant=shop."""

    runtime_image: str = RenderSettings().runtime_image
    """Image of the built-in serving runtimes and of the storage init container."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of that image."""
    image_pull_secrets: Names = ()
    """Names of Secrets for pulling that image, in the namespaces of InferenceServices; separated by commas."""
    cluster_domain: str = "cluster.local"
    """Domain of cluster DNS."""
    ingress_routes: CliImplicitFlag[bool] = True
    """Whether services may have a way in by an Ingress; without, no right about Ingresses is needed."""
    gateway_routes: CliImplicitFlag[bool] = True
    """Whether services may have a way in by the Gateway API; without, no right about its kinds is needed."""
    cert_manager: CliImplicitFlag[bool] = True
    """Whether services may have certificates by cert-manager; without, no right about its kinds is needed."""
    self_signed: CliImplicitFlag[bool] = False
    """Whether services may have certificates by a CA of their own; without, no right to write Secrets is needed."""
    self_signed_ca_seconds: Seconds = SERVICE_TIMES.ca
    """Life of such a CA, which has a successor after half of it."""
    self_signed_certificate_seconds: Seconds = SERVICE_TIMES.certificate
    """Life of such a certificate, which is renewed after two thirds."""
    self_signed_settle_seconds: Seconds = SERVICE_TIMES.settle
    """How long clients may take to learn of a new CA, by the ConfigMap."""
    service_trainings: CliImplicitFlag[bool] = False
    """Whether services with jobs.enabled may make TrainingJobs; without, no right about Roles is needed."""
    kserve: CliImplicitFlag[bool] = False
    """Whether InferenceServices of KServe are served, where its CustomResourceDefinitions are."""
    kserve_objects: KServeScope = KServeScope.LABELLED
    """Which of them: labelled, by serving.pillion.dev/managed: "true", or all where KServe's controller is not."""
    builtin_runtimes: CliImplicitFlag[bool] = True
    """Whether the built-in ClusterServingRuntimes are created and kept."""

    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Formats that can run code: deny, perObject or allow; a namespace's label comes before it."""
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Classes that are fetched like a model: deny, perObject or allow; a namespace's label comes before it."""
    trusted_types: Names = ()
    """Types that skops files may hold in every namespace, as package.module.Name; separated by commas."""

    activator_service: str = ""
    """Name of the activator's Service, in the operator's own namespace; without one no service is scaled to zero."""

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

    sidecar_injector: CliImplicitFlag[bool] = False
    """Whether pods that ask for one by their label are given a sidecar; the next settings are about its webhook."""
    webhook_port: Annotated[int, Ge(0), Le(65535)] = 8084
    """Port of the webhook; 0 lets the system choose."""
    webhook_hosts: Names = ()
    """Names and addresses by which the API server reaches the webhook, separated by commas."""
    webhook_secret: str = WEBHOOK_SECRET
    """Name of the Secret for its certificates, in the operator's own namespace; the leader writes it."""
    webhook_configuration: str = WEBHOOK_CONFIGURATION
    """Name of the MutatingWebhookConfiguration whose caBundle the leader writes."""
    webhook_ca_seconds: Seconds = CertificateTimes().ca
    """Life of its CA, which has a successor after half of it."""
    webhook_certificate_seconds: Seconds = CertificateTimes().certificate
    """Life of its certificate, which is renewed after two thirds."""
    webhook_settle_seconds: Seconds = CertificateTimes().settle
    """How long API servers and replicas may take to learn of new ones."""

    workers: Annotated[int, Ge(1), Le(64)] = 8
    """How many InferenceServices are worked on at a time."""
    resync_seconds: Seconds = 60.0
    """Time between the lists that correct what watches missed."""

    http_host: str = "0.0.0.0"  # noqa: S104 - Prometheus and the kubelet come from outside
    """Address of metrics and probes."""
    http_port: Annotated[int, Ge(0), Le(65535)] = 8083
    """Port of metrics and probes; 0 lets the system choose."""

    @field_validator("trusted_types")
    @classmethod
    def _types(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in names if not re.fullmatch(TYPE_NAME, name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no type: write package.module.Name")
        return names

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_duration_seconds:
            raise ValueError("the lease needs retry < renew deadline < duration; set all three, or none")
        if self.sidecar_injector and not self.webhook_hosts:
            raise ValueError(
                "the sidecar injector needs webhook_hosts: write the name of its Service, NAME.NAMESPACE.svc"
            )
        for whose, times in (("the webhook's", self.certificate_times), ("self-signed", self.self_signed_times)):
            if not times.settle * 4 <= times.certificate <= times.ca:
                raise ValueError(f"{whose} certificates need 4 x settle <= certificate <= CA; set all three, or none")
        if self.namespaces and self.namespace_selector:
            raise ValueError("namespaces and namespace_selector are two ways to say the same; keep one")
        return self

    @property
    def optional_kinds(self) -> tuple[Kind, ...]:
        """The kinds that are used where the cluster has them."""
        left_out = (
            *(() if self.ingress_routes else (INGRESS,)),
            *(() if self.gateway_routes else GATEWAY_ROUTES),
            *(() if self.cert_manager else (CERTIFICATE,)),
            *(() if self.service_trainings else (ROLE, ROLE_BINDING)),
        )
        theirs = (KSERVE_INFERENCE_SERVICE,) if self.kserve else ()
        return (*(kind for kind in OPTIONAL if kind not in left_out), *theirs)

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
            activator=bool(self.activator_service),
            operator_namespace=pod_namespace(),
        )

    @property
    def certificate_times(self) -> CertificateTimes:
        """The lives of the webhook's certificates."""
        return CertificateTimes(self.webhook_ca_seconds, self.webhook_certificate_seconds, self.webhook_settle_seconds)

    @property
    def self_signed_times(self) -> CertificateTimes:
        """The lives of services' own certificates."""
        return CertificateTimes(
            self.self_signed_ca_seconds, self.self_signed_certificate_seconds, self.self_signed_settle_seconds
        )

    @property
    def lease_times(self) -> LeaseTimes:
        """The election's times."""
        return LeaseTimes(self.lease_duration_seconds, self.lease_renew_deadline_seconds, self.lease_retry_seconds)


def pod_namespace() -> str:
    """Return the operator's own namespace where the pod says it, else nothing."""
    return os.environ.get("POD_NAMESPACE", "")
