"""What a request for a job says: whether it may, and what is answered where it names none."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from pillion.jobs.states import JobKind

__all__ = ["IdempotencyKey", "Submitter", "check_key", "digest_of", "unknown_job"]

_LONGEST_KEY: Final = 255


def digest_of(model: str, task: str, request: bytes | memoryview) -> str:
    """Tells a request from another: of its model, task and body."""
    digest = hashlib.sha256(b"\0".join((model.encode(), task.encode(), b"")))
    digest.update(request)
    return digest.hexdigest()


def check_key(key: str) -> None:
    """Look at an idempotency key.

    Raises:
        PillionError: ``INVALID_ARGUMENT``.
    """
    if len(key) > _LONGEST_KEY or not key.isprintable():
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"Idempotency-Key is longer than {_LONGEST_KEY} characters, or not printable",
            field="Idempotency-Key",
        )


class Submitter(msgspec.Struct, frozen=True):
    """Who hands a job in."""

    name: str = ""
    """What they are called, which stays when the token or key that they show is renewed; empty for whoever shows
    nothing."""
    shown: str = ""
    """A digest of what they show: what versions before called them."""


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An idempotency key: each caller has keys of its own, and those who do not say who they are share theirs."""

    caller: Submitter
    key: str
    """As it was given; empty for none."""

    def kept(self, secret: bytes) -> str:
        """How it is kept in the store with that secret. No printable key is another caller's.

        The digest is of the secret, too, so that nobody can try known keys and passwords on a store without it.
        """
        return self._by(secret, self.caller.name)

    def kept_before(self, secret: bytes) -> tuple[str, ...]:
        """How versions before kept it: by what the caller showed, and first without a secret. Their jobs are known by
        these until they are purged.
        """
        if not (self.caller.shown and self.key):
            return ()
        return self._by(secret, self.caller.shown), f"{self.caller.shown}\x1f{self.key}"

    def _by(self, secret: bytes, caller: str) -> str:
        if not (caller and self.key):
            return self.key
        return f"{hmac.digest(secret, caller.encode(), 'sha256').hex()[:32]}\x1f{self.key}"


def unknown_job(kind: JobKind | None, identity: str) -> PillionError:
    """That there is no such job."""
    what = "job" if kind is None else kind.value
    return PillionError(
        ErrorCode.NOT_FOUND,
        f"there is no {what} {identity[:100]!r}",
        field=f"{what}_id",
        remedy="it was never submitted here, or was purged after its end (jobs.keep_seconds, jobs.keep_jobs)",
    )
