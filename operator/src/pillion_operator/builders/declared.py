"""The ConfigMap of the models that pods are told of while they run, and which `Model` objects may add theirs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.modelsfile import MODELS_FILE, MOST_MODELS, DeclaredModel, ModelsFileError, dump, load
from pillion.placementfile import PLACEMENT_FILE
from pillion.policy import ConsentPolicy
from pillion.resources import Model
from pillion.runtimefile import PYTHON
from pillion.storage.errors import StorageError
from pillion.storage.uri import parse_uri
from pillion_operator.state.kinds import CONFIG_MAP
from pillion_operator.state.manifest import (
    Key,
    generation_of,
    is_deleting,
    key_of,
    text_at,
    uid_of,
)
from pillion_operator.state.names import MODELS_CONSENT_ANNOTATION, models_config_name
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pillion.resources import JsonObject
    from pillion_operator.builders.context import BuildContext
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.policies import ModelsConsent, NamespaceRules

__all__ = [
    "DECLARED_PATH",
    "Declarations",
    "Reserved",
    "declaration_id",
    "declarations",
    "digest_in",
    "digest_of",
    "given_up",
    "models_config",
    "models_in",
    "service_of",
]

#: Where the ConfigMap is mounted: as a folder, because a file that is mounted alone never changes in a running pod.
DECLARED_PATH: Final = "/etc/pillion/models"


@dataclass(frozen=True, slots=True)
class Reserved:
    """What Model objects of a service cannot have.

    Attributes:
        names: those that are had already, each with who has it.
        places: in the file, of the models that the service itself declares.
        most: models that the file can have.
    """

    names: Mapping[str, str]
    places: int = 0
    most: int = MOST_MODELS


@dataclass(frozen=True, slots=True)
class Declarations:
    """The models that the pods of one service are told of while they run.

    Attributes:
        models: those that they serve.
        refused: why Model objects are left out.
    """

    models: tuple[DeclaredModel, ...] = ()
    refused: Mapping[Key, Problem] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the file that the pods are to see; empty where there is none."""
        return digest_of(dump(self.models)) if self.models else ""


def digest_of(file: str) -> str:
    """Return the digest by which a file of declared models is known."""
    return hashlib.sha256(file.encode()).hexdigest()[:16]


def digest_in(config: Manifest | None) -> str:
    """Return the digest of the file in a ConfigMap of declared models; empty where there is none."""
    file, placement = (text_at(config or {}, "data", name) for name in (MODELS_FILE, PLACEMENT_FILE))
    return digest_of(file + placement) if file else ""


def given_up(live: Manifest | None, planned: Manifest | None) -> tuple[str, ...]:
    """Return the names of the models that one ConfigMap has and another has no more, each None where there is none."""
    names, still = ({model.name for model in models_in(config)} for config in (live, planned))
    return tuple(sorted(names - still))


def models_in(config: Manifest | None) -> tuple[DeclaredModel, ...]:
    """Return the models in a ConfigMap of declared models; none where it cannot be read."""
    file = text_at(config or {}, "data", MODELS_FILE)
    try:
        return tuple(load(file.encode()).models) if file else ()
    except ModelsFileError:
        return ()  # somebody else's words, or those of another release


def service_of(model: Manifest) -> Key:
    """Return the key of the InferenceService that a Model names; without a name where it names none."""
    return Key(key_of(model).namespace, text_at(model, "spec", "inferenceServiceRef", "name"))


def declaration_id(model: Manifest) -> str:
    """Return what pods report a declaration by: of this very object, as its manifest is now."""
    return f"{uid_of(model)}/{generation_of(model)}"


def declarations(
    service: str,
    stored: Iterable[Manifest],
    rules: NamespaceRules,
    consent: ModelsConsent,
    reserved: Reserved | None = None,
) -> Declarations:
    """Return what the Models of a service come to. Of two that ask for one name the older has it.

    Args:
        service: its name, which is its own model's.
        stored: Model objects of its namespace, also those of other services.
        rules: the namespace's policies.
        consent: what the service lets Models bring, where the policy leaves it to the objects.
        reserved: what is not to be had; by default the service's own name.
    """
    held = Reserved({service: "the InferenceService's own model"}) if reserved is None else reserved
    found: dict[str, DeclaredModel] = {}
    by: dict[str, str] = {}
    refused: dict[Key, Problem] = {}
    for manifest in _in_order(service, stored):
        try:
            model = Model.from_api(manifest)
            problem = _problem(service, model, by, held) or _not_consented(service, model, rules, consent)
        except ValidationError as error:
            problem = _invalid(error)
        if problem is not None:
            refused[key_of(manifest)] = problem
            continue
        found[model.served_name] = _declared(model, manifest, rules)
        by[model.served_name] = key_of(manifest).name
    return Declarations(tuple(found.values()), refused)


def _in_order(service: str, stored: Iterable[Manifest]) -> Sequence[Manifest]:
    ours = (model for model in stored if service_of(model).name == service and not is_deleting(model))
    return sorted(ours, key=lambda model: (text_at(model, "metadata", "creationTimestamp"), key_of(model).name))


def _problem(service: str, model: Model, taken: Mapping[str, str], held: Reserved) -> Problem | None:
    name, spec = model.served_name, model.spec
    if name in held.names:
        text = f"the Model {model.metadata.name!r} asks for the name {name!r}, which is that of {held.names[name]}"
        return _lasting(Reason.NAME_CONFLICT, text, "spec.name", "give the Model another name, or set spec.name")
    if name in taken:
        text = f"the Models {taken[name]!r} and {model.metadata.name!r} both ask for the name {name!r} in the pods of "
        text += f"the InferenceService {service!r}; {taken[name]!r} is older and has it"
        return _lasting(Reason.NAME_CONFLICT, text, "spec.name", "set spec.name of one of them, or delete one")
    if len(taken) + held.places >= held.most:
        text = f"the InferenceService {service!r} has {held.most} Models already, which is the most it can have"
        return _lasting(Reason.TOO_MANY_MODELS, text, "spec.inferenceServiceRef", "")
    try:
        uri = parse_uri(spec.storage_uri)
    except StorageError as error:
        return _lasting(Reason.INVALID_SPEC, error.message, "spec.storageUri", error.remedy)
    if uri.digest and spec.digest and uri.digest != spec.digest:
        text = f"spec.digest is {spec.digest} and the storage URI asks for {uri.digest}"
        return _lasting(Reason.INVALID_SPEC, text, "spec.digest", "give the digest in one place")
    return None


def _not_consented(service: str, model: Model, rules: NamespaceRules, consent: ModelsConsent) -> Problem | None:
    """Return why a Model's wish to run code in the service's pods is not granted; None where it has none, or it is.

    Whoever may create Models need not be whoever answers for the pods, which have the service's credentials: where the
    policy leaves the choice to the objects, both sides have to make it.
    """
    spec = model.spec
    if _is_python(model) and not rules.code.permits(opted_in=bool(spec.trust_code) and consent.code):
        image = "build an image of it: pillion deploy FOLDER --image HOST/NAME:TAG"
        text = "a class in Python from storage does not run"
        if rules.code.denies:
            text += f": the code policy is 'deny', by {rules.code.said_by}"
            return _lasting(Reason.UNTRUSTED_CODE, text, "spec.trustCode", image)
        if not spec.trust_code:
            text += " unless trustCode is true"
            remedy = f"set spec.trustCode: true if you trust who can write there; or {image}"
            return _lasting(Reason.UNTRUSTED_CODE, text, "spec.trustCode", remedy)
        text += f": trustCode is true here, and the InferenceService {service!r} does not let Models bring code"
        return _lasting(Reason.UNTRUSTED_CODE, text, "spec.trustCode", f"{_consent('code')}; or {image}")
    if spec.allow_pickle and not rules.pickle.denies and not rules.pickle.permits(opted_in=consent.pickle):
        text = f"allowPickle is true here, and the InferenceService {service!r} does not let Models bring pickles"
        remedy = f"{_consent('pickle')}; or convert the file with 'pillion convert-model' and take allowPickle out"
        return _lasting(Reason.UNSAFE_FORMAT, text, "spec.allowPickle", remedy)
    return None


def _consent(word: str) -> str:
    return f"have its owner put '{word}' into its annotation {MODELS_CONSENT_ANNOTATION}"


def _lasting(reason: Reason, text: str, field_: str, remedy: str) -> Problem:
    return Problem(reason, text, field_, transient=False, remedy=remedy)


def _invalid(error: ValidationError) -> Problem:
    first = error.errors()[0]
    field_ = ".".join(str(part) for part in first["loc"])
    return _lasting(Reason.INVALID_SPEC, f"{field_}: {first['msg']}", field_, "")


def _is_python(model: Model) -> bool:
    return model.spec.model_format is not None and model.spec.model_format.name == PYTHON


def _declared(model: Model, manifest: Manifest, rules: NamespaceRules) -> DeclaredModel:
    spec, python = model.spec, _is_python(model)
    return DeclaredModel(
        id=declaration_id(manifest),
        name=model.served_name,
        version=str(generation_of(manifest)),
        uri=spec.storage_uri,
        digest=spec.digest or "",
        format=spec.model_format.name if spec.model_format else None,
        format_version=spec.model_format.version if spec.model_format else None,
        # Both sides' consent was asked for: one that the service does not give has refused the Model.
        allow_pickle=rules.pickle.permits(opted_in=bool(spec.allow_pickle)),
        pickle_policy=rules.pickle.policy,
        trust_code=python and rules.code.permits(opted_in=bool(spec.trust_code)),
        code_policy=rules.code.policy if python else ConsentPolicy.PER_OBJECT,
        trusted_types=tuple(spec.trusted_types or ()),
        config=dict(spec.config or {}),
    )


def models_config(context: BuildContext) -> JsonObject:
    """Return the ConfigMap. Credentials in URIs stay there: those of the web have none, and buckets' are Secrets'."""
    data: JsonObject = {MODELS_FILE: dump(context.declared.models if context.declared else ())}
    return context.manifest(CONFIG_MAP, models_config_name(context.name), {"data": data})
