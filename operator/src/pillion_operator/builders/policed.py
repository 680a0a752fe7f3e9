"""What the platform denies now is not loaded by pods of a kept revision either, whatever they were told then."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.policy import ConsentPolicy, permits
from pillion.runtimefile import RuntimeFileError, dump, load
from pillion_operator.builders.configmap import CONFIG_FILE
from pillion_operator.builders.stamps import stamped
from pillion_operator.state.manifest import object_at, objects_at, text_at

if TYPE_CHECKING:
    from pillion.modelsfile import DeclaredModel
    from pillion.resources import JsonObject
    from pillion.runtimefile import DesiredModel
    from pillion_operator.state.policies import ConsentRule, NamespaceRules

__all__ = ["Policed", "policed", "policed_model"]


@dataclass(frozen=True, slots=True)
class Policed:
    """What is kept of a revision, with the platform's policies of now.

    Attributes:
        data: of the ControllerRevision, changed where it permitted more.
        refused: what its pods load no more, and by whose word.
    """

    data: JsonObject
    refused: tuple[str, ...] = ()


def policed(data: JsonObject, rules: NamespaceRules) -> Policed:
    """Return a kept revision whose pods load nothing that the policies deny now.

    Consent that the revision's own manifest gave still counts where policies leave it to manifests. Nothing is
    permitted that was not: a revision came up with what it had.
    """
    try:
        kept = load(text_at(data, "config"), source=CONFIG_FILE)
    except RuntimeFileError:
        return _unread(data, rules)
    refused: dict[str, None] = {}
    models = tuple(_held(model, object_at(data, "predictor"), rules, refused) for model in kept.models)
    if not refused:
        return Policed(data)
    text = dump(msgspec.structs.replace(kept, models=models))
    made: JsonObject = data | {"config": text, "template": stamped(object_at(data, "template"), text)}
    return Policed(made, tuple(refused))


def _unread(data: JsonObject, rules: NamespaceRules) -> Policed:
    """Return a revision of another release, whose models permit nothing that is denied now; the rest stays unread."""
    try:
        document = msgspec.json.decode(text_at(data, "config"), type=dict[str, Any])
    except msgspec.MsgspecError:
        return Policed(data)
    predictor = object_at(data, "predictor")
    refused: dict[str, None] = {}
    for model in objects_at(document, "models"):
        for what, field, rule in (("pickle", "allowPickle", rules.pickle), ("code", "trustCode", rules.code)):
            held = model.get(field) is True or model.get(f"{what}Policy") == ConsentPolicy.ALLOW
            if held and not rule.permits(opted_in=_opted_in(predictor, field)):
                model.pop(field, None)
                model[f"{what}Policy"] = rule.policy.value
                refused[f"{what} (the {what} policy is '{rule.policy}', by {rule.said_by})"] = None
    if not refused:
        return Policed(data)
    text = msgspec.json.encode(document, order="sorted").decode()
    made: JsonObject = data | {"config": text, "template": stamped(object_at(data, "template"), text)}
    return Policed(made, tuple(refused))


def _opted_in(predictor: JsonObject, field: str) -> bool:
    # It stands in the section of the model, which manifests of older forms call by the model's format.
    return any(section.get(field) is True for section in predictor.values() if isinstance(section, dict))


def policed_model(model: DeclaredModel, rules: NamespaceRules) -> DeclaredModel:
    """Return a model that the manifest declared before, permitted nothing that the policies deny now.

    What it was permitted under a policy that left it to manifests was its manifest's consent, and counts as such. It is
    another version then, so pods that serve the former go on.
    """
    pickle = model.allow_pickle and not rules.pickle.permits(opted_in=model.pickle_policy is ConsentPolicy.PER_OBJECT)
    code = model.trust_code and not rules.code.permits(opted_in=model.code_policy is ConsentPolicy.PER_OBJECT)
    if pickle:
        model = msgspec.structs.replace(model, allow_pickle=False, pickle_policy=rules.pickle.policy)
    if code:
        model = msgspec.structs.replace(model, trust_code=False, code_policy=rules.code.policy)
    if not (pickle or code):
        return model
    digest = hashlib.sha256(msgspec.json.encode(model, order="sorted")).hexdigest()
    uid, *_ = model.id.partition("/")
    return msgspec.structs.replace(model, id=f"{uid}/{model.name}/{digest[:12]}", version=digest[:8])


def _held(model: DesiredModel, predictor: JsonObject, rules: NamespaceRules, refused: dict[str, None]) -> DesiredModel:
    def open_no_more(what: str, rule: ConsentRule, field: str, *, was: bool) -> bool:
        if not was or rule.permits(opted_in=_opted_in(predictor, field)):
            return False
        unsaid = "" if rule.denies else f", and that revision does not say {field}"
        refused[f"{what} (the {what} policy is '{rule.policy}', by {rule.said_by}{unsaid})"] = None
        return True

    if open_no_more(
        "pickle", rules.pickle, "allowPickle", was=permits({model.pickle_policy}, opted_in=model.allow_pickle)
    ):
        model = msgspec.structs.replace(model, allow_pickle=False, pickle_policy=rules.pickle.policy)
    fetched = model.is_python and model.code is None
    if fetched and open_no_more(
        "code", rules.code, "trustCode", was=permits({model.code_policy}, opted_in=model.trust_code)
    ):
        model = msgspec.structs.replace(model, trust_code=False, code_policy=rules.code.policy)
    return model
