"""The custom resources of Pillion: one schema, from which CRDs, validation and the reference pages come.

Neither kopf, nor a cluster client, nor anything of the serving stack is imported here.
"""

from pillion.resources.base import API_VERSION, GROUP, VERSION, JsonObject, ResourceModel
from pillion.resources.batchprediction import (
    BatchInputSpec,
    BatchModelSpec,
    BatchPrediction,
    BatchPredictionSpec,
    BatchPredictionStatus,
)
from pillion.resources.component import (
    FORMAT_SHORTHANDS,
    SERVING_CONTAINERS,
    CanarySpec,
    ComponentSpec,
    ExplainerSpec,
    PredictorSpec,
    TransformerSpec,
    WorkerSpec,
)
from pillion.resources.conventions import annotation, is_stopped, unhonoured_annotations
from pillion.resources.declaredmodel import DeclaredModelSpec, Model
from pillion.resources.honoured import UnhonouredField, unhonoured_fields
from pillion.resources.inferenceservice import NAME_LIMIT, InferenceService, InferenceServiceSpec
from pillion.resources.manifests import Manifest, ManifestError, load_manifests
from pillion.resources.metadata import ObjectMeta
from pillion.resources.model import FormatSpec, ModelFormat, ModelSpec, ModelStorageSpec
from pillion.resources.rollout import ArtifactStorage, ArtifactVolume, DrainSpec, RolloutSpec
from pillion.resources.servingruntime import (
    ClusterServingRuntime,
    ServingRuntime,
    ServingRuntimeSpec,
    ServingRuntimeStatus,
    SupportedModelFormat,
)
from pillion.resources.status import (
    Address,
    CanaryState,
    ComponentStatus,
    Condition,
    FailureInfo,
    InferenceServiceStatus,
    Libraries,
    ModelCopies,
    ModelStates,
    ModelStatus,
    ReplicasStatus,
    RuntimeChoice,
    TrafficTarget,
)
from pillion.resources.traffic import GATEWAY_CLASS, HttpSpec, MetricsSpec, NetworkingSpec, NetworkPolicySpec, TlsSpec
from pillion.resources.training_places import CheckpointSpec, JobsSpec, OutputSpec
from pillion.resources.trainingjob import (
    DatasetSpec,
    DeploySpec,
    TrainedArtifact,
    TrainingJob,
    TrainingJobSpec,
    TrainingJobStatus,
)
from pillion.resources.validation import Problem, validate

__all__ = [
    "API_VERSION",
    "FORMAT_SHORTHANDS",
    "GATEWAY_CLASS",
    "GROUP",
    "NAME_LIMIT",
    "SERVING_CONTAINERS",
    "VERSION",
    "Address",
    "ArtifactStorage",
    "ArtifactVolume",
    "BatchInputSpec",
    "BatchModelSpec",
    "BatchPrediction",
    "BatchPredictionSpec",
    "BatchPredictionStatus",
    "CanarySpec",
    "CanaryState",
    "CheckpointSpec",
    "ClusterServingRuntime",
    "ComponentSpec",
    "ComponentStatus",
    "Condition",
    "DatasetSpec",
    "DeclaredModelSpec",
    "DeploySpec",
    "DrainSpec",
    "ExplainerSpec",
    "FailureInfo",
    "FormatSpec",
    "HttpSpec",
    "InferenceService",
    "InferenceServiceSpec",
    "InferenceServiceStatus",
    "JobsSpec",
    "JsonObject",
    "Libraries",
    "Manifest",
    "ManifestError",
    "MetricsSpec",
    "Model",
    "ModelCopies",
    "ModelFormat",
    "ModelSpec",
    "ModelStates",
    "ModelStatus",
    "ModelStorageSpec",
    "NetworkPolicySpec",
    "NetworkingSpec",
    "ObjectMeta",
    "OutputSpec",
    "PredictorSpec",
    "Problem",
    "ReplicasStatus",
    "ResourceModel",
    "RolloutSpec",
    "RuntimeChoice",
    "ServingRuntime",
    "ServingRuntimeSpec",
    "ServingRuntimeStatus",
    "SupportedModelFormat",
    "TlsSpec",
    "TrafficTarget",
    "TrainedArtifact",
    "TrainingJob",
    "TrainingJobSpec",
    "TrainingJobStatus",
    "TransformerSpec",
    "UnhonouredField",
    "WorkerSpec",
    "annotation",
    "is_stopped",
    "load_manifests",
    "unhonoured_annotations",
    "unhonoured_fields",
    "validate",
]
