"""The Job of a BatchPrediction: pods that fetch the model, where there is one, and share the shards by their index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pillion.batchpod.order import VARIABLE
from pillion.resources.conventions import serving_secret
from pillion.runtimefile import PYTHON
from pillion_operator.builders.batch_places import CA_FILE, CLIENT_FOLDER, batch_places
from pillion_operator.builders.context import DEFAULT_DEADLINE_SECONDS
from pillion_operator.builders.job import (
    container_resources,
    environment,
    failure_rules,
    job_manifest,
    pod_template,
    spec_digest,
    storage_step,
)
from pillion_operator.builders.literal import literal
from pillion_operator.builders.security import container_security
from pillion_operator.builders.storage import MODELS_PATH, check_uri
from pillion_operator.state.manifest import array, key_of, number_at, object_at, text_at
from pillion_operator.state.names import (
    ADMIN_PORT,
    BATCH_CONTAINER,
    batch_job_name,
    batch_labels,
    predictor_name,
)
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources import BatchPrediction, JsonObject
    from pillion_operator.builders.batch_places import BatchPlaces
    from pillion_operator.builders.credentials import StorageCredentials
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.policies import NamespaceRules
    from pillion_operator.state.settings import RenderSettings

__all__ = ["batch_hash", "batch_job"]

_GRACE_SECONDS: Final = 30
#: So much longer than a service works on a request is its answer waited for: it should be the service that ends it.
_MARGIN_SECONDS: Final = 15
#: Fields that may change while the Job is there: they are the Job's own, or say what happens after it.
_CHANGEABLE: Final = ("suspend", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
_FAILED_CODES: Final = (65,)


def batch_job(
    batch: BatchPrediction,
    uid: str,
    service: Manifest | None,
    rules: NamespaceRules,
    credentials: StorageCredentials,
    settings: RenderSettings,
) -> JsonObject:
    """Return the Job.

    Args:
        batch: the BatchPrediction.
        uid: its uid.
        service: the InferenceService that it asks, where it asks one.
        rules: what the namespace says of artifacts that can run code.
        credentials: of the storage.
        settings: the installation's.

    Raises:
        PlanError: a place cannot be reached from a pod, or a policy forbids the model.
    """
    name = batch.metadata.name or ""
    places = batch_places(batch, _server_secret(service), credentials)
    template = _template(batch, _order(batch, uid, places, service, rules, settings), places, settings)
    body: JsonObject = {
        "completionMode": "Indexed",
        "podFailurePolicy": {"rules": array(failure_rules(template, {BATCH_CONTAINER: _FAILED_CODES}))},
        "template": template,
    }
    return job_manifest(batch, uid, batch_job_name(name), batch_labels(name), batch_hash(batch), body)


def batch_hash(batch: BatchPrediction) -> str:
    """Return the digest of all of the spec that cannot be changed once the Job is there."""
    return spec_digest(batch, _CHANGEABLE)


def _order(
    batch: BatchPrediction,
    uid: str,
    places: BatchPlaces,
    service: Manifest | None,
    rules: NamespaceRules,
    settings: RenderSettings,
) -> str:
    spec = batch.spec
    order: JsonObject = {
        "name": batch.metadata.name,
        "uid": uid,
        "input": _given(
            at=places.input,
            format=spec.input.format,
            id_field=spec.input.id_field,
            exclude=list(spec.input.exclude or ()) or None,
            split_bytes=spec.input.split_bytes,
            max_row_bytes=spec.input.max_row_bytes,
        ),
        "output": _given(at=places.output, format=spec.output.format),
        "pods": spec.parallelism,
        "batch_size": spec.batch_size,
        "concurrency": spec.concurrency,
        "max_failures": spec.max_failures,
        "port": ADMIN_PORT,
    }
    if spec.model is not None:
        order["model"] = _model(batch, rules, settings)
    elif spec.inference_service is not None:
        order["service"] = _service(batch, service or {}, settings)
    return msgspec.json.encode(_given(**order), order="deterministic").decode()


def _given(**fields: JsonValue) -> JsonObject:
    return {field: value for field, value in fields.items() if value is not None}


def _model(batch: BatchPrediction, rules: NamespaceRules, settings: RenderSettings) -> JsonObject:
    model = batch.spec.model
    assert model is not None  # noqa: S101 - asked only where there is one
    form = model.model_format.name if model.model_format else None
    types = dict.fromkeys([*settings.trusted_types, *(model.trusted_types or ())])
    return _given(
        path=MODELS_PATH,
        format=form,
        format_version=model.model_format.version if model.model_format else None,
        allow_pickle=rules.pickle.permits(opted_in=bool(model.allow_pickle)),
        pickle_policy=rules.pickle.policy.value,
        trust_code=rules.code.permits(opted_in=bool(model.trust_code)) if form == PYTHON else None,
        code_policy=rules.code.policy.value if form == PYTHON else None,
        trusted_types=list(types) or None,
    )


def _service(batch: BatchPrediction, service: Manifest, settings: RenderSettings) -> JsonObject:
    name, namespace = batch.spec.inference_service or "", batch.metadata.namespace or ""
    tls = object_at(service, "spec", "predictor", "tls")
    secure = bool(_server_secret(service))
    mutual = text_at(tls, "mode") != "server" and bool(text_at(tls, "clientCASecretName"))
    if mutual and batch.spec.tls is None:
        text = f"InferenceService {name!r} asks its clients for a certificate, and spec.tls names none"
        remedy = "name the Secret of a client's certificate in spec.tls.secretName"
        raise PlanError(Problem(Reason.CERTIFICATE_INVALID, text, "spec.tls", transient=False, remedy=remedy))
    host = f"{predictor_name(name)}.{namespace}.svc.{settings.cluster_domain}"
    return _given(
        url=f"{'https' if secure else 'http'}://{host}",
        model=name,
        ca=CA_FILE if secure else None,
        certificate=CLIENT_FOLDER if batch.spec.tls else None,
        timeout_seconds=_MARGIN_SECONDS
        + (number_at(service, "spec", "predictor", "timeout") or DEFAULT_DEADLINE_SECONDS),
    )


def _template(batch: BatchPrediction, order: str, places: BatchPlaces, settings: RenderSettings) -> JsonObject:
    model = batch.spec.model
    digest = model.digest or check_uri(model.storage_uri).digest if model else None
    steps = [storage_step(batch, places, MODELS_PATH, digest, settings)] if places.fetched else []
    steps.append(_container(batch, order, places, settings))
    grace = batch.spec.termination_grace_period_seconds or _GRACE_SECONDS
    return pod_template(batch, batch_labels(batch.metadata.name or ""), steps, places, grace, settings)


def _container(batch: BatchPrediction, order: str, places: BatchPlaces, settings: RenderSettings) -> JsonObject:
    ordered: JsonObject = {"name": VARIABLE, "value": literal(order)}
    return {
        "name": BATCH_CONTAINER,
        **container_resources(batch, places, settings),
        "command": ["python", "-m", "pillion.batchpod"],
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "env": array([*environment(batch, places), ordered]),
        "securityContext": container_security(),
    }


def _server_secret(service: Manifest | None) -> str:
    """Return the Secret that the service serves with, empty without TLS or without a service."""
    return (
        "" if service is None else serving_secret(key_of(service).name, object_at(service, "spec", "predictor", "tls"))
    )
