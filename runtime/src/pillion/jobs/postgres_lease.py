"""What a server says to the others of its service: that it lives, by the database's clock, and for how long.

It has a connection of its own: a result of hundreds of megabytes that is being written on the store's must not make the
server look dead, and its other jobs be taken from it.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pillion.jobs.postgres_connection import PostgresConnection
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Cursor = psycopg.Cursor[Any]

__all__ = ["ServerLease"]

_Value = TypeVar("_Value")
_RENEWALS: Final = 3
"""In a lease."""
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, as the database's does."""


class ServerLease:
    """Any thread.

    Args:
        schema: where the tables are.
        seconds: how long this server may be silent.
        knows: how many steps of the tables this server knows.
    """

    def __init__(self, schema: str, seconds: float, knows: int) -> None:
        self.server = secrets.token_hex(8)
        """What this server is called in the database."""
        self.seconds = seconds
        self._knows = knows
        self._renew = (
            f"INSERT INTO {schema}.servers (id, knows, alive_until) VALUES (%s, %s, now() + make_interval(secs => %s))"  # noqa: S608 - a checked name
            " ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until"
        ).encode()
        self._leave = f"DELETE FROM {schema}.servers WHERE id = %s".encode()  # noqa: S608 - as above
        self._state = threading.Lock()
        self._renewed = float("-inf")
        self._steady_since = float("inf")
        self._closed = False
        self._database: PostgresConnection

    def announce(self, cursor: Cursor) -> None:
        """Say that this server lives in the transaction that has brought the tables where it knows them: another that
        starts then and changes them sees who has to understand them.
        """
        if not self._closed:
            cursor.execute(self._renew, (self.server, self._knows, self.seconds))

    def begin(self, url: str) -> None:
        """Go on saying so, by a connection of its own to the database, whose tables are there.

        Raises:
            StoreUnreachableError: nobody answers there.
        """
        self._database = PostgresConnection(url, lambda _: None)
        self.beat(lambda _: None)

    def beat(self, work: Callable[[Cursor], _Value]) -> _Value:
        """Say that this server lives, where that has not been said lately, and do the work; all on its connection."""
        now = _elapsed()
        if not self._is_due(now):
            return self._database.transaction(work)

        def renewing(cursor: Cursor) -> _Value:
            cursor.execute(self._renew, (self.server, self._knows, self.seconds))
            return work(cursor)

        value = self._database.transaction(renewing)
        with self._state:
            if now - self._renewed > self.seconds:
                self._steady_since = now
            self._renewed = max(self._renewed, now)
        return value

    def renew(self) -> None:
        """Say that this server lives, where that has not been said lately."""
        if self._is_due(_elapsed()):
            self.beat(lambda _: None)

    def _is_due(self, now: float) -> bool:
        with self._state:
            return not self._closed and now - self._renewed >= self.seconds / _RENEWALS

    def judges(self) -> bool:
        """Whether it may say of others that they have gone.

        One that could not say for a while that it lives judges nobody until it has done so for a whole lease: after an
        outage of the database, or a sleep of the machine, all of them seem to be gone.
        """
        with self._state:
            now = _elapsed()
            return now - self._renewed <= self.seconds <= now - self._steady_since

    def close(self) -> None:
        """Say goodbye: what runs here is for others to take up at once. Idempotent."""
        with self._state:
            self._closed = True
        with contextlib.suppress(JobStoreError):  # closed before, or out of reach: then the lease ends by itself
            self._database.transaction(lambda cursor: cursor.execute(self._leave, (self.server,)))
        self._database.close()


def _elapsed() -> float:
    return time.clock_gettime(_CLOCK)
