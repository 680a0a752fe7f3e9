"""The init container that fetches, verifies and places the model's files."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import normpath
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import storage_user
from pillion.storage.errors import Reason as StorageReason
from pillion.storage.errors import StorageError
from pillion.storage.options import ENVIRONMENT_PREFIX
from pillion.storage.uri import StorageUri, file_uri, parse_uri
from pillion_operator.builders.literal import literal
from pillion_operator.builders.merge import merge_objects
from pillion_operator.builders.security import container_security
from pillion_operator.state.manifest import objects_at
from pillion_operator.state.names import STORAGE_CONTAINER
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["MODELS_PATH", "SOURCES_PATH", "ModelSource", "StorageParts", "check_uri", "model_sources", "storage_parts"]

MODELS_PATH: Final = "/mnt/models"
_SOURCE_PATH: Final = "/mnt/source"
#: Where volumes with files of `predictor.models` are mounted, as the runtime's `models.declared_sources` has it.
SOURCES_PATH: Final = "/mnt/sources"
#: Paths of a pod that files of a model would hide, or be hidden by.
_OWN_PATHS: Final = (
    "/etc", "/usr", "/opt/pillion", "/var/run", "/run", "/proc", "/sys", "/dev", "/bin", "/sbin", "/lib", "/tmp",  # noqa: S108 - in the pod
    _SOURCE_PATH, SOURCES_PATH,
)  # fmt: skip
#: Variables of the providers and of HTTP clients that the storage step reads, see `pillion.storage.credentials`.
_PROVIDERS: Final = ("AWS_", "S3_", "AZURE_", "GOOGLE_", "MLFLOW_TRACKING_")
_OTHERS: Final = frozenset(
    {"STORAGE_EMULATOR_HOST", "awsAnonymousCredential", "HF_TOKEN", "HF_ENDPOINT", "DOCKER_CONFIG"}
    | {name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())}
)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A place that files come from, and the path at which the serving container finds them.

    Attributes:
        digest: what the files must come to, empty where nothing is said.
    """

    uri: StorageUri
    path: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class StorageParts:
    """The init container, the volumes around it, and the mounts by which the serving container reads the files."""

    container: JsonObject
    volumes: tuple[JsonObject, ...]
    mounts: tuple[JsonObject, ...]


def check_uri(text: str, field: str = "") -> StorageUri:
    """Return a storage URI taken apart; `field` is where it stands, empty for the predictor's own.

    Raises:
        PlanError: it is malformed, of a scheme that is not supported, or names a file of the author's machine.
    """
    where, address = (f"{field}: ", field) if field else ("", "spec.predictor")
    try:
        uri = parse_uri(text)
    except StorageError as error:
        unsupported = error.reason is StorageReason.UNSUPPORTED_SCHEME
        reason = Reason.UNSUPPORTED_STORAGE if unsupported else Reason.INVALID_SPEC
        raise PlanError(Problem(reason, f"{where}{error.message}", address, transient=False)) from error
    if uri.scheme == "file":
        text = f"{where or 'the storage URI '}{uri} names a file of one machine, which pods cannot see"
        raise PlanError(Problem(Reason.LOCAL_FILE, text, address, transient=False))
    return uri


def model_sources(context: BuildContext) -> tuple[ModelSource, ...]:
    """Return where files come from, none where the pod brings its own; of several, the first is the model's.

    Raises:
        PlanError: a URI cannot be served from a cluster, or two sources share a path.
    """
    digest = (context.model.digest if context.model else None) or ""
    if context.storage_uri:
        uri = check_uri(context.storage_uri)
        return (ModelSource(uri, MODELS_PATH, digest or uri.digest or ""),)
    found: dict[str, ModelSource] = {}
    for index, given in enumerate(context.predictor.storage_uris or ()):
        field = f"spec.predictor.storageUris[{index}]"
        uri, path = check_uri(given.uri, f"{field}.uri"), _mount_path(given.mount_path, f"{field}.mountPath")
        if path in found:
            text = f"{field}.mountPath: {path} is the path of {found[path].uri} already; give each its own"
            raise PlanError(Problem(Reason.INVALID_SPEC, text, f"{field}.mountPath", transient=False))
        found[path] = ModelSource(uri, path, (digest if index == 0 else "") or uri.digest or "")
    return tuple(found.values())


def _mount_path(given: str | None, field: str) -> str:
    path = "/" + normpath(given or MODELS_PATH).lstrip("/")  # two slashes at the beginning are left as they are
    if path == "/" or any(f"{path}/".startswith(f"{own}/") or own.startswith(f"{path}/") for own in _OWN_PATHS):
        taken = ", ".join(_OWN_PATHS)
        text = f"{field}: {path} is in use in the container ({taken}, and what is above and below); choose another, "
        raise PlanError(Problem(Reason.INVALID_SPEC, f"{text}such as {MODELS_PATH}/extra", field, transient=False))
    return path


def storage_parts(context: BuildContext) -> StorageParts | None:
    """Return the storage init container, None where nothing is to be fetched.

    Raises:
        PlanError: a URI cannot be served from a cluster, or two sources share a path.
    """
    sources = model_sources(context)
    if not sources:
        return None
    files = _files_mounts([source.path for source in sources])
    arguments: list[JsonValue] = []
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = [*files, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the pod
    digests = [source.digest for source in sources]
    remote = False
    for index, source in enumerate(sources):
        name, at = (f"source-{index}", f"{_SOURCE_PATH}/{index}") if len(sources) > 1 else ("source", _SOURCE_PATH)
        shown, mounted = _mounted(source.uri, at)
        arguments += ["--uri", literal(shown), "--dest", literal(source.path)]
        if mounted is None:
            remote = True
            continue
        volumes.append({"name": name, **mounted})
        mounts.append({"name": name, "mountPath": at, "readOnly": True})
    if volumes:
        arguments += ["--link-root", _SOURCE_PATH]
    if any(digests):
        arguments += [part for digest in digests for part in ("--digest", digest or "-")]
    if remote:
        volumes += context.credentials.volumes
        mounts += context.credentials.mounts
    given = context.predictor.storage.resources if context.predictor.storage else None
    resources: JsonObject = {"requests": dict(context.settings.storage_requests)}
    container: JsonObject = {
        "name": STORAGE_CONTAINER,
        "image": _image(context),
        "imagePullPolicy": context.container.get("imagePullPolicy") or context.settings.image_pull_policy,
        "command": ["python", "-m", "pillion.storage"],
        "args": arguments,
        "resources": merge_objects(resources, given.to_api()) if given else resources,
        "volumeMounts": list(mounts),
        "securityContext": _security(context),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    env = _environment(context, remote=remote)
    if env:
        container["env"] = env
    return StorageParts(container, tuple(volumes), tuple({**mount, "readOnly": True} for mount in files))


def _files_mounts(paths: Sequence[str]) -> list[JsonObject]:
    """Return the mounts of the volume that the files are placed on: one for each path that is not below another.

    A volume that is mounted once is mounted whole; of several mounts each has a folder of its own.
    """
    roots = sorted(path for path in paths if not any(path.startswith(f"{other}/") for other in paths))
    if len(roots) == 1:
        return [{"name": "models", "mountPath": roots[0]}]
    return [{"name": "models", "mountPath": root, "subPath": root.strip("/")} for root in roots]


def _environment(context: BuildContext, *, remote: bool) -> list[JsonValue]:
    """Return the credentials, and what the model's `env` sets of the storage step's variables, which wins."""
    of_model = [v for v in objects_at(context.container, "env") if _is_of_storage(str(v.get("name")), remote=remote)]
    chosen = {variable["name"] for variable in of_model}
    given = context.credentials.env if remote else ()
    return [*(variable for variable in given if variable["name"] not in chosen), *of_model]


def _is_of_storage(name: str, *, remote: bool) -> bool:
    return name.startswith(ENVIRONMENT_PREFIX) or (remote and (name.startswith(_PROVIDERS) or name in _OTHERS))


def _security(context: BuildContext) -> JsonObject:
    uid = storage_user(context.service.metadata)
    return container_security() if uid is None else container_security() | {"runAsUser": uid}


def _image(context: BuildContext) -> str:
    image = context.container.get("image")
    return image if context.ours and isinstance(image, str) else context.settings.runtime_image


def _mounted(uri: StorageUri, at: str) -> tuple[str, JsonObject | None]:
    """Return the URI for the init container, and the volume to mount at `at` where the URI names one."""
    path = f"/{uri.path}" if uri.path else ""
    if uri.scheme == "configmap":
        return file_uri(f"{at}{path}"), {"configMap": {"name": uri.authority}}
    if uri.scheme == "pvc":
        return file_uri(f"{at}{path}"), {"persistentVolumeClaim": {"claimName": uri.authority, "readOnly": True}}
    return uri.text, None
