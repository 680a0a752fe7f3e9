"""KServe's manifests, converted and applied, under the operator: what was promised on conversion is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pillion.resources.conversion import Subject, convert
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane
    from pillion.resources.conversion import Conversion

FOLDER = Path(__file__).parents[2] / "unit" / "conversion" / "kserve"
#: What is said of Secrets, of runtimes, and of what a container itself is to do with its variables.
_ELSEWHERE = re.compile(r"/s3-|prometheus\.kserve\.io|\.env\[|^spec\.(multiModel|grpc\w*|builtInAdapter|containers)")
SAMPLES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(".converted.yaml"))


def applied(cluster: ControlPlane, namespace: str, path: Path) -> Conversion:
    # A runtime of the whole cluster would be chosen for the services of other tests too.
    text = path.read_text().replace("kind: ClusterServingRuntime", "kind: ServingRuntime")
    conversion = convert([(path.name, text.replace("namespace: models", f"namespace: {namespace}"))])
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=conversion.text)
    return conversion


def looked_at(api: Api, namespace: str, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = api.get("InferenceService", namespace, name)
        return found if condition(found, "FieldsHonoured") else None

    found = eventually(look)
    assert found is not None
    return found


def pod_spec(api: Api, namespace: str, name: str) -> dict[str, Any]:
    deployment = eventually(lambda: api.get("Deployment", namespace, f"{name}-predictor"))
    assert deployment is not None
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_condition_says_what_the_conversion_said(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, path: Path
) -> None:
    conversion = applied(cluster, namespace, path)

    services = [found for found in conversion.objects if found["kind"] == "InferenceService"]
    told = [remark.field for remark in conversion.remarks if remark.subject is Subject.NO_EFFECT]
    for service in services:
        name = str(service["metadata"]["name"])  # type: ignore[index,call-overload] # what was just applied has a name
        message = condition(looked_at(api, namespace, name), "FieldsHonoured")["message"]
        # The annotations that mean the same here have our prefix by now.
        message = message.replace("[serving.pillion.dev/", "[serving.kserve.io/")
        assert [] == [field for field in told if field not in message and not _ELSEWHERE.search(field)]


def test_a_secret_and_a_service_account_in_kserves_form_reach_the_storage_step(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    applied(cluster, namespace, FOLDER / "s3-credentials.yaml")

    (storage,) = pod_spec(api, namespace, "from-s3")["initContainers"]
    variables = {variable["name"]: variable for variable in storage["env"]}
    assert "https://s3.amazonaws.com" == variables["AWS_ENDPOINT_URL"]["value"]
    assert "us-east-2" == variables["AWS_REGION"]["value"]
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert {"name": "s3creds", "key": key} == variables[key]["valueFrom"]["secretKeyRef"]


def test_kserves_runtime_for_mlserver_is_filled_in_as_kserve_does(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    applied(cluster, namespace, FOLDER / "mlserver.yaml")

    (container,) = pod_spec(api, namespace, "boosted")["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert "registry.example.com/mlserver:1.7" == container["image"]
    assert "mlserver_lightgbm.LightGBMModel" == variables["MLSERVER_MODEL_IMPLEMENTATION"]
    assert "boosted" == variables["MLSERVER_MODEL_NAME"]
    assert "/mnt/models" in {mount["mountPath"] for mount in container["volumeMounts"]}
