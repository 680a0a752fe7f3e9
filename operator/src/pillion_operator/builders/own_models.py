"""The models of `predictor.models`: what pods are told of each, and what the pods must have for it.

They go the way of Model objects, so that one that comes, goes or cannot be had leaves the pods and the others alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from pillion import modelsfile
from pillion.execution_settings import execution_of
from pillion.modelsfile import MOST_MODELS, MOST_PLACED_MODELS, DeclaredModel, ModelsFileError
from pillion.policy import ConsentPolicy
from pillion.resources.graph_models import graph_name
from pillion.runtimefile import PYTHON, ExecutionSettings
from pillion.storage.errors import StorageError
from pillion.storage.uri import file_uri, parse_uri
from pillion_operator.builders.declared import Reserved
from pillion_operator.builders.storage import SOURCES_PATH, check_uri
from pillion_operator.builders.storage_config import STORAGE_CONFIG_SECRET
from pillion_operator.state.declared import OwnModel
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources import InferenceService, JsonObject
    from pillion.resources.model import NamedModel
    from pillion.storage.uri import StorageUri
    from pillion_operator.builders.context import BuildContext

__all__ = ["STORES_PATH", "OwnParts", "claim_of", "own_models", "own_parts", "reserved"]

#: Where entries of the Secret `storage-config` are, as the runtime's setting `models.declared_stores` has it.
STORES_PATH: Final = "/etc/pillion/stores"
_VOLUMES: Final = ("pvc", "configmap")


def reserved(service: InferenceService) -> Reserved:
    """Return the names that Model objects cannot have in this service's pods, each with who has it."""
    models, own = service.spec.predictor.models, service.metadata.name or ""
    most = MOST_MODELS if service.spec.predictor.model_placement is None else MOST_PLACED_MODELS
    if not models:
        return Reserved({own: "the InferenceService's own model"}, most=most)
    names = {model.name: f"a model in spec.predictor.models of the InferenceService {own!r}" for model in models}
    graph = {} if service.spec.graph is None else {graph_name(service): "the InferenceService's graph"}
    return Reserved(names | graph, len(models), most)


def claim_of(uri: str) -> str:
    """Return the PersistentVolumeClaim that a storage URI names, empty where it names none."""
    try:
        parsed = parse_uri(uri)
    except StorageError:
        return ""
    return parsed.authority if parsed.scheme == "pvc" else ""


def own_models(
    context: BuildContext, former: Sequence[DeclaredModel] = ()
) -> tuple[tuple[DeclaredModel, ...], tuple[OwnModel, ...]]:
    """Return what pods are told, and of every model of the manifest by what they report it, or why it is left out.

    Of the `former`, which pods have been told before, one stays whose store is not described just now: a Secret that
    somebody makes anew is no reason to take out what serves.
    """
    declared: list[DeclaredModel] = []
    told: list[OwnModel] = []
    before = {model.name: model for model in former if _is_still_ours(context, model)}
    for model in context.predictor.models or ():
        try:
            known = _declared(context, model)
        except PlanError as error:
            kept = before.get(model.name) if error.problem.reason == Reason.STORAGE_CONFIG_INVALID else None
            declared += [] if kept is None else [kept]
            told.append(OwnModel(model.name, "" if kept is None else kept.id, error.problem))
            continue
        declared.append(known)
        told.append(OwnModel(model.name, known.id))
    return tuple(declared), tuple(told)


def _is_still_ours(context: BuildContext, former: DeclaredModel) -> bool:
    """Whether this service declared it, under the policies that there are now."""
    rules = context.rules
    code = not former.trust_code or former.code_policy == rules.code.policy
    return former.id.startswith(f"{context.uid}/") and former.pickle_policy == rules.pickle.policy and code


@dataclass(frozen=True, slots=True)
class OwnParts:
    """What the pods have for the sake of these models: claims, ConfigMaps, entries of `storage-config`."""

    volumes: tuple[JsonObject, ...]
    mounts: tuple[JsonObject, ...]


def own_parts(context: BuildContext) -> OwnParts:
    """Return the volumes and mounts of the serving container; nothing but another source changes them."""
    volumes: dict[str, JsonObject] = {}
    mounts: dict[str, JsonObject] = {}
    entries: set[str] = set()
    # Model objects have neither: only what the manifest itself declares may ask for volumes.
    for model in context.declared.models if context.declared else ():
        if model.store:
            entries.add(model.store)
        if model.uri.startswith(f"file://{SOURCES_PATH}/"):
            scheme, name = model.uri.removeprefix(f"file://{SOURCES_PATH}/").split("/")[:2]
            volume = f"source-{hashlib.sha256(f'{scheme}/{name}'.encode()).hexdigest()[:10]}"
            # A ConfigMap that is not there is one model's trouble, and no reason for a pod not to start.
            volumes[volume] = {"name": volume} | (
                {"configMap": {"name": name, "optional": True}}
                if scheme == "configmap"
                else {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
            )
            mounts[volume] = {"name": volume, "mountPath": f"{SOURCES_PATH}/{scheme}/{name}", "readOnly": True}
    if entries:
        items: list[JsonObject] = [{"key": key, "path": key} for key in sorted(entries)]
        secret: JsonObject = {"secretName": STORAGE_CONFIG_SECRET, "optional": True, "items": list(items)}
        volumes["stores"] = {"name": "stores", "secret": secret}
        mounts["stores"] = {"name": "stores", "mountPath": STORES_PATH, "readOnly": True}
    return OwnParts(tuple(volumes.values()), tuple(mounts.values()))


def _declared(context: BuildContext, model: NamedModel) -> DeclaredModel:
    """Return what pods are told of a model.

    Raises:
        PlanError: it cannot be served.
    """
    rules, field = context.rules, f"spec.predictor.models[{model.name}]"
    if model.name in context.unserved:
        raise PlanError(context.unserved[model.name])
    known = context.credentials.of_models.get(model.name)
    if known is not None and known.problem is not None:
        raise PlanError(known.problem)
    text = model.storage_uri or ("" if known is None else known.uri)
    if not text:
        said, remedy = f"{field} says no place of its files", "set its storageUri, or its storage"
        raise PlanError(Problem(Reason.INVALID_SPEC, said, field, transient=False, remedy=remedy))
    uri = check_uri(text, f"{field}.storageUri")
    python = model.model_format.name == PYTHON
    if python and not rules.code.permits(opted_in=bool(model.trust_code)):
        raise PlanError(_untrusted(context, field))
    store = known.entry if known is not None and not model.storage_uri else ""
    parameters = (model.storage.parameters or {}) if store and model.storage else {}
    content = DeclaredModel(
        id="",
        name=model.name,
        version=model.version or "",
        uri=_in_pod(uri),
        digest=_digest(uri, model, field),
        store=store,
        store_parameters=dict(parameters),
        format=model.model_format.name,
        format_version=model.model_format.version,
        allow_pickle=rules.pickle.permits(opted_in=bool(model.allow_pickle)),
        pickle_policy=rules.pickle.policy,
        trust_code=python,
        code_policy=rules.code.policy if python else ConsentPolicy.PER_OBJECT,
        trusted_types=tuple(dict.fromkeys([*context.settings.trusted_types, *(model.trusted_types or ())])),
    )
    execution = execution_of(context.predictor)
    if execution != ExecutionSettings():  # so that runtimes of earlier releases can read the rest
        content = replace(content, execution=execution)
    # Made of what is declared and not of the object's generation: a change of one model is none of the others. A config
    # alone makes no other version.
    version = content.version or _digest_of(content)[:8]
    content = replace(content, config=dict(model.config or {}))
    declared = replace(content, id=f"{context.uid}/{model.name}/{_digest_of(content)[:12]}", version=version)
    try:
        modelsfile.check(declared)
    except ModelsFileError as error:
        raise PlanError(Problem(Reason.INVALID_SPEC, f"{field}: {error}", field, transient=False)) from error
    return declared


def _digest_of(content: DeclaredModel) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _digest(uri: StorageUri, model: NamedModel, field: str) -> str:
    if uri.digest and model.digest and uri.digest != model.digest:
        text = f"{field}.digest is {model.digest} and the storage URI asks for {uri.digest}"
        remedy = "give the digest in one place"
        raise PlanError(Problem(Reason.INVALID_SPEC, text, f"{field}.digest", transient=False, remedy=remedy))
    return model.digest or uri.digest or ""


def _in_pod(uri: StorageUri) -> str:
    """Return the URI as pods see it: a volume's is a file's."""
    if uri.scheme not in _VOLUMES:
        return uri.text
    return file_uri(f"{SOURCES_PATH}/{uri.scheme}/{uri.authority}{'/' + uri.path if uri.path else ''}")


def _untrusted(context: BuildContext, field: str) -> Problem:
    image = "build an image of it: pillion deploy FOLDER --image HOST/NAME:TAG"
    text = f"{field} is a class in Python from storage, and in a cluster code runs only from images"
    if context.rules.code.denies:
        text += f": the code policy is 'deny', by {context.rules.code.said_by}"
        return Problem(Reason.UNTRUSTED_CODE, text, f"{field}.trustCode", transient=False, remedy=image)
    remedy = f"set trustCode: true there if you trust everybody who can write there; or {image}"
    text += " unless trustCode is true"
    return Problem(Reason.UNTRUSTED_CODE, text, f"{field}.trustCode", transient=False, remedy=remedy)
