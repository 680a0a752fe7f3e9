"""Several front workers under a supervisor: real processes, connections, signals and kills."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pillion.execution.cgroup import available_cpus
from tests.certificates import Authority
from tests.integration.own_python.program import failing, serving
from tests.integration.server.process import command, environment, served
from tests.integration.server.test_drain import HEAD, answered, prestop
from tests.integration.server.test_tls import Mounted, client_context, https, live_over_grpc
from tests.integration.server.two_workers import (
    WHO,
    asked_over_grpc,
    asked_over_rest,
    two_workers,
    who,
    workers,
)
from tests.processes import alive
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server.process import ServerProcess

ANSWERED = 'pillion_requests_total{code="ok",model="who",protocol="rest",version="1"}'
TOGETHER = 48
"""Connections that are opened at a time: more than one worker accepts before the other has its turn."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with two workers that tests only ask."""
    with two_workers(tmp_path_factory.mktemp("two")) as server:
        yield server


def pids(server: ServerProcess) -> set[int]:
    return {worker["pid"] for worker in workers(server)}


# --- one server in front


async def test_both_workers_answer_rest_on_one_port(two: ServerProcess) -> None:
    seen: set[int] = set()
    for _ in range(20):
        seen |= await asked_over_rest(two, TOGETHER)
        if len(seen) == 2:
            break
    assert pids(two) == seen


async def test_both_workers_answer_grpc_on_one_port(two: ServerProcess) -> None:
    seen: set[int] = set()
    for _ in range(20):
        seen |= await asked_over_grpc(two, 8)
        if len(seen) == 2:
            break
    assert pids(two) == seen


async def test_metrics_are_those_of_both(two: ServerProcess) -> None:
    await asked_over_rest(two, 1)
    before = two.metric(ANSWERED)
    await asked_over_rest(two, TOGETHER)
    await until(lambda: two.metric(ANSWERED) == before + TOGETHER)
    assert 1 == two.metric('pillion_model_state{model="who",state="READY",version="1"}')
    assert 2 == two.metric("pillion_front_workers")


def test_openmetrics_of_both_are_well_formed(two: ServerProcess) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(two.url("/metrics", port="admin"), headers=accept, timeout=60)
    assert "openmetrics" in answer.headers["content-type"]
    families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]  # the library's
    assert ANSWERED.partition("_total")[0] in {family.name for family in families}


def test_the_status_is_that_of_one_server_and_lists_its_workers(two: ServerProcess) -> None:
    status = two.admin("/status").json()
    assert {"version", "draining", "ready", "models", "workers"} == set(status)
    assert [("who", "READY")] == [(model["name"], model["state"]) for model in status["models"]]
    assert [(0, True, 1), (1, True, 1)] == [(w["worker"], w["ready"], w["starts"]) for w in status["workers"]]
    assert two.process.pid not in pids(two)


async def test_requests_in_progress_of_every_worker_are_listed(two: ServerProcess) -> None:
    folder = two.log_file.parent
    async with httpx.AsyncClient(base_url=two.url(), timeout=60) as client:
        held = [asyncio.create_task(client.post("/held", json={"name": f"live-{n}"})) for n in range(4)]
        try:
            await until(lambda: len(list(folder.glob("live-*.begun"))) == 4)
            live = two.admin("/debug/requests").json()
            assert (4, 4) == (live["running"], len(live["requests"]))
            assert "4 running, 0 queued" in two.admin("/debug/requests?format=text").text
        finally:
            for n in range(4):
                (folder / f"live-{n}").touch()
        assert {200} == {answer.status_code for answer in await asyncio.gather(*held)}


def test_workers_share_the_processors(two: ServerProcess) -> None:
    expected = str(max(1, available_cpus() // 2))
    assert expected == httpx.post(two.url("/threads"), json={}, timeout=60).json()


def test_the_supervisor_has_neither_grpc_nor_numpy_nor_a_web_server_even_after_a_scrape(two: ServerProcess) -> None:
    assert 200 == two.admin("/metrics").status_code
    maps = Path(f"/proc/{two.process.pid}/maps").read_text()
    assert [] == [name for name in ("cygrpc", "numpy", "uvloop", "httptools", "pydantic_core") if name in maps]
    assert "msgspec" in maps


def test_what_the_supervisor_imports_is_little() -> None:
    script = "import sys, pillion.server.front.supervisor; print(' '.join(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.startswith("pillion.")}
    assert set() == {name for name in ours if name.split(".")[1] in ("backends", "protocol", "repository", "transport")}
    heavy = {"grpc", "numpy", "pydantic", "uvicorn", "uvloop", "fastapi", "starlette", "prometheus_client", "yaml"}
    assert set() == heavy & set(loaded)


def test_models_are_not_changed_through_one_worker_and_the_answer_names_the_setting(two: ServerProcess) -> None:
    answer = httpx.post(two.url("/v2/repository/models/who/unload"))
    assert 403 == answer.status_code
    assert "--workers 1" in answer.json()["error"]


def test_another_server_does_not_come_to_share_the_grpc_port(two: ServerProcess, tmp_path: Path) -> None:
    port = str(two.ports["grpc"])
    socket = str(tmp_path / "control.sock")
    done = subprocess.run(
        command(who(tmp_path), "--workers", "2", "--grpc-port", port, "--control-socket", socket),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 3 == done.returncode
    assert f"cannot listen on grpc port {port}" in done.stderr


# --- ends of workers


async def test_a_killed_worker_costs_its_own_requests_and_is_replaced_by_one_that_is_ready(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        over = asyncio.Event()
        statuses: list[int] = []
        broken: list[str] = []
        counts = [server.metric(ANSWERED) if await asked_over_rest(server, 1) else 0.0]

        async def load() -> None:
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=server.url(), limits=limits, timeout=60) as client:
                while not over.is_set():
                    try:
                        statuses.append((await client.post("/v2/models/who/infer", json=WHO)).status_code)
                    except httpx.TransportError as error:
                        broken.append(repr(error))

        async def served_more(count: int) -> None:
            seen = len(statuses)
            await until(lambda: len(statuses) > seen + count)
            counts.append(await asyncio.to_thread(server.metric, ANSWERED))

        clients = [asyncio.create_task(load()) for _ in range(4)]
        await served_more(20)
        killed, other = (worker["pid"] for worker in workers(server))
        (tmp_path / "slow").touch()  # its successor loads until it is let go
        os.kill(killed, signal.SIGKILL)
        await until((tmp_path / "loaded.begun").exists)
        await served_more(50)
        answer = await asyncio.to_thread(server.admin, "/readyz")
        assert 200 == answer.status_code
        assert {other} == await asked_over_rest(server, TOGETHER)

        (tmp_path / "loaded").touch()
        await until(lambda: all(worker["ready"] for worker in workers(server)))
        await served_more(50)
        over.set()
        await asyncio.gather(*clients)
        assert {200} == set(statuses)
        assert len(broken) <= len(clients)
        assert sorted(counts) == counts
        assert [2, 1] == [worker["starts"] for worker in workers(server)]
        assert killed not in pids(server)
        until_now(lambda: server.metric("pillion_front_worker_restarts_total") == 1)
        [line] = server.wait_logged("was ended by SIGKILL")
        assert f"process {killed}" in line["message"]


def test_a_killed_supervisor_leaves_no_worker(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        left = pids(server)
        server.signal(signal.SIGKILL)
        server.wait()
        until_now(lambda: not any(map(alive, left)))


async def test_sigterm_lets_requests_in_progress_end_and_exits_0(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        left = pids(server)
        async with httpx.AsyncClient(base_url=server.url(), timeout=60) as client:
            held = [asyncio.create_task(client.post("/held", json={"name": f"h{n}"})) for n in range(4)]
            await until(lambda: len(list(tmp_path.glob("h*.begun"))) == 4)
            server.signal(signal.SIGTERM)
            await until(lambda: len(server.logged("received SIGTERM")) == 3)  # by the supervisor and both workers
            assert server.process.poll() is None
            for n in range(4):
                (tmp_path / f"h{n}").touch()
            answers = await asyncio.gather(*held)
        assert {200} == {answer.status_code for answer in answers}
        assert 0 == await asyncio.to_thread(server.wait)
        assert not any(map(alive, left))


async def test_a_second_signal_cuts_what_is_left_with_an_answer_that_says_so(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n")
        await writer.drain()
        await until(lambda: server.metric("pillion_http_connections") == 1)
        server.signal(signal.SIGTERM)
        await until(lambda: len(server.logged("received SIGTERM")) >= 3)
        assert server.process.poll() is None
        server.signal(signal.SIGTERM)
        assert (await answered(reader))[0].startswith(b"http/1.1 503")
        assert 0 == await asyncio.to_thread(server.wait)
        writer.close()


def test_a_worker_that_is_told_to_end_drains_and_is_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        asyncio.run(asked_over_rest(server, TOGETHER))
        until_now(lambda: server.metric(ANSWERED) == TOGETHER)
        asyncio.run(asked_over_rest(server, TOGETHER))
        os.kill(workers(server)[0]["pid"], signal.SIGTERM)
        until_now(lambda: server.metric("pillion_front_worker_restarts_total") == 1)
        until_now(lambda: server.metric("pillion_front_workers") == 2)
        until_now(lambda: server.metric(ANSWERED) == 2 * TOGETHER)


# --- drain


async def test_prestop_drains_every_worker_and_returns_when_the_window_has_ended(tmp_path: Path) -> None:
    flags = ("--drain-window-seconds", "5", "--grpc-max-connection-age-seconds", "4")
    with two_workers(tmp_path, *flags) as server:
        hook = prestop(server)
        await until(lambda: len(server.logged("draining: clients move on")) == 2)
        assert 200 == server.admin("/readyz").status_code
        assert server.admin("/status").json()["draining"]
        async with httpx.AsyncClient(base_url=server.url(), timeout=60) as client:
            answers = await asyncio.gather(*(client.post("/v2/models/who/infer", json=WHO) for _ in range(TOGETHER)))
        assert {(200, "close")} == {(answer.status_code, answer.headers["connection"]) for answer in answers}
        assert hook.poll() is None
        assert 0 == await asyncio.to_thread(hook.wait, 60)
        assert 0 == prestop(server, "--keep").wait(60)
        assert 503 == server.admin("/readyz").status_code
        server.signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(server.wait)


# --- start


def test_a_start_is_ready_when_every_worker_is(tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    with two_workers(tmp_path, ready=False) as server:
        until_now((tmp_path / "loaded.begun").exists)
        not_ready = server.admin("/readyz")
        assert 503 == not_ready.status_code
        until_now(lambda: "model who" in server.admin("/readyz").text)
        assert 503 == httpx.post(server.url("/v2/models/who/infer"), json=WHO).status_code
        (tmp_path / "loaded").touch()
        server.wait_ready()
        assert [True, True] == [worker["ready"] for worker in workers(server)]


def test_a_model_that_cannot_be_loaded_leaves_the_server_alive_not_ready_and_saying_why(tmp_path: Path) -> None:
    (tmp_path / "unloadable").touch()
    with two_workers(tmp_path, ready=False) as server:
        until_now(lambda: len(server.logged("not ready")) == 2, 60)
        assert 200 == server.admin("/livez").status_code
        assert (503, True) == ((answer := server.admin("/readyz")).status_code, "the disk is on fire" in answer.text)
        [model] = server.admin("/status").json()["models"]
        assert "the disk is on fire" in model["reason"]
        assert [1, 1] == [worker["starts"] for worker in workers(server)]


def test_a_worker_that_dies_before_any_was_ready_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "dies").touch()
    done = subprocess.run(
        command(who(tmp_path), "--workers", "2", "--control-socket", str(tmp_path / "control.sock")),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 1 == done.returncode
    assert "ended with status 3, before its models were loaded" in done.stderr.splitlines()[-1]


def test_the_command_says_of_a_bad_model_what_it_says_with_one_process(tmp_path: Path) -> None:
    (tmp_path / "unloadable").touch()
    who(tmp_path)
    code, said = failing(tmp_path, "who.py:Who", "--workers", "2")
    assert 1 == code
    line = next(
        number for number, text in enumerate((tmp_path / "who.py").read_text().splitlines(), 1) if "on fire" in text
    )
    assert f"error: who: {tmp_path}/who.py:{line}: OSError: the disk is on fire" == said.splitlines()[-1]


def test_the_command_serves_with_several_and_says_so_once(tmp_path: Path) -> None:
    who(tmp_path)
    with serving(tmp_path, "who.py:Who", "--workers", "2") as program:
        status = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/status").json()
        assert 2 == len(status["workers"])
        answer = httpx.post(f"http://127.0.0.1:{program.ports['http']}/threads", json={}, timeout=60)
        assert 200 == answer.status_code
        program.process.send_signal(signal.SIGINT)
        assert 0 == program.process.wait(60)
        assert 1 == sum(line.startswith('{"ready"') for line in program.lines)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--workers", "2", "--reload"), "--reload follows the files of one process"),
        (("--workers", "many"), "--workers: expected a number or 'auto', got 'many'"),
    ],
)
def test_what_goes_with_one_process_only_is_refused_by_name(
    tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    who(tmp_path)
    code, said = failing(tmp_path, "who.py:Who", *arguments)
    assert (2, True) == (code, expected in said)


# --- changes


async def test_a_changed_certificate_is_served_by_every_worker_on_both_ports(tmp_path: Path) -> None:
    ca = Authority()
    old, new = ca.issue(), ca.issue()
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=old.cert, tls_key=old.key)
    context = client_context(ca)
    with served(
        tmp_path, who(tmp_path), "--workers", "2", *mounted.flags(), env={"PILLION_TLS__POLL_SECONDS": "0.1"}
    ) as server:
        assert {(200, old.serial)} == set(await asyncio.gather(*(https(server, context) for _ in range(TOGETHER))))
        mounted.put(tls_crt=new.cert, tls_key=new.key)
        await until(lambda: server.counted('pillion_tls_reloads_total{result="succeeded"}') == 2)
        assert {(200, new.serial)} == set(await asyncio.gather(*(https(server, context) for _ in range(TOGETHER))))
        credentials = grpc.ssl_channel_credentials(ca.pem.encode())
        assert [True] * 8 == await asyncio.gather(*(live_over_grpc(server, credentials) for _ in range(8)))


def test_changed_models_are_followed_by_every_worker(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        config = tmp_path / "runtime.yaml"
        fresh = tmp_path / "fresh.yaml"
        fresh.write_text(config.read_text().replace('"name": "who"', '"name": "renamed"'))
        fresh.rename(config)
        until_now(lambda: server.counted('pillion_config_reloads_total{result="succeeded"}') == 2)
        assert [("renamed", "READY")] == [(m["name"], m["state"]) for m in server.admin("/status").json()["models"]]
        assert 200 == server.admin("/readyz").status_code


def test_a_certificate_that_cannot_be_served_ends_with_4_and_the_sentence_of_one_process(tmp_path: Path) -> None:
    flags = ["--tls-server-cert", str(tmp_path / "none.crt"), "--tls-server-key", str(tmp_path / "none.key")]
    said: list[tuple[int, str]] = []

    def run(count: str) -> None:
        socket = str(tmp_path / f"control-{count}.sock")
        done = subprocess.run(
            command(who(tmp_path), "--workers", count, "--control-socket", socket, *flags),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said.append((done.returncode, done.stderr.splitlines()[-1]))

    runs = [threading.Thread(target=run, args=(count,)) for count in ("1", "2")]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert said[0] == said[1]
    assert 4 == said[0][0]
