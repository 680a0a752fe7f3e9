"""Which failures are tried again, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pillion.client.errors import CallError, ClientError, ConnectionLost, NeverSent, Untrusted

__all__ = ["Retries"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How calls are tried again, always within their time.

    A request that was never sent is tried again whatever it is, unless it is the certificate that was wrong. One that
    the server refused for now (429 and 503 with ``Retry-After``), or whose connection was lost, only where doing it
    twice is the same as doing it once: reading, predictions of models, jobs (which carry an ``Idempotency-Key``), and
    tasks that are called with ``idempotent=True``.

    Args:
        attempts: of a call, the first included. 1: never again.
        backoff: seconds before the second attempt, twice as many before each further one, with up to half of it less
            by chance.
        longest: seconds to wait at most; a server that asks for more is not asked again.
    """

    attempts: int = 3
    backoff: float = 0.1
    longest: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts: at least 1, the first included")
        if self.backoff < 0 or self.longest < 0:
            raise ValueError("backoff and longest: seconds, not negative")

    def wait(self, failure: ClientError, made: int, *, idempotent: bool, chance: float | None = None) -> float | None:
        """Seconds until the next attempt; None where there is to be none.

        Args:
            failure: of the last one.
            made: attempts so far.
            idempotent: whether doing it twice is the same as doing it once.
            chance: from 0 to 1; by default one at random.
        """
        if made >= self.attempts or isinstance(failure, Untrusted):
            return None
        drawn = random.random() if chance is None else chance  # noqa: S311 - spreads attempts, keeps no secret
        backoff: float = min(self.backoff * 2.0 ** float(made - 1), self.longest) * (1 - drawn / 2)
        if isinstance(failure, NeverSent):
            return backoff
        if not idempotent:
            return None
        if isinstance(failure, ConnectionLost):
            return backoff
        if isinstance(failure, CallError) and failure.status in {429, 503} and failure.retry_after is not None:
            return max(failure.retry_after, backoff) if failure.retry_after <= self.longest else None
        return None
