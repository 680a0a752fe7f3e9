"""The tables of :mod:`pillion.jobs.postgres_store`, as the steps that lead to them, in a schema of a service's own.

A step that was published stays as it is: a change of the tables is another step (:mod:`pillion.jobs.migration`).
``{s}`` is the schema.

Servers of versions before look at ``version`` alone, and refuse a store where it is more than the steps that they know.
So it is how many steps a server has to know; how many the store has been through is in ``steps``, since there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.jobs.migration import Step, StoreVersion, after, check_living, pending
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    import psycopg

__all__ = ["STEPS", "migrate"]

_FIRST: Final = """
CREATE TABLE {s}.pillion_store (version integer NOT NULL);
INSERT INTO {s}.pillion_store VALUES (0);

CREATE TABLE {s}.servers (id text PRIMARY KEY, alive_until timestamptz NOT NULL);

CREATE TABLE {s}.jobs (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE,
  kind text NOT NULL,
  state text NOT NULL,
  model text NOT NULL,
  task text NOT NULL,
  priority integer NOT NULL,
  not_before double precision NOT NULL,
  submitted double precision NOT NULL,
  finished double precision,
  idempotency_key text NOT NULL,
  server text NOT NULL DEFAULT '',
  cancel_requested boolean NOT NULL DEFAULT false,
  document text NOT NULL
);
CREATE INDEX queue ON {s}.jobs (kind, priority DESC, greatest(not_before, submitted), sequence) WHERE state = 'QUEUED';
CREATE INDEX due ON {s}.jobs (kind, not_before) WHERE state = 'QUEUED';
CREATE INDEX running ON {s}.jobs (server) WHERE state = 'RUNNING';
CREATE INDEX ended ON {s}.jobs (finished) WHERE finished IS NOT NULL;
CREATE INDEX by_kind ON {s}.jobs (kind, sequence);
CREATE INDEX by_state ON {s}.jobs (state, sequence);
CREATE INDEX by_model ON {s}.jobs (model, sequence);
CREATE UNIQUE INDEX once ON {s}.jobs (kind, idempotency_key) WHERE idempotency_key <> '';

CREATE TABLE {s}.payloads (
  id text NOT NULL REFERENCES {s}.jobs (id) ON DELETE CASCADE,
  role text NOT NULL,
  media_type text NOT NULL,
  content bytea NOT NULL,
  headers text NOT NULL,
  PRIMARY KEY (id, role)
);

-- Counted as they change, as counting ten thousand rows for each submission would make submissions slow. One row for a
-- kind, so that a transaction waits for one row at most, and no two wait for each other.
CREATE TABLE {s}.totals (
  kind text PRIMARY KEY,
  queued bigint NOT NULL DEFAULT 0,
  running bigint NOT NULL DEFAULT 0,
  completed bigint NOT NULL DEFAULT 0,
  canceled bigint NOT NULL DEFAULT 0,
  errored bigint NOT NULL DEFAULT 0
);
INSERT INTO {s}.totals (kind) VALUES ('prediction'), ('training');
CREATE FUNCTION {s}.one_if(found text, wanted text) RETURNS integer LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN found = wanted THEN 1 ELSE 0 END $$;
CREATE FUNCTION {s}.count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  was text := CASE WHEN TG_OP <> 'INSERT' THEN OLD.state END;
  is_now text := CASE WHEN TG_OP <> 'DELETE' THEN NEW.state END;
BEGIN
  IF was IS DISTINCT FROM is_now THEN
    UPDATE {s}.totals SET
      queued = queued + {s}.one_if(is_now, 'QUEUED') - {s}.one_if(was, 'QUEUED'),
      running = running + {s}.one_if(is_now, 'RUNNING') - {s}.one_if(was, 'RUNNING'),
      completed = completed + {s}.one_if(is_now, 'COMPLETED') - {s}.one_if(was, 'COMPLETED'),
      canceled = canceled + {s}.one_if(is_now, 'CANCELED') - {s}.one_if(was, 'CANCELED'),
      errored = errored + {s}.one_if(is_now, 'ERRORED') - {s}.one_if(was, 'ERRORED')
    WHERE kind = CASE WHEN TG_OP = 'DELETE' THEN OLD.kind ELSE NEW.kind END;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER counted AFTER INSERT OR DELETE OR UPDATE OF state ON {s}.jobs
  FOR EACH ROW EXECUTE FUNCTION {s}.count_jobs();
"""

_SIZES: Final = """
ALTER TABLE {s}.payloads ADD COLUMN kind text NOT NULL DEFAULT '';
UPDATE {s}.payloads SET kind = jobs.kind FROM {s}.jobs WHERE jobs.id = payloads.id;
ALTER TABLE {s}.totals ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
UPDATE {s}.totals SET bytes = coalesce(
  (SELECT sum(octet_length(content)) FROM {s}.payloads WHERE payloads.kind = totals.kind), 0);
CREATE FUNCTION {s}.kind_of_payload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SELECT jobs.kind INTO NEW.kind FROM {s}.jobs WHERE jobs.id = NEW.id;
  RETURN NEW;
END $$;
CREATE TRIGGER of_kind BEFORE INSERT ON {s}.payloads FOR EACH ROW EXECUTE FUNCTION {s}.kind_of_payload();
CREATE FUNCTION {s}.count_payloads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE {s}.totals SET bytes = bytes + octet_length(NEW.content) WHERE kind = NEW.kind;
  ELSE
    UPDATE {s}.totals SET bytes = bytes - octet_length(OLD.content) WHERE kind = OLD.kind;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER counted AFTER INSERT OR DELETE ON {s}.payloads
  FOR EACH ROW EXECUTE FUNCTION {s}.count_payloads();
"""
"""How much is kept, counted as it changes, in the row that counts the jobs: it stays the one that is waited for. By
triggers, so that servers of the version before, which may still run, count as well."""

_CALLERS: Final = """
CREATE TABLE {s}.secrets (name text PRIMARY KEY, value bytea NOT NULL);
INSERT INTO {s}.secrets
  SELECT 'callers', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');
"""
"""What digests of callers' names are made with: random, by what every supported version has without an extension."""

_VERSIONS: Final = """
ALTER TABLE {s}.pillion_store ADD COLUMN steps integer NOT NULL DEFAULT 3;
ALTER TABLE {s}.pillion_store ADD COLUMN written_by text NOT NULL DEFAULT '';
ALTER TABLE {s}.servers ADD COLUMN knows integer NOT NULL DEFAULT 3;
"""
"""How far the store is, apart from what it asks of servers; and what each server knows, which those from before do not
say."""

STEPS: Final = (Step(_FIRST, needs=1), Step(_SIZES, needs=2), Step(_CALLERS, needs=3), Step(_VERSIONS))
_TOLD_SINCE: Final = 4
"""The first step that may refuse to be taken: before it nobody says what they know."""


class _Row(msgspec.Struct):
    version: int
    steps: int | None = None
    written_by: str = ""


_ROW: Final = msgspec.json.Decoder(_Row)


def migrate(cursor: psycopg.Cursor, schema: str) -> None:
    """Have the tables there, in a transaction of the caller's; servers that start together wait for each other.

    Raises:
        JobStoreError: the schema is another program's; a newer version has made it unusable for this one; or this one
            would make it so for servers that run.
    """
    cursor.execute(b"SELECT pg_advisory_xact_lock(hashtext('pillion jobs'), hashtext(%s))", (schema,))
    if _one(cursor, b"SELECT to_regnamespace(%s) IS NULL", schema):
        cursor.execute(f"CREATE SCHEMA {schema}".encode())
    where, elsewhere = f"the job store in the schema {schema}", "name another in jobs.database_schema"
    found = StoreVersion()
    if not _one(cursor, b"SELECT to_regclass(%s) IS NULL", f"{schema}.pillion_store"):
        found = _found(cursor, schema, where)
    elif not _one(cursor, b"SELECT to_regclass(%s) IS NULL", f"{schema}.jobs"):
        raise JobStoreError(f"the schema {schema} has a table of another program: {elsewhere}")
    steps = pending(found, STEPS, where, elsewhere)
    for number, step in enumerate(steps, found.steps + 1):
        if step.needs > found.needs and number > _TOLD_SINCE:
            check_living(step, _least_known(cursor, schema), where)
        cursor.execute(step.text.format(s=schema).encode(), binary=False)
    if steps:
        now = after(found, steps)
        note = f"UPDATE {schema}.pillion_store SET version = %s, steps = %s, written_by = %s"  # noqa: S608 - a checked name
        cursor.execute(note.encode(), (now.needs, now.steps, now.written_by))


def _found(cursor: psycopg.Cursor[Any], schema: str, where: str) -> StoreVersion:
    # As JSON, since columns came by and by.
    cursor.execute(f"SELECT to_json(store)::text FROM {schema}.pillion_store AS store".encode())  # noqa: S608 - a checked name
    row = cursor.fetchone()
    if row is None:
        raise JobStoreError(
            f"{where} is damaged (it has no version): nothing was changed. Restore it from a backup, or name another in"
            " jobs.database_schema to begin anew"
        )
    store = _ROW.decode(row[0])
    return StoreVersion(store.version if store.steps is None else store.steps, store.version, store.written_by)


def _least_known(cursor: psycopg.Cursor[Any], schema: str) -> int | None:
    """The fewest steps that a server knows which lives."""
    cursor.execute(f"SELECT min(knows) FROM {schema}.servers WHERE alive_until >= now()".encode())  # noqa: S608 - a checked name
    row = cursor.fetchone()
    least: int | None = None if row is None else row[0]
    return least


def _one(cursor: psycopg.Cursor, question: bytes, value: str) -> object:
    cursor.execute(question, (value,))
    found = cursor.fetchone()
    return None if found is None else found[0]
