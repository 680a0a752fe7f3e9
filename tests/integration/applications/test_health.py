"""``check_health`` and ``reconfigure``: real processes that leave rotation, start again, and follow their file."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import pillion
from pillion import Model, task
from pillion.runtimefile import Code, DesiredApplication, RuntimeFile, dump
from pillion.server import Server
from pillion.server.failures import StartError
from pillion.server.settings import AdminSettings, GrpcSettings, HttpSettings, Settings
from tests.integration.server.process import ServerProcess, served
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHOP = """
import asyncio
import os
from pathlib import Path

SICK = Path(__file__).with_name("sick")


class Shop:
    def __init__(self):
        self.config = {}

    def check_health(self):
        if SICK.exists() and SICK.read_text() in ("all", str(os.getpid())):
            raise RuntimeError("no database")

    async def reconfigure(self, config):
        if config.get("greeting") == "":
            raise ValueError("greeting is empty")
        await asyncio.sleep(0)
        self.config = config

    async def __call__(self, request):
        return {"pid": os.getpid(), "config": self.config}


class Plain:
    async def __call__(self):
        return "plain"
"""
SOON = {"applications": {"health_period_seconds": 0.1, "health_timeout_seconds": 5}}


def write(folder: Path, config: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> Path:
    """The runtime.yaml, put in place as a mounted ConfigMap is."""
    code = Code(module="sickly_shop", class_name="Shop", folder=str(folder))
    shop = DesiredApplication(name="shop", code=code, config=config or {})
    path = folder / "runtime.yaml"
    fresh = path.with_suffix(".new")
    fresh.write_text(dump(RuntimeFile(settings=settings or SOON, applications=(shop,))))
    fresh.rename(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sickly_shop.py").write_text(SHOP)
    return tmp_path


def make_sick(folder: Path, who: str) -> None:
    fresh = folder / "sick.new"
    fresh.write_text(who)
    fresh.rename(folder / "sick")


def asked(server: ServerProcess) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(server.url()).json()
    return answer


# --- health


def test_an_unhealthy_application_leaves_rotation_and_comes_back(folder: Path) -> None:
    settings = {"applications": {**SOON["applications"], "health_failures": 0}}
    with served(folder, write(folder, settings=settings)) as server:
        until_now(lambda: server.metric('pillion_application_healthy{application="shop"}') == 1)
        make_sick(folder, "all")
        until_now(lambda: server.admin("/readyz").status_code == 503)
        assert "application shop is unhealthy: no database" in server.admin("/readyz").text
        assert 503 == httpx.get(server.url("/-/healthz")).status_code
        assert 200 == server.admin("/livez").status_code
        assert 0 == server.metric('pillion_application_healthy{application="shop"}')
        assert 200 == httpx.get(server.url()).status_code  # who comes all the same is answered
        (folder / "sick").unlink()
        until_now(lambda: server.admin("/readyz").status_code == 200)


def test_a_process_whose_application_stays_unhealthy_ends_to_be_started_again(folder: Path) -> None:
    with served(folder, write(folder)) as server:
        make_sick(folder, "all")
        assert 1 == server.wait()
        assert server.logged("ended: application shop is unhealthy: no database")
        assert 3 == server.logged("application shop is unhealthy")[-3]["failures"]


def test_only_the_worker_whose_application_is_unhealthy_is_started_again(folder: Path) -> None:
    with served(folder, write(folder), "--workers", "2") as server:
        sick = asked(server)["pid"]
        make_sick(folder, str(sick))
        until_now(lambda: bool(server.logged("another is started")))
        assert f"process {sick}" in server.logged("another is started")[0]["message"]
        until_now(lambda: len({worker["pid"] for worker in server.admin("/status").json()["workers"]} - {0, sick}) == 2)
        server.wait_ready()
        assert sick != asked(server)["pid"]


class Mood(Model):
    @task
    def classify(self, text: str) -> str:
        return text


class Patient:
    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()
        self.hangs = False
        self.hanging = threading.Event()

    def check_health(self) -> bool:
        self.asked += 1
        if self.hangs:
            self.hanging.set()
            self.go.wait(100)
        said: str = pillion.models["mood"].task("classify", text="well").result()
        return said == "well"

    async def __call__(self) -> str:
        return "served"


async def test_a_check_that_hangs_is_a_failure_and_is_not_asked_twice() -> None:
    settings: dict[str, Any] = {"applications.health_period_seconds": 0.02, "applications.health_timeout_seconds": 0.5}
    async with pillion.test(Patient, Mood, settings={**settings, "applications.health_failures": 0}) as tester:
        patient = tester.instance

        async def reason() -> str:
            answer = await tester.get("/-/healthz")
            return "" if answer.status_code == 200 else str(answer.json()["error"])

        while await reason():  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.01)
        patient.hangs = True
        await until(patient.hanging.is_set)
        while "did not answer within 0.5 s" not in await reason():  # noqa: ASYNC110 - asked by HTTP
            await asyncio.sleep(0.01)
        begun = patient.asked
        await asyncio.sleep(0.2)
        assert begun == patient.asked
        patient.hangs = False
        patient.go.set()
        await until(lambda: patient.asked > begun)
        while await reason():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator whose author did not think of ``async``."""

    @functools.wraps(function)
    def around(*arguments: Any) -> Any:
        return function(*arguments)

    return around


class Wrapped:
    def __init__(self) -> None:
        self.sick = False

    @plain
    async def check_health(self) -> bool:
        await asyncio.sleep(0)
        return not self.sick

    @pillion.multiplexed()
    @plain
    async def model(self, name: str) -> str:
        await asyncio.sleep(0)
        return name.upper()

    async def __call__(self) -> str:
        return str(await self.model("a"))


async def test_an_async_method_is_awaited_also_where_a_decorator_hides_that_it_is_one() -> None:
    settings = {"applications.health_period_seconds": 0.02, "applications.health_failures": 0}
    async with pillion.test(Wrapped, settings=settings) as tester:
        assert "A" == (await tester.get("/")).text
        tester.instance.sick = True
        async with asyncio.timeout(60):
            while (await tester.get("/-/healthz")).status_code == 200:  # noqa: ASYNC110 - asked by HTTP
                await asyncio.sleep(0.01)


# --- config


def test_a_change_of_the_config_is_given_to_the_running_application(folder: Path) -> None:
    with served(folder, write(folder, {"greeting": "moin"})) as server:
        before = asked(server)
        assert {"greeting": "moin"} == before["config"]
        write(folder, {"greeting": "hello", "size": 3})
        until_now(lambda: asked(server)["config"] == {"greeting": "hello", "size": 3})
        assert before["pid"] == asked(server)["pid"]
        assert not server.logged("restarts")
        write(folder, {"greeting": ""})
        until_now(lambda: "configError" in server.admin("/status").json())
        assert "application shop: reconfigure: greeting is empty" == server.admin("/status").json()["configError"]
        assert {"greeting": "hello", "size": 3} == asked(server)["config"]
        assert 200 == server.admin("/readyz").status_code
        write(folder, {"greeting": "again"})
        until_now(lambda: asked(server)["config"] == {"greeting": "again"})
        until_now(lambda: "configError" not in server.admin("/status").json())


def test_every_worker_follows_the_config(folder: Path) -> None:
    with served(folder, write(folder, {"n": 1}), "--workers", "2") as server:
        write(folder, {"n": 2})
        until_now(lambda: len(server.logged("application reconfigured")) == 2)
        assert {"n": 2} == asked(server)["config"]


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [("Plain", {"a": 1}, r"no method reconfigure\(config\)"), ("Shop", {"greeting": ""}, "greeting is empty")],
)
def test_a_config_that_nobody_takes_or_that_fails_keeps_the_application_from_starting(
    folder: Path, name: str, config: dict[str, Any], said: str
) -> None:
    code = Code(module="sickly_shop", class_name=name, folder=str(folder))
    desired = DesiredApplication(name="shop", code=code, config=config)
    settings = Settings(http=HttpSettings(port=0), grpc=GrpcSettings(port=0), admin=AdminSettings(port=0))
    with pytest.raises(StartError, match=said):
        Server(settings, applications=[desired]).start(blocking=False)
