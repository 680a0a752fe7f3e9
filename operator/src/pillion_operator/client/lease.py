"""Leader election by a Lease: one replica acts, the others stand by with warm caches.

The rules are those of Kubernetes' client-go (tools/leaderelection): whoever holds the lease renews it; a lease counts
as abandoned when it has not changed for its duration *as seen by our own clock*, so clocks need not agree. Here the
decision is a pure function, and the fence closes `renew_deadline` after the last renewal *began*, which leaves the
rest of the duration for requests that are on the wire.

A leader that is stopped gives the lease up. Where the operator is uninstalled it may not: its rights go with it, and
mostly before it is told to stop. So the lease belongs to the operator's Deployment, and the garbage collector takes it.
The price: a leader that is frozen while its Deployment is deleted and made anew could write for what is left of its
certainty once it wakes, were its account not gone as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.client.fence import boot_clock
from pillion_operator.state.kinds import DEPLOYMENT, LEASE
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    array,
    is_deleting,
    number_at,
    object_at,
    text_at,
    uid_of,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.fence import LeaseFence
    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["Election", "LeaseTimes", "Move", "Observation", "decide"]

_log: Final = logging.getLogger(__name__)

#: What giving the lease up may add to the time of a shutdown. Without it the lease runs out by itself.
_RELEASE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The election's times, in seconds."""

    duration: float = 12.0
    renew_deadline: float = 8.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The lease as last read, and when our clock first saw it so."""

    holder: str
    version: str
    duration: float
    since: float


class Move(enum.Enum):
    """What to do about the lease now."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def decide(seen: Observation | None, identity: str, now: float) -> Move:
    """Choose the move: a lease that is missing, given up or unchanged for its duration may be taken."""
    if seen is None:
        return Move.CREATE
    if seen.holder == identity:
        return Move.RENEW
    if not seen.holder or now - seen.since >= seen.duration:
        return Move.TAKE
    return Move.WAIT


class Election:
    """Takes part in the election until stopped or, once leader, until the lease is lost."""

    def __init__(
        self,
        client: KubernetesClient,
        fence: LeaseFence,
        key: Key,
        identity: str,
        times: LeaseTimes = LeaseTimes(),
        clock: Callable[[], float] = boot_clock,
        *,
        deployment: str = "",
    ) -> None:
        """Take part as `identity`; `deployment` names the Deployment beside the lease that the lease belongs to."""
        self._client = client
        self._fence = fence
        self._key = key
        self._identity = identity
        self._times = times
        self._clock = clock
        self._deployment = deployment
        self._seen: Observation | None = None
        self._lease: Manifest = {}
        self._renewed = float("-inf")
        self.leading = asyncio.Event()
        self.transitions = 0

    async def run(self) -> None:
        """Return only when a lease that was held is lost; the process must end then."""
        while True:
            started = self._clock()
            try:
                await self._step(started)
            except ApiError as error:
                level = logging.INFO if error.conflict else logging.WARNING  # then another replica was faster
                _log.log(level, "the lease could not be read or written: %s", error)
                if error.status != 0:
                    await self._read_quietly()
            except TimeoutError:
                _log.warning("the lease could not be written in time")
            if self.leading.is_set() and self._lost():
                self._fence.close()
                _log.error("the lease %s is lost; this replica ends so that it cannot write any more", self._key)
                return
            await asyncio.sleep(max(0.0, self._times.retry - (self._clock() - started)))

    async def release(self) -> None:
        """Close the fence and give the lease up, so that another replica need not wait for its end.

        As client-go does with ReleaseOnCancel: no holder, and a duration of one second. Only as well as it can be done
        in a moment.
        """
        self._fence.close()
        if not self.leading.is_set():
            return
        self.leading.clear()
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._give_up()
        except (ApiError, TimeoutError) as error:
            _log.info("the lease could not be given up and will run out: %s", str(error) or "no answer in time")
        else:
            _log.info("the lease %s is given up", self._key)

    async def _give_up(self) -> None:
        try:
            await self._replace_holder()
        except ApiError as error:
            if not error.conflict:
                raise
            # A renewal that was on its way when this process was told to stop has arrived.
            await self._read()
            if self._seen is not None and self._seen.holder == self._identity:
                await self._replace_holder()

    async def _replace_holder(self) -> None:
        spec = object_at(self._lease, "spec") | {"holderIdentity": "", "leaseDurationSeconds": 1}
        await self._client.replace(LEASE, self._lease | {"spec": spec})

    def _lost(self) -> bool:
        held = self._seen is not None and self._seen.holder == self._identity
        return not held or self._clock() >= self._renewed + self._times.renew_deadline

    async def _step(self, now: float) -> None:
        if self._seen is None or self._seen.holder != self._identity:
            await self._read()
        move = decide(self._seen, self._identity, now)
        if move is Move.WAIT or (self.leading.is_set() and self._lost()):
            return
        async with asyncio.timeout(self._times.renew_deadline / 2):
            stored = await self._write(move)
        self._remember(stored)
        self._renewed = now
        self._fence.extend(now + self._times.renew_deadline)
        if not self.leading.is_set():
            _log.info("this replica, %s, leads now", self._identity)
            self.transitions += 1
            self.leading.set()

    async def _read(self) -> None:
        found = await self._client.get(LEASE, self._key)
        if found is None:
            self._seen = None
        else:
            self._remember(found)

    async def _read_quietly(self) -> None:
        with contextlib.suppress(ApiError):
            await self._read()

    async def _write(self, move: Move) -> Manifest:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Manifest = object_at(self._lease, "spec") | {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "renewTime": now,
        }
        if move is not Move.RENEW:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = number_at(spec, "leaseTransitions") + (move is Move.TAKE)
        if move is Move.RENEW:
            return await self._client.replace(LEASE, self._lease | {"spec": spec})
        owners: Manifest = {"ownerReferences": array(await self._owners())}
        if move is Move.TAKE:
            metadata = object_at(self._lease, "metadata") | owners
            return await self._client.replace(LEASE, self._lease | {"metadata": metadata, "spec": spec})
        named: Manifest = {"namespace": self._key.namespace, "name": self._key.name}
        fresh: Manifest = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": named | owners,
            "spec": spec,
        }
        return await self._client.create(LEASE, fresh)

    async def _owners(self) -> list[Manifest]:
        """Return the Deployment as owner; nobody where it is not named, not there or not to be read."""
        if not self._deployment:
            return []
        try:
            found = await self._client.get(DEPLOYMENT, Key(self._key.namespace, self._deployment))
        except ApiError as error:
            _log.warning("the lease will stay after an uninstallation: %s", error)
            return []
        if found is None or is_deleting(found):
            return []
        kind: Manifest = {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name}
        return [kind | {"name": self._deployment, "uid": uid_of(found)}]

    def _remember(self, lease: Manifest) -> None:
        if self._seen is None or self._seen.version != version_of(lease):
            self._seen = Observation(
                holder=text_at(lease, "spec", "holderIdentity"),
                version=version_of(lease),
                duration=float(number_at(lease, "spec", "leaseDurationSeconds", default=round(self._times.duration))),
                since=self._clock(),
            )
        self._lease = lease
