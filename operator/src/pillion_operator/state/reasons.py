"""Every reason that a condition can carry, with the remedy that stands behind its sentence."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

__all__ = ["REMEDIES", "Reason", "sentence"]


@unique
class Reason(StrEnum):
    """One word for why a condition is as it is; stable, for programs."""

    READY = "Ready"
    NOT_MANAGED = "NotManaged"
    STOPPING = "Stopping"
    LOADED = "Loaded"
    STARTING = "Starting"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    SHARED = "Shared"
    ROLLED_OUT = "RolledOut"
    STOPPED = "Stopped"
    RUNNING = "Running"
    SETTLED = "Settled"
    HONOURED = "Honoured"
    SERVICE_APPLIED = "ServiceApplied"
    ROUTED = "Routed"
    USABLE = "Usable"
    SERVED = "Served"
    DISABLED = "Disabled"
    AUTOSCALING = "Autoscaling"
    SCALED_TO_ZERO = "ScaledToZero"
    WAKING = "Waking"

    FIELDS_NOT_HONOURED = "FieldsNotHonoured"
    INVALID_SPEC = "InvalidSpec"
    DUPLICATE_ENTRIES = "DuplicateEntries"
    NAME_CONFLICT = "NameConflict"
    REFUSED = "Refused"
    FORBIDDEN = "Forbidden"
    QUOTA_EXCEEDED = "QuotaExceeded"

    ROUTES_NOT_SERVED = "RoutesNotServed"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    WAITING_FOR_ROUTE = "WaitingForRoute"
    HOST_TAKEN = "HostTaken"

    INFERENCE_SERVICE_NOT_FOUND = "InferenceServiceNotFound"
    TOO_MANY_MODELS = "TooManyModels"
    MODEL_DOES_NOT_FIT = "ModelDoesNotFit"
    RUNTIME_NOT_SUPPORTED = "RuntimeNotSupported"
    POD_NOT_REACHED = "PodNotReached"

    NO_SERVING_RUNTIME = "NoServingRuntime"
    SERVING_RUNTIME_NOT_FOUND = "ServingRuntimeNotFound"
    PLACEHOLDER_UNFILLED = "PlaceholderUnfilled"
    UNSUPPORTED_STORAGE = "UnsupportedStorage"
    LOCAL_FILE = "LocalFile"
    STORAGE_CONFIG_INVALID = "StorageConfigInvalid"

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_INVALID = "CertificateInvalid"
    CERTIFICATE_NOT_READY = "CertificateNotReady"
    CERTIFICATES_NOT_SERVED = "CertificatesNotServed"
    SELF_SIGNED_OFF = "SelfSignedOff"
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    CALLERS_NOT_REVIEWED = "CallersNotReviewed"
    KIND_UNAVAILABLE = "KindUnavailable"

    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    CREATE_CONTAINER_FAILED = "CreateContainerFailed"
    OOM_KILLED = "OOMKilled"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    EVICTED = "Evicted"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    ROLLED_BACK = "RolledBack"
    PODS_REFUSED = "PodsRefused"

    METRICS_UNAVAILABLE = "MetricsUnavailable"
    REQUESTS_MISSING = "RequestsMissing"
    AUTOSCALER_FAILED = "AutoscalerFailed"
    ACTIVATOR_UNAVAILABLE = "ActivatorUnavailable"
    JOB_STORE_NOT_SHARED = "JobStoreNotShared"
    TRAININGS_NOT_GRANTED = "TrainingsNotGranted"

    QUEUED = "Queued"
    COMPLETED = "Completed"
    CANCELED = "Canceled"
    SUSPENDED = "Suspended"
    IMMUTABLE = "Immutable"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    TRAINING_FAILED = "TrainingFailed"
    TRAINING_LOST = "TrainingLost"
    RESULT_LOST = "ResultLost"
    BATCH_LOST = "BatchLost"
    ROLLING_OUT = "RollingOut"
    SUPERSEDED = "Superseded"
    NOT_FOLLOWED = "NotFollowed"
    WAITING_FOR_TRAINING = "WaitingForTraining"

    #: The storage step has reasons and remedies of its own, `pillion.storage.errors`; this one is for when it has none.
    DOWNLOAD_FAILED = "DownloadFailed"
    UNSAFE_FORMAT = "UnsafeFormat"
    UNTRUSTED_TYPES = "UntrustedTypes"
    UNTRUSTED_CODE = "UntrustedCode"
    LIBRARY_MISMATCH = "LibraryMismatch"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    UNHEALTHY = "Unhealthy"


REMEDIES: Final[dict[str, str]] = {
    Reason.UNHEALTHY: "it is loaded anew by itself; see the pod's log, and the check_health of the class",
    Reason.FIELDS_NOT_HONOURED: "remove them, or accept that they have no effect in this version",
    Reason.INVALID_SPEC: "correct the field and apply the manifest again",
    Reason.DUPLICATE_ENTRIES: "keep one entry of each name; the last one is in use",
    Reason.NAME_CONFLICT: "rename or delete that object, or give the InferenceService another name",
    Reason.REFUSED: "correct the field that the API server names",
    Reason.FORBIDDEN: "grant the operator's service account that right, or ask the cluster's administrator",
    Reason.QUOTA_EXCEEDED: "lower the requests or replicas, or have the namespace's ResourceQuota raised",
    Reason.ROUTES_NOT_SERVED: "install it, which is taken up by itself, or remove spec.networking",
    Reason.ROUTE_NOT_ACCEPTED: "correct what the message names, here or at what makes the way in",
    Reason.WAITING_FOR_ROUTE: "see that what makes the way in runs, and that spec.networking names it",
    Reason.HOST_TAKEN: "use another host or path, or remove it from that one",
    Reason.INFERENCE_SERVICE_NOT_FOUND: "create it, or correct the reference to it; the model comes by itself",
    Reason.TOO_MANY_MODELS: "spread the Models over several InferenceServices",
    Reason.RUNTIME_NOT_SUPPORTED: "serve with Pillion's runtime of this release or a newer one",
    Reason.MODEL_DOES_NOT_FIT: "raise modelPlacement.memory or minReplicas, or lower modelPlacement.copies",
    Reason.POD_NOT_REACHED: "let the operator's pods reach port 8082 of the pods: see networkPolicy",
    Reason.NO_SERVING_RUNTIME: "create a ServingRuntime that supports the format, or name one in model.runtime",
    Reason.SERVING_RUNTIME_NOT_FOUND: "create it, or correct model.runtime",
    Reason.PLACEHOLDER_UNFILLED: "set the label or annotation on the InferenceService, or correct the runtime",
    Reason.UNSUPPORTED_STORAGE: "use configmap:// pvc:// s3:// gs:// az:// hf:// oci:// http(s):// models:/ or runs:/",
    Reason.LOCAL_FILE: "upload it with 'pillion push' and use the URI that it prints",
    Reason.STORAGE_CONFIG_INVALID: "correct the Secret's entry, or use storageUri instead",
    Reason.SECRET_NOT_FOUND: "create it; the service recovers by itself",
    Reason.CERTIFICATE_EXPIRED: "renew the certificate in the Secret; it is taken up without a restart",
    Reason.CERTIFICATE_INVALID: "put a matching tls.crt and tls.key in PEM into the Secret",
    Reason.CERTIFICATE_NOT_READY: "see that cert-manager runs, and what 'kubectl describe certificate' says of it",
    Reason.CERTIFICATES_NOT_SERVED: "install cert-manager, which is taken up by itself, or see that the chart's"
    " certificates.certManager is on; or set tls.selfSigned: true",
    Reason.SELF_SIGNED_OFF: "set the chart's certificates.selfSigned to true, or name a Secret in tls.secretName",
    Reason.CONFIG_MAP_NOT_FOUND: "create it; the service recovers by itself",
    Reason.CLAIM_NOT_FOUND: "create it; the service recovers by itself",
    Reason.SERVICE_ACCOUNT_NOT_FOUND: "create it, or correct serviceAccountName",
    Reason.CALLERS_NOT_REVIEWED: "bind the ServiceAccount to the ClusterRole system:auth-delegator",
    Reason.KIND_UNAVAILABLE: "it is tried again by itself; see what serves it: kubectl get apiservices,crds",
    Reason.UNSCHEDULABLE: "lower the requests, loosen node selectors and tolerations, or add nodes",
    Reason.IMAGE_PULL_BACK_OFF: "check the image's name and tag, and that imagePullSecrets allow pulling it",
    Reason.CREATE_CONTAINER_FAILED: "correct what the message names",
    Reason.OOM_KILLED: "raise resources.limits.memory of the container, or remove the limit",
    Reason.CRASH_LOOP_BACK_OFF: "see 'kubectl logs --previous' of the pod for the lines before",
    Reason.EVICTED: "give the pod requests that match its use, or free space on the nodes",
    Reason.PROGRESS_DEADLINE_EXCEEDED: "look at the pods of the newest ReplicaSet; the previous version keeps serving",
    Reason.ROLLED_BACK: "change the spec, or correct what the message names and run 'pillion rollout resume'",
    Reason.PODS_REFUSED: "correct what the message names",
    Reason.METRICS_UNAVAILABLE: "install metrics-server, or see why it has no metrics of the pods: 'kubectl top pods'",
    Reason.REQUESTS_MISSING: "give every container of the pod a request of it, or set scaleMetricType: AverageValue",
    Reason.AUTOSCALER_FAILED: "correct what the message names; see 'kubectl describe hpa'",
    Reason.ACTIVATOR_UNAVAILABLE: "see that the activator's pods run, and that the operator reaches their port 8084",
    Reason.JOB_STORE_NOT_SHARED: "name a PostgreSQL database in PILLION_JOBS__DATABASE instead, or set minReplicas and"
    " maxReplicas to 1",
    Reason.TRAININGS_NOT_GRANTED: "have whoever installed the operator set the chart's value trainings.fromServices",
    Reason.DOWNLOAD_FAILED: "check the URI, the network and the credentials of the ServiceAccount",
    Reason.UNSAFE_FORMAT: "convert it where you trust it: pillion convert-model model.joblib -o model.skops"
    " --allow-pickle; or set allowPickle: true if you trust the file",
    Reason.UNTRUSTED_TYPES: "list the types under trustedTypes if you trust their code",
    Reason.UNTRUSTED_CODE: "build an image of it: pillion deploy FOLDER --image HOST/NAME:TAG; or set trustCode: true",
    Reason.LIBRARY_MISMATCH: "set runtimeVersion to a runtime with the version that saved the model, or save it again",
    Reason.IMMUTABLE: "undo the change, or create a TrainingJob of another name",
    Reason.DEADLINE_EXCEEDED: "raise activeDeadlineSeconds in an object of another name, or give it less to do",
    Reason.TRAINING_FAILED: "correct the code, the parameters or the data, and create a TrainingJob of another name",
    Reason.TRAINING_LOST: "see the log for what came before; a checkpoint saves what was done",
    Reason.BATCH_LOST: "see the log for what came before; the shards that are done are not done again",
    Reason.RESULT_LOST: "look below output.uri; the record of the newest model there says what it was made of",
    Reason.NOT_FOLLOWED: "set spec.predictor.followTrainings: true on the InferenceService",
    Reason.WAITING_FOR_TRAINING: "run a TrainingJob whose deploy.inferenceService is this service, or set storageUri",
    Reason.MODEL_LOAD_FAILED: "correct the model file or its format",
}


def sentence(text: str, reason: str, remedy: str = "") -> str:
    """Return one sentence for people: what happened, then the remedy."""
    text = " ".join(text.split()).rstrip(".;, ")
    remedy = (remedy or REMEDIES.get(reason, "")).rstrip(". ")
    return f"{text}; {remedy}." if remedy else f"{text}."
