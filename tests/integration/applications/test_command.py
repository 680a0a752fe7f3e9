"""Applications on the command line: what is taken for one, the manifest, several workers, the settings."""

from __future__ import annotations

import subprocess
import textwrap
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.own_python.program import PILLION, serving
from tests.integration.server.process import environment

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
import os

import pillion
from fastapi import FastAPI
from pillion import Model, task

app = FastAPI()


@app.get("/pid")
def pid() -> int:
    return os.getpid()


class Mood(Model):
    @task
    def classify(self, text: str) -> int:
        return len(text)


class Greeter:
    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    async def __call__(self, request: pillion.Request) -> str:
        return f"{self.greeting} {request.query_params['name']}"


async def slow() -> None:
    import asyncio

    await asyncio.sleep(30)
"""
MANIFEST = """
apiVersion: serving.pillion.dev/v1beta1
kind: InferenceService
metadata: {name: shop}
spec:
  predictor:
    http: {requestTimeoutSeconds: 20, rootPath: /ml, keepAliveTimeoutSeconds: 7}
    applications:
      - {name: shop, importPath: "shop:app", routePrefix: /shop}
      - {name: greeter, importPath: "shop:Greeter", routePrefix: /greet, args: {greeting: moin}, maxOngoingRequests: 3}
      - {name: slow, importPath: "shop:slow", routePrefix: /slow, requestTimeoutSeconds: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(textwrap.dedent(SHOP))
    (tmp_path / "service.yaml").write_text(MANIFEST)
    return tmp_path


def test_a_manifest_serves_its_applications_with_their_prefixes_arguments_and_limits(folder: Path) -> None:
    with serving(folder, "-f", "service.yaml") as program:
        assert {"/shop": "shop", "/greet": "greeter", "/slow": "slow"} == httpx.get(program.url("/-/routes")).json()
        assert 200 == httpx.get(program.url("/shop/pid")).status_code
        assert "moin Ada" == httpx.get(program.url("/ml/greet?name=Ada")).text
        late = httpx.get(program.url("/slow"), timeout=60)
        assert 504 == late.status_code
        assert "longer than 1 s" in late.json()["error"]


def test_a_model_and_an_application_of_one_file_are_told_apart(folder: Path) -> None:
    with serving(folder, "shop.py:Mood", "shop:app") as program:
        assert 4 == httpx.post(program.url("/api/v1/task/classify"), json={"inputs": "good"}).json()
        assert 200 == httpx.get(program.url("/pid")).status_code


def test_several_workers_each_have_the_application(folder: Path) -> None:
    with serving(folder, "shop:app", "--route-prefix", "/shop", "--workers", "2") as program:
        pids: set[int] = set()
        for _ in range(200):
            pids.add(httpx.get(program.url("/shop/pid")).json())
            if len(pids) == 2:
                break
        assert 2 == len(pids)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["shop:app", "--route-prefix", "/v2"], "/v2 is the runtime's own"),
        (["shop:nothing", "--route-prefix", "/x"], "has no nothing; it has: "),
        (["missing:app", "--route-prefix", "/x"], "missing is not installed"),
        (["shop:app", "shop:slow"], "spec.predictor.applications"),
        (["iris.skops", "--route-prefix", "/x"], "is no application"),
    ],
)
def test_what_cannot_be_served_is_told_with_its_remedy(folder: Path, arguments: list[str], why: str) -> None:
    ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
    done = subprocess.run(
        [*PILLION, "serve", *arguments, *ports],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == done.returncode
    assert why in done.stderr


def test_the_source_of_each_http_setting_is_shown(folder: Path) -> None:
    env = environment(COLUMNS="200", PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S="11", PILLION_HTTP__REQUEST_TIMEOUT_SECONDS="4")
    shown = subprocess.run(
        [*PILLION, "config", "show"], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S" in lines["http.keep_alive_timeout"]
    assert "PILLION_HTTP__REQUEST_TIMEOUT_SECONDS" in lines["http.request_timeout_seconds"]
    assert "default" in lines["http.websocket_idle_seconds"]


def test_the_access_log_has_the_format_that_is_asked_for(folder: Path) -> None:
    variables = {"PILLION_LOG__ACCESS": "1", "PILLION_LOG__ACCESS_FORMAT": "{method} {path} {status} {route} {client}"}
    with serving(folder, "shop.py:app", "--route-prefix", "/shop", **variables) as program:
        assert 200 == httpx.get(program.url("/shop/pid")).status_code
        program.wait_for("GET /shop/pid 200 /shop/pid 127.0.0.1\n")
        assert 404 == httpx.get(program.url("/v2/models/none")).status_code
        program.wait_for("GET /v2/models/none 404 - 127.0.0.1\n")
