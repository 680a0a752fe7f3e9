"""Trainings by a real server: to the end, into every wall, killed, canceled, and followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.jobs.following import ended, served, state, train
from tests.integration.own_python.program import PILLION
from tests.integration.server.process import environment
from tests.processes import alive
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    roots = str(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("trainings")
    with served(folder, PILLION_JOBS__CANCEL_GRACE_SECONDS="1", PILLION_JOBS__ROOTS=roots) as program:
        yield program


def log(program: Program, identity: str) -> str:
    return httpx.get(program.url(f"/management/trainings/{identity}/logs")).text


def processes(program: Program, identity: str) -> list[int]:
    """Those of the last run."""
    found: list[int] = []

    def told() -> bool:
        lines = [line for line in log(program, identity).splitlines() if line.startswith("process ")]
        found[:] = [int(one) for one in lines[-1].split()[1:]] if lines else []
        return bool(lines)

    until_now(told)
    return found


def sleepers(process: int) -> list[str]:
    """What a training has put into a session of its own, with nothing of its environment."""
    found = [text for file in Path("/proc").glob("[0-9]*/cmdline") if (text := _text(file))]
    return [text for text in found if f"1001.{process}" in text]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def epochs(program: Program, identity: str) -> list[str]:
    return [line for line in log(program, identity).splitlines() if line.startswith("begins")]


def test_a_training_ends_in_a_version_with_what_it_was_made_of(program: Program, tmp_path: Path) -> None:
    output = tmp_path / "out"
    body = {
        "model_name": "words",
        "output_path": str(output),
        "parameters": {"data": [{"text": "fine", "label": 2}], "epochs": 3},
    }
    _, answer = program.curl("/api/v1/ClassifyMoodTrain", body)
    job = ended(program, answer["training_id"])
    _, metrics = program.curl(f"/management/trainings/{answer['training_id']}/metrics")

    assert "COMPLETED" == job["state"], job
    assert {"fine": 6} == json.loads((output / "score.json").read_text())
    assert [1.0, 1 / 2, 1 / 3] == [one["loss"] for one in metrics["metrics"]]
    details = job["details"]
    assert ("1", str(output)) == (details["version"], details["path"])
    assert all(details[name].startswith("sha256:") for name in ("digest", "data_digest", "code_digest"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.jsonl", '{"text": "sunny", "label": 1}\n\n{"text": "rainy", "label": -1}\n'),
        ("data.json", '[{"text": "sunny", "label": 1}, {"text": "rainy", "label": -1}]'),
        ("data.csv", "text,label\nsunny,1\nrainy,-1\n"),
        ("folder/a.csv", "text,label\nsunny,1\nrainy,-1\n"),
    ],
)
def test_data_lies_elsewhere(program: Program, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    where = file if name.startswith("data") else file.parent
    job = ended(program, train(program, "elsewhere", data={"uri": f"file://{where}"}, epochs=1))

    assert ("COMPLETED", []) == (job["state"], job["reasons"])
    assert {"sunny": 1, "rainy": -1} == json.loads((Path(job["details"]["path"]) / "score.json").read_text())


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("exit", "the training called sys.exit(3)"),
        ("raise", "service.py:"),
        ("crash", "was ended by SIGABRT"),
        ("leave", "ended with status 7 before the training had"),
        ("memory", "ran out of memory"),
    ],
)
def test_a_training_that_fails_says_why_in_a_line_and_where_the_log_is(
    program: Program, how: str, sentence: str
) -> None:
    identity = train(program, how=how)
    job = ended(program, identity)

    assert "ERRORED" == job["state"]
    (reason,) = job["reasons"]
    assert sentence in reason
    assert f"/management/trainings/{identity}/logs" in reason
    assert "\n" not in reason
    if how in ("raise", "crash", "memory"):
        assert "_misbehave" in log(program, identity)


def test_a_training_that_loses_its_process_again_and_again_says_how_and_where_its_log_is(tmp_path: Path) -> None:
    with served(tmp_path, PILLION_JOBS__MAX_ATTEMPTS="1") as program:
        identity = train(program, epochs=1, seconds=60.0)
        (process,) = processes(program, identity)
        os.kill(process, signal.SIGKILL)
        job = ended(program, identity)
    (reason,) = job["reasons"]

    assert ("ERRORED", True) == (job["state"], "it is not tried again" in reason), reason
    assert f"/management/trainings/{identity}/logs" in reason


def test_the_command_line_says_why_a_training_failed_and_how_to_read_its_log(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "sunny", "label": 1}\n')
    command = [*PILLION, "train", "mine", "--data", str(data), "--set", "how=raise", "--url", program.url()]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    identity = done.stdout.splitlines()[0].removeprefix("training ")

    assert 0 != done.returncode
    (said,) = [line for line in done.stderr.splitlines() if "ERRORED" in line]
    assert "KeyError" in said
    assert said.endswith(f"; its log: pillion jobs logs {identity} --url {program.url()}")
    log_of = [*PILLION, "jobs", "logs", identity, "--url", program.url()]
    shown = subprocess.run(log_of, env=environment(), capture_output=True, text=True, check=True)
    assert "_misbehave" in shown.stdout


def test_data_that_does_not_fit_is_said_with_file_line_and_field(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": "much"}\n')
    job = ended(program, train(program, data={"uri": f"file://{file}"}))

    assert "ERRORED" == job["state"]
    assert "data, data.jsonl:2: label: should be a valid integer" in job["reasons"][0]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"model_name": "m", "parameters": {}}, 422, "parameters.data: is missing"),
        ({"model_name": "m", "parameters": {"data": []}}, 422, "parameters.data: is empty"),
        ({"model_name": "m", "parameters": {"data": 5}}, 422, "parameters.data: should be a valid array"),
        (
            {"model_name": "m", "parameters": {"data": [{"text": "a", "label": "x"}]}},
            422,
            "parameters.data[0].label: should be a valid integer",
        ),
        ({"model_name": "m", "parameters": {"data": {"url": "x"}}}, 422, "parameters.data: a list of items, or"),
        (
            {"model_name": "m", "parameters": {"data": [{"text": "a", "label": 1}], "epoch": 1}},
            422,
            "parameters.epoch: training 'ClassifyMoodTrain' has no such parameter",
        ),
        ({"model_name": "../m", "parameters": {}}, 400, "model_name"),
        ({"parameters": {}}, 400, "model_name"),
        ({"model_name": "m", "parameters": {}, "output_path": "here"}, 400, "output_path: write an absolute path"),
        ({"model_name": "m", "parameters": {}, "colour": 1}, 400, "colour"),
        ("{", 400, "the body is not valid JSON"),
        (
            {"model_name": "m", "parameters": {"data": {"uri": "file:///etc/passwd"}}},
            403,
            "parameters.data.uri: /etc/passwd is not below a folder that trainings may use",
        ),
        ({"model_name": "m", "parameters": {"data": {"uri": "/etc"}}}, 403, "added to jobs.roots"),
        (
            {"model_name": "m", "parameters": {}, "output_path": "/etc/model"},
            403,
            "output_path: /etc/model is not below",
        ),
        ({"model_name": "m", "parameters": {}, "output_path": "/etc/passwd"}, 403, "is not below a folder"),
        ({"model_name": "m", "parameters": {"data": {"uri": "ftp://x/y"}}}, 400, "parameters.data.uri"),
    ],
)
def test_what_is_wrong_is_said_before_it_is_queued(program: Program, body: object, status: int, sentence: str) -> None:
    found, answer = program.curl("/api/v1/ClassifyMoodTrain", body)

    assert (status, status) == (found, answer["code"]), answer
    assert sentence in answer["details"]


def test_a_link_does_not_lead_a_training_out_of_its_folders(program: Program, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    data = {"uri": f"file://{tmp_path}/link/passwd"}
    inward, _ = program.curl("/api/v1/ClassifyMoodTrain", {"model_name": "m", "parameters": {"data": data}})
    body = {"model_name": "m", "parameters": {}, "output_path": str(tmp_path / "link" / "model")}
    outward, _ = program.curl("/api/v1/ClassifyMoodTrain", body)

    assert (403, 403) == (inward, outward)


def test_what_is_served_from_a_folder_may_be_trained_on_the_data_in_it_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "sunny", "label": 1}\n')
    (tmp_path.parent / "other.jsonl").write_text('{"text": "sunny", "label": 1}\n')
    with served(tmp_path) as program:
        data = {"uri": f"file://{tmp_path.parent}/other.jsonl"}
        status, _ = program.curl("/api/v1/ClassifyMoodTrain", {"model_name": "m", "parameters": {"data": data}})
        job = ended(program, train(program, data={"uri": f"file://{tmp_path}/data.jsonl"}, epochs=1))

    assert (403, "COMPLETED") == (status, job["state"])


def test_an_unknown_training_is_told_with_those_that_there_are(program: Program) -> None:
    status, answer = program.curl("/api/v1/ClasifyMoodTrain", {"model_name": "m", "parameters": {}})

    assert (404, True) == (status, "trainings: ClassifyMoodTrain" in answer["details"])


def test_a_killed_training_goes_on_from_its_last_checkpoint(program: Program) -> None:
    identity = train(program, epochs=3, seconds=1.5)
    (process,) = processes(program, identity)
    until_now(lambda: (state(program, identity)["progress"] or 0) > 0.3)
    os.kill(process, signal.SIGKILL)
    job = ended(program, identity)

    assert "COMPLETED" == job["state"], job
    first, second = epochs(program, identity)
    assert "begins with epoch 0" == first
    assert second in ("begins with epoch 1", "begins with epoch 2")
    assert {"nice": 3, "day": 3} == json.loads((Path(job["details"]["path"]) / "score.json").read_text())


def test_a_training_that_looks_ends_by_itself_when_it_is_canceled(program: Program) -> None:
    identity = train(program, epochs=1, seconds=60.0)
    processes(program, identity)
    program.curl(f"/management/trainings?training_id={identity}", None, "-X", "DELETE")
    job = ended(program, identity)

    assert ("CANCELED", ["canceled on request"]) == (job["state"], job["reasons"])


@pytest.mark.parametrize("ending", ["completed", "canceled"])
def test_what_leaves_the_session_of_a_training_ends_with_it(program: Program, ending: str) -> None:
    identity = train(program, epochs=1, seconds=0.0 if ending == "completed" else 60.0, how="escape")
    process, child = processes(program, identity)
    if ending == "canceled":
        assert (True, 1) == (alive(child), len(sleepers(process)))
        program.curl(f"/management/trainings?training_id={identity}", None, "-X", "DELETE")

    assert ending.upper() == ended(program, identity)["state"]
    until_now(lambda: (False, []) == (alive(child), sleepers(process)))


def test_what_left_the_session_of_a_run_is_gone_when_the_next_begins(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        identity = train(first, epochs=1, seconds=60.0, how="escape")
        process, child = processes(first, identity)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    try:
        with served(tmp_path) as second:
            until_now(lambda: processes(second, identity)[0] != process)
            assert not alive(child)
    finally:
        for left in (*Path("/proc").glob("[0-9]*/cmdline"),):
            if "1001." in _text(left) and "sleep" in _text(left):
                os.kill(int(left.parent.name), signal.SIGKILL)  # it hid from the mark, which a dead server leaves alone


def test_a_training_that_does_not_look_is_killed_with_its_children_within_the_grace(program: Program) -> None:
    identity = train(program, epochs=1, seconds=600.0, how="child")
    both = processes(program, identity)
    program.curl(f"/management/trainings?training_id={identity}", None, "-X", "DELETE")
    job = ended(program, identity)

    assert "CANCELED" == job["state"]
    until_now(lambda: [False, False] == [alive(process) for process in both])


def test_a_training_is_followed_until_its_end(program: Program) -> None:
    identity = train(program, epochs=2)
    events: list[tuple[str, dict[str, Any]]] = []
    name = ""
    with httpx.stream(
        "GET", program.url(f"/management/trainings/{identity}/metrics?follow=true"), timeout=30
    ) as answer:
        assert "text/event-stream" in answer.headers["content-type"]
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))

    assert [1.0, 0.5] == [data["loss"] for name, data in events if name == "metrics"]
    assert ("end", "COMPLETED") == (events[-1][0], events[-1][1]["state"])


def test_who_was_cut_off_goes_on_behind_the_event_that_it_saw_last(program: Program) -> None:
    identity = train(program, epochs=2)
    ended(program, identity)
    path = program.url(f"/management/trainings/{identity}/logs?follow=true")
    whole = httpx.get(path, timeout=30).text
    place = whole.partition("id: ")[2].partition("\n")[0]
    rest = httpx.get(path, timeout=30, headers={"Last-Event-ID": place}).text

    assert "begins with epoch 0" in whole
    assert "event: log" not in rest
    assert "event: end" in rest


def test_a_killed_server_takes_its_training_along_and_the_next_goes_on(tmp_path: Path) -> None:
    with served(tmp_path) as program:
        identity = train(program, epochs=4, seconds=1.0, how="child")
        both = processes(program, identity)
        until_now(lambda: (state(program, identity)["progress"] or 0) > 0.2)
        program.process.kill()
        program.process.wait()
    until_now(lambda: not any(map(alive, both)))
    with served(tmp_path) as program:
        job = ended(program, identity)
        begun = epochs(program, identity)

    assert "COMPLETED" == job["state"], job
    assert 2 == len(begun)
    assert "begins with epoch 0" != begun[1]
    assert {"nice": 4, "day": 4} == json.loads((Path(job["details"]["path"]) / "score.json").read_text())


def test_trainings_are_management(tmp_path: Path) -> None:
    with served(tmp_path, PILLION_MANAGEMENT__ENABLED="false") as program:
        for path, body in (
            ("/api/v1/ClassifyMoodTrain", {}),
            ("/management/trainings", None),
            ("/management/jobs", None),
        ):
            status, answer = program.curl(path, body)
            assert (403, True) == (status, "management.enabled" in answer["details"])
        program.wait_for("training of model ClassifyMoodTrain: permission_denied")
