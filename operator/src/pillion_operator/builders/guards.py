"""What guards access outlives a roll-back: pods of a kept revision get `auth` and `tls` of the newest manifest.

A version fails for many reasons, and none of them is a reason to let anybody ask who is not to. What the kept revision
has of its own stays where the newest manifest asks for nothing: a roll-back closes doors and opens none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.runtimefile import RuntimeFile, RuntimeFileError, dump, load
from pillion_operator.builders.configmap import CONFIG_FILE
from pillion_operator.builders.planned import first_of, runtime_config
from pillion_operator.builders.stamps import stamped
from pillion_operator.builders.variables import guarding, serving, unread, with_guarding
from pillion_operator.state.kinds import DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import array, object_at, objects_at, revision, text_at
from pillion_operator.state.names import RUNTIME_CONTAINER
from pillion_operator.state.revisions import Guards

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.builders.variables import Keys
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired

__all__ = ["Guarded", "asks_more", "guarded"]

#: Settings of the runtime by which it guards access: the field of the manifest, and the volumes that belong to it.
_FIELDS: Final = {
    "auth": ("spec.auth", ("api-keys", "reviewer")),
    "tls": ("spec.predictor.tls", ("tls", "client-ca")),
}


@dataclass(frozen=True, slots=True)
class Guarded:
    """What is kept of a revision, with what guards access as the newest manifest has it.

    Attributes:
        data: of the ControllerRevision, changed where something was taken over.
        guards: what was, and what could not be.
    """

    data: JsonObject
    guards: Guards


def guarded(service: str, desired: Desired, data: JsonObject, keys: Keys, *, certified: bool) -> Guarded:
    """Return a kept revision that asks of its callers what the newest manifest asks of them.

    Args:
        service: the InferenceService's name.
        desired: the plan of the newest manifest.
        data: what is kept.
        keys: of the objects that either has variables from.
        certified: whether the Secrets of `tls` can be served with. Where they cannot, nobody has spoken TLS by them,
            and the pods serve as they did; but where clients are to show certificates, nobody is let in without.
    """
    template = object_at(data, "template")
    unchanged = Guarded(data, Guards(revision(template)))
    newest, kept = _read(runtime_config(desired, service)), _read(text_at(data, "config"))
    if newest is None:
        return unchanged
    there = object_at(first_of(desired, DEPLOYMENT), "spec", "template")
    names = {field: name for field, (name, _) in _FIELDS.items() if newest.settings.get(field)}
    variables = guarding(there, keys)
    if variables:
        names.setdefault("auth", "the variables of the runtime's auth")
    if kept is None:
        why = "that revision does not serve with Pillion's runtime of this release"
        lost = tuple(names.values())
        return replace(unchanged, guards=Guards(revision(template), lacking=lost, why=why if lost else ""))
    taken: list[str] = []
    lacking: list[str] = []
    settings = dict(kept.settings)
    changed = template
    for field, name in names.items():
        asked = newest.settings.get(field)
        given = _with_parts(changed, there, _FIELDS[field][1])
        if field == "auth":
            given = _with_account(given, there, asked)
            if variables != guarding(given, keys):
                given = with_guarding(given, variables, keys)
        if given == changed and settings.get(field) == asked:
            continue
        if field == "tls" and not certified and not (isinstance(asked, dict) and "client" in asked):
            lacking.append(name)
            continue
        settings.pop(field, None)
        settings |= {} if asked is None else {field: asked}
        changed = given
        taken.append(name)
    reasons = ["a Secret of it is not there, or cannot be served with"] if lacking else []
    unknown = unread(there, keys, template)
    if unknown:
        lacking += unknown
        reasons.append("what it brings is not known, as it is not there or may not be read")
    why = "; ".join(reasons)
    if changed == template and settings == kept.settings:
        return replace(unchanged, guards=Guards(revision(template), lacking=tuple(lacking), why=why))
    text = dump(msgspec.structs.replace(kept, settings=settings))
    template = stamped(changed, text)
    made: JsonObject = data | {"template": template, "config": text}
    if bool(settings.get("tls")) != bool(kept.settings.get("tls")):
        # Both serve with Pillion's runtime, whose ports are always the same: only their names tell of TLS.
        made["service"] = object_at(first_of(desired, SERVICE), "spec")
    return Guarded(made, Guards(revision(template), tuple(taken), tuple(lacking), why))


def asks_more(live: Manifest | None, data: JsonObject) -> bool:
    """Whether pods that there are guard access by something that a kept revision does not have."""
    has, kept = (_marks(object_at(one, "template")) for one in (object_at(live or {}, "spec"), data))
    return bool(has - kept)


def _marks(template: JsonObject) -> set[tuple[str, ...]]:
    """Return by what a template guards access: the Secrets and variables, without what an API server adds to them."""
    names = {volume for _, volumes in _FIELDS.values() for volume in volumes}
    mounted = {
        (text_at(volume, "name"), text_at(volume, "secret", "secretName"))
        for volume in objects_at(template, "spec", "volumes")
        if text_at(volume, "name") in names
    }
    secret = ("valueFrom", "secretKeyRef")
    given = {
        (text_at(one, "name"), text_at(one, "value"), text_at(one, *secret, "name"), text_at(one, *secret, "key"))
        for one in guarding(template, {})
    }
    return mounted | given


def _with_parts(template: JsonObject, newest: JsonObject, names: tuple[str, ...]) -> JsonObject:
    """Return the template with the volumes of those names, and their mounts, as the newest has them."""
    spec = object_at(template, "spec")
    volumes = _exchanged(objects_at(spec, "volumes"), objects_at(newest, "spec", "volumes"), names)
    mounts = objects_at(serving(newest), "volumeMounts")
    containers = [
        container | {"volumeMounts": array(_exchanged(objects_at(container, "volumeMounts"), mounts, names))}
        if text_at(container, "name") == RUNTIME_CONTAINER
        else container
        for container in objects_at(spec, "containers")
    ]
    return template | {"spec": spec | {"volumes": array(volumes), "containers": array(containers)}}


def _exchanged(kept: list[JsonObject], newest: list[JsonObject], names: tuple[str, ...]) -> list[JsonObject]:
    """Return entries with those of these names as the newest has them, each in its place."""
    given = {text_at(one, "name"): one for one in newest if text_at(one, "name") in names}
    found = [
        given.pop(text_at(one, "name"), one)
        for one in kept
        if text_at(one, "name") not in names or text_at(one, "name") in given
    ]
    return [*found, *given.values()]


def _with_account(template: JsonObject, newest: JsonObject, auth: object) -> JsonObject:
    """Return the template with the account whose token reviews those of callers: only that one has the right to."""
    spec = object_at(template, "spec")
    if not (isinstance(auth, dict) and "inference_service" in auth):
        return template
    account = object_at(newest, "spec").get("serviceAccountName")
    others = {field: value for field, value in spec.items() if field != "serviceAccountName"}
    return template | {"spec": others | ({"serviceAccountName": account} if account else {})}


def _read(config: str) -> RuntimeFile | None:
    try:
        return load(config, source=CONFIG_FILE) if config else None
    except RuntimeFileError:
        return None
