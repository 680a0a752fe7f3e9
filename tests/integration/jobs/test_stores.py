"""What every store of jobs keeps, what SQLite's refuses, and what servers that share PostgreSQL's do to each other."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pillion.jobs.postgres_store import PostgresJobStore
from pillion.jobs.recovery import after_restart
from pillion.jobs.sqlite_store import DATABASE, SqliteJobStore
from pillion.jobs.states import Failure, Job, JobKind, JobState, cancel, completed, errored, held, requeued
from pillion.jobs.store import JobFilter, JobStoreError, Payload, StoreLimitError, StoreUnreachableError
from tests.postgres import PASSWORD
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pillion.jobs.store import JobStore
    from tests.postgres import Postgres

    Open = Callable[[], JobStore]

KIND = JobKind.PREDICTION


def job(name: str, **fields: object) -> Job:
    values = {"id": name, "kind": KIND, "model": "mood", "task": "classify", "submitted": 1.0, **fields}
    return Job(**values)  # type: ignore[arg-type]  # made of what a test names


def add(store: JobStore, name: str, **fields: object) -> Job:
    taken = store.submit(job(name, **fields), Payload(inline=name.encode()), 1000, 1 << 30)
    assert taken is not None
    return taken


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same store again and again, as a server that starts again does."""
    stores: list[JobStore] = []
    open_it: Open = functools.partial(SqliteJobStore, tmp_path)
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres_server")
        open_it = functools.partial(PostgresJobStore, server.url, server.schema())

    def again() -> JobStore:
        for store in stores:
            store.close()
        stores.append(open_it())
        return stores[-1]

    yield again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> JobStore:
    return opened()


class TestEveryStore:
    def test_a_job_is_there_after_a_restart(self, opened: Open) -> None:
        taken = add(opened(), "a", details={"x": "y"}, priority=3)
        again = opened()
        assert taken == again.get("a")
        assert Payload(inline=b"a") == again.request("a")

    def test_the_highest_priority_is_first_and_equal_ones_in_their_order(self, store: JobStore) -> None:
        for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
            add(store, name, priority=priority)
        claimed = [found.id for _ in range(4) if (found := store.claim(KIND, 2.0))]
        assert ["b", "d", "a", "c"] == claimed
        assert store.claim(KIND, 2.0) is None

    def test_one_that_is_not_due_is_passed_over(self, store: JobStore) -> None:
        add(store, "a", not_before=50.0)
        assert (None, 50.0) == (store.claim(KIND, 49.0), store.next_due(KIND))
        found = store.claim(KIND, 50.0)
        assert found is not None
        assert store.next_due(KIND) is None

    def test_what_is_tried_again_and_again_keeps_nobody_waiting(self, store: JobStore) -> None:
        add(store, "postponed", submitted=1.0)
        store.claim(KIND, now=2.0)
        store.change("postponed", functools.partial(requeued, now=2.0, reason="", counts=False, not_before=4.0))
        add(store, "fresh", submitted=3.0)
        add(store, "later", submitted=5.0)
        claimed = [store.claim(KIND, now=6.0) for _ in range(3)]

        assert ["fresh", "postponed", "later"] == [one.id for one in claimed if one is not None]

    def test_no_two_claims_get_one_job(self, store: JobStore) -> None:
        for number in range(40):
            add(store, str(number))
        claimed: list[str] = []

        def take() -> None:
            while (found := store.claim(KIND, 2.0)) is not None:
                claimed.append(found.id)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, range(40))) == sorted(claimed)

    def test_the_same_key_gives_the_first_job(self, store: JobStore) -> None:
        first = add(store, "a", idempotency_key="k")
        assert first == store.submit(job("b", idempotency_key="k"), Payload(inline=b""), 1000, 1 << 30)
        assert store.get("b") is None

    def test_a_job_is_known_by_the_key_as_an_earlier_version_kept_it(self, store: JobStore) -> None:
        first = add(store, "a", idempotency_key="former\x1fk")
        again = job("b", idempotency_key="present\x1fk")
        assert first == store.submit(again, Payload(inline=b""), 1000, 1 << 30, ("former\x1fk",))
        assert store.submit(again, Payload(inline=b""), 1000, 1 << 30) != first

    def test_the_secret_of_a_store_is_its_own_and_stays(self, opened: Open, tmp_path: Path) -> None:
        secret = opened().caller_secret
        assert 30 <= len(secret)
        assert secret == opened().caller_secret
        other = SqliteJobStore(tmp_path / "other")
        assert secret != other.caller_secret
        other.close()

    def test_a_full_queue_takes_nothing_more_of_that_kind(self, store: JobStore) -> None:
        add(store, "a")
        assert store.submit(job("b"), Payload(inline=b""), 1, 1 << 30) is None
        training = job("c", kind=JobKind.TRAINING)
        assert store.submit(training, Payload(inline=b""), 1, 1 << 30) is not None

    def test_inputs_and_results_are_counted_and_what_would_be_too_much_is_refused(self, opened: Open) -> None:
        store = opened()
        assert 0 == store.stored_bytes()
        store.submit(job("a"), Payload(inline=b"12345"), 9, 8)
        store.claim(KIND, 2.0)
        store.change("a", functools.partial(completed, now=3.0), Payload(inline=b"12"))
        with pytest.raises(
            StoreLimitError, match=r"have 7 bytes, this input 2, and the limit is 8 \(jobs.max_stored_by"
        ):
            store.submit(job("b"), Payload(inline=b"12"), 9, 8)
        store = opened()
        assert (None, 7) == (store.get("b"), store.stored_bytes())
        assert ["a"] == store.purge(9.0, 9, 9)
        assert 0 == store.stored_bytes()

    def test_a_result_is_kept_with_the_end_that_it_belongs_to(self, store: JobStore) -> None:
        add(store, "a")
        done = functools.partial(completed, now=3.0)
        store.change("a", done, Payload(inline=b"early"))
        assert store.result("a") is None
        store.claim(KIND, 2.0)
        store.change("a", done, Payload("text/plain", b"5", headers={"x": "y"}))
        store.change("a", done, Payload(inline=b"late"))
        assert Payload("text/plain", b"5", headers={"x": "y"}) == store.result("a")

    def test_pages_go_on_where_the_one_before_ended_whatever_comes_meanwhile(self, store: JobStore) -> None:
        for number in range(5):
            add(store, str(number))
        first = store.page(JobFilter(), None, 2)
        add(store, "new")
        second = store.page(JobFilter(), first.following, 2)
        third = store.page(JobFilter(), second.following, 2)
        assert ["4", "3", "2", "1", "0"] == [one.id for page in (first, second, third) for one in page.jobs]
        assert third.following is None

    @pytest.mark.parametrize(
        ("which", "expected"),
        [
            (JobFilter(states=(JobState.CANCELED,)), ["c"]),
            (JobFilter(states=(JobState.CANCELED, JobState.QUEUED), model="mood"), ["c", "b"]),
            (JobFilter(kind=JobKind.TRAINING), ["a"]),
            (JobFilter(model="tune"), ["a"]),
            (JobFilter(since=2.0, until=3.0), ["b"]),
            (JobFilter(task="other"), []),
        ],
    )
    def test_lists_are_narrowed(self, store: JobStore, which: JobFilter, expected: list[str]) -> None:
        add(store, "a", kind=JobKind.TRAINING, model="tune")
        add(store, "b", submitted=2.0)
        add(store, "c", submitted=3.0)
        store.change("c", functools.partial(cancel, now=4.0))
        assert expected == [one.id for one in store.page(which, None, 10).jobs]

    def test_what_ended_long_ago_and_what_is_too_much_is_purged_and_what_waits_stays(self, store: JobStore) -> None:
        for number in range(5):
            add(store, str(number))
            store.change(str(number), functools.partial(cancel, now=float(number)))
        add(store, "waits")
        assert ["0", "1"] == store.purge(2.0, 10, 100)
        assert ["2"] == store.purge(0.0, 2, 100)
        assert {"3", "4", "waits"} == store.known(["0", "1", "2", "3", "4", "waits"])
        assert store.request("0") is None

    def test_totals_are_those_of_the_jobs(self, store: JobStore) -> None:
        for name in "abc":
            add(store, name)
        store.claim(KIND, 2.0)
        store.change("b", functools.partial(cancel, now=4.0))
        expected = {(KIND, JobState.RUNNING): 1, (KIND, JobState.CANCELED): 1, (KIND, JobState.QUEUED): 1}
        assert expected == store.counts()
        store.purge(9.0, 0, 10)
        assert {(KIND, JobState.RUNNING): 1, (KIND, JobState.QUEUED): 1} == store.counts()


class _AnyHistory(RuleBasedStateMachine):
    """Commands and kills in any order: a job that was promised is there, and has one end."""

    open_store: Open

    def __init__(self) -> None:
        super().__init__()
        self.store = self.open_store()
        self.known: set[str] = set(self._all())
        self.ends: dict[str, Job] = {}

    def _all(self) -> dict[str, Job]:
        return {one.id: one for one in self.store.page(JobFilter(), None, 10_000).jobs}

    @rule()
    def submit(self) -> None:
        name = f"{len(self.known)}"
        add(self.store, name)
        self.known.add(name)

    @rule()
    def claim(self) -> None:
        self.store.claim(KIND, 2.0)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), how=st.sampled_from(["cancel", "complete", "fail", "requeue"]))
    def change(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        transition: Callable[[Job], Job] = {
            "cancel": functools.partial(cancel, now=3.0),
            "complete": functools.partial(completed, now=3.0),
            "fail": functools.partial(errored, now=3.0, failure=Failure("internal", "broke")),
            "requeue": functools.partial(requeued, now=3.0, reason="again", counts=True),
        }[how]
        self.store.change(name, transition, Payload(inline=b"result") if how == "complete" else None)

    @rule()
    def kill(self) -> None:
        """The connection goes without a word; a new server takes up what ran."""
        self.store.close()
        self.store = self.open_store()
        self._take_up()
        running = self.store.page(JobFilter(states=(JobState.RUNNING,)), None, 10_000)
        assert not running.jobs

    def _take_up(self) -> None:
        self.store.take_up(functools.partial(after_restart, now=4.0, max_attempts=3))

    @invariant()
    def all_are_there_and_end_once(self) -> None:
        found = self._all()
        assert self.known == found.keys()
        for name, end in self.ends.items():
            assert end == found[name]
        self.ends = {name: one for name, one in found.items() if one.ended}
        for name, one in found.items():
            assert (one.state is JobState.COMPLETED) == (self.store.result(name) is not None)

    def teardown(self) -> None:
        self.store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_any_history_leaves_every_job_with_at_most_one_end(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    class History(_AnyHistory):
        def __init__(self) -> None:
            if kind == "postgres":
                server: Postgres = request.getfixturevalue("postgres_server")
                self.open_store = functools.partial(_Patient, server.url, server.schema())
            else:
                self.open_store = functools.partial(SqliteJobStore, tmp_path_factory.mktemp("history"))
            super().__init__()

    quick = settings(
        max_examples=15 if kind == "sqlite" else 8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case = History.TestCase
    case.settings = quick
    case("runTest").runTest()


class _Patient(PostgresJobStore):
    """As after a whole lease: it may take up what a server left that has said goodbye."""

    def __init__(self, url: str, schema: str) -> None:
        super().__init__(url, schema)
        self._lease._steady_since = float("-inf")


class TestSqlite:
    def test_a_folder_is_one_servers(self, tmp_path: Path) -> None:
        first = SqliteJobStore(tmp_path)
        with pytest.raises(JobStoreError, match=r"another server \(process \d+\) keeps its jobs there: stop it, or"):
            SqliteJobStore(tmp_path)
        first.close()
        SqliteJobStore(tmp_path).close()

    @pytest.mark.parametrize("content", [b"not a database" * 100, b""])
    def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / DATABASE
        file.write_bytes(content)
        if not content:  # what SQLite itself leaves when it is killed before its first write
            SqliteJobStore(tmp_path).close()
            return
        with pytest.raises(JobStoreError, match="nothing was changed"):
            SqliteJobStore(tmp_path)
        assert content == file.read_bytes()

    def test_a_damaged_store_is_refused_with_the_way_to_repair_it(self, tmp_path: Path) -> None:
        store = SqliteJobStore(tmp_path)
        for number in range(200):
            add(store, str(number))
        store.close()
        file = tmp_path / DATABASE
        content = bytearray(file.read_bytes())
        content[8192:20000] = b"\xff" * (20000 - 8192)
        file.write_bytes(content)
        with pytest.raises(JobStoreError, match=r"sqlite3 .*\.recover"):
            SqliteJobStore(tmp_path)
        assert bytes(content) == file.read_bytes()

    @pytest.mark.parametrize("state", ["missing", "empty"])
    def test_a_store_that_is_gone_is_not_begun_anew_beside_the_files_of_its_jobs(
        self, tmp_path: Path, state: str
    ) -> None:
        SqliteJobStore(tmp_path).close()
        file = tmp_path / "files" / "a" / "request"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"large")
        (tmp_path / DATABASE).unlink()
        if state == "empty":
            (tmp_path / DATABASE).touch()
        with pytest.raises(
            JobStoreError, match=rf"the job store is {state}, and the files of 1 jobs are there: nothing"
        ):
            SqliteJobStore(tmp_path)
        assert b"large" == file.read_bytes()

    def test_a_database_of_another_program_is_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / DATABASE) as other:
            other.execute("CREATE TABLE theirs (x)")
        other.close()
        with pytest.raises(JobStoreError, match="of another program"):
            SqliteJobStore(tmp_path)

    def test_what_was_promised_is_there_after_sigkill(self, tmp_path: Path) -> None:
        program = (
            "import os, signal, sys; from pathlib import Path\n"
            "from pillion.jobs.sqlite_store import SqliteJobStore\n"
            "from pillion.jobs.states import Job, JobKind\n"
            "from pillion.jobs.store import Payload\n"
            "store = SqliteJobStore(Path(sys.argv[1]))\n"
            "for n in range(10):\n"
            "    job = Job(id=str(n), kind=JobKind.TRAINING, model='m', task='t', submitted=1.0)\n"
            "    store.submit(job, Payload(), 99, 999)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        store = SqliteJobStore(tmp_path)
        assert 10 == len(store.page(JobFilter(), None, 100).jobs)
        store.close()


class TestPostgres:
    LEASE = 1.0

    @pytest.fixture
    def schema(self, postgres_server: Postgres) -> str:
        return postgres_server.schema()

    @pytest.fixture
    def share(self, postgres_server: Postgres, schema: str) -> Iterator[Open]:
        """Opens another server's view of one store."""
        stores: list[PostgresJobStore] = []

        def another() -> PostgresJobStore:
            stores.append(PostgresJobStore(postgres_server.url, schema, self.LEASE))
            return stores[-1]

        yield another
        for store in stores:
            store.close()

    def taken_up(self, *stores: JobStore) -> list[Job]:
        """By any of those that live, as soon as there is something."""
        found: list[Job] = []

        def looked() -> bool:
            for store in stores:
                store.beat()
                found.extend(store.take_up(functools.partial(after_restart, now=9.0, max_attempts=1)))
            return bool(found)

        until_now(looked)
        return found

    def test_servers_share_jobs_and_no_two_take_the_same(self, share: Open) -> None:
        stores = [share() for _ in range(4)]
        for number in range(40):
            add(stores[number % 4], str(number))
        claimed: list[str] = []

        def take(store: JobStore) -> None:
            while (found := store.claim(KIND, 2.0)) is not None:
                claimed.append(found.id)

        threads = [threading.Thread(target=take, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, range(40))) == sorted(claimed)

    def test_one_key_at_several_servers_at_once_is_one_job(self, share: Open) -> None:
        stores = [share() for _ in range(4)]
        ready = threading.Barrier(4)
        taken: list[Job | None] = []

        def hand_in(number: int) -> None:
            ready.wait()
            one = job(f"{number}", idempotency_key="k")
            taken.append(stores[number].submit(one, Payload(inline=b""), 10, 1 << 30))

        threads = [threading.Thread(target=hand_in, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 == len({one.id for one in taken if one is not None})
        assert {(KIND, JobState.QUEUED): 1} == stores[0].counts()

    def test_a_limit_holds_however_many_servers_take_jobs(self, share: Open) -> None:
        stores = [share() for _ in range(4)]
        taken: list[Job | None] = []

        def hand_in(number: int) -> None:
            jobs = [job(f"{number}-{n}") for n in range(20)]
            taken.extend(stores[number].submit(one, Payload(inline=b""), 25, 1 << 30) for one in jobs)

        threads = [threading.Thread(target=hand_in, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (25, 55) == (sum(one is not None for one in taken), taken.count(None))

    def test_a_result_is_there_for_every_server_whatever_its_size(self, share: Open) -> None:
        first, second = share(), share()
        add(first, "a")
        first.claim(KIND, 2.0)
        large = bytes(range(256)) * 40_000
        first.change("a", functools.partial(completed, now=3.0), Payload("application/json", large))

        assert Payload("application/json", large) == second.result("a")

    def test_what_a_silent_server_ran_is_taken_up_once_and_it_changes_nothing_any_more(self, share: Open) -> None:
        silent, second, third = share(), share(), share()
        add(silent, "a")
        run = silent.claim(KIND, 2.0)
        assert run is not None
        assert not second.take_up(functools.partial(after_restart, now=9.0, max_attempts=3)), "its lease lasts"

        again = self.taken_up(second, third)

        assert ["a"] == [one.id for one in again]
        assert JobState.ERRORED is again[0].state
        late = functools.partial(held, claims=run.claims, transition=functools.partial(completed, now=9.0))
        assert again[0] == silent.change("a", late, Payload(inline=b"late"))
        assert silent.result("a") is None

    def test_a_run_that_was_given_to_another_server_is_not_the_first_ones_to_change(self, share: Open) -> None:
        frozen, other = share(), share()
        add(frozen, "a")
        first = frozen.claim(KIND, 2.0)
        assert first is not None
        other.change("a", functools.partial(requeued, now=3.0, reason="", counts=True))
        second = other.claim(KIND, 4.0)
        late = functools.partial(held, claims=first.claims, transition=functools.partial(completed, now=9.0))

        assert second == frozen.change("a", late, Payload(inline=b"late"))

    def test_a_server_that_says_goodbye_leaves_what_it_ran_at_once(self, share: Open) -> None:
        first, second = share(), share()
        until_now(lambda: not second.beat() and second.take_up(lambda one: one) == [])
        add(first, "a")
        first.claim(KIND, 2.0)
        first.close()

        assert ["a"] == [one.id for one in self.taken_up(second)]

    def test_a_server_that_was_cut_off_itself_judges_nobody_for_a_lease(
        self, share: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        returned, other = share(), share()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        monkeypatch.setattr("time.clock_gettime", lambda _: now + 10 * self.LEASE)
        add(other, "a")
        other.claim(KIND, 2.0)  # says that it lives as well, and is gone a lease later
        returned.beat()
        monkeypatch.setattr("time.clock_gettime", lambda _: now + 10.9 * self.LEASE)

        assert [] == returned.take_up(lambda one: one)

    def test_what_runs_elsewhere_is_told_to_stop(self, share: Open) -> None:
        runs, asks = share(), share()
        add(asks, "a")
        runs.claim(KIND, 2.0)
        asks.change("a", functools.partial(cancel, now=3.0))

        assert (["a"], []) == (runs.beat(), asks.beat())

    def test_a_database_that_was_away_is_used_again(self, postgres_server: Postgres, share: Open) -> None:
        store = share()
        add(store, "a")
        postgres_server.stop()
        try:
            with pytest.raises(StoreUnreachableError, match="the database cannot be used now"):
                store.get("a")
        finally:
            postgres_server.start()
        assert store.get("a") is not None

    def test_a_connection_that_broke_while_nobody_used_it_is_not_noticed(
        self, postgres_server: Postgres, share: Open
    ) -> None:
        store = share()
        add(store, "a")
        postgres_server.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pillion'"
        )

        assert store.get("a") is not None

    def test_a_server_that_is_frozen_in_a_transaction_holds_nobody_up_for_long(
        self, postgres_server: Postgres, schema: str, share: Open
    ) -> None:
        store = share()
        frozen = psycopg.connect(postgres_server.url)
        try:
            # As the store does, but shorter; at once, for the time begins with the first of them.
            shorter = "SET idle_in_transaction_session_timeout = '1s'"
            frozen.execute(f"{shorter}; SELECT * FROM {schema}.totals FOR UPDATE".encode())
            assert store.submit(job("a"), Payload(inline=b""), 10, 1 << 30) is not None
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                frozen.execute("SELECT 1")
        finally:
            frozen.close()

    def test_a_damaged_store_is_refused_with_the_way_to_repair_it(
        self, postgres_server: Postgres, schema: str, share: Open
    ) -> None:
        share().close()
        postgres_server.query(f"DELETE FROM {schema}.pillion_store")
        with pytest.raises(JobStoreError, match=r"is damaged .* Restore it from a backup"):
            share()

    def test_a_schema_of_another_program_is_refused(self, postgres_server: Postgres, schema: str, share: Open) -> None:
        postgres_server.query(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.jobs (x text)")
        with pytest.raises(JobStoreError, match="a table of another program"):
            share()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda url: url.replace("postgresql://", "postgresql://%zz"), "it cannot be read: write postgresql://"),
            (lambda url: url.replace(PASSWORD, f"{PASSWORD}x"), "password authentication failed"),
            (lambda url: url.replace("/postgres", "/nothing"), 'database "nothing" does not exist'),
        ],
    )
    def test_no_error_has_the_password(
        self, postgres_server: Postgres, change: Callable[[str], str], said: str
    ) -> None:
        with pytest.raises(JobStoreError, match=said) as caught:
            PostgresJobStore(change(postgres_server.url))
        whole = "".join(traceback.format_exception(caught.value))
        assert PASSWORD not in whole

    def test_a_user_without_rights_is_told_what_to_ask_for(self, postgres_server: Postgres, schema: str) -> None:
        postgres_server.query(f"CREATE USER {schema} PASSWORD 'x'")
        url = postgres_server.url.replace(f"pillion:{PASSWORD}", f"{schema}:x")
        with pytest.raises(JobStoreError, match="have a schema made for it"):
            PostgresJobStore(url, schema)
