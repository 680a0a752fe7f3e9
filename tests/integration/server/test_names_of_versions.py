"""Aliases in routes, versions that are removed, and loads that are tried again, on a real server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx

from tests.integration.server.process import iris_request, served, write_config
from tests.integration.server.test_management import managed
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels


def deploy(server: ServerProcess, path: Path, name: str = "iris", **fields: Any) -> httpx.Response:
    files = [{"filename": path.name, "data": base64.b64encode(path.read_bytes()).decode()}]
    body = {"model_id": name, **(fields or {"model_files": files})}
    return httpx.post(server.url("/management/models"), json=body, timeout=60)


def alias(server: ServerProcess, name: str, version: str, model: str = "iris") -> httpx.Response:
    body = {"model_id": model, "alias": name, "version": version}
    return httpx.post(server.url("/management/aliases"), json=body, timeout=30)


def predict(server: ServerProcess, version: str, model: str = "iris") -> httpx.Response:
    return httpx.post(server.url(f"/v2/models/{model}/versions/{version}/infer"), json=iris_request(), timeout=30)


def text(answer: httpx.Response) -> str:
    body: Mapping[str, str] = answer.json()
    return body.get("details") or body["error"]


def test_an_alias_answers_for_its_version_and_says_where_that_is_not_served(tmp_path: Path, iris: IrisModels) -> None:
    with managed(tmp_path, tmp_path / "store") as server:
        assert 200 == deploy(server, iris.onnx).status_code
        assert {"model_id": "iris", "aliases": {"champion": "1"}} == alias(server, "champion", "1").json()

        assert ["1", "1"] == [predict(server, name).json()["model_version"] for name in ("champion", "latest")]
        ready = httpx.get(server.url("/v2/models/iris/versions/champion/ready"), timeout=60)
        assert 200 == ready.status_code
        described = httpx.get(server.url("/v2/models/iris/versions/champion"), timeout=60).json()
        assert "iris" == described["name"]

        assert 200 == deploy(server, iris.onnx).status_code
        until_now(lambda: predict(server, "1").status_code == 404)
        refused = predict(server, "champion")
        assert 404 == refused.status_code
        assert "'champion' of 'iris' means version '1', which is not served (it has: 2)" in text(refused)
        assert "2" == predict(server, "latest").json()["model_version"]

        assert 200 == alias(server, "champion", "2").status_code
        assert "2" == predict(server, "champion").json()["model_version"]
        # By its alias a version is deployed, too.
        assert 200 == alias(server, "former", "1").status_code
        assert 200 == deploy(server, iris.onnx, version="former").status_code
        assert "1" == predict(server, "former").json()["model_version"]

        where = server.url("/management/aliases")
        listed = httpx.get(where, params={"model_id": "iris"}, timeout=60).json()
        assert {"champion": "2", "former": "1"} == listed["aliases"]
        gone = httpx.delete(where, params={"model_id": "iris", "alias": "former"}, timeout=60)
        assert {"champion": "2"} == gone.json()["aliases"]
        assert "has no version 'former'" in text(predict(server, "former"))


def test_aliases_survive_a_restart_and_wrong_ones_are_refused_with_the_field(tmp_path: Path, iris: IrisModels) -> None:
    with managed(tmp_path, tmp_path / "store") as server:
        deploy(server, iris.onnx)
        alias(server, "champion", "1")

        for name, version, status, said in (
            ("7", "1", 400, "is a number, as versions are"),
            ("a/b", "1", 400, "alias: "),
            ("champion", "9", 404, "9"),
        ):
            refused = alias(server, name, version)
            assert (status, True) == (refused.status_code, said in text(refused)), text(refused)
        unknown = alias(server, "champion", "1", model="none")
        assert (404, True) == (unknown.status_code, "'none'" in text(unknown))
        missing = httpx.delete(server.url("/management/aliases"), params={"model_id": "iris"}, timeout=60)
        assert (400, True) == (missing.status_code, "alias" in text(missing))

    with managed(tmp_path, tmp_path / "store") as server:
        assert "1" == predict(server, "champion").json()["model_version"]


def test_aliases_are_given_by_whoever_may_change_models_only(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    with served(tmp_path, config) as server:
        refused = alias(server, "champion", "1")

        assert 403 == refused.status_code
        assert "management.enabled" in text(refused)
        # What answers when no version is named has a name of its own with any server.
        assert "1" == predict(server, "latest").json()["model_version"]


def test_old_versions_go_and_those_with_a_use_stay(tmp_path: Path, iris: IrisModels) -> None:
    store = tmp_path / "store"

    def versions() -> set[str]:
        return {path.name for path in (store / "models" / "iris").iterdir() if path.is_dir()}

    with managed(tmp_path, store, {"PILLION_MODELS__KEEP_VERSIONS": "2"}) as server:
        deploy(server, iris.onnx)
        alias(server, "first", "1")
        for _ in range(4):
            assert 200 == deploy(server, iris.onnx).status_code
        until_now(lambda: predict(server, "4").status_code == 404)

        # The one that left last was still held when the newest took over.
        assert {"1", "4", "5"} <= versions()
        until_now(lambda: "2" not in versions())
        assert 200 == deploy(server, iris.onnx).status_code
        until_now(lambda: predict(server, "5").status_code == 404)
        until_now(lambda: versions() - {"4"} == {"1", "5", "6"})


def test_a_lazy_model_whose_load_failed_is_tried_again_by_a_later_request(tmp_path: Path, iris: IrisModels) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with managed(tmp_path, tmp_path / "store", {"PILLION_MODELS__LAZY": "true"}) as server:
        assert 200 == deploy(server, broken).status_code
        assert 503 == predict(server, "1").status_code
        (kept,) = (tmp_path / "store" / "models" / "iris" / "1").rglob("model.onnx")
        kept.write_bytes(iris.onnx.read_bytes())

        # Not at once: what cannot be loaded must not be loaded with each request.
        refused = predict(server, "1")
        assert (503, True) == (refused.status_code, "model.onnx" in text(refused)), text(refused)
        until_now(lambda: predict(server, "1").status_code == 200, 60)

        assert "READY" == httpx.get(server.url("/info/models"), timeout=60).json()["models"][0]["state"]
