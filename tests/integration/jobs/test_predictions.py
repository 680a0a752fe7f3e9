"""Prediction jobs of a real server, that is killed as well."""

from __future__ import annotations

import sqlite3
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.jobs.following import ended, served, state, submit
from tests.integration.own_python.program import PILLION, failing
from tests.integration.server.process import environment
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with served(
        tmp_path_factory.mktemp("jobs"), PILLION_JOBS__INLINE_BYTES="1000", PILLION_JOBS__MAX_RESULT_BYTES="100000"
    ) as program:
        yield program


def result(program: Program, task: str, identity: str) -> tuple[int, object]:
    return program.curl(f"/api/v1/task/{task}/job/results?prediction_id={identity}")


def finished(program: Program, task: str, identity: str) -> dict[str, object]:
    found: dict[str, object] = {}

    def looked() -> bool:
        found.update(program.curl(f"/api/v1/task/{task}/job?prediction_id={identity}")[1])
        return found["state"] in ("COMPLETED", "ERRORED", "CANCELED")

    until_now(looked)
    return found


@pytest.mark.parametrize(
    ("task", "inputs", "expected"),
    [("classify", "good good bad", 1), ("count", 3, [0, 1, 2]), ("many", 5000, list(range(5000)))],
)
def test_a_result_is_what_the_direct_call_gives(program: Program, task: str, inputs: object, expected: object) -> None:
    identity = submit(program, task, inputs)

    job = finished(program, task, identity)
    assert ("COMPLETED", 1.0) == (job["state"], job["progress"])
    assert (200, expected) == result(program, task, identity)


def test_files_are_handed_in_and_fetched_as_by_the_direct_call(program: Program) -> None:
    files = {"inputs": ("a.wav", b"\0\xff" * 3000, "audio/x-wav")}
    data, key = {"parameters.times": "3"}, {"idempotency-key": "louder"}
    direct = httpx.post(program.url("/api/v1/task/louder"), files=files, data=data)
    assert (200, b"\0\xff" * 9000) == (direct.status_code, direct.content)
    path = program.url("/api/v1/task/louder/job")
    taken = [httpx.post(path, files=files, data=data, headers=key) for _ in range(2)]
    assert [202, 202] == [answer.status_code for answer in taken], taken[0].text
    first, again = (answer.json()["prediction_id"] for answer in taken)
    assert first == again
    job = finished(program, "louder", first)
    assert "COMPLETED" == job["state"], job

    result = httpx.get(program.url(f"/api/v1/task/louder/job/results?prediction_id={first}"))
    assert (200, direct.content) == (result.status_code, result.content)
    for header in ("content-type", "content-disposition", "x-content-type-options"):
        assert direct.headers[header] == result.headers[header]


def test_a_form_that_does_not_fit_is_refused_before_it_is_queued(program: Program) -> None:
    answer = httpx.post(
        program.url("/api/v1/task/louder/job"), files={"inputs": ("a", b"x")}, data={"parameters.x": "3"}
    )

    assert (422, True) == (answer.status_code, "no such parameter" in answer.json()["details"]), answer.text


def test_jobs_are_counted(program: Program) -> None:
    jobs = [submit(program, "classify", "good") for _ in range(2)]
    bad = submit(program, "refuse", "this")
    ended_here = [finished(program, "classify", one)["state"] for one in jobs] + [
        finished(program, "refuse", bad)["state"]
    ]
    assert ["COMPLETED", "COMPLETED", "ERRORED"] == ended_here
    values: dict[str, str] = {}

    def counted() -> bool:  # by the engine, once the store has their ends
        text = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/metrics").text
        values.update(dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("pillion_jobs")))
        done = float(values.get('pillion_jobs{kind="prediction",state="COMPLETED"}', 0))
        return done >= 2 and float(values.get('pillion_jobs_ended_total{kind="prediction",state="ERRORED"}', 0)) >= 1

    until_now(counted)
    assert "0.0" == values['pillion_jobs{kind="training",state="RUNNING"}']
    for name in ("pillion_jobs_queue_wait_seconds", "pillion_jobs_run_seconds"):
        assert float(values[f'{name}_count{{kind="prediction"}}']) >= 3
    assert float(values["pillion_jobs_stored_bytes"]) > 0
    assert ("1.0", "0.0") == (values["pillion_jobs_store_ready"], values["pillion_jobs_store_errors_total"])


def test_what_is_kept_has_a_limit_in_bytes_that_the_refusal_names(tmp_path: Path) -> None:
    with served(tmp_path, PILLION_JOBS__MAX_STORED_BYTES="1000") as program:
        first = submit(program, "classify", "good")
        status, answer = program.curl("/api/v1/task/classify/job", {"inputs": "good " * 300})
        assert (507, 507) == (status, answer["code"])
        assert (
            "the limit is 1000 (jobs.max_stored_bytes) (raise it, or keep ended jobs for less long" in answer["details"]
        )
        assert "COMPLETED" == ended(program, first)["state"]


def test_what_the_model_refuses_is_the_jobs_own_error(program: Program) -> None:
    identity = submit(program, "refuse", "this")
    job = finished(program, "refuse", identity)
    status, answer = result(program, "refuse", identity)

    assert ("ERRORED", 400) == (job["state"], status)
    assert "ValueError: cannot take this" in str(answer)


def test_a_task_without_an_end_is_ended_by_the_bound_of_its_result(program: Program) -> None:
    identity = submit(program, "spin", None)
    job = finished(program, "spin", identity)

    assert "ERRORED" == job["state"]
    assert "more than 100000 bytes (jobs.max_result_bytes)" in str(job["reasons"])


def test_a_result_that_is_not_there_yet_is_a_conflict_that_says_the_state(program: Program) -> None:
    identity = submit(program, "classify", "slow", seconds=3.0)
    status, answer = result(program, "classify", identity)

    assert 409 == status
    assert "QUEUED" in str(answer) or "RUNNING" in str(answer)
    finished(program, "classify", identity)


def test_a_job_that_is_canceled_ends_once_and_has_no_result(program: Program) -> None:
    identity = submit(program, "classify", "slow", seconds=5.0)
    program.curl(f"/api/v1/task/classify/job?prediction_id={identity}", None, "-X", "DELETE")
    job = finished(program, "classify", identity)
    again = program.curl(f"/api/v1/task/classify/job?prediction_id={identity}", None, "-X", "DELETE")

    assert "CANCELED" == job["state"]
    assert (200, job) == again
    assert 409 == result(program, "classify", identity)[0]


def test_the_same_key_is_one_job_and_another_request_with_it_is_refused(program: Program) -> None:
    key = ("-H", "Idempotency-Key: once")
    first = submit(program, "classify", "good", *key)

    assert first == submit(program, "classify", "good", *key)
    status, answer = program.curl("/api/v1/task/classify/job", {"inputs": "bad"}, *key)
    assert (400, True) == (status, "came with another request before" in answer["details"])


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/api/v1/task/classify/job", {"inputs": 5}, 422, "text: should be a valid string"),
        ("/api/v1/task/clasify/job", {"inputs": "a"}, 404, "there is no task 'clasify'"),
        ("/api/v1/task/classify/job?priority=high", {"inputs": "a"}, 400, "priority: write a whole number from -100"),
        ("/api/v1/task/classify/job", None, 400, "prediction_id: name one in the query"),
        ("/api/v1/task/classify/job?prediction_id=x", None, 404, "there is no prediction 'x'"),
        ("/api/v1/task/classify/job?training_id=x", None, 400, "training_id: there is no such query field"),
        ("/api/v1/task/classify/job/results?prediction_id=x", None, 404, "there is no prediction 'x'"),
        ("/management/jobs?state=DONE", None, 400, "state: there is no state 'DONE'; there are: QUEUED, RUNNING"),
        ("/management/jobs?limit=0", None, 400, "limit: write a whole number from 1 to 1000"),
        ("/management/jobs?since=yesterday", None, 400, "since: write a time in ISO 8601"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(
    program: Program, path: str, body: object, status: int, sentence: str
) -> None:
    found, answer = program.curl(path, body)

    assert (status, status) == (found, answer["code"]), answer
    assert sentence in answer["details"]


def test_a_job_of_another_task_is_not_told(program: Program) -> None:
    identity = submit(program, "classify", "good")

    assert 404 == program.curl(f"/api/v1/task/count/job?prediction_id={identity}")[0]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("path", "name"),
    [("/api/v1/task/classify/job", "prediction_id"), ("/management/trainings", "training_id")],
)
def test_an_id_is_wanted_and_an_unknown_one_is_named(program: Program, method: str, path: str, name: str) -> None:
    if (method, name) != ("GET", "training_id"):  # which lists them
        missing = httpx.request(method, program.url(path))
        assert (400, f"{name}: name one in the query") == (missing.status_code, missing.json()["details"])
    empty = httpx.request(method, program.url(path), params={name: ""})
    assert (400, True) == (empty.status_code, f"{name}: is empty" in empty.json()["details"])
    unknown = httpx.request(method, program.url(path), params={name: "nobody"})
    assert (404, 404) == (unknown.status_code, unknown.json()["code"])
    assert "'nobody'" in unknown.json()["details"]


def test_cancelling_a_job_that_has_ended_changes_nothing_and_tells_its_state(program: Program) -> None:
    identity = submit(program, "classify", "good")
    before = finished(program, "classify", identity)
    answer = httpx.delete(program.url(f"/api/v1/task/classify/job?prediction_id={identity}"))
    assert (200, "COMPLETED", before) == (answer.status_code, answer.json()["state"], answer.json())
    assert (200, 1) == result(program, "classify", identity)


def test_lists_go_on_page_by_page(program: Program) -> None:
    identities = [submit(program, "classify", "good") for _ in range(3)]
    _, first = program.curl("/management/jobs?kind=prediction&limit=2")
    _, second = program.curl(f"/management/jobs?kind=prediction&limit=1&after={first['next']}")

    assert identities[::-1] == [job["prediction_id"] for job in (*first["jobs"], *second["jobs"])]


def test_a_killed_server_loses_no_job_and_ends_each_once(tmp_path: Path) -> None:
    with served(tmp_path) as program:
        # The last ones run for as long as it may take to look at the list and to kill the server.
        takes = [0.0] * 5 + [0.3] * 12 + [5.0] * 3
        identities = [submit(program, "classify", f"good {n}", seconds=one) for n, one in enumerate(takes)]
        until_now(lambda: all(state(program, one)["state"] == "COMPLETED" for one in identities[:5]))
        _, listed = program.curl("/management/jobs")
        program.process.kill()
        program.process.wait()
    before = {job["prediction_id"]: job for job in listed["jobs"]}
    assert 20 == len(before)
    ended_before = {one: job for one, job in before.items() if job["state"] == "COMPLETED"}
    assert 5 <= len(ended_before) < 20

    with served(tmp_path) as program:
        after = {one: ended(program, one) for one in identities}
        answers = {result(program, "classify", one) for one in identities}

    assert {"COMPLETED"} == {job["state"] for job in after.values()}
    assert {(200, 1)} == answers
    assert ended_before == {one: after[one] for one in ended_before}
    calls = Counter((tmp_path / "calls").read_text().splitlines())
    assert {1} == {calls[f"good {n}"] for n in range(5)}


def test_a_server_that_is_stopped_puts_back_what_runs(tmp_path: Path) -> None:
    with served(tmp_path, PILLION_DRAIN__GRACE_SECONDS="0.2") as program:
        identity = submit(program, "classify", "good", seconds=4.0)
        until_now(lambda: state(program, identity)["state"] == "RUNNING")
        program.process.terminate()
        assert 0 == program.process.wait(60)
    with served(tmp_path) as program:
        job = ended(program, identity)

    assert ("COMPLETED", 1) == (job["state"], job["attempts"])


def test_a_second_server_on_the_folder_does_not_start(program: Program, tmp_path: Path) -> None:
    folder = _folder_of(program)
    (tmp_path / "service.py").write_text(
        "from pillion import Model, task\nclass A(Model):\n  @task\n  def a(self): ...\n"
    )
    code, said = failing(tmp_path, "service.py:A", "--data-dir", folder)

    assert 2 == code
    assert "another server" in said
    assert "--data-dir" in said


def _folder_of(program: Program) -> str:
    arguments = program.process.args
    assert isinstance(arguments, list)
    return str(arguments[arguments.index("--data-dir") + 1])


def test_a_damaged_store_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(
        "from pillion import Model, task\nclass A(Model):\n  @task\n  def a(self): ...\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs.sqlite").write_bytes(b"damaged" * 1000)
    code, said = failing(tmp_path, "service.py:A", "--data-dir", "data")

    assert 2 == code
    assert "nothing was changed. Move it away to begin anew" in said


def test_a_store_that_another_program_has_locked_keeps_the_server_from_starting(tmp_path: Path) -> None:
    with served(tmp_path) as program:
        identity = submit(program, "classify", "good")
    other = sqlite3.connect(tmp_path / "data" / "jobs.sqlite", isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        code, said = failing(tmp_path, "service.py:Mood", "--data-dir", "data")
    finally:
        other.close()

    assert 2 == code
    assert "another program has the job store locked" in said
    with served(tmp_path) as program:
        assert "COMPLETED" == ended(program, identity)["state"]


@pytest.mark.parametrize("damage", ["head", "middle", "short"])
def test_a_store_with_jobs_that_was_damaged_is_never_begun_anew(tmp_path: Path, damage: str) -> None:
    with served(tmp_path) as program:
        for number in range(40):
            submit(program, "classify", f"good {number}")
        program.process.terminate()
        program.process.wait(60)
    file = tmp_path / "data" / "jobs.sqlite"
    content = bytearray(file.read_bytes())
    match damage:
        case "head":
            content[:100] = bytes(100)
        case "middle":
            content[8192:16384] = b"\xff" * 8192
        case "short":
            del content[len(content) // 2 :]
    file.write_bytes(content)
    code, said = failing(tmp_path, "service.py:Mood", "--data-dir", "data")

    assert 2 == code
    assert "nothing was changed" in said
    assert ".recover" in said
    assert bytes(content) == file.read_bytes()


def test_kinds_of_jobs_are_switched_off_one_by_one(tmp_path: Path) -> None:
    with served(tmp_path, PILLION_JOBS__PREDICTIONS_ENABLED="false") as program:
        assert 404 == program.curl("/api/v1/task/classify/job", {"inputs": "a"})[0]
        assert 200 == program.curl("/management/trainings")[0]
        _, document = program.curl("/openapi.json")
    assert "/api/v1/task/classify/job" not in document["paths"]
    assert "/api/v1/ClassifyMoodTrain" in document["paths"]


def test_a_job_whose_code_calls_sys_exit_is_errored_and_the_server_serves_on(program: Program) -> None:
    identity = submit(program, "die", "exit")
    job = finished(program, "die", identity)

    assert "ERRORED" == job["state"]
    assert "SystemExit" in str(job["reasons"])
    assert (200, 1) == program.curl("/classify", {"text": "good"})


def test_a_job_that_takes_the_server_with_it_again_and_again_is_errored_in_the_end(tmp_path: Path) -> None:
    with served(tmp_path, PILLION_JOBS__MAX_ATTEMPTS="2") as program:
        identity = submit(program, "die", "segfault")
        assert -11 == program.process.wait(60)
    # It may be dead before it has said that it is ready.
    ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0", "--data-dir", "data"]
    again = subprocess.run(
        [*PILLION, "serve", "service.py:Mood", *ports],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert -11 == again.returncode
    with served(tmp_path, PILLION_JOBS__MAX_ATTEMPTS="2") as program:
        job = finished(program, "die", identity)

    assert ("ERRORED", 2) == (job["state"], job["attempts"])
    assert "the server ended while it ran (2 times in a row): it is not tried again" in str(job["reasons"])
