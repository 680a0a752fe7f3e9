"""CustomResourceDefinitions, made from the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import yaml

from pillion.resources.base import GROUP, VERSION, JsonObject, ResourceModel
from pillion.resources.batchprediction import BatchPrediction
from pillion.resources.declaredmodel import Model
from pillion.resources.inferenceservice import InferenceService
from pillion.resources.schema import structural_schema
from pillion.resources.servingruntime import ClusterServingRuntime, ServingRuntime
from pillion.resources.trainingjob import TrainingJob

if TYPE_CHECKING:
    from pydantic import JsonValue

#: The greatest size of a CRD as compact JSON, in bytes: client-side apply keeps a copy of the object in an annotation,
#: whose limit is 256 KiB, and Helm keeps all of a release in one Secret.
SIZE_LIMIT = 200 * 1024


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    #: Columns above zero are shown by `-o wide` only.
    priority: int = 0

    def as_manifest(self) -> JsonObject:
        """Return the entry of `additionalPrinterColumns`."""
        column: JsonObject = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            column["description"] = self.description
        if self.priority:
            column["priority"] = self.priority
        return column


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of custom resource, as the API server is to know it."""

    model: type[ResourceModel]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    namespaced: bool = True
    #: Whether somebody waits for it: an object that no operator has seen yet then does not pass for a finished one.
    awaited: bool = False

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        """The name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_RUNTIME_COLUMNS = (
    Column("Disabled", ".spec.disabled", "boolean"),
    Column("Formats", ".spec.supportedModelFormats[*].name"),
    Column("Containers", ".spec.containers[*].name"),
    _AGE,
)

KINDS = (
    Kind(
        model=InferenceService,
        plural="inferenceservices",
        short_name="pisvc",
        awaited=True,
        columns=(
            Column("URL", ".status.url"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Replicas", ".status.replicas.summary", description="Ready and wanted pods of the predictor."),
            Column("Canary", ".status.canary.actual", "integer", "The newest version's percentage of the requests."),
            Column("Model", ".status.modelStatus.states.activeModelState"),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
            _AGE,
            Column("Runtime", ".status.runtime.name", priority=1),
            Column("Message", ".status.conditions[?(@.type=='Ready')].message", priority=1),
        ),
    ),
    Kind(model=ServingRuntime, plural="servingruntimes", short_name="prt", columns=_RUNTIME_COLUMNS),
    Kind(
        model=ClusterServingRuntime,
        plural="clusterservingruntimes",
        short_name="pcrt",
        columns=_RUNTIME_COLUMNS,
        namespaced=False,
    ),
    Kind(
        model=Model,
        plural="models",
        short_name="pmodel",
        awaited=True,
        columns=(
            Column("Service", ".spec.inferenceServiceRef.name"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Replicas", ".status.replicas.summary", description="Pods that serve it, and pods that should."),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
            _AGE,
            Column("Name", ".status.servedName", priority=1),
            Column("URI", ".spec.storageUri", priority=1),
            Column("Message", ".status.conditions[?(@.type=='Ready')].message", priority=1),
        ),
    ),
    Kind(
        model=TrainingJob,
        plural="trainingjobs",
        short_name="ptrain",
        awaited=True,
        columns=(
            Column("State", ".status.state"),
            Column("Progress", ".status.progress", "integer", "How far the training says it is, in percent."),
            Column("Attempts", ".status.attempts", "integer", "How many pods were started."),
            Column("Reason", ".status.reason"),
            _AGE,
            Column("Artifact", ".status.artifact.uri", priority=1),
            Column("Message", ".status.message", priority=1),
        ),
    ),
    Kind(
        model=BatchPrediction,
        plural="batchpredictions",
        short_name="pbatch",
        awaited=True,
        columns=(
            Column("State", ".status.state"),
            Column("Shards", ".status.shards.summary", description="Parts of the input that are done, and all."),
            Column("Rows", ".status.rows.written", "integer", "Rows that have a prediction."),
            Column("Failed", ".status.rows.failed", "integer", "Rows that have a reason instead."),
            Column("Reason", ".status.reason"),
            _AGE,
            Column("Output", ".status.output", priority=1),
            Column("Message", ".status.message", priority=1),
        ),
    ),
)


def custom_resource_definition(kind: Kind) -> JsonObject:
    """Return the CRD of a kind. It has no `scale` subresource: autoscalers target the Deployment."""
    columns: list[JsonValue] = [column.as_manifest() for column in kind.columns]
    schema = structural_schema(kind.model)
    if kind.awaited:
        # Tools that wait take an object without a status for ready; one whose status is of another generation they
        # do not. Of the spec nothing has a default. Source: kstatus, "The Ready condition" and observedGeneration.
        status = cast("dict[str, JsonObject]", schema["properties"])["status"]
        status["default"] = {"observedGeneration": -1}
    version: JsonObject = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["pillion"],
            },
            "versions": [version],
        },
    }


def crd_yaml(kind: Kind) -> str:
    """Return the CRD as YAML, the text of its file in `crds/`."""
    # Aliases would hide from readers, and from some tools, what a field allows.
    text = yaml.dump(
        custom_resource_definition(kind), Dumper=_PlainDumper, sort_keys=False, width=160, allow_unicode=True
    )
    return f"# Generated from runtime/src/pillion/resources by 'make generate'. Do not edit.\n{text}"


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        del data
        return True
