"""The init container that fetches, verifies and places the model's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import storage_user
from pillion.storage.errors import Reason as StorageReason
from pillion.storage.errors import StorageError
from pillion.storage.options import ENVIRONMENT_PREFIX
from pillion.storage.uri import StorageUri, parse_uri
from pillion_operator.builders.merge import merge_objects
from pillion_operator.builders.security import container_security
from pillion_operator.state.manifest import objects_at
from pillion_operator.state.names import STORAGE_CONTAINER
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["MODELS_PATH", "StorageParts", "check_uri", "model_digest", "storage_parts"]

MODELS_PATH: Final = "/mnt/models"
_SOURCE_PATH: Final = "/mnt/source"
#: Variables of the providers and of HTTP clients that the storage step reads, see `pillion.storage.credentials`.
_PROVIDERS: Final = ("AWS_", "S3_", "AZURE_", "GOOGLE_")
_OTHERS: Final = frozenset(
    {"STORAGE_EMULATOR_HOST", "awsAnonymousCredential"}
    | {name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())}
)


@dataclass(frozen=True, slots=True)
class StorageParts:
    """The init container and the volumes around it."""

    container: JsonObject
    volumes: tuple[JsonObject, ...]


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


def model_digest(context: BuildContext) -> str:
    """Return the digest that the files must have, empty where none is given."""
    if context.model is None or not context.storage_uri:
        return ""
    return context.model.digest or check_uri(context.storage_uri).digest or ""


def storage_parts(context: BuildContext) -> StorageParts | None:
    """Return the storage init container, None where the model brings no URI.

    Raises:
        PlanError: the URI cannot be served from a cluster.
    """
    if not context.storage_uri:
        return None
    uri = check_uri(context.storage_uri)
    shown, source = _source(uri)
    arguments = ["--uri", shown, "--dest", MODELS_PATH]
    if source is not None:
        arguments += ["--link-root", _SOURCE_PATH]
    digest = model_digest(context)
    if digest:
        arguments += ["--digest", digest]
    mounts: list[JsonObject] = [{"name": "models", "mountPath": MODELS_PATH}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the pod
    volumes: list[JsonObject] = []
    if source is not None:
        volumes.append({"name": "source", **source})
        mounts.append({"name": "source", "mountPath": _SOURCE_PATH, "readOnly": True})
    else:
        volumes += context.credentials.volumes
        mounts += context.credentials.mounts
    given = context.predictor.storage.resources if context.predictor.storage else None
    resources: JsonObject = {"requests": dict(context.settings.storage_requests)}
    container: JsonObject = {
        "name": STORAGE_CONTAINER,
        "image": _image(context),
        "imagePullPolicy": context.container.get("imagePullPolicy") or context.settings.image_pull_policy,
        "command": ["python", "-m", "pillion.storage"],
        "args": list(arguments),
        "resources": merge_objects(resources, given.to_api()) if given else resources,
        "volumeMounts": list(mounts),
        "securityContext": _security(context),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    env = _environment(context, remote=source is None)
    if env:
        container["env"] = env
    return StorageParts(container, tuple(volumes))


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


def _source(uri: StorageUri) -> tuple[str, JsonObject | None]:
    """Return the URI for the init container, and the volume to mount for it where the URI names one."""
    path = f"/{uri.path}" if uri.path else ""
    if uri.scheme == "configmap":
        return f"file://{_SOURCE_PATH}{path}", {"configMap": {"name": uri.authority}}
    if uri.scheme == "pvc":
        return f"file://{_SOURCE_PATH}{path}", {"persistentVolumeClaim": {"claimName": uri.authority, "readOnly": True}}
    return uri.text, None
