"""The tables of :mod:`pillion.jobs.sqlite_store`, as the steps that lead to them.

A step that was published stays as it is: a change of the tables is another step (:mod:`pillion.jobs.migration`).

Versions before look at ``PRAGMA user_version`` alone, and refuse a file where it is more than the steps that they know.
So it is how many steps a server has to know; how many the file has been through is in ``store``, since there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.jobs.migration import Step, StoreVersion, after, pending
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["APPLICATION_ID", "STEPS", "migrate"]

APPLICATION_ID: Final = 0x50694C4A
"""``PiLJ``: whose file it is."""

_FIRST: Final = """
CREATE TABLE jobs (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  model TEXT NOT NULL,
  task TEXT NOT NULL,
  priority INTEGER NOT NULL,
  not_before REAL NOT NULL,
  submitted REAL NOT NULL,
  finished REAL,
  idempotency_key TEXT NOT NULL,
  document BLOB NOT NULL
);
CREATE INDEX queue ON jobs (kind, priority DESC, sequence) WHERE state = 'QUEUED';
CREATE INDEX due ON jobs (kind, not_before) WHERE state = 'QUEUED';
CREATE INDEX running ON jobs (sequence) WHERE state = 'RUNNING';
CREATE INDEX ended ON jobs (finished) WHERE finished IS NOT NULL;
CREATE INDEX by_kind ON jobs (kind, sequence);
CREATE INDEX by_state ON jobs (state, sequence);
CREATE INDEX by_model ON jobs (model, sequence);
CREATE UNIQUE INDEX once ON jobs (kind, idempotency_key) WHERE idempotency_key <> '';

CREATE TABLE payloads (
  id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  media_type TEXT NOT NULL,
  inline BLOB,
  file TEXT NOT NULL,
  headers TEXT NOT NULL,
  PRIMARY KEY (id, role)
) WITHOUT ROWID;

-- Counted as they change: counting ten thousand rows for each submission would make submissions slow.
CREATE TABLE totals (kind TEXT NOT NULL, state TEXT NOT NULL, jobs INTEGER NOT NULL, PRIMARY KEY (kind, state));
CREATE TRIGGER counted_in AFTER INSERT ON jobs BEGIN
  INSERT INTO totals VALUES (new.kind, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER counted_over AFTER UPDATE OF state ON jobs WHEN old.state <> new.state BEGIN
  UPDATE totals SET jobs = jobs - 1 WHERE kind = old.kind AND state = old.state;
  INSERT INTO totals VALUES (new.kind, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER counted_out AFTER DELETE ON jobs BEGIN
  UPDATE totals SET jobs = jobs - 1 WHERE kind = old.kind AND state = old.state;
END;
"""

_FAIR: Final = """
DROP INDEX queue;
CREATE INDEX queue ON jobs (kind, priority DESC, max(not_before, submitted), sequence) WHERE state = 'QUEUED';
"""
"""Jobs that are tried again and again take their turn behind those that came meanwhile."""

_SIZES: Final = """
ALTER TABLE payloads ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE payloads SET size = coalesce(length(inline), 0);
CREATE TABLE stored (bytes INTEGER NOT NULL);
INSERT INTO stored SELECT coalesce(sum(size), 0) FROM payloads;
CREATE TRIGGER stored_in AFTER INSERT ON payloads BEGIN
  UPDATE stored SET bytes = bytes + new.size;
END;
CREATE TRIGGER stored_out AFTER DELETE ON payloads BEGIN
  UPDATE stored SET bytes = bytes - old.size;
END;
"""
"""How much is kept, counted as it changes. Files of jobs from before count as nothing until they are purged."""

_CALLERS: Final = """
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO secrets VALUES ('callers', randomblob(32));
"""
"""What digests of callers' names are made with."""

_VERSIONS: Final = """
CREATE TABLE store (steps INTEGER NOT NULL, written_by TEXT NOT NULL);
INSERT INTO store VALUES (4, '');
"""
"""How far the file is, apart from what it asks of servers."""

STEPS: Final = (
    Step(_FIRST, needs=1),
    Step(_FAIR, needs=2),
    Step(_SIZES, needs=3),
    Step(_CALLERS, needs=4),
    Step(_VERSIONS),
)
_TOLD_SINCE: Final = 5
"""The step since which a file says how many it has been through."""


def migrate(database: sqlite3.Connection, file: Path) -> None:
    """Have the tables there.

    Raises:
        JobStoreError: a newer version has made the store unusable for this one, or it is damaged.
    """
    where, elsewhere = f"{file}: the job store", "name another folder with --data-dir"
    found = _version(database, where)
    for step in pending(found, STEPS, where, elsewhere):
        found = after(found, (step,))
        # In one transaction, so that a step is there as a whole or not at all.
        database.executescript(
            f"BEGIN IMMEDIATE;{step.text}"
            f"PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {found.needs};{_written(found)}COMMIT;"
        )


def _version(database: sqlite3.Connection, where: str) -> StoreVersion:
    needs: int = database.execute("PRAGMA user_version").fetchone()[0]
    if database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'store'").fetchone() is None:
        return StoreVersion(needs, needs)
    row = database.execute("SELECT steps, written_by FROM store").fetchone()
    if row is None:
        raise JobStoreError(f"{where} is damaged (it has no version): nothing was changed. Restore it from a backup")
    return StoreVersion(row[0], needs, row[1])


def _written(version: StoreVersion) -> str:
    """What notes the version, where there is a place for it."""
    if version.steps < _TOLD_SINCE:
        return ""
    return f"UPDATE store SET steps = {version.steps}, written_by = '{version.written_by}';"  # noqa: S608 - our own words
