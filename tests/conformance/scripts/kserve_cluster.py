"""KServe's own client of clusters: create, wait, get, replace, wait, delete. Prints one JSON object."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import json
import sys

from kserve import (
    KServeClient,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
)
from kubernetes.client import V1ObjectMeta

KUBECONFIG, NAMESPACE, NAME = sys.argv[1:]


def service(replicas):
    model = V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="sklearn"), storage_uri="s3://models/iris.skops")
    return V1beta1InferenceService(
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=V1ObjectMeta(name=NAME, namespace=NAMESPACE),
        spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(model=model, min_replicas=replicas)),
    )


client = KServeClient(config_file=KUBECONFIG)
results = {}
created = client.create(service(1))
results["created"] = created["metadata"]["generation"]
results["ready_at_once"] = client.is_isvc_ready(NAME, namespace=NAMESPACE)
client.wait_isvc_ready(NAME, namespace=NAMESPACE, timeout_seconds=120, polling_interval=1)
results["ready"] = client.get(NAME, namespace=NAMESPACE)
replaced = client.replace(NAME, service(2))
generation = replaced["metadata"]["generation"]
client.wait_isvc_ready(
    NAME, namespace=NAMESPACE, timeout_seconds=120, polling_interval=1, expected_generation=generation
)
results["replaced"] = client.get(NAME, namespace=NAMESPACE)
client.get(NAME, namespace=NAMESPACE, watch=True, timeout_seconds=120)
client.delete(NAME, namespace=NAMESPACE)
print(json.dumps(results))
