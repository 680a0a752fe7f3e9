"""Variables by which the runtime guards access, wherever a container has them from: of its own, or out of `envFrom`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from pillion_operator.state.manifest import array, object_at, objects_at, text_at
from pillion_operator.state.names import RUNTIME_CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.resources import JsonObject

__all__ = ["Keys", "Source", "guarding", "known_by", "serving", "sources_of", "unread", "with_guarding"]

#: Variables that say the same as `spec.auth`, of manifests that have none.
_KEY: Final = "PILLION_API_KEY"
_VARIABLES: Final = "PILLION_AUTH__"
#: How `envFrom` names a source, and how a variable names one of its keys. Source: v1 EnvFromSource, EnvVarSource.
_REFERENCES: Final = {"secretRef": "secretKeyRef", "configMapRef": "configMapKeyRef"}
#: What every version of Kubernetes takes as a variable's name; others are left out, as `envFrom` leaves them out there.
_NAME: Final = re.compile(r"(?!\.\.?($|\.))[-._A-Za-z][-._A-Za-z0-9]*")

Source: TypeAlias = tuple[str, str]
"""`secretRef` or `configMapRef`, and a name."""
Keys: TypeAlias = "Mapping[Source, frozenset[str]]"
"""The keys that are in such objects; those that cannot be read are left out."""


def serving(template: JsonObject) -> JsonObject:
    """Return the runtime's container; an empty one where there is none."""
    containers = objects_at(template, "spec", "containers")
    return next((one for one in containers if text_at(one, "name") == RUNTIME_CONTAINER), {})


def sources_of(template: JsonObject) -> tuple[Source, ...]:
    """Return what the runtime's container has variables from."""
    return tuple(source for source, _ in _sources(serving(template)))


def unread(template: JsonObject, keys: Keys, kept: JsonObject) -> tuple[str, ...]:
    """Return the objects that a container has to have variables from, and whose keys are not known.

    Those that the kept template has variables from as well are left out: its pods have whatever they bring.
    """
    there = sources_of(kept)
    container = serving(template)
    return tuple(
        f"{source[0]} {source[1]!r} of envFrom"
        for (source, _), entry in zip(_sources(container), _entries(container), strict=True)
        if source not in keys and source not in there and object_at(entry, source[0]).get("optional") is not True
    )


def guarding(template: JsonObject, keys: Keys) -> list[JsonObject]:
    """Return the variables of the runtime's container that guard access, each with what it is read from."""
    container = serving(template)
    return [*(one for one in objects_at(container, "env") if _guards(text_at(one, "name"))), *_spelled(container, keys)]


def known_by(template: JsonObject, source: Source) -> frozenset[str]:
    """Return the keys of an object that a template reads variables from that guard access."""
    kind, name = source
    reference = ("valueFrom", _REFERENCES[kind])
    return frozenset(
        text_at(one, *reference, "key")
        for one in objects_at(serving(template), "env")
        if _guards(text_at(one, "name")) and text_at(one, *reference, "name") == name
    )


def with_guarding(template: JsonObject, variables: list[JsonObject], keys: Keys) -> JsonObject:
    """Return the template with these variables in the place of all that guard access there.

    An object of `envFrom` that has others of them is spelled out without those, as nothing else keeps a variable out.
    """
    given = {text_at(one, "name") for one in variables}
    containers: list[JsonObject] = []
    spec = template["spec"] if isinstance(template.get("spec"), dict) else {}
    for container in objects_at(template, "spec", "containers"):
        if text_at(container, "name") != RUNTIME_CONTAINER:
            containers.append(container)
            continue
        others = [one for one in objects_at(container, "env") if not _guards(text_at(one, "name"))]
        kept, out = _apart(container, given, keys)
        made = container | {"env": array([*others, *out, *variables])}
        if out or len(kept) < len(objects_at(container, "envFrom")):
            made = {field: value for field, value in made.items() if field != "envFrom"}
            made |= {"envFrom": array(kept)} if kept else {}
        containers.append(made)
    return template | {"spec": dict(spec) | {"containers": array(containers)}} if isinstance(spec, dict) else template


def _apart(container: JsonObject, given: set[str], keys: Keys) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return the entries of `envFrom` that may stay, and the variables of those that may not."""
    # Its own variables that guard access go, so they hide none of that name any more.
    own = {name for one in objects_at(container, "env") if not _guards(name := text_at(one, "name"))}
    kept: list[JsonObject] = []
    out: dict[str, JsonObject] = {}
    for (source, prefix), entry in zip(_sources(container), _entries(container), strict=True):
        names = {prefix + key: key for key in sorted(keys.get(source, ()))}
        if any(_guards(name) and name not in given for name in names):
            others = {name: key for name, key in names.items() if _NAME.fullmatch(name) and not _guards(name)}
            # As in `envFrom`, a pod does not wait for a key that goes.
            out |= {name: _variable(name, source, key, optional=True) for name, key in others.items()}
        else:
            kept.append(entry)
            # What comes later in `envFrom` wins, and what is spelled out would win over both.
            out = {name: one for name, one in out.items() if name not in names}
    return kept, [one for name, one in out.items() if name not in own]


def _spelled(container: JsonObject, keys: Keys) -> list[JsonObject]:
    own = {text_at(one, "name") for one in objects_at(container, "env")}
    found: dict[str, JsonObject] = {}
    for source, prefix in _sources(container):
        for key in sorted(keys.get(source, ())):
            name = prefix + key
            if _guards(name) and name not in own:
                found[name] = _variable(name, source, key)
    return list(found.values())


def _variable(name: str, source: Source, key: str, *, optional: bool = False) -> JsonObject:
    kind, where = source
    reference: JsonObject = {"name": where, "key": key}
    return {"name": name, "valueFrom": {_REFERENCES[kind]: reference | ({"optional": True} if optional else {})}}


def _sources(container: JsonObject) -> list[tuple[Source, str]]:
    return [
        ((kind, text_at(entry, kind, "name")), text_at(entry, "prefix"))
        for entry in _entries(container)
        for kind in _REFERENCES
        if kind in entry
    ]


def _entries(container: JsonObject) -> list[JsonObject]:
    return [entry for entry in objects_at(container, "envFrom") if sum(kind in entry for kind in _REFERENCES) == 1]


def _guards(name: str) -> bool:
    return name == _KEY or name.startswith(_VARIABLES)
