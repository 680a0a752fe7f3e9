"""A connection to PostgreSQL that is made again when it breaks, and transactions on it that end in bounded time."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import psycopg
from psycopg import errors

from pillion.jobs.store import JobStoreError, StoreFullError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PostgresConnection"]

_Value = TypeVar("_Value")
_TRIES: Final = 5
_CONNECT_SECONDS: Final = 5
# A server that is frozen in the middle of a transaction loses it, so that it holds the others up for seconds at most.
# What an administrator made of synchronous_commit stays, but for off: a promise has to be on disk.
_BEGIN: Final = (
    b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    b"SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s';"
    b"SET LOCAL idle_in_transaction_session_timeout = '5s';"
    b"SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
_AGAIN: Final = (errors.DeadlockDetected, errors.SerializationFailure)


class PostgresConnection:
    """Any thread; one at a time gets its turn.

    Args:
        url: of the database, as libpq takes it. Neither it nor its password is ever part of an error.
        prepare: what has to be there before anything else, called once in a transaction.

    Raises:
        JobStoreError: the URL cannot be read, or what ``prepare`` raises.
        StoreUnreachableError: nobody answers there.
    """

    def __init__(self, url: str, prepare: Callable[[psycopg.Cursor], None]) -> None:
        self._url = url
        self._password = _password_of(url)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._closed = False
        try:
            self.transaction(prepare)
        except BaseException:
            self.close()
            raise

    def transaction(self, work: Callable[[psycopg.Cursor], _Value]) -> _Value:
        """Do the work in a transaction that is on disk when this returns; it may be begun several times.

        Raises:
            StoreUnreachableError: the database does not answer; whether the transaction was made is not known.
            StoreFullError: it has no room.
            JobStoreError: anything else.
        """
        with self._lock:
            for left in reversed(range(_TRIES)):
                begun = False
                try:
                    connection = self._connected()
                    with connection.cursor(binary=True) as cursor:
                        cursor.execute(_BEGIN, binary=False)  # the only way to say several things at once
                        begun = True
                        value = work(cursor)
                        cursor.execute(b"COMMIT")
                        return value
                except _AGAIN as error:
                    self._roll_back()
                    if not left:
                        raise self._explained(error) from None
                except psycopg.Error as error:
                    broken = self._connection is not None and self._connection.broken
                    self._roll_back()
                    # A connection that broke while nobody used it is no news: nothing has been said on it yet.
                    if begun or not broken or not left:
                        raise self._explained(error) from None
                except BaseException:
                    self._roll_back()
                    raise
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Let go of it. Idempotent."""
        with self._lock:
            self._closed = True
            self._drop()

    def _connected(self) -> psycopg.Connection:
        if self._closed:
            raise JobStoreError("the job store has been closed")
        if self._connection is None:
            # Nothing is prepared, so that poolers of transactions may stand between. A network that swallows what is
            # sent ends a call in ten seconds rather than in fifteen minutes.
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=_CONNECT_SECONDS,
                application_name="pillion",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=2,
                tcp_user_timeout=10_000,
            )
        return self._connection

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(psycopg.Error):
            if not connection.closed:
                connection.execute(b"ROLLBACK")
                return
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _explained(self, error: psycopg.Error) -> JobStoreError:
        said = (error.diag.message_primary or str(error).strip().partition("\n")[0] or type(error).__name__).strip()
        if self._password:
            said = said.replace(self._password, "(hidden)")
        match error:
            case errors.DiskFull():
                return StoreFullError(f"there is no room left on the disk of the database ({said}): make some")
            case errors.ReadOnlySqlTransaction() | errors.FeatureNotSupported():
                return StoreUnreachableError(
                    f"the database takes no changes ({said}): name the primary, or add target_session_attrs=read-write"
                    " to jobs.database"
                )
            case errors.InsufficientPrivilege():
                return JobStoreError(
                    f"the database's user may not do that ({said}): have a schema made for it"
                    " (CREATE SCHEMA pillion AUTHORIZATION ...), and name it in jobs.database_schema"
                )
            case psycopg.OperationalError() | errors.IdleInTransactionSessionTimeout():
                return StoreUnreachableError(f"the database cannot be used now: {said}")
        return JobStoreError(f"the database refused: {said}")


def _password_of(url: str) -> str:
    """The password in a URL.

    Raises:
        JobStoreError: it is no URL of a database; the text has nothing of it.
    """
    try:
        return str(psycopg.conninfo.conninfo_to_dict(url).get("password") or "")
    except psycopg.Error:
        raise JobStoreError(
            "it cannot be read: write postgresql://USER@HOST:5432/DATABASE, and characters such as @ or / of a"
            " password as %40 or %2F"
        ) from None
