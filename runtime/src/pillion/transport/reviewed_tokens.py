"""Callers who show the token of a ServiceAccount, each judged by the cluster and remembered for a while.

What is remembered is looked up on the event loop without a wait; what is not makes the call wait for a review. A good
verdict is asked for again after a minute, and holds for a quarter of an hour while nobody can be asked: a control plane
that restarts must not take the services down with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pillion.errors import ErrorCode, PillionError
from pillion.transport.authentication import AUTHORIZATION, bearer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.transport.authentication import ApiKey

__all__ = ["Refusal", "ReviewNeeded", "Reviewed", "ReviewedTokens", "Reviewer", "Unreviewed"]

_log = logging.getLogger(__name__)
_GOOD_SECONDS: Final = 60.0
_GOOD_AT_MOST_SECONDS: Final = 900.0
_BAD_SECONDS: Final = 10.0
_AWAY_SECONDS: Final = 10.0
_REMEMBERED: Final = 10_000
_AT_A_TIME: Final = 16
_WAITING_AT_MOST: Final = 256
_MOST_BYTES: Final = 16 * 1024


class Unreviewed(Exception):  # noqa: N818 - it says what the token is
    """The cluster gave no verdict; the text says why."""


class Refusal(NamedTuple):
    """Why somebody may not call."""

    code: ErrorCode
    reason: str


class Reviewed(NamedTuple):
    """What the cluster says of a token.

    Attributes:
        user: the name of its owner, which all of their tokens have in common; empty where it is nobody's.
        refused: why they may not call; None where they may.
    """

    user: str
    refused: Refusal | None


class Reviewer(Protocol):
    """Asks the cluster."""

    async def review(self, token: str) -> Reviewed:
        """Whose token it is, and whether they may call.

        Raises:
            Unreviewed: there is no verdict.
        """
        ...


class ReviewNeeded(PillionError):  # noqa: N818 - PillionError is what it is; this names which
    """The token has to be reviewed first, which takes a wait."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.UNAUTHENTICATED, "the token has not been reviewed yet")


class _Verdict:
    """What is remembered of one token.

    Attributes:
        user: its owner's name.
        refused: why they may not call; None where they may.
        since: when the cluster said so.
        until: when it is to be asked again.
        doubted: whether it could not be asked the last time.
    """

    __slots__ = ("doubted", "refused", "since", "until", "user")

    def __init__(self, reviewed: Reviewed, since: float) -> None:
        self.user, self.refused = reviewed
        self.since = since
        self.until = since + (_BAD_SECONDS if self.refused else _GOOD_SECONDS)
        self.doubted = False

    def doubt(self, now: float) -> None:
        """Count on for a while, since nobody could be asked."""
        self.until = min(now + _AWAY_SECONDS, self.since + _GOOD_AT_MOST_SECONDS)
        self.doubted = True

    def may_wait(self, now: float) -> bool:
        """Whether it may be asked for again without whoever calls waiting for it: the cluster was out of reach a moment
        ago, and finding that out once more can take seconds.
        """
        return self.doubted and now - self.until < _GOOD_SECONDS and now - self.since < _GOOD_AT_MOST_SECONDS


class ReviewedTokens:
    """Lets callers through whose token the cluster accepts, and who may call this service.

    Args:
        reviewer: asks the cluster.
        keys: keys that are as good as a token; None where there are none.
        clock: seconds that only go on.
    """

    def __init__(
        self, reviewer: Reviewer, keys: ApiKey | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reviewer = reviewer
        self._keys = keys
        self._clock = clock
        # Apart, so that a flood of made-up tokens does not make known callers unknown.
        self._good: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._bad: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._reviews: dict[bytes, asyncio.Task[_Verdict]] = {}
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    def check(self, authorization: bytes | None, key: bytes | None) -> None:
        """Take either header's value.

        Raises:
            ReviewNeeded: the token is not known; :meth:`admit` has it reviewed.
            PillionError: ``UNAUTHENTICATED`` or ``PERMISSION_DENIED``; who shows this may not call.
        """
        token = self._token(authorization, key)
        if token is None:
            return
        digest, now = _digest(token), self._clock()
        verdict = self._good.get(digest) or self._bad.get(digest)
        if verdict is None or now > verdict.until:
            if verdict is None or not verdict.may_wait(now):
                raise ReviewNeeded
            self._begun(token, digest)
        _require(verdict)

    async def admit(self, authorization: bytes | None, key: bytes | None) -> None:
        """The same, after a review where one is needed.

        Raises:
            PillionError: as above, or ``NOT_READY`` where the cluster gives no verdict, or ``QUEUE_FULL`` where too
                many wait for one.
        """
        try:
            self.check(authorization, key)
        except ReviewNeeded:
            token = self._token(authorization, key)
            if token is not None:
                _require(await self._reviewed(token))

    async def name(self, authorization: bytes | None, key: bytes | None) -> str:
        """See :class:`~pillion.transport.authentication.Callers`: the cluster's name of the user, or a key's."""
        token = self._token(authorization, key)
        if token is None and self._keys is not None:
            return await self._keys.name(authorization, key)
        token = token or b""
        # As a rule it was reviewed when the request came, and is remembered since.
        verdict = self._good.get(_digest(token)) or await self._reviewed(token)
        _require(verdict)
        return f"user:{verdict.user}"

    def _token(self, authorization: bytes | None, key: bytes | None) -> bytes | None:
        """The token that has to be judged; None where a key has opened the door already.

        Raises:
            PillionError: ``UNAUTHENTICATED``; nothing is shown that could open it.
        """
        token = bearer(authorization)
        shown = key if key is not None else token
        if self._keys is not None and shown is not None and self._keys.named(shown) is not None:
            return None
        if key is not None or token is None or not _looks_like_one(token):
            raise PillionError(
                ErrorCode.UNAUTHENTICATED,
                "this server asks for the token of a ServiceAccount (auth.inference_service)",
                field=AUTHORIZATION,
                remedy="send it as 'Authorization: Bearer TOKEN'; make one by "
                "'kubectl create token NAME --audience=pillion'",
            )
        return token

    async def _reviewed(self, token: bytes) -> _Verdict:
        """A verdict that is new enough; all who wait for one about the same token share it."""
        # A caller who leaves does not take the review from the others.
        return await asyncio.shield(self._begun(token, _digest(token)))

    def _begun(self, token: bytes, digest: bytes) -> asyncio.Task[_Verdict]:
        """The review of the token: the one that is under way, else a new one.

        Raises:
            PillionError: ``QUEUE_FULL``; known callers are never answered so, whoever else is there.
        """
        task = self._reviews.get(digest)
        if task is None:
            if len(self._reviews) >= _WAITING_AT_MOST and digest not in self._good:
                raise PillionError(
                    ErrorCode.QUEUE_FULL, "too many tokens wait for a review by the cluster", retry_after=1.0
                )
            task = asyncio.create_task(self._review(token, digest))
            self._reviews[digest] = task
            task.add_done_callback(partial(self._ended, digest))
        return task

    def _ended(self, digest: bytes, task: asyncio.Task[_Verdict]) -> None:
        del self._reviews[digest]
        if not task.cancelled():
            task.exception()  # whoever waited is told; nobody may be left

    async def _review(self, token: bytes, digest: bytes) -> _Verdict:
        try:
            async with self._slots:
                reviewed = await self._reviewer.review(token.decode("ascii"))
        except Unreviewed as error:
            known, now = self._good.get(digest), self._clock()
            if known is not None and now - known.since < _GOOD_AT_MOST_SECONDS:
                _log.warning("a token is taken by its last review: %s", error)
                known.doubt(now)
                return known
            raise PillionError(ErrorCode.NOT_READY, f"the token cannot be reviewed: {error}", retry_after=1.0) from None
        verdict = _Verdict(reviewed, self._clock())
        self._good.pop(digest, None)
        kept = self._good if reviewed.refused is None else self._bad
        kept[digest] = verdict
        kept.move_to_end(digest)
        while len(kept) > _REMEMBERED:
            kept.popitem(last=False)
        return verdict


def _looks_like_one(token: bytes) -> bool:
    """Whether it is worth a review: a JWT of a size that the cluster makes."""
    return len(token) <= _MOST_BYTES and token.count(b".") == 2 and token.isascii()


def _require(verdict: _Verdict) -> None:
    if verdict.refused is not None:
        raise PillionError(verdict.refused.code, verdict.refused.reason, field=AUTHORIZATION)


def _digest(token: bytes) -> bytes:
    """What tokens are remembered by, so that none is kept."""
    return hashlib.sha256(token).digest()
