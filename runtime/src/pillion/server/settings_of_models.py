"""Settings of what is served, and of who may change it; see :mod:`pillion.server.settings`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from pillion.policy import ConsentPolicy
from pillion.runtimefile import DEVICE
from pillion.server.section import Positive, Seconds, Section, require_key

__all__ = ["InferenceSettings", "JobsSettings", "ManagementSettings", "ModelSettings"]

_LARGEST_IN_A_DATABASE: Final = 1000 * 1024 * 1024
"""A value of PostgreSQL takes 1 GiB."""
_UNITS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class InferenceSettings(Section, frozen=True):
    """Calls of models through the data ports."""

    enabled: bool = True
    """Whether models compute for requests; off: there are no such routes and methods, for servers of jobs alone."""


class ManagementSettings(Section, frozen=True):
    """Changes through the data ports."""

    enabled: bool = False
    """Whether models may be deployed, loaded and unloaded through the data ports."""
    token: str | None = None
    """Key for that, shown as auth.api_key is; asked for where it is set, and needed beyond loopback and where callers
    have keys of their own. Never shown."""
    max_upload_bytes: Positive = 16 * 1024 * 1024 * 1024
    """Largest model that is sent as multipart/form-data; it is written to disk as it arrives."""

    def __post_init__(self) -> None:
        """Refuse what no header can carry."""
        require_key(self.token, "management.token (PILLION_MANAGEMENT__TOKEN)")


class ModelSettings(Section, frozen=True):
    """What is accepted of artifacts."""

    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Formats that can run code while they are loaded: deny, perObject (where a model says allowPickle) or allow."""
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Classes that were fetched like a model: deny, perObject (where a model says trustCode) or allow."""
    accelerate: Literal["none", "onnx"] = "none"
    """onnx: scikit-learn models are computed by ONNX Runtime where that was seen to give equal answers faster."""
    device: Annotated[str, Meta(pattern=DEVICE)] = "auto"
    """Where models compute that say nothing of it and can: cpu, cuda, cuda:1; auto: by CUDA where there is a device."""
    intra_op_threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """Threads inside one call, of models that say nothing of it; 0: their share of the CPU quota."""
    store: str = ""
    """Folder of the models that requests deploy; they are served again after a restart. Empty: none can be deployed."""
    watch: str = ""
    """Folder whose files and folders are models: what appears in it is served, what goes is not. Empty: none."""
    watch_quiet_seconds: Seconds = 2.0
    """How long a file or folder in it must not have changed, so that no half copied model is loaded."""
    watch_allow_pickle: bool = False
    """Whether formats that can run code are loaded from it, where the policy leaves that to owners."""
    lazy: bool = False
    """Whether models that are deployed, or found in a watched folder, are loaded by their first request."""
    keep_versions: Annotated[int, Meta(ge=0)] = 0
    """Versions of a model that stay in the store, the newest; deployed ones and those with an alias stay. 0: all."""
    keep_seconds: Annotated[float, Meta(ge=0)] = 0.0
    """How long versions stay in the store; the newest, deployed ones and those with an alias stay. 0: for ever."""
    memory_budget: str = ""
    """Memory for models, 4Gi or bytes: above it, lazy ones not used for longest are unloaded. Empty: no bound."""
    declared: str = "/etc/pillion/models/models.json"
    """File of models that are declared while the server runs, followed where its folder is there. Empty: none."""
    pod: str = ""
    """This pod's name in placement.json, beside that file: only its own models are loaded, requests for others are
    passed to the pods that have them. PILLION_POD_NAME is another name of the variable. Empty: all are loaded."""
    declared_folder: str = ""
    """Where their files are kept; by default a folder for temporary files."""
    declared_sources: str = "/mnt/sources"
    """Folder of the mounted volumes, KIND/NAME, that declared models may be taken from. Empty: from none."""
    declared_stores: str = "/etc/pillion/stores"
    """Folder of the entries that describe stores of declared models, a file each, as in the Secret storage-config."""
    health_period_seconds: Seconds = 10.0
    """Seconds between two calls of a model's check_health. While it fails, the model is not ready."""
    health_timeout_seconds: Seconds = 10.0
    """Seconds that it may take."""
    health_failures: Annotated[int, Meta(ge=0)] = 3
    """Failures in a row after which the model is loaded anew, or its worker process replaced; 0: never."""
    bundled: str = ""
    """A runtime.yaml of an image that brings its own models: they are served beside those of --config. Empty: none."""

    def __post_init__(self) -> None:
        """Refuse what is no number of bytes."""
        self.budget()

    def budget(self) -> int | None:
        """The memory budget in bytes."""
        text = self.memory_budget.strip()
        if not text:
            return None
        number = text.rstrip("KMGTi")
        unit = _UNITS.get(text[len(number) :])
        if unit is None or not number.isdecimal() or int(number) == 0:
            raise ValueError(f"models.memory_budget: expected bytes, or a number with Ki, Mi, Gi or Ti, got {text!r}")
        return int(number) * unit


class JobsSettings(Section, frozen=True):
    """Prediction jobs and trainings."""

    folder: str = ""
    """Where jobs, their results, logs and checkpoints are kept, for one server at a time. Empty: none are taken."""
    database: str | None = None
    """URL of a PostgreSQL database (postgresql://...) that servers of one service share, instead. Never shown."""
    database_schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "pillion"
    """Schema of its tables, one for each service."""
    lease_seconds: Annotated[float, Meta(ge=1, le=600)] = 15.0
    """How long a server that shares them may be silent before its jobs are taken up by others."""
    make_when_needed: bool = False
    """Whether the folder may be left alone until the first job; else it is opened, and checked, at the start."""
    predictions_enabled: bool = True
    """Whether tasks can be called as jobs; off: there are no such routes."""
    trainings_enabled: bool = True
    """Whether classes can be trained; off: there are no such routes."""
    predictions: Annotated[int, Meta(ge=1, le=256)] = 2
    """Prediction jobs that run at a time."""
    trainings: Annotated[int, Meta(ge=1, le=64)] = 1
    """Trainings that run at a time."""
    roots: tuple[str, ...] = ()
    """Folders that trainings may read file: data from, and write output_path below, besides the jobs' and the code's
    own."""
    max_queued: Positive = 100_000
    """Jobs of a kind that may wait; one more is answered "queue full"."""
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    """Runs that may be lost in a row (the server or the process killed) before a job is ERRORED."""
    prediction_seconds: Seconds = 3600.0
    """How long a prediction job may run."""
    keep_seconds: Seconds = 7 * 86400.0
    """How long jobs are kept after their end."""
    keep_jobs: Positive = 10_000
    """Ended jobs that are kept at most: of more the oldest go."""
    inline_bytes: Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)] = 64 * 1024
    """Inputs and results of at most so many bytes are kept in the store itself, larger ones as files."""
    max_result_bytes: Positive = 256 * 1024 * 1024
    """Largest result of a prediction job; at most 1000 MiB in a database."""
    max_stored_bytes: Positive = 16 * 1024**3
    """Inputs and results of all jobs that are kept: one more that would go beyond is refused."""
    cancel_grace_seconds: Seconds = 10.0
    """How long a training that is told to stop may take before its processes are killed."""
    max_memory_bytes: Annotated[int, Meta(ge=0)] = 0
    """Memory (address space) of a training's process; 0: as much as there is."""
    max_cpu_seconds: Annotated[int, Meta(ge=0)] = 0
    """Processor time of a training's process; 0: as much as it takes."""
    max_log_bytes: Annotated[int, Meta(ge=4096)] = 16 * 1024 * 1024
    """Output of a training that is kept: of more the oldest goes."""

    inference_service: str = ""
    """Name of the InferenceService whose pod this is: trainings are TrainingJob objects beside it. The operator sets it
    where the service has jobs.enabled."""
    training_spec: str = ""
    """What all these objects have: the spec of a TrainingJob, as JSON. The operator sets it."""
    follows_trainings: bool = False
    """Whether that service serves what its trainings make. The operator sets it."""

    def __post_init__(self) -> None:
        """Refuse two places, and a database that is none."""
        if bool(self.inference_service) != bool(self.training_spec):
            raise ValueError("jobs.inference_service and jobs.training_spec belong together; the operator sets both")
        if self.database is None:
            return
        if not self.database.startswith(("postgresql://", "postgres://")):
            raise ValueError("jobs.database: write a URL, postgresql://USER@HOST:5432/DATABASE")
        if self.folder:
            raise ValueError("jobs.folder and jobs.database are two places for the same jobs: name one")
        if self.max_result_bytes > _LARGEST_IN_A_DATABASE:
            raise ValueError("jobs.max_result_bytes: a database takes 1048576000 (1000 MiB) at most")
