"""Which rights are not granted, and what of it a service should know. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    EVENT,
    INFERENCE_SERVICE,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
)
from pillion_operator.state.manifest import object_at, objects_at, value_at
from pillion_operator.state.plan import Note
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pillion_operator.rbac import Rule
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired

__all__ = ["Lack", "lacking", "told_of_rights"]

#: What every service needs, beside the kinds of its children.
_ALWAYS: Final = (INFERENCE_SERVICE, DEPLOYMENT, CONTROLLER_REVISION, POD, SECRET, SERVICE_ACCOUNT, EVENT)


@dataclass(frozen=True, slots=True, order=True)
class Lack:
    """One verb that is not granted. `resource` is a plural name, and may have a subresource after a slash."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        """As people say it: `patch deployments.apps/scale`."""
        name, slash, subresource = self.resource.partition("/")
        return f"{self.verb} {name}{f'.{self.group}' if self.group else ''}{slash}{subresource}"


def lacking(needed: Iterable[Rule], review: Manifest) -> tuple[Lack, ...]:
    """Return what of the needed is not granted; nothing where the review says that it does not know all. Pure."""
    status = object_at(review, "status")
    if status.get("incomplete") or "resourceRules" not in status:
        return ()
    granted = [
        tuple(_words(rule, part) for part in ("apiGroups", "resources", "verbs"))
        for rule in objects_at(status, "resourceRules")
        # What is granted by name is not granted for what has another one.
        if not rule.get("resourceNames")
    ]
    return tuple(
        Lack(rule.group, rule.resource, verb)
        for rule in needed
        for verb in rule.verbs
        if not any(
            _grants(groups, rule.group) and _covers(resources, rule.resource) and _grants(verbs, verb)
            for groups, resources, verbs in granted
        )
    )


def told_of_rights(desired: Desired, lacks: Sequence[Lack]) -> Desired:
    """Return the plan with a note of those rights that lack for it."""
    kinds = (*_ALWAYS, *(child.kind for child in desired.all_children))
    used = {(kind.group, kind.plural) for kind in kinds}
    lacks = [one for one in lacks if (one.group, one.resource.partition("/")[0]) in used]
    if not lacks:
        return desired
    note = Note(Reason.FORBIDDEN, f"the operator may not {', '.join(map(str, lacks))} here")
    return replace(desired, notes=(*desired.notes, note))


def _words(rule: Manifest, part: str) -> tuple[str, ...]:
    found = value_at(rule, part)
    return tuple(word for word in found if isinstance(word, str)) if isinstance(found, list) else ()


def _grants(words: tuple[str, ...], word: str) -> bool:
    return word in words or "*" in words


def _covers(resources: tuple[str, ...], resource: str) -> bool:
    """Whether a rule is about the resource; `*/scale` is that subresource of every one. Source: RBAC, PolicyRule."""
    _, slash, subresource = resource.partition("/")
    return _grants(resources, resource) or bool(slash and f"*/{subresource}" in resources)
