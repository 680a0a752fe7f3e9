"""``accelerate: onnx`` under a real server: what clients get, how long it takes, and what operators are told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import skops.io
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from pillion.runtimefile import DesiredModel, ExecutionSettings, RuntimeFile, dump
from tests.integration.server.process import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess

WIDTH = 8
FEATURES, CLASSES = make_classification(1000, WIDTH, n_informative=5, random_state=0)
NAMES = np.array(["no", "yes"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Each model twice: as it is, and accelerated by the server's setting."""
    folder: Path = tmp_path_factory.mktemp("accelerated")
    models: list[DesiredModel] = []
    estimators = {
        "forest": RandomForestClassifier(100, random_state=0).fit(FEATURES, NAMES[CLASSES]),
        "boosted": HistGradientBoostingClassifier(max_iter=50).fit(FEATURES, CLASSES),
        "isolation": IsolationForest(n_estimators=10, random_state=0).fit(FEATURES),
    }
    for name, estimator in estimators.items():
        path = folder / f"{name}.skops"
        skops.io.dump(estimator, path)
        models.append(DesiredModel(name=name, path=str(path)))
        plain = ExecutionSettings(accelerate="none")
        models.append(DesiredModel(name=f"{name}-plain", path=str(path), execution=plain))
    config = folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(settings={"models": {"accelerate": "onnx"}}, models=tuple(models))))
    with served(folder, config) as running:
        yield running


def asked(server: ServerProcess, model: str, rows: Any) -> dict[str, Any]:
    matrix = {"name": "input", "shape": list(np.shape(rows)), "datatype": "FP64", "data": np.ravel(rows).tolist()}
    body = {"inputs": [matrix], "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}
    answer = httpx.post(server.url(f"/v2/models/{model}/infer"), json=body, timeout=30)
    assert 200 == answer.status_code, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def seconds(server: ServerProcess, *models: str) -> list[float]:
    """Of one row with each model, as a client sees it: the least of some, in turn, whatever else the machine does."""
    taken: dict[str, list[float]] = {model: [] for model in models}
    body = {"instances": [FEATURES[0].tolist()]}
    with httpx.Client() as client:
        for model in models * 15:
            began = time.perf_counter()
            answer = client.post(server.url(f"/v1/models/{model}:predict"), json=body)
            taken[model].append(time.perf_counter() - began)
            assert 200 == answer.status_code
    return [min(taken[model]) for model in models]


def told(server: ServerProcess, model: str) -> dict[str, Any]:
    [status] = [status for status in server.admin("/status").json()["models"] if status["name"] == model]
    return dict(status)


@pytest.mark.parametrize("model", ["forest", "boosted"])
def test_clients_get_equal_answers(server: ServerProcess, model: str) -> None:
    plain, quick = asked(server, f"{model}-plain", FEATURES), asked(server, model, FEATURES)
    assert plain["predict"] == quick["predict"]
    np.testing.assert_allclose(quick["predict_proba"], plain["predict_proba"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["forest", "boosted"])
def test_a_call_takes_less_time(server: ServerProcess, model: str) -> None:
    assert "onnx" == told(server, model)["acceleration"]["by"]
    quick, plain = seconds(server, model, f"{model}-plain")
    assert quick < plain


def test_metadata_says_what_computes(server: ServerProcess) -> None:
    shown = {name: httpx.get(server.url(f"/v2/models/{name}")).json() for name in ("forest", "forest-plain")}
    assert {"accelerated_by": "onnx"} == shown["forest"]["parameters"]
    assert "parameters" not in shown["forest-plain"]


def test_a_model_that_cannot_be_converted_serves_as_it_is_and_the_reason_is_told(server: ServerProcess) -> None:
    acceleration = told(server, "isolation")["acceleration"]
    assert "" == acceleration["by"]
    assert acceleration["note"]
    server.wait_logged("isolation/1: not accelerated, it serves as it is")
    body = {"instances": FEATURES[:3].tolist()}
    answers = [
        httpx.post(server.url(f"/v1/models/{name}:predict"), json=body).json()
        for name in ("isolation", "isolation-plain")
    ]
    assert answers[0] == answers[1]
