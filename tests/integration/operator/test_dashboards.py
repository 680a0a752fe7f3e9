"""Every query of the chart's dashboards, asked of a real Prometheus that scrapes a real operator and a real runtime."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from e2e.cluster.node import gotools
from pillion.runtimefile import Code, DesiredApplication, DesiredModel, ExecutionSettings, RuntimeFile, dump
from scripts.chart.dashboards import SERVICE
from scripts.generators.chart import CHART
from tests.certificates import Authority
from tests.integration.jobs import service as jobs_service
from tests.integration.operator.harness import inference_service
from tests.integration.server.process import iris_request, served
from tests.ports import free_port
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane
    from tests.integration.operator.harness import Api, OperatorProcess
    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))
}
QUERIES = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']} ({target['refId']})")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
]
VARIABLES = [
    pytest.param(variable["query"], id=f"{name}: ${variable['name']}")
    for name, dashboard in DASHBOARDS.items()
    for variable in dashboard["templating"]["list"]
    if variable["type"] == "query"
]
_CHOSEN = {"$namespace": "shop|pillion", "$service": ".*", "$model": "iris|batched|mood", "$__rate_interval": "10s"}
_SHOP = "class Shop:\n    async def __call__(self):\n        return 'open'\n"


AUTHORITY = Authority()


class Prometheus:
    """Debian's Prometheus, on loopback."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:  # what the API answers under `data`
        answer = httpx.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=60, trust_env=False).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self._url}/-/ready", timeout=60, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        for name, value in _CHOSEN.items():
            expression = expression.replace(name, value)
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found


@pytest.fixture(scope="module")
def runtime(iris: IrisModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with what there is to see: a model, one in a worker process, streams, jobs, an application, TLS."""
    folder = tmp_path_factory.mktemp("runtime")
    (folder / "shop.py").write_text(_SHOP)
    cert, key = AUTHORITY.issue().write(folder)
    shutil.copy(jobs_service.__file__, folder / "mood.py")
    mood = Code(module=str(folder / "mood.py"), folder=str(folder))
    settings = {"jobs": {"folder": str(folder / "jobs")}, "tls": {"server": {"cert": str(cert), "key": str(key)}}}
    models = (
        DesiredModel(name="iris", path=str(iris.onnx), execution=ExecutionSettings(executor="process", processes=1)),
        DesiredModel(name="batched", path=str(iris.onnx), execution=ExecutionSettings(executor="thread")),
        DesiredModel(name="mood", path="", code=mood),
    )
    shop = DesiredApplication(
        name="shop",
        code=Code(module=str(folder / "shop.py"), folder=str(folder), class_name="Shop"),
        route_prefix="/shop",
    )
    config = folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(settings=settings, models=models, applications=(shop,))))
    with served(folder, config) as server:
        yield server


@pytest.fixture(scope="module")
def busy(runtime: ServerProcess, operator: OperatorProcess, api: Api, cluster: ControlPlane) -> None:
    """Both have done something of every kind that is counted."""
    cluster.kubectl("create", "namespace", "observed")
    api.create("observed", inference_service())
    context = ssl.create_default_context(cadata=AUTHORITY.pem)
    with httpx.Client(base_url=runtime.url(scheme="https"), verify=context, timeout=60, trust_env=False) as client:
        for model in ("iris", "batched"):
            assert client.post(f"/v2/models/{model}/infer", json=iris_request()).status_code == 200
        assert client.post("/v2/models/iris/infer", json={}).status_code == 400
        assert client.get("/shop").text == "open"
        assert client.post("/mood/count", json={"n": 3}).status_code == 200
        job = client.post("/api/v1/task/classify/job", json={"inputs": "good"})
        assert job.status_code == 202, job.text
    until_now(lambda: runtime.counted('pillion_jobs_ended_total{kind="prediction",state="COMPLETED"}') == 1)


@pytest.fixture(scope="module")
def prometheus(
    busy: None, runtime: ServerProcess, operator: OperatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has scraped both several times since."""
    folder = tmp_path_factory.mktemp("prometheus")
    shop = {"namespace": "shop", SERVICE: "iris", "pod": "iris-0"}
    targets = [
        {"targets": [f"127.0.0.1:{runtime.ports['admin']}"], "labels": shop},
        {"targets": [f"127.0.0.1:{operator.port}"], "labels": {"namespace": "pillion", "pod": "operator-0"}},
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "pods", "static_configs": targets}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        asked = Prometheus(port)
        until_now(asked.ready)
        until_now(lambda: len(asked.query("min_over_time(up[10s]) and count_over_time(up[10s]) > 3")) == 2)
        yield asked
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("expression", QUERIES)
def test_a_panel_shows_something(prometheus: Prometheus, expression: str) -> None:
    # A rate needs two scrapes within its ten seconds, and a busy machine may be late with one.
    until_now(lambda: prometheus.query(expression))


@pytest.mark.parametrize("query", VARIABLES)
def test_a_variable_has_values(prometheus: Prometheus, query: str) -> None:
    asked = re.fullmatch(r"label_values\((?P<series>.+), (?P<label>\w+)\)", query)
    assert asked is not None

    found = until_now(lambda: prometheus.query(f"count by ({asked['label']}) ({asked['series']})"))

    assert [] != [one["metric"][asked["label"]] for one in found]


def test_the_config_maps_hold_the_files_and_have_the_label_that_the_values_name(cluster: ControlPlane) -> None:
    helm = gotools.ensure(["helm"])["helm"]
    chosen = ["--set", "dashboards.enabled=true", "--set", "dashboards.annotations.grafana_folder=Pillion"]
    rendered = subprocess.run(
        [helm, "template", "pillion", CHART, "--show-only", "templates/dashboards.yaml", *chosen],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    config_maps = [one for one in yaml.safe_load_all(rendered) if one]

    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=rendered)
    assert {f"{name}.json": dashboard for name, dashboard in DASHBOARDS.items()} == {
        name: json.loads(text) for one in config_maps for name, text in one["data"].items()
    }
    assert [("1", "Pillion")] * len(DASHBOARDS) == [
        (one["metadata"]["labels"]["grafana_dashboard"], one["metadata"]["annotations"]["grafana_folder"])
        for one in config_maps
    ]
