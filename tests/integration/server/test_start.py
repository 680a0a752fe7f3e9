"""What keeps the server from starting, said with an exit code and a sentence; and what a running one says of itself."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.certificates import Authority
from tests.integration.server.process import command, environment, iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels


def ended(arguments: list[str], **env: str) -> tuple[int, str]:
    """Run a server that is expected to end by itself: exit code, and the last line of standard error."""
    done = subprocess.run(arguments, env=environment(**env), capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    assert "cannot start" in json.loads(lines[-2])["message"]
    return done.returncode, lines[-1]


@pytest.mark.parametrize("section", ["http", "grpc", "admin"])
def test_a_port_in_use_ends_with_3_and_names_port_and_remedy(config: Path, tmp_path: Path, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = command(config, "--control-socket", str(tmp_path / "c.sock"), f"--{section}-port", str(port))
        code, said = ended(arguments)
    assert 3 == code
    assert f"{section} port {port}" in said
    assert f"--{section}-port or PILLION_{section.upper()}__PORT" in said


def test_a_bad_setting_ends_with_2_and_names_variable_and_value(config: Path) -> None:
    code, said = ended(command(config), PILLION_LIMITS__MAX_QUEUE="many")
    assert 2 == code
    assert "PILLION_LIMITS__MAX_QUEUE" in said
    assert "'many'" in said


def test_a_misspelt_setting_of_the_file_ends_with_2_and_suggests_the_right_one(tmp_path: Path) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {}, {"limits": {"max_bodybytes": 1}})
    code, said = ended(command(config))
    assert 2 == code
    assert "did you mean limits.max_body_bytes?" in said


def test_a_missing_or_broken_file_ends_with_2(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert (2, True) == (ended(command(missing))[0], "file not found" in ended(command(missing))[1])
    broken = tmp_path / "broken.yaml"
    broken.write_text("models: [{name: iris}]")
    code, said = ended(command(broken))
    assert 2 == code
    assert "models.0.path" in said


def test_certificates_that_cannot_be_served_end_with_4(config: Path, tmp_path: Path) -> None:
    ca = Authority()
    good, other, expired = ca.issue(), ca.issue(), ca.issue(days=-0.5)
    cert, key = good.write(tmp_path)
    cases = {
        "file not found": (tmp_path / "none.crt", key),
        "does not belong to": (cert, other.write(tmp_path, "other")[1]),
        "expired": expired.write(tmp_path, "expired"),
    }
    for expected, (cert_file, key_file) in cases.items():
        code, said = ended(command(config, "--tls-server-cert", str(cert_file), "--tls-server-key", str(key_file)))
        assert 4 == code
        assert expected in said
    code, said = ended(command(config, "--tls-server-cert", str(cert)))
    assert (2, True) == (code, "tls.server.key" in said)


def test_a_model_that_cannot_be_loaded_leaves_the_process_alive_not_ready_and_saying_why(
    tmp_path: Path, iris: IrisModels
) -> None:
    config = tmp_path / "runtime.yaml"
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")
    write_config(config, {"iris": iris.onnx, "broken": tmp_path / "broken.onnx"})
    with served(tmp_path, config, ready=False) as server:
        until_now(lambda: bool(server.logged("not ready")), 60)
        assert 200 == server.admin("/livez").status_code
        not_ready = server.admin("/readyz")
        assert 503 == not_ready.status_code
        assert "model broken" in not_ready.text
        states = {model["name"]: model for model in server.admin("/status").json()["models"]}
        assert "READY" == states["iris"]["state"]
        assert states["broken"]["reason"]
        answer = httpx.post(server.url("/v2/models/iris/infer"), json=iris_request())
        assert 200 == answer.status_code


def test_changed_models_are_loaded_and_removed_and_a_broken_file_changes_nothing(
    tmp_path: Path, iris: IrisModels
) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})

    def names(server: ServerProcess) -> list[str]:
        return [model["name"] for model in server.admin("/status").json()["models"] if model["state"] == "READY"]

    with served(tmp_path, config) as server:
        write_config(config, {"iris": iris.onnx, "second": iris.onnx_zipmap})
        until_now(lambda: names(server) == ["iris", "second"])
        config.write_text("models: 1")
        until_now(lambda: server.counted('pillion_config_reloads_total{result="failed"}') == 1)
        assert ["iris", "second"] == names(server)
        assert "models" in server.admin("/status").json()["configError"]
        write_config(config, {"second": iris.onnx_zipmap})
        until_now(lambda: names(server) == ["second"])
        until_now(lambda: "configError" not in server.admin("/status").json())


def test_the_admin_port_answers_the_operator_and_prometheus_and_changes_nothing(asked: ServerProcess) -> None:
    status = asked.admin("/status").json()
    assert {"version", "draining", "ready", "models"} == set(status)
    model: dict[str, Any] = status["models"][0]
    assert {"name", "version", "state", "reason", "uri", "digest", "format", "changedAt", "libraries"} == set(model)
    assert ("iris", "READY", "onnx") == (model["name"], model["state"], model["format"])
    assert "text/plain" in asked.admin("/metrics").headers["content-type"]
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    metrics = httpx.get(asked.url("/metrics", port="admin"), headers=accept)
    assert "openmetrics" in metrics.headers["content-type"]
    assert metrics.text.endswith("# EOF\n")
    for method, path, expected in (("POST", "/status", 405), ("DELETE", "/metrics", 405), ("GET", "/drain", 404)):
        assert expected == httpx.request(method, asked.url(path, port="admin")).status_code


def test_metrics_on_the_data_port_name_the_admin_port(asked: ServerProcess) -> None:
    answer = httpx.get(asked.url("/metrics"))
    assert 404 == answer.status_code
    assert "admin port" in answer.json()["error"]


def test_docs_work_without_internet(asked: ServerProcess) -> None:
    for page in ("/docs", "/redoc"):
        html = httpx.get(asked.url(page)).text
        assert "https://" not in html
        assets = [part.split('"')[0] for part in html.split('"/docs/assets/')[1:]]
        assert assets
        for asset in assets:
            answer = httpx.get(asked.url(f"/docs/assets/{asset}"))
            assert 200 == answer.status_code
            assert len(answer.content) > 1000
    document = httpx.get(asked.url("/openapi.json")).json()
    assert "/v2/models/{model}/infer" in document["paths"]
    infer = document["paths"]["/v2/models/{model}/infer"]["post"]
    example = infer["requestBody"]["content"]["application/json"]["example"]
    assert 200 == httpx.post(asked.url("/v2/models/iris/infer"), json=example).status_code
    assert 404 == httpx.get(asked.url("/docs/assets/..%2fconsts.py")).status_code


def test_an_unknown_route_answers_in_the_shape_of_every_error(asked: ServerProcess) -> None:
    answer = httpx.get(asked.url("/nope"), headers={"X-Request-ID": "abc-1"})
    assert 404 == answer.status_code
    assert {"error", "code", "id"} == set(answer.json())
    assert ("abc-1", "abc-1") == (answer.json()["id"], answer.headers["x-request-id"])


def test_management_on_the_data_port_is_off_and_names_its_setting(asked: ServerProcess) -> None:
    answer = httpx.post(asked.url("/v2/repository/models/iris/unload"))
    assert 403 == answer.status_code
    assert "management.enabled" in answer.json()["error"]


def test_a_request_that_cannot_be_read_is_counted_with_its_model_and_a_made_up_model_without(
    asked: ServerProcess,
) -> None:
    before = _refused(asked, "iris", "1")
    for path in ("/v2/models/iris/infer", "/v2/models/made-up/infer"):
        assert (
            400 == httpx.post(asked.url(path), content=b"{", headers={"content-type": "application/json"}).status_code
        )
    until_now(lambda: _refused(asked, "iris", "1") == before + 1)
    until_now(lambda: _refused(asked, "", "") == 1)
    assert "made-up" not in asked.admin("/metrics").text


def _refused(server: ServerProcess, model: str, version: str) -> float:
    labels = f'code="invalid_argument",model="{model}",protocol="rest",version="{version}"'
    try:
        return server.metric(f"pillion_requests_total{{{labels}}}")
    except AssertionError:
        return 0.0
