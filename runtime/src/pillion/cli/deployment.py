"""From a model or a manifest to the objects that a cluster is given. Pure: values in, manifests out.

A small model travels in a ConfigMap of its own whose name ends in its digest, so that an older version stays what it
is while pods of it run, and a rollback finds it. The manifest states the digest, which is also what makes a new model
a new version.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from pillion.cli.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from pillion.storage.local_artifact import LocalArtifact

__all__ = [
    "MANAGER",
    "MOST_BYTES",
    "beside",
    "config_map",
    "config_map_name",
    "config_map_uri",
    "inference_service",
    "own_image",
    "pinned",
    "require_fits",
    "service_name",
]

MANAGER: Final = "pillion-deploy"
"""The field manager, and the label of what `pillion deploy` makes besides the InferenceService."""
MOST_BYTES: Final = 1 << 20
"""Of a ConfigMap's content. Source: core/v1 ConfigMap."""
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,44}[a-z0-9])?")
Manifest = dict[str, "JsonValue"]


def service_name(text: str) -> str:
    """The name of an InferenceService, from what a user calls the model.

    Raises:
        CommandError: it cannot be one; says which would be near.
    """
    if _NAME.fullmatch(text):
        return text
    near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789")[:46].strip("-") or "model"
    raise CommandError(
        f"{text!r} cannot be an InferenceService's name, which has lower-case letters, digits and dashes: "
        f"give one with --name, such as --name {near}",
        code=2,
    )


def require_fits(artifact: LocalArtifact, what: str) -> None:
    """Refuse what no ConfigMap can hold.

    Raises:
        CommandError: too large, or with names that are no keys; the way out is a bucket.
    """
    way_out = "put it into storage: --to s3://BUCKET/PATH (or gs:// az://)"
    if artifact.size > MOST_BYTES:
        raise CommandError(
            f"{what} has {artifact.size:,} bytes, more than the 1 MiB that a ConfigMap holds: {way_out}", code=2
        )
    wrong = next((file.path for file in artifact.files if not _KEY.fullmatch(file.path)), None)
    if wrong is not None:
        raise CommandError(f"{what} has the file {wrong!r}, which cannot be a key of a ConfigMap: {way_out}", code=2)


def config_map_name(service: str, digest: str) -> str:
    """The name of the ConfigMap that holds this version of the model."""
    return f"{service}-model-{digest.removeprefix('sha256:')[:8]}"


def config_map_uri(name: str, artifact: LocalArtifact) -> str:
    """The storageUri of a model in a ConfigMap."""
    return f"configmap://{name}/{artifact.files[0].path}" if artifact.single else f"configmap://{name}"


def config_map(name: str, service: str, content: Mapping[str, bytes], *, immutable: bool) -> Manifest:
    """The ConfigMap that holds the model's files."""
    made: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/instance": service},
        },
        "binaryData": {key: base64.b64encode(data).decode() for key, data in content.items()},
    }
    return made | {"immutable": True} if immutable else made


def inference_service(
    name: str, model_format: str, uri: str, digest: str, *, allow_pickle: bool = False, trust_code: bool = False
) -> Manifest:
    """An InferenceService of one model."""
    model: Manifest = {"modelFormat": {"name": model_format}, "storageUri": uri, "digest": digest}
    if allow_pickle:
        model["allowPickle"] = True
    if trust_code:
        model["trustCode"] = True
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model}},
    }


def own_image(name: str, image: str) -> Manifest:
    """An InferenceService of an image that brings its own model.

    The container has the name of Pillion's runtime, which it is: the operator gives it settings, probes, certificates
    and the drain as it does where it brings the model itself.
    """
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [{"name": "runtime", "image": image}]}},
    }


def pinned(service: Manifest, uri: str, digest: str) -> Manifest:
    """The manifest with another storageUri and digest of its model; everything else as it was written."""
    spec = service.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(predictor, dict):
        raise TypeError("an InferenceService without a predictor")
    field = next(
        name for name, value in predictor.items() if isinstance(value, dict) and value.get("storageUri") is not None
    )
    model = predictor[field]
    if not isinstance(model, dict):
        raise TypeError(f"predictor.{field} is not an object")
    return service | {"spec": spec | {"predictor": predictor | {field: model | {"storageUri": uri, "digest": digest}}}}


def beside(made: Manifest, service: Manifest) -> Manifest:
    """The object in the namespace of the manifest that it was made for, where that names one."""
    given, own = service.get("metadata"), made.get("metadata")
    namespace = given.get("namespace") if isinstance(given, dict) else None
    return made | {"metadata": own | {"namespace": namespace}} if namespace and isinstance(own, dict) else made
