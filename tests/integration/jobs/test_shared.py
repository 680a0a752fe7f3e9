"""Servers that share their prediction jobs in a real PostgreSQL, and are killed, frozen and stopped."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.jobs.following import ENDED, served, state, submit
from tests.integration.own_python.program import failing
from tests.postgres import PASSWORD
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.integration.own_python.program import Program
    from tests.postgres import Postgres

    Replica = Callable[[str], AbstractContextManager[Program]]

LEASE = 3.0
"""Longer than a busy machine makes a server that lives say nothing."""


@pytest.fixture
def replica(postgres_server: Postgres, tmp_path: Path) -> Replica:
    """Starts a server that shares its jobs with the others of this test."""
    schema = postgres_server.schema()

    @contextmanager
    def one(name: str) -> Iterator[Program]:
        settings = {
            "PILLION_JOBS__DATABASE": postgres_server.url,
            "PILLION_JOBS__DATABASE_SCHEMA": schema,
            "PILLION_JOBS__LEASE_SECONDS": str(LEASE),
            "PILLION_JOBS__MAX_ATTEMPTS": "2",
        }
        with served(tmp_path / name, **settings) as program:
            yield program

    return one


def ended(program: Program, identity: str, task: str = "classify") -> dict[str, object]:
    found: dict[str, object] = {}

    def looked() -> bool:
        status, answer = program.curl(f"/api/v1/task/{task}/job?prediction_id={identity}")
        if status != 503:  # the database is away for a moment
            found.update(answer)
        return found.get("state") in ENDED

    until_now(looked)
    return found


def result(program: Program, identity: str) -> tuple[int, object]:
    return program.curl(f"/api/v1/task/classify/job/results?prediction_id={identity}")


def cancel(program: Program, identity: str) -> None:
    program.curl(f"/api/v1/task/classify/job?prediction_id={identity}", None, "-X", "DELETE")


def test_every_server_answers_for_every_job(replica: Replica, tmp_path: Path) -> None:
    with replica("a") as first, replica("b") as second:
        key = ("-H", "Idempotency-Key: once")
        identity = submit(first, "classify", "good good", *key)
        jobs = [submit(first, "classify", f"good {n}", seconds=1.0) for n in range(12)]

        assert identity == submit(second, "classify", "good good", *key)
        assert "COMPLETED" == ended(second, identity)["state"]
        assert {(200, 2)} == {result(one, identity) for one in (first, second)}
        assert {"COMPLETED"} == {ended(second, one)["state"] for one in jobs}
        listed = second.curl("/management/jobs")[1]["jobs"]
        assert [*reversed(jobs), identity] == [one["prediction_id"] for one in listed]
    worked = [len((tmp_path / name / "calls").read_text().splitlines()) for name in ("a", "b")]
    assert 13 == sum(worked)
    assert min(worked) >= 2, "both do their part"


def test_a_job_that_runs_elsewhere_is_canceled(replica: Replica) -> None:
    with replica("a") as first:
        identity = submit(first, "classify", "slow", seconds=20.0)
        until_now(lambda: state(first, identity)["state"] == "RUNNING")
        with replica("b") as second:
            cancel(second, identity)
            assert "CANCELED" == ended(second, identity)["state"]
            assert "CANCELED" == state(first, identity)["state"]


def test_what_a_killed_server_ran_is_computed_by_another(replica: Replica, tmp_path: Path) -> None:
    with replica("b") as second:
        (tmp_path / "b" / "release").touch()  # what the other holds this one computes at once
        with replica("a") as first:
            jobs = [submit(first, "classify", "held good") for _ in range(10)]
            until_now(lambda: any(state(first, one)["state"] == "RUNNING" for one in jobs))
            first.process.kill()
            first.process.wait()
        after = {one: ended(second, one) for one in jobs}

        assert {"COMPLETED"} == {one["state"] for one in after.values()}
        assert {(200, 1)} == {result(second, one) for one in jobs}


def test_a_job_that_kills_its_servers_is_errored_once_and_kills_no_more(replica: Replica) -> None:
    with replica("a") as first, replica("b") as second, replica("c") as third:
        every = (first, second, third)
        identity = submit(first, "die", "leave")

        def left() -> list[Program]:
            return [one for one in every if one.process.poll() is None]

        until_now(lambda: len(left()) == 1)
        job = ended(left()[0], identity, "die")
        assert ("ERRORED", 2) == (job["state"], job["attempts"])
        assert "the server ended while it ran (2 times in a row): it is not tried again" in str(job["reasons"])
        submit(left()[0], "classify", "good")
        assert [7, 7] == [one.process.returncode for one in every if one.process.poll() is not None]


def test_a_frozen_server_that_wakes_up_changes_nothing_any_more(replica: Replica, tmp_path: Path) -> None:
    with replica("a") as first:
        identity = submit(first, "classify", "held good")
        until_now(lambda: state(first, identity)["state"] == "RUNNING")
        first.process.send_signal(signal.SIGSTOP)
        with replica("b") as second:
            (tmp_path / "b" / "release").touch()
            job = ended(second, identity)
            first.process.send_signal(signal.SIGCONT)
            (tmp_path / "a" / "release").touch()

            assert ("COMPLETED", 2) == (job["state"], job["attempts"])
            until_now(lambda: first.curl("/management/jobs?state=RUNNING")[1] == {"jobs": [], "next": None})
            assert job == state(first, identity) == state(second, identity)


def test_a_server_that_stops_leaves_its_jobs_to_the_others(replica: Replica) -> None:
    with replica("b") as second:
        with replica("a") as first:
            jobs = [submit(first, "classify", f"good {n}", seconds=0.5) for n in range(8)]
            first.process.terminate()
            assert 0 == first.process.wait(60)
        after = [ended(second, one) for one in jobs]
    assert {("COMPLETED", 1)} == {(one["state"], one["attempts"]) for one in after}


def test_a_database_that_is_away_costs_no_prediction_and_no_job(replica: Replica, postgres_server: Postgres) -> None:
    with replica("a") as program:
        running = submit(program, "classify", "good", seconds=4.0)
        until_now(lambda: state(program, running)["state"] == "RUNNING")
        postgres_server.stop()
        try:
            assert (200, 1) == program.curl("/classify", {"text": "good"})
            status, answer = program.curl("/api/v1/task/classify/job", {"inputs": "good"})
            assert (503, True) == (status, "the database cannot be used now" in answer["details"]), answer
            jobs = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/status").json()["jobs"]
            assert (False, True) == (jobs["ready"], "the database cannot be used now" in jobs["reason"])
            assert 200 == httpx.get(f"http://127.0.0.1:{program.ports['admin']}/readyz").status_code
            with replica("late") as late:
                assert 503 == late.curl("/api/v1/task/classify/job", {"inputs": "good"})[0]
                postgres_server.start()
                assert "COMPLETED" == ended(late, running)["state"]
                assert "COMPLETED" == ended(late, submit(late, "classify", "good"))["state"]
        finally:
            if postgres_server.stopped:
                postgres_server.start()
        assert (200, 1) == result(program, running)
        status_page = f"http://127.0.0.1:{program.ports['admin']}/status"
        until_now(lambda: httpx.get(status_page).json()["jobs"] == {"ready": True, "reason": ""})
        assert PASSWORD not in program.printed + late.printed


def test_a_database_that_is_away_for_longer_than_a_lease_is_never_said_to_be_there(
    replica: Replica, postgres_server: Postgres
) -> None:
    """A server without its lease judges nobody: such a look asks the database for nothing that could fail."""
    with replica("a") as program:

        def errors() -> float:
            text = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/metrics").text
            return float(text.partition("\npillion_jobs_store_errors_total ")[2].partition("\n")[0])

        postgres_server.stop()
        try:
            # A look and a beat every fifth of the lease: these are several leases.
            until_now(lambda: errors() > 16)
            jobs = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/status").json()["jobs"]
            assert (False, True) == (jobs["ready"], "the database cannot be used now" in jobs["reason"])
            assert "the store can be used again" not in program.printed
        finally:
            postgres_server.start()
        program.wait_for("the store can be used again")


def test_trainings_beside_a_database_are_refused_with_the_reason(replica: Replica) -> None:
    with replica("a") as program:
        answers = [
            program.curl("/api/v1/ClassifyMoodTrain", {"model_name": "m", "parameters": {"data": []}}),
            program.curl("/management/trainings"),
        ]
    for status, answer in answers:
        assert 503 == status
        assert "trainings are not kept in a database (jobs.database)" in answer["details"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PILLION_JOBS__DATABASE": f"mysql://x:{PASSWORD}@y/z"}, "write a URL, postgresql://USER@HOST"),
        ({"PILLION_JOBS__DATABASE": f"postgresql://x:{PASSWORD}@y/z?nothing=1"}, "it cannot be read"),
        (
            {"PILLION_JOBS__DATABASE": "postgresql://y/z", "PILLION_JOBS__FOLDER": "jobs"},
            "two places for the same jobs",
        ),
        (
            {"PILLION_JOBS__DATABASE": "postgresql://y/z", "PILLION_JOBS__DATABASE_SCHEMA": "a;b"},
            "DATABASE_SCHEMA: expected str",
        ),
    ],
)
def test_a_place_that_is_none_is_refused_at_the_start_without_the_password(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    (tmp_path / "service.py").write_text(
        "from pillion import Model, task\nclass A(Model):\n  @task\n  def a(self): ...\n"
    )
    code, printed = failing(tmp_path, "service.py:A", **settings)

    assert 2 == code
    assert said in printed
    assert PASSWORD not in printed
