"""Model: a model that is added to a running InferenceService, and removed from it, without new pods."""

from typing import Annotated, Literal, TypeAlias

from annotated_types import MaxLen

from pillion.resources.annotations import AtomicOf, ListMap, Name, OpenObject
from pillion.resources.base import JsonObject, ResourceModel
from pillion.resources.metadata import ObjectMeta
from pillion.resources.model import MLFLOW_SCHEMES, Digest, ModelFormat, ServedName, TypeName
from pillion.resources.rules import TextRule
from pillion.resources.status import Conditions, ModelInPod, ModelReplicas

#: Schemes that a running pod fetches from; the others need a volume, which a pod has from its start or not at all.
FETCHED_SCHEMES = ("s3", "gs", "az", "http", "https", "hf", "oci")

FetchedUri: TypeAlias = Annotated[
    str,
    MaxLen(2048),
    TextRule(
        pattern=f"^(({'|'.join(FETCHED_SCHEMES)})://|({'|'.join(MLFLOW_SCHEMES)}):/)[^ ]+$",
        message="a running pod fetches from s3:// gs:// az:// hf:// oci:// http:// https:// models:/ or runs:/; for a "
        "file of yours use the URI that 'pillion push' prints",
    ),
]


class InferenceServiceRef(ResourceModel):
    """An InferenceService of the same namespace."""

    name: Name
    """Its name."""


class DeclaredModelSpec(ResourceModel):
    """What to serve, and in whose pods."""

    inference_service_ref: InferenceServiceRef
    """The InferenceService whose pods serve the model beside their own. Its serving container is Pillion's runtime."""

    storage_uri: FetchedUri
    """Where the model's files are. Every pod fetches and verifies them."""

    digest: Digest | None = None
    """The sha256 digest that the files must have, as `pillion push` prints it."""

    model_format: ModelFormat | None = None
    """The format of the files; default: found from them."""

    name: ServedName | None = None
    """The name by which requests call the model; default: the object's name."""

    allow_pickle: bool | None = None
    """Whether formats that run code while loading (pickle, joblib, PyTorch) may be loaded. Default: false. The
    InferenceService must let Models bring them: `pickle` in its annotation `serving.pillion.dev/models-consent`."""

    trust_code: bool | None = None
    """Whether a folder of the format `python` may run the class that it holds. Default: false. The InferenceService
    must let Models bring it: `code` in its annotation `serving.pillion.dev/models-consent`."""

    config: Annotated[JsonObject, OpenObject()] | None = None
    """For the class's `reconfigure` when it is loaded."""

    trusted_types: Annotated[AtomicOf[TypeName], MaxLen(16)] | None = None
    """Types, as `package.module.Name`, that a skops file may hold besides scikit-learn's own."""


class DeclaredModelStatus(ResourceModel):
    """What the operator last saw."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""

    conditions: Conditions | None = None
    """The aspects of the state: Ready, Reconciling, Stalled."""

    served_name: str | None = None
    """The name by which requests call the model."""

    url: str | None = None
    """Where it answers inside the cluster."""

    replicas: ModelReplicas | None = None
    """In how many pods it is."""

    pods: Annotated[list[ModelInPod], MaxLen(100), ListMap(("name",))] | None = None
    """The model in each pod; of more than a hundred those that are not Ready first."""


class Model(ResourceModel):
    """A model that is added to a running InferenceService, and removed from it, without new pods."""

    api_version: Literal["serving.pillion.dev/v1beta1"]
    kind: Literal["Model"]
    metadata: ObjectMeta
    spec: DeclaredModelSpec
    """What to serve, and in whose pods."""

    status: DeclaredModelStatus | None = None
    """What the operator last saw."""

    @property
    def served_name(self) -> str:
        """The name by which requests call it."""
        return self.spec.name or self.metadata.name or ""
