"""What a predictor serves: a model of a format, where its files are, and the process that serves it."""

from typing import Annotated, Literal, TypeAlias

from annotated_types import MaxLen, MinLen
from pydantic import Field

from pillion.resources.annotations import AtomicOf, Name, OpenObject, Shallow, TextMap
from pillion.resources.base import JsonObject, ResourceModel
from pillion.resources.core import ContainerFields, SmallContainerFields
from pillion.resources.rules import TextRule
from pillion.runtimefile import TYPE_NAME

#: Schemes of storage URIs. Those after `configmap` are accepted because KServe's manifests and MLflow's use them;
#: the operator says in a condition where one is not honoured yet.
STORAGE_SCHEMES = (
    "file", "pvc", "s3", "gs", "az", "http", "https", "configmap",
    "hf", "oci", "oci+native", "oci+fetch", "hdfs", "webhdfs",
)  # fmt: skip
MLFLOW_SCHEMES = ("models", "runs")

_SCHEMES = "|".join(scheme.replace("+", "[+]") for scheme in STORAGE_SCHEMES)

StorageUri: TypeAlias = Annotated[
    str,
    MaxLen(2048),
    TextRule(
        pattern=f"^(({_SCHEMES})://[^ ]+( +[^ ]+)*|({'|'.join(MLFLOW_SCHEMES)}):/[^ ]+|/[^ ]*)$",
        message="a storage URI begins with a scheme, such as s3:// or pvc://, as 'pillion push' prints it",
    ),
]

Digest: TypeAlias = Annotated[
    str,
    MaxLen(71),
    TextRule(pattern="^sha256:[0-9a-f]{64}$", message="a digest is 'sha256:' and 64 hexadecimal digits in lower case"),
]

TypeName: TypeAlias = Annotated[
    str, MaxLen(253), TextRule(pattern=TYPE_NAME, message="write a type as package.module.Name")
]

ProtocolVersion: TypeAlias = Literal["v1", "v2", "grpc-v1", "grpc-v2"]


class ModelStorageSpec(ResourceModel):
    """An object in a store whose address and credentials are in the Secret `storage-config`."""

    key: str | None = None
    """The key of the Secret `storage-config` that describes the store; default: by the type, then `default`."""

    path: str | None = None
    """The path of the model in the store's bucket."""

    parameters: TextMap | None = None
    """Settings that override those of the Secret, such as `type`, `bucket`, `region`, `endpoint_url`."""

    schema_path: str | None = None
    """The path of a schema file of the model's inputs and outputs."""


class ConfidentialSpec(ResourceModel):
    """Encrypted model files, as in KServe."""

    enabled: bool
    """Whether the model's files are encrypted."""

    resource_id: str | None = None
    """The key's identifier at the key broker, `kbs:///repository/type/tag`."""


class ModelFormat(ResourceModel):
    """The format of a model's files."""

    name: Annotated[str, MinLen(1), MaxLen(63)]
    """The format's name, such as `sklearn` or `onnx`; a serving runtime that supports it is chosen."""

    version: Annotated[str, MaxLen(63)] | None = None
    """The format's version: major, major.minor or major.minor.patch. An exact match is preferred over none."""


class ModelSource(ResourceModel):
    """Where a model is and which runtime serves it."""

    storage_uri: StorageUri | None = None
    """Where the model's files are. They are verified and placed at `/mnt/models`."""

    digest: Digest | None = None
    """The sha256 digest that the files must have, as `pillion push` prints it."""

    storage: ModelStorageSpec | None = None
    """The model as an object in a store known by the Secret `storage-config`."""

    runtime: Name | None = None
    """The serving runtime to use; default: chosen by format, version and priority."""

    runtime_version: Annotated[str, MaxLen(128)] | None = None
    """The tag of the runtime's image; default: as the runtime names it."""

    protocol_version: ProtocolVersion | None = None
    """The protocol that the runtime must speak."""

    allow_pickle: bool | None = None
    """Whether pickle, joblib and PyTorch files may be loaded: they run code. Default: false."""

    confidential: ConfidentialSpec | None = None
    """Encrypted model files."""


class TrustedTypes(ResourceModel):
    """For formats whose files name the types they are made of."""

    trusted_types: Annotated[AtomicOf[TypeName], MaxLen(64)] | None = None
    """Types, as `package.module.Name`, that a skops file may hold besides scikit-learn's own."""


class FormatSpec(ModelSource, SmallContainerFields):
    """A model whose format is the field's name; its other fields are those of the container that serves it."""

    name: Annotated[str, MaxLen(63)] | None = None
    """The container's name."""

    storage: Annotated[ModelStorageSpec, Shallow()] | None = None
    """The model as an object in a store known by the Secret `storage-config`."""

    confidential: Annotated[ConfidentialSpec, Shallow()] | None = None
    """Encrypted model files."""


class SklearnSpec(FormatSpec, TrustedTypes):
    """A scikit-learn model; its other fields are those of the container that serves it."""


class ModelSpec(ModelSource, TrustedTypes, ContainerFields):
    """A model of any format; its other fields are those of the container that serves it."""

    model_format: ModelFormat
    """The format of the model's files."""

    trust_code: bool | None = None
    """Whether a class may run that is fetched like a model (format `python`). Default: false."""

    name: Annotated[str, MaxLen(63)] | None = None
    """The container's name."""


class StorageUriSpec(ResourceModel):
    """One of several places that files come from."""

    uri: StorageUri
    """Where the files are."""

    mount_path: Annotated[str, MaxLen(255), Field(pattern="^/.*")] | None = None
    """Where they are placed in the container. Default: `/mnt/models`."""


StorageUris: TypeAlias = Annotated[AtomicOf[StorageUriSpec], MinLen(1), MaxLen(16)]


ServedName: TypeAlias = Annotated[
    str,
    MinLen(1),
    MaxLen(63),
    TextRule(
        pattern="^[A-Za-z0-9][A-Za-z0-9_-]*([.][A-Za-z0-9_-]+)*$",
        message="a model's name has letters, digits, '-', '_' and single '.', and begins with a letter or digit",
    ),
]


class NamedModel(TrustedTypes):
    """One of several models that one runtime serves."""

    name: ServedName
    """The name of the model in requests."""

    model_format: ModelFormat
    """The format of the model's files."""

    storage_uri: StorageUri | None = None
    """Where the model's files are."""

    digest: Digest | None = None
    """The sha256 digest that the files must have."""

    storage: ModelStorageSpec | None = None
    """The model as an object in a store known by the Secret `storage-config`."""

    version: Annotated[str, MaxLen(63)] | None = None
    """The version under which the model answers; another one with each change. Default: made of what is declared."""

    allow_pickle: bool | None = None
    """Whether formats that run code while loading may be loaded. Default: false."""

    trust_code: bool | None = None
    """Whether the class in a folder of the format `python` may run. Default: false."""

    config: Annotated[JsonObject, OpenObject()] | None = None
    """For the class's `reconfigure`, also when it changes."""
