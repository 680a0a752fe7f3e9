"""Applying the plan: every child that differs is applied, what others added is taken out, what is left over goes."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from pillion_operator.apply.drift import differences, foreign_entries, leftovers, show, without
from pillion_operator.apply.scale import given_up, replicas_to_set
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import DEPLOYMENT, HTTP_ROUTE, INFERENCE_SERVICE, OPTIONAL
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    array,
    controller_uid,
    generation_of,
    is_deleting,
    key_of,
    labels_of,
    number_at,
    object_at,
    objects_at,
    uid_of,
    version_of,
)
from pillion_operator.state.names import COMPONENT_LABEL, SCALE_MANAGER, canary_name, component_name, predictor_name
from pillion_operator.state.observed import Outcome
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.observed import Observed
    from pillion_operator.state.plan import Child, Desired, ReplicaBounds

__all__ = ["ChildApplier", "refused"]

_log: Final = logging.getLogger(__name__)

#: What the API server says where Gateway API is older than 1.2, whose HTTPRoutes have no limits of time.
_UNDECLARED_LIMITS: Final = "timeouts: field not declared in schema"

#: Children whose apply changed nothing: the manifest's digest, and what the live object was then.
_Futile: TypeAlias = "dict[tuple[Kind, Key], tuple[str, int | str, tuple[str, ...]]]"


class ChildApplier:
    """Makes the children of one InferenceService as planned.

    `record` is told of every object that a write answered with, so that the next look sees it at once.
    """

    def __init__(self, client: KubernetesClient, record: Callable[[Kind, Manifest], object]) -> None:
        self._client = client
        self._record = record
        self._futile: _Futile = {}

    async def apply(self, observed: Observed, desired: Desired) -> Outcome:
        """Apply every child.

        Raises:
            ApiError: the server could not be asked, or another writer was faster; the same may work a moment later.
        """
        run = _Run(self._client, self._record, self._futile, observed, desired)
        await run.children()
        # An autoscaler that is not wanted any more must not undo the count that is set next.
        if desired.complete:
            await run.prune()
        await run.scale()
        return run.outcome

    async def put(self, observed: Observed, desired: Desired) -> Outcome:
        """Apply the children, and neither count pods nor take away what is not planned.

        Raises:
            ApiError: as for `apply`.
        """
        run = _Run(self._client, self._record, self._futile, observed, desired)
        await run.children()
        return run.outcome


class _Run:
    """One pass over the children of one service."""

    def __init__(
        self,
        client: KubernetesClient,
        record: Callable[[Kind, Manifest], object],
        futile: _Futile,
        observed: Observed,
        desired: Desired,
    ) -> None:
        self._client = client
        self._record = record
        self._futile = futile
        self._observed = observed
        self._desired = desired
        self._owner = uid_of(observed.service)
        name = key_of(observed.service).name
        #: The Deployment of each component, with the bounds of its count.
        self._bounds = {predictor_name(name): desired.replicas}
        self._bounds |= {component_name(name, one.component): one.replicas for one in desired.components}
        self._deployments = {one: observed.children.get(DEPLOYMENT, {}).get(one) for one in self._bounds}
        self._problems: list[Problem] = []
        self._repaired: list[str] = []
        self._created: list[str] = []
        self._writes = 0

    @property
    def outcome(self) -> Outcome:
        """What it came to so far."""
        return Outcome(tuple(self._problems), tuple(self._repaired), tuple(self._created), self._writes)

    async def children(self) -> None:
        """Apply each child; one that is refused does not keep the others from being applied."""
        for child in self._desired.all_children:
            name = key_of(child.manifest).name
            if child.kind is DEPLOYMENT and self._never_ran(name):
                continue  # A stopped service that never ran gets no pod, not even for a moment.
            try:
                stored = await self._child(child)
            except ApiError as error:
                # An optional kind may have gone since it was asked for.
                if _is_its_own_trouble(child.kind, error):
                    self._problems.append(_unavailable(child.kind, name, error))
                    continue
                if not (error.refused or (error.not_found and child.kind in OPTIONAL)):
                    raise
                if not error.terminating:
                    self._problems.append(refused(child, error))
            else:
                if child.kind is DEPLOYMENT and name in self._deployments:
                    self._deployments[name] = stored
                elif child.kind is DEPLOYMENT and stored is not None:
                    await self._scale_canary(stored)
        standing_in = self._standing_in()
        if standing_in is not None:
            await self._scale_canary(standing_in)

    def _never_ran(self, deployment: str) -> bool:
        """Whether it is of a component that is to have no pods, and has no Deployment yet."""
        whose = deployment if deployment in self._bounds else predictor_name(key_of(self._observed.service).name)
        return self._bounds[whose].most == 0 and self._deployments[whose] is None

    async def scale(self) -> None:
        """Set the numbers of replicas where they are ours to set, and leave them to autoscalers where there are any."""
        for name, live in self._deployments.items():
            if live is not None:
                await self._scale(live, self._bounds[name])

    async def _scale(self, live: Manifest, bounds: ReplicaBounds) -> None:
        count = replicas_to_set(bounds, live)
        if not bounds.left_to_scalers:
            if count is not None:
                self._writes += 1
                await self._client.scale(DEPLOYMENT, key_of(live), count, manager=SCALE_MANAGER)
            return
        given = given_up(live)
        if given is not None:
            self._writes += 1
            live = self._stored(DEPLOYMENT, await self._client.replace(DEPLOYMENT, given))
        if count is not None:
            self._writes += 1
            spec: Manifest = {"spec": {"replicas": count}}
            await self._client.merge(DEPLOYMENT, key_of(live), spec, subresource="scale")

    async def _scale_canary(self, live: Manifest) -> None:
        """Give the newest revision its pods; nobody else decides how many they are."""
        wanted = self._desired.split.canary if self._desired.split else 1
        if number_at(live, "spec", "replicas", default=1) != wanted:
            self._writes += 1
            await self._client.scale(DEPLOYMENT, key_of(live), wanted, manager=SCALE_MANAGER)

    def _standing_in(self) -> Manifest | None:
        """Return the Deployment whose pods stand in for others: it stays as it is, but for their number."""
        split, name = self._desired.split, canary_name(key_of(self._observed.service).name)
        if split is None or not split.stands_in or (DEPLOYMENT, name) not in self._desired.spared:
            return None
        live = self._observed.children.get(DEPLOYMENT, {}).get(name)
        return None if live is None or is_deleting(live) else live

    async def prune(self) -> None:
        """Delete children that the plan no longer has."""
        planned = {(child.kind, key_of(child.manifest).name) for child in self._desired.all_children}
        planned |= self._desired.spared
        unplanned = {one.component for one in self._desired.components if one.problem is not None}
        for kind, children in self._observed.children.items():
            for name, live in children.items():
                stays = labels_of(live).get(COMPONENT_LABEL) in unplanned
                if (kind, name) not in planned and not stays and not is_deleting(live):
                    _log.info("deleting %s %s, which is not needed any more", kind.name, key_of(live))
                    self._writes += 1
                    try:
                        await self._client.delete(kind, key_of(live), uid=uid_of(live))
                    except ApiError as error:
                        if not _is_its_own_trouble(kind, error):
                            raise
                        self._problems.append(_unavailable(kind, name, error))

    async def _child(self, child: Child) -> Manifest | None:
        key = key_of(child.manifest)
        live = self._observed.children.get(child.kind, {}).get(key.name)
        if live is None:
            # Only what carries our label is watched, so somebody else's object of this name would not be known.
            live = await self._client.get(child.kind, key)
            if live is not None and controller_uid(live) != self._owner:
                await self._in_the_way(child.kind, key, live)
                return None
        if live is None:
            self._created.append(f"{child.kind.name} {key.name}")
            return await self._write(child, None)
        if is_deleting(live):
            return live  # Its end is an event of its own.
        return await self._write(child, live)

    async def _write(self, child: Child, live: Manifest | None) -> Manifest:
        wanted = child.manifest
        if live is None:
            self._writes += 1
            return self._stored(child.kind, await self._applied(child))
        lacking, left = differences(wanted, live), leftovers(wanted, live)
        if lacking or left:
            live = await self._set_right(child, live, [show(path) for path in (lacking + left)])
        foreign = foreign_entries(wanted, live)
        if foreign:
            self._writes += 1
            live = self._stored(child.kind, await self._client.replace(child.kind, without(live, foreign)))
            names = ", ".join(show(path) for path in foreign[:3])
            self._repaired.append(f"removed {names} from {child.kind.name} {key_of(wanted).name}")
        return live

    async def _set_right(self, child: Child, live: Manifest, paths: list[str]) -> Manifest:
        """Apply a child that differs, unless the same apply has changed nothing before.

        The server may keep a value in another form than it was given; what is equal to it looks different to us, and
        applying it again would cost a request for each look.
        """
        key = key_of(live)
        state = (_digest(child.manifest), generation_of(live) or version_of(live), tuple(paths))
        if self._futile.get((child.kind, key)) == state:
            return live
        self._writes += 1
        stored = self._stored(child.kind, await self._applied(child))
        unchanged = version_of(stored) == version_of(live)
        if unchanged:
            self._futile[child.kind, key] = state
        level = logging.WARNING if unchanged else logging.INFO
        came = "which changed nothing, so it is not tried again" if unchanged else "which set it right"
        _log.log(level, "applied %s %s, %s: %s differed", child.kind.name, key, came, ", ".join(paths[:5]))
        return stored

    async def _applied(self, child: Child) -> Manifest:
        """Apply a child; a route of a Gateway API that knows no limits of time goes without, and keeps its weights."""
        try:
            return await self._client.apply(child.kind, child.manifest)
        except ApiError as error:
            if not (child.kind is HTTP_ROUTE and _UNDECLARED_LIMITS in error.message):
                raise
        spec = object_at(child.manifest, "spec")
        rules = [
            {field: value for field, value in rule.items() if field != "timeouts"} for rule in objects_at(spec, "rules")
        ]
        self._writes += 1
        return await self._client.apply(child.kind, child.manifest | {"spec": spec | {"rules": array(rules)}})

    def _stored(self, kind: Kind, manifest: Manifest) -> Manifest:
        self._record(kind, manifest)
        return manifest

    async def _in_the_way(self, kind: Kind, key: Key, live: Manifest) -> None:
        service = key_of(self._observed.service)
        for owner in objects_at(live, "metadata", "ownerReferences"):
            if owner.get("kind") == INFERENCE_SERVICE.name and owner.get("name") == service.name:
                # Left by an InferenceService of this name that is gone; the garbage collector may be slow or absent.
                self._writes += 1
                await self._client.delete(kind, key, uid=uid_of(live))
                raise ApiError(409, "Conflict", f"{kind.name} {key} of the former service is being deleted")
        self._problems.append(
            Problem(
                Reason.NAME_CONFLICT,
                f"{kind.name} {key.name!r} exists and does not belong to this InferenceService, so it was not touched",
                f"{kind.name}/{key.name}",
                transient=False,
            )
        )


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()


def _is_its_own_trouble(kind: Kind, error: ApiError) -> bool:
    """Whether whoever serves an optional kind fails, which is no reason to leave the others."""
    return kind in OPTIONAL and error.status >= 500 and not error.refused


def _unavailable(kind: Kind, name: str, error: ApiError) -> Problem:
    text = f"{kind.name} {name!r} cannot be written, since the API of {kind.api_version} does not answer: "
    return Problem(Reason.KIND_UNAVAILABLE, f"{text}{error.message}", f"{kind.name}/{name}")


def refused(child: Child, error: ApiError) -> Problem:
    """Return the problem that a refusal of the API server means."""
    name = key_of(child.manifest).name
    location = f"{child.kind.name}/{name}"
    text = f"the API server refused {child.kind.name} {name!r}: {error.message}"
    if error.status == 403 and "exceeded quota" in error.message:
        return Problem(Reason.QUOTA_EXCEEDED, text, location)
    if error.not_found:
        return Problem(Reason.REFUSED, text, location, remedy=f"install what defines {child.kind.name}")
    if error.status == 403:
        return Problem(Reason.FORBIDDEN, text, location)
    return Problem(Reason.REFUSED, text, location, transient=False)
