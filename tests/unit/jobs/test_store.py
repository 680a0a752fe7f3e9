"""What every store of jobs keeps, and what SQLite's refuses."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pillion.jobs.recovery import after_restart
from pillion.jobs.sqlite_store import DATABASE, SqliteJobStore
from pillion.jobs.states import Failure, Job, JobKind, JobState, cancel, completed, errored, requeued
from pillion.jobs.store import JobFilter, JobStoreError, Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pillion.jobs.store import JobStore

    Open = Callable[[], JobStore]

KIND = JobKind.PREDICTION


def job(name: str, **fields: object) -> Job:
    values = {"id": name, "kind": KIND, "model": "mood", "task": "classify", "submitted": 1.0, **fields}
    return Job(**values)  # type: ignore[arg-type]  # made of what a test names


def add(store: JobStore, name: str, **fields: object) -> Job:
    taken = store.submit(job(name, **fields), Payload(inline=name.encode()), 1000)
    assert taken is not None
    return taken


@pytest.fixture(params=["sqlite"])  # PostgreSQL is the next
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same store again and again, as a server that starts again does."""
    assert request.param == "sqlite"
    stores: list[JobStore] = []

    def again() -> JobStore:
        for store in stores:
            store.close()
        stores.append(SqliteJobStore(tmp_path))
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
        assert first == store.submit(job("b", idempotency_key="k"), Payload(inline=b""), 1000)
        assert store.get("b") is None

    def test_a_full_queue_takes_nothing_more_of_that_kind(self, store: JobStore) -> None:
        add(store, "a")
        assert store.submit(job("b"), Payload(inline=b""), 1) is None
        training = job("c", kind=JobKind.TRAINING)
        assert store.submit(training, Payload(inline=b""), 1) is not None

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

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.store = SqliteJobStore(self.folder)
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
        self.store = SqliteJobStore(self.folder)
        for one in self.store.running():
            self.store.change(one.id, functools.partial(after_restart, now=4.0, max_attempts=3))
        assert not self.store.running()

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


def test_any_history_leaves_every_job_with_at_most_one_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    class History(_AnyHistory):
        def __init__(self) -> None:
            self.folder = tmp_path_factory.mktemp("history")
            super().__init__()

    quick = settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    case = History.TestCase
    case.settings = quick
    case("runTest").runTest()


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

    def test_a_database_of_another_program_is_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / DATABASE) as other:
            other.execute("CREATE TABLE theirs (x)")
        other.close()
        with pytest.raises(JobStoreError, match="of another program"):
            SqliteJobStore(tmp_path)

    def test_a_store_of_a_newer_version_is_refused(self, tmp_path: Path) -> None:
        SqliteJobStore(tmp_path).close()
        with sqlite3.connect(tmp_path / DATABASE) as newer:
            newer.execute("PRAGMA user_version = 99")
        newer.close()
        with pytest.raises(JobStoreError, match="newer Pillion"):
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
            "    store.submit(job, Payload(), 99)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        store = SqliteJobStore(tmp_path)
        assert 10 == len(store.page(JobFilter(), None, 100).jobs)
        store.close()
