"""A transformer in front of a model and an explainer beside it: containers of one's own, as KServe has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.models import SETOSA
from e2e.harness.stage import OWNER
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.harness.manifests import Manifest
    from e2e.harness.release import Release
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_COMPONENT = "serving.pillion.dev/component"
#: What both servers have: it knows the predictor by KServe's arguments alone.
_SERVER = """
import argparse, http.server, json, signal, sys, urllib.request

parser = argparse.ArgumentParser()
for name in ("--model_name", "--predictor_host", "--http_port"):
    parser.add_argument(name, required=True)
told, _ = parser.parse_known_args()


def ask(instances):
    url = f"http://{told.predictor_host}/v1/models/{told.model_name}:predict"
    body = json.dumps({"instances": instances}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["predictions"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(work(asked["instances"])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    http.server.ThreadingHTTPServer(("", int(told.http_port)), Handler).serve_forever()
"""
#: Flowers come as texts, and go as names.
_TRANSFORMER = """
import server

NAMES = ["setosa", "versicolor", "virginica"]


def work(texts):
    rows = [[float(number) for number in text.split()] for text in texts]
    return {"predictions": [NAMES[one] for one in server.ask(rows)]}


server.work = work
server.serve()
"""
#: Which of the numbers change the class when they are taken away.
_EXPLAINER = """
import server


def work(rows):
    (row,) = rows
    others = [[0.0 if at == place else value for at, value in enumerate(row)] for place in range(len(row))]
    (first, *changed) = server.ask([row, *others])
    return {"explanations": [one != first for one in changed]}


server.work = work
server.serve()
"""


def _component(stage: Stage, program: str) -> Manifest:
    """A component whose one container runs a program of the ConfigMap `code`, in the restricted standard."""
    pod = manifests.pod(
        "kserve-container", stage.target.image("runtime"), ["python", f"/code/{program}"],
        config_maps={"code": "/code"}, ports=[8080],
    )["spec"]  # fmt: skip  # name and value read as pairs
    kept = ("securityContext", "containers", "volumes", "terminationGracePeriodSeconds")
    return {name: pod[name] for name in kept}


def _post(stage: Stage, url: str, instances: list[Any]) -> Any:  # noqa: ANN401  # JSON
    done = stage.client(
        "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "10",
        "--header", "Content-Type: application/json", "--data-binary", "@-", url,
        stdin=json.dumps({"instances": instances}), check=False,
    )  # fmt: skip  # option and value read as pairs
    assert done.status == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _address(stage: Stage, component: str) -> str:
    return f"http://iris-{component}.{stage.namespace}.svc.cluster.local"


def _pods(stage: Stage, component: str) -> list[str]:
    """The uids of the pods of a component that stay."""
    found = stage.items("pods", f"{OWNER}=iris,{_COMPONENT}={component}")
    return [pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


def _told(stage: Stage) -> dict[str, Any]:
    status: dict[str, Any] = (stage.get("pisvc", "iris") or {}).get("status", {})
    return status


@pytest.fixture(scope="module")
def iris(new_stage: Callable[[str], Stage], release: Release) -> Stage:
    """A namespace in which `iris` serves alone, with the code of what is put beside it."""
    stage = new_stage("components")
    code = {"server.py": _SERVER, "transformer.py": _TRANSFORMER, "explainer.py": _EXPLAINER}
    stage.apply(manifests.config_map("iris", models.iris()), manifests.config_map("code", text=code))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops"))
    stage.wait_ready("iris")
    return stage


def test_requests_go_through_a_transformer_once_it_serves(iris: Stage) -> None:
    (before,) = _pods(iris, "predictor")
    assert _told(iris)["url"] == _address(iris, "predictor")

    iris.patch("pisvc", "iris", {"spec": {"transformer": _component(iris, "transformer.py")}})

    iris.wait_reason("iris", "Ready", kind="TransformerReady", status="True")
    iris.wait_ready("iris")
    eventually(
        lambda: _told(iris), lambda told: told["url"] == _address(iris, "transformer"), within=30, what="the URL"
    )
    text = " ".join(map(str, SETOSA))
    answer = _post(iris, f"{_told(iris)['url']}/v1/models/iris:predict", [text, "6.7 3.0 5.2 2.3"])
    assert answer == {"predictions": ["setosa", "virginica"]}
    # The predictor has not been touched, and answers as ever.
    assert _pods(iris, "predictor") == [before]
    assert iris.predict("iris")["data"] == [0]


def test_explanations_are_given_by_the_explainer(iris: Stage) -> None:
    iris.patch("pisvc", "iris", {"spec": {"explainer": _component(iris, "explainer.py")}})

    iris.wait_reason("iris", "Ready", kind="ExplainerReady", status="True")
    iris.wait_ready("iris")
    assert set(_told(iris)["components"]) >= {"predictor", "explainer"}
    answer = _post(iris, f"{_address(iris, 'explainer')}/v1/models/iris:explain", [SETOSA])
    assert len(answer["explanations"]) == len(SETOSA)


def test_a_transformer_that_does_not_start_is_named_while_the_former_serves(iris: Stage) -> None:
    good = _component(iris, "transformer.py")
    iris.patch("pisvc", "iris", {"spec": {"transformer": good}})
    iris.wait_reason("iris", "Ready", kind="TransformerReady", status="True")
    broken = _component(iris, "missing.py")

    iris.patch("pisvc", "iris", {"spec": {"transformer": broken}})

    said = iris.wait_reason("iris", "CrashLoopBackOff", kind="TransformerReady", within=120)["message"]
    assert "Meanwhile 1 pod serves on." in said, said
    assert iris.condition("iris", "PredictorReady")["status"] == "True"
    assert iris.condition("iris")["reason"] == "CrashLoopBackOff"
    answer = _post(iris, f"{_address(iris, 'transformer')}/v1/models/iris:predict", ["6.7 3.0 5.2 2.3"])
    assert answer == {"predictions": ["virginica"]}
    iris.patch("pisvc", "iris", {"spec": {"transformer": good}})
    iris.wait_ready("iris")


def test_what_is_taken_out_goes_with_all_that_it_had(iris: Stage) -> None:
    (before,) = _pods(iris, "predictor")

    iris.patch("pisvc", "iris", {"spec": {"transformer": None, "explainer": None}})

    eventually(
        lambda: [name for name in iris.children("iris") if "-transformer" in name or "-explainer" in name],
        lambda left: not left,
        within=120,
        what="what they had is gone",
    )
    iris.wait_ready("iris")
    assert _told(iris)["url"] == _address(iris, "predictor")
    assert {"TransformerReady", "ExplainerReady"}.isdisjoint(one["type"] for one in _told(iris)["conditions"])
    assert _pods(iris, "predictor") == [before]
