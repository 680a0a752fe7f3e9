"""Keys that callers of the data ports must show, for services that are reachable by more than their own callers.

Health and readiness stay open: probes and load balancers have no key, and say nothing about a model. Everything else
asks for it, also routes that do not exist yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["API_KEY_SETTING", "AUTHORIZATION", "KEY_HEADER", "ApiKey", "Callers", "bearer", "shown_digest"]

AUTHORIZATION: Final = "authorization"
KEY_HEADER: Final = "x-api-key"
API_KEY_SETTING: Final = "auth.api_key (PILLION_API_KEY)"
_REMEDY: Final = "send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"


class Callers(Protocol):
    """Decides who may call, by the values of two headers."""

    def check(self, authorization: bytes | None, key: bytes | None) -> None:
        """Decide without a wait.

        Raises:
            PillionError: they may not, or it takes a wait to know.
        """
        ...

    async def admit(self, authorization: bytes | None, key: bytes | None) -> None:
        """Decide, after a wait where one is needed.

        Raises:
            PillionError: they may not.
        """
        ...

    async def name(self, authorization: bytes | None, key: bytes | None) -> str:
        """What somebody who may call is called, also after what they show has been renewed.

        Raises:
            PillionError: they may not call, or not any more.
        """
        ...


class ApiKey:
    """A key, or several, kept as digests so that comparing takes the same time whatever is shown, its length included.

    Args:
        keys: the keys by their names, each of them good.
        setting: what holds them, as errors and the log call it.
        also: another key that is as good, such as that of whoever may do more.
    """

    __slots__ = ("_also", "_digests", "_equal", "_hash", "setting")

    def __init__(self, keys: Mapping[str, str], setting: str = API_KEY_SETTING, also: ApiKey | None = None) -> None:
        import hashlib  # noqa: PLC0415 - servers without a key start without it
        import hmac  # noqa: PLC0415 - as above

        self._hash = hashlib.sha256
        self._equal = hmac.compare_digest
        self.replace(keys)
        self._also = also
        self.setting = setting

    def replace(self, keys: Mapping[str, str]) -> None:
        """Ask for these from now on; without any, nobody gets in."""
        self._digests = tuple((name, self._hash(key.encode()).digest()) for name, key in keys.items())

    def check(self, authorization: bytes | None, key: bytes | None) -> None:
        """Take either header's value.

        Raises:
            PillionError: ``UNAUTHENTICATED``; no key is shown, or another one.
        """
        shown = key if key is not None else bearer(authorization)
        if shown is None:
            raise PillionError(
                ErrorCode.UNAUTHENTICATED,
                f"this server asks for the key that its setting {self.setting} holds",
                field=AUTHORIZATION,
                remedy=_REMEDY,
            )
        if self.named(shown) is None:
            raise PillionError(
                ErrorCode.UNAUTHENTICATED,
                f"the key is not the one that the server's setting {self.setting} holds",
                field=KEY_HEADER if key is not None else AUTHORIZATION,
            )

    async def admit(self, authorization: bytes | None, key: bytes | None) -> None:
        """See :class:`Callers`; a key takes no wait."""
        self.check(authorization, key)

    async def name(self, authorization: bytes | None, key: bytes | None) -> str:
        """See :class:`Callers`: the key's, which stays when another is put in its place."""
        self.check(authorization, key)
        shown = key if key is not None else bearer(authorization)
        return f"key:{self.named(shown or b'')}"

    def named(self, shown: bytes) -> str | None:
        """The name of the key that this is, or of one that is as good; None for any other. All are compared, so the
        time tells nothing of which it is.
        """
        digest, found = self._hash(shown).digest(), None
        for name, known in self._digests:
            if self._equal(digest, known) and found is None:
                found = name
        return found if found is not None or self._also is None else self._also.named(shown)


def shown_digest(authorization: bytes | None, key: bytes | None) -> str:
    """Tells callers apart by what they show, where nothing better is known of them, such as behind a proxy that asks
    them for a password.

    It is a digest, so it may be kept; empty for whoever shows nothing.
    """
    import hashlib  # noqa: PLC0415 - as above

    shown = key or bearer(authorization) or authorization
    return hashlib.sha256(shown).hexdigest()[:32] if shown else ""


def bearer(authorization: bytes | None) -> bytes | None:
    """The token of RFC 6750, section 2.1; None for another scheme."""
    scheme, _, token = (authorization or b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" and token.strip() else None
