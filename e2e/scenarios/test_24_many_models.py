"""Two hundred small models on three pods: each is in one of them, every pod answers for all, also when one has gone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.stage import infer_request
from e2e.harness.waiting import eventually
from e2e.harness.web import serve_files

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_MODELS = 200
_NAMES = [f"small-{number:03}" for number in range(_MODELS)]
#: Asks every model through the Service, each on a connection of its own so that any pod may get it; what cannot be
#: answered now (503) is asked again. Prints what came of it.
_ASK = """
import json, sys, time, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
base, body, expected, within = sys.argv[1], sys.argv[2].encode(), json.loads(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + within
def ask(name):
    again, last = 0, ""
    while time.monotonic() < end:
        request = urllib.request.Request(f"{base}/v2/models/{name}/infer", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                data = json.load(answer)["outputs"][0]["data"]
            return name, data == [expected[name]], again, str(data)
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.read()[:200]!r}"
        except OSError as error:
            last = repr(error)
        again += 1
        time.sleep(0.25)
    return name, None, again, last
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(ask, expected))
print(json.dumps({
    "answered": sum(right is not None for _, right, _, _ in found),
    "wrong": [[name, said] for name, right, _, said in found if right is False],
    "never": [[name, said] for name, right, _, said in found if right is None][:5],
    "again": sum(again for _, _, again, _ in found),
}))
"""


def _model(number: int, address: str) -> Manifest:
    return {
        "apiVersion": manifests.API_VERSION,
        "kind": "Model",
        "metadata": {"name": _NAMES[number]},
        "spec": {
            "inferenceServiceRef": {"name": "iris"},
            "storageUri": f"{address}/{_file(number)}/model.skops",
            "digest": models.iris(shift=number % 3).digest,
        },
    }


def _file(number: int) -> str:
    return ("zero", "one", "two")[number % 3]


def _placement(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = (stage.get("pisvc", "iris") or {}).get("status", {}).get("modelPlacement", {})
    return found


def _settled(stage: Stage, within: float) -> dict[str, Any]:
    """Wait until every model is served, each in one of three pods."""
    return eventually(
        lambda: _placement(stage),
        lambda said: (
            said.get("summary") == f"{_MODELS}/{_MODELS}"
            and len(said["pods"]) == 3
            and sum(pod["models"] for pod in said["pods"]) == _MODELS
        ),
        within=within,
        what=f"{_MODELS} models are spread over 3 pods",
        every=1.0,
    )


def _ask_all(stage: Stage, within: float) -> dict[str, Any]:
    expected = {name: number % 3 for number, name in enumerate(_NAMES)}
    base = f"http://iris-predictor.{stage.namespace}.svc.cluster.local"
    command = ("python3", "-c", _ASK, base, infer_request(), json.dumps(expected), str(within))
    answers: dict[str, Any] = json.loads(stage.client(*command, within=within + 60).stdout)
    assert answers["wrong"] == []
    assert answers["answered"] == _MODELS, answers["never"]
    return answers


def test_200_models_on_3_pods_all_answer_and_do_so_again_when_a_pod_has_gone(stage: Stage, report: Report) -> None:
    address = serve_files(stage, **{_file(number): models.iris(shift=number) for number in range(3)})
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(
        manifests.inference_service(
            "iris", "configmap://iris/model.skops", minReplicas=3, modelPlacement={"copies": 1, "memory": "1Gi"}
        )
    )
    stage.wait_rolled_out("iris")
    began = time.monotonic()
    stage.apply(*(_model(number, address) for number in range(_MODELS)))

    pods = _settled(stage, 420)["pods"]

    placed = time.monotonic() - began
    # By what they take, which is measured and differs a little: not equally many in each for certain.
    assert all(pod["models"] >= _MODELS // 10 for pod in pods), pods
    assert all(0 < pod["memory"] <= 1024**3 for pod in pods)
    assert _ask_all(stage, 60)["again"] == 0, "nothing fails while nothing moves"
    ready = [pod["metadata"]["name"] for pod in stage.items("pmodel") if _is_served(pod)]
    assert len(ready) == _MODELS

    victim = pods[0]["name"]
    began = time.monotonic()
    stage.target.kubectl("delete", "pod", victim, f"--namespace={stage.namespace}", "--wait=false")
    moving = _ask_all(stage, 240)
    _settled(stage, 420)
    back = time.monotonic() - began

    assert victim not in {pod["name"] for pod in _placement(stage)["pods"]}
    assert _ask_all(stage, 60)["again"] == 0
    # And one that goes without a word, as with its node.
    victim = _placement(stage)["pods"][0]["name"]
    began = time.monotonic()
    stage.target.kubectl("delete", "pod", victim, f"--namespace={stage.namespace}", "--grace-period=0", "--force")
    killed = _ask_all(stage, 240)
    answered = time.monotonic() - began
    _settled(stage, 420)
    report.add(
        "many_models",
        placed_seconds=round(placed, 1),
        asked_again_in_a_move=moving["again"],
        settled_after_a_deletion_seconds=round(back, 1),
        asked_again_after_a_kill=killed["again"],
        all_answered_after_a_kill_seconds=round(answered, 1),
    )


def _is_served(model: dict[str, Any]) -> bool:
    conditions = model.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
