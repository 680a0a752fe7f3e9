"""What the container that serves is given to fetch the models of Model objects with."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, cast

import pytest

from pillion_operator.builders.predictor import plan
from pillion_operator.observe.references import ReferenceReader
from pillion_operator.state.kinds import SECRET, SERVICE_ACCOUNT
from tests.unit.operator.test_builders import SETTINGS, builtin, pod, service

ENTRY = {"type": "s3", "bucket": "models", "access_key_id": "a", "secret_access_key": "b"}
OBJECTS: dict[tuple[Any, str], Any] = {
    (SECRET, "storage-config"): {"data": {"ours": base64.b64encode(json.dumps(ENTRY).encode()).decode()}},
    (SERVICE_ACCOUNT, "default"): {"secrets": [{"name": "hub"}, {"name": "bucket"}]},
    (SECRET, "hub"): {"metadata": {}, "data": {"HF_TOKEN": "x", "AZURE_CLIENT_ID": "x"}},
    (SECRET, "bucket"): {
        "metadata": {"annotations": {"serving.pillion.dev/s3-cabundle-configmap": "ca"}},
        "data": {"AWS_SESSION_TOKEN": "x", "gcloud-application-credentials.json": "x"},
    },
}
MODEL: Any = {
    "metadata": {"name": "big", "namespace": "ns", "uid": "u2", "generation": 1},
    "spec": {"inferenceServiceRef": {"name": "iris"}, "storageUri": "hf://acme/big"},
    "apiVersion": "serving.pillion.dev/v1beta1",
    "kind": "Model",
}


class Cluster:
    async def get(self, kind: Any, key: Any) -> Any:
        return OBJECTS.get((kind, key.name))


def spec_of(source: dict[str, Any], *models: Any) -> dict[str, Any]:
    given = service(sklearn=source)
    reader = ReferenceReader(cast("Any", Cluster()), lambda: 0.0)
    found = asyncio.run(reader.read(given, healthy=True, fetches=bool(models)))
    return pod(plan(given, "uid-1", builtin(), found.credentials, SETTINGS, models=models))


def variables(container: dict[str, Any]) -> set[str]:
    return {one["name"] for one in container.get("env", [])}


@pytest.mark.parametrize("source", [{"storage": {"key": "ours", "path": "iris"}}, {"storageUri": "s3://models/iris"}])
def test_models_beside_one_of_a_store_have_the_accounts_secrets_as_beside_any_other(source: dict[str, Any]) -> None:
    spec = spec_of(source, MODEL)

    assert {"HF_TOKEN", "AZURE_CLIENT_ID", "GOOGLE_APPLICATION_CREDENTIALS"} <= variables(spec["containers"][0])
    assert "google-credentials" in {one["name"] for one in spec["containers"][0]["volumeMounts"]}
    assert "google-credentials" in {one["name"] for one in spec["volumes"]}


def test_an_entry_and_the_accounts_keys_of_buckets_are_not_mixed() -> None:
    spec = spec_of({"storage": {"key": "ours", "path": "iris"}}, MODEL)

    serving, init = variables(spec["containers"][0]), variables(spec["initContainers"][0])
    assert "STORAGE_CONFIG" in serving & init
    assert {"AWS_SESSION_TOKEN", "CA_BUNDLE_VOLUME_MOUNT_POINT"} & (serving | init) == set()
    assert "s3-ca" not in {one["name"] for one in spec["volumes"]}
    assert "HF_TOKEN" not in init, "which fetches by the entry alone"


def test_without_model_objects_pods_are_as_they_were() -> None:
    spec = spec_of({"storage": {"key": "ours", "path": "iris"}})

    assert set() == variables(spec["containers"][0])
