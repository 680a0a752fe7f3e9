"""What every builder is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.owner import owner_reference
from pillion_operator.state.names import PREDICTOR, RUNTIME_CONTAINER, common_labels, component_name, owner_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.resources import InferenceService, JsonObject, ModelSpec, PredictorSpec
    from pillion_operator.builders.credentials import StorageCredentials
    from pillion_operator.builders.declared import Declarations
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Problem
    from pillion_operator.state.policies import NamespaceRules
    from pillion_operator.state.settings import RenderSettings

__all__ = ["DEFAULT_DEADLINE_SECONDS", "DEFAULT_WINDOW_SECONDS", "BuildContext", "child_manifest"]

#: How long a leaving pod still takes requests: 1.2 times the age at which gRPC connections are renewed, and one more.
DEFAULT_WINDOW_SECONDS: Final = 25
#: The runtime's deadline of a request that brings none.
DEFAULT_DEADLINE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class BuildContext:
    """One InferenceService, the serving container that was chosen for it, and the operator's settings.

    Attributes:
        service: the InferenceService as parsed.
        uid: its uid, for owner references.
        container: the container that serves: the runtime's merged with the manifest's, placeholders filled.
        model: the model to place, None where the containers bring their own.
        runtime_pod: the serving runtime's pod fields and other containers, in wire form; empty for custom containers.
        credentials: how the storage init container gets at the store.
        settings: the installation's choices.
        rules: the namespace's policies for artifacts that can run code.
        declared: the models that pods are told of while they run.
        unserved: those of `predictor.models` that the chosen container cannot serve, by name.
        component: which component is built; one beside the predictor stands in the predictor's place in `service`.
    """

    service: InferenceService
    uid: str
    container: JsonObject
    model: ModelSpec | None
    credentials: StorageCredentials
    settings: RenderSettings
    rules: NamespaceRules
    runtime_pod: JsonObject = field(default_factory=dict)
    sidecars: tuple[JsonObject, ...] = ()
    declared: Declarations | None = None
    unserved: Mapping[str, Problem] = field(default_factory=dict)
    component: str = PREDICTOR

    @property
    def name(self) -> str:
        """The InferenceService's name."""
        return self.service.metadata.name or ""

    @property
    def namespace(self) -> str:
        """The InferenceService's namespace."""
        return self.service.metadata.namespace or ""

    @property
    def predictor(self) -> PredictorSpec:
        """The component that is built."""
        return self.service.spec.predictor

    @property
    def child_name(self) -> str:
        """The name of the Deployment, the Service and the PodDisruptionBudget."""
        return component_name(self.name, self.component)

    @property
    def selector(self) -> dict[str, str]:
        """The labels by which the pods are known."""
        return owner_labels(self.name, self.component)

    @property
    def storage_uri(self) -> str:
        """Where the model's files are, empty where the model brings no place, or the predictor several."""
        if self.model is None or self.predictor.storage_uris:
            return ""
        return self.model.storage_uri or self.credentials.uri

    @property
    def ours(self) -> bool:
        """Whether the serving container is Pillion's runtime, which reads runtime.yaml and knows how to drain."""
        return self.container.get("name") == RUNTIME_CONTAINER

    @property
    def fetches(self) -> bool:
        """Whether the serving container fetches models itself, and so needs the credentials for it."""
        several = bool(self.predictor.models)
        return self.ours and (several or (self.declared is not None and bool(self.declared.models)))

    @property
    def window_seconds(self) -> int:
        """How long a leaving pod still takes requests."""
        given = self.predictor.drain.window_seconds if self.predictor.drain else None
        return DEFAULT_WINDOW_SECONDS if given is None else given

    @property
    def longest_request_seconds(self) -> int:
        """How long a request in progress may take after the window."""
        given = self.predictor.drain.timeout_seconds if self.predictor.drain else None
        if given is not None:
            return given
        http = self.predictor.http
        bounds = [application.request_timeout_seconds for application in self.predictor.applications or ()]
        bounds.append(http.request_timeout_seconds if http else None)
        return max([self.predictor.timeout or DEFAULT_DEADLINE_SECONDS, *filter(None, bounds)])

    def manifest(self, kind: Kind, name: str, body: JsonObject, labels: Mapping[str, str] | None = None) -> JsonObject:
        """Return a child's manifest: see `child_manifest`."""
        return child_manifest(self.service, self.uid, kind, name, body, labels, component=self.component)


def child_manifest(
    service: InferenceService,
    uid: str,
    kind: Kind,
    name: str,
    body: JsonObject,
    labels: Mapping[str, str] | None = None,
    *,
    component: str = PREDICTOR,
) -> JsonObject:
    """Return a child's manifest: names, labels and the owner reference around `body`; our own labels win."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": name,
            "namespace": service.metadata.namespace or "",
            "labels": {**(labels or {}), **common_labels(service.metadata.name or "", component)},
            "ownerReferences": [owner_reference(service, uid)],
        },
        **body,
    }
