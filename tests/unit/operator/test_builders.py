from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion import runtimefile
from pillion.backends.api import BACKENDS, canonical_name
from pillion.policy import ConsentPolicy
from pillion.resources import InferenceService, ModelStorageSpec, ServingRuntimeSpec
from pillion.server.sources import load_settings
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.builders.credentials import SecretSummary, StorageCredentials, credentials_from
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.selection import Candidate
from pillion_operator.builders.storage_config import StorageEntry, credentials_of_entry, entries_of
from pillion_operator.state.kinds import POD_MONITOR, SERVICE_MONITOR
from pillion_operator.state.names import MODELS_CONSENT_ANNOTATION
from pillion_operator.state.policies import ConsentRule, NamespaceRules
from pillion_operator.state.settings import RenderSettings

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Desired

SETTINGS = RenderSettings(runtime_image="registry/pillion-runtime:1", image_pull_secrets=("pull",))
SKLEARN: dict[str, Any] = {"sklearn": {"storageUri": "s3://models/iris"}}


def service(annotations: dict[str, str] | None = None, **predictor: Any) -> InferenceService:
    manifest: dict[str, Any] = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "iris",
            "namespace": "ns",
            "annotations": annotations or {},
            "labels": {"tier": "gold"},
        },
        "spec": {"predictor": predictor or SKLEARN},
    }
    return InferenceService.from_manifest(manifest)


def builtin() -> list[Candidate]:
    found = []
    for manifest in builtin_runtimes(SETTINGS):
        data: dict[str, Any] = manifest
        spec = ServingRuntimeSpec.from_api(data["spec"])
        found.append(Candidate("ClusterServingRuntime", data["metadata"]["name"], spec))
    return found


def runtime(
    name: str, *, kind: str = "ClusterServingRuntime", container: str = "kserve-container", **spec: Any
) -> Candidate:
    formats = spec.pop("formats", [{"name": "sklearn", "autoSelect": True}])
    containers = [{"name": container, "image": f"example.com/{name}:1", **spec.pop("container_fields", {})}]
    manifest: dict[str, Any] = {"supportedModelFormats": formats, "containers": containers, **spec}
    return Candidate(kind, name, ServingRuntimeSpec.from_api(manifest))


def planned(
    *candidates: Candidate,
    credentials: StorageCredentials | None = None,
    annotations: dict[str, str] | None = None,
    settings: RenderSettings = SETTINGS,
    pickle: ConsentRule | None = None,
    code: ConsentRule | None = None,
    **predictor: Any,
) -> Desired:
    return plan(
        service(annotations, **predictor),
        "uid-1",
        list(candidates) or builtin(),
        credentials or StorageCredentials(),
        settings,
        rules=NamespaceRules(pickle or ConsentRule(), code or ConsentRule()),
    )


def child(desired: Desired, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c.manifest for c in desired.children if c.kind.name == kind)
    return found


def pod(desired: Desired) -> dict[str, Any]:
    found: dict[str, Any] = child(desired, "Deployment")["spec"]["template"]["spec"]
    return found


def storage_args(desired: Desired) -> list[str]:
    found: list[str] = pod(desired)["initContainers"][0]["args"]
    return found


def runtime_file(desired: Desired) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(child(desired, "ConfigMap")["data"]["runtime.yaml"])
    return found


def test_each_backend_of_the_runtime_has_a_built_in_runtime() -> None:
    formats = {found.name for candidate in builtin() for found in candidate.spec.supported_model_formats or ()}
    # MLflow is a layout of folders whose models are those of the backends, Python is a class; the rest are other names.
    others = {"mlflow", "python"}
    assert {*BACKENDS, *others} == {name if name in others else canonical_name(name) for name in formats}


@pytest.mark.parametrize(
    ("model_format", "name", "image"),
    [
        ("sklearn", "pillion-sklearn", "registry/pillion-runtime:1"),
        ("pytorch", "pillion-torch", "registry/pillion-runtime:1-torch"),
        ("torch", "pillion-torch", "registry/pillion-runtime:1-torch"),
        ("huggingface", "pillion-huggingface", "registry/pillion-runtime:1-huggingface"),
        ("transformers", "pillion-huggingface", "registry/pillion-runtime:1-huggingface"),
        ("sentence-transformers", "pillion-huggingface", "registry/pillion-runtime:1-huggingface"),
    ],
)
def test_a_heavy_backend_has_an_image_of_its_own(model_format: str, name: str, image: str) -> None:
    desired = planned(model={"modelFormat": {"name": model_format}, "storageUri": "s3://bucket/model"})
    assert desired.choice is not None
    assert name == desired.choice.name
    container = pod(desired)["containers"][0]
    assert image == container["image"]
    asked = {"cpu": "100m", "memory": "256Mi"} if name == "pillion-sklearn" else {"cpu": "500m", "memory": "1Gi"}
    assert asked == container["resources"]["requests"]


def test_what_a_manifest_asks_for_wins_over_what_a_heavy_backend_does() -> None:
    model = {"modelFormat": {"name": "torch"}, "storageUri": "s3://bucket/model"}
    desired = planned(model=model | {"resources": {"requests": {"memory": "8Gi"}}})
    assert {"cpu": "500m", "memory": "8Gi"} == pod(desired)["containers"][0]["resources"]["requests"]


def test_an_image_without_a_tag_has_no_variants() -> None:
    digest = f"registry/pillion-runtime@sha256:{'a' * 64}"
    names = {manifest["metadata"]["name"] for manifest in builtin_runtimes(RenderSettings(runtime_image=digest))}  # type: ignore[call-overload,index] # JSON
    assert {
        "pillion-sklearn",
        "pillion-onnx",
        "pillion-xgboost",
        "pillion-lightgbm",
        "pillion-mlflow",
        "pillion-python",
    } == names


def test_a_service_gets_its_children_in_the_order_in_which_they_need_each_other() -> None:
    desired = planned(minReplicas=2, **SKLEARN)

    assert ["ConfigMap", "Service", "Deployment", "PodDisruptionBudget"] == [c.kind.name for c in desired.children]


def test_a_range_of_replicas_adds_an_autoscaler_and_a_budget() -> None:
    desired = planned(maxReplicas=4, autoScaling={"behavior": {"scaleDown": {"selectPolicy": "Min"}}}, **SKLEARN)

    kinds = [c.kind.name for c in desired.children]
    assert ["PodDisruptionBudget", "HorizontalPodAutoscaler"] == kinds[-2:]
    spec = child(desired, "HorizontalPodAutoscaler")["spec"]
    assert (1, 4) == (spec["minReplicas"], spec["maxReplicas"])
    assert {"scaleDown": {"selectPolicy": "Min"}} == spec["behavior"]
    assert desired.replicas.autoscaled


def test_an_installation_without_an_activator_keeps_a_pod_and_says_so() -> None:
    desired = planned(minReplicas=0, **SKLEARN)

    assert desired.replicas.to_zero_after is None
    assert 1 == desired.replicas.least
    (note,) = desired.notes
    assert "spec.predictor.minReplicas: 0 (this installation has no activator: set activator.enabled" in note.text


@pytest.mark.parametrize("value", ["none", "external"])
@pytest.mark.parametrize("prefix", ["serving.pillion.dev", "serving.kserve.io"])
def test_an_autoscaler_of_somebody_else_keeps_ours_away(prefix: str, value: str) -> None:
    desired = planned(annotations={f"{prefix}/autoscalerClass": value}, maxReplicas=4, **SKLEARN)

    assert "HorizontalPodAutoscaler" not in [c.kind.name for c in desired.children]
    assert not desired.replicas.autoscaled


def test_the_deployment_has_no_count() -> None:
    assert "replicas" not in child(planned(minReplicas=3, **SKLEARN), "Deployment")["spec"]


def test_pods_come_before_others_go() -> None:
    strategy = child(planned(), "Deployment")["spec"]["strategy"]

    assert {"maxSurge": 1, "maxUnavailable": 0} == strategy["rollingUpdate"]


@pytest.mark.parametrize(
    ("expected", "predictor"),
    [
        ({"maxSurge": 1, "maxUnavailable": 0}, {"rollout": {"mode": "Availability"}}),
        ({"maxSurge": 0, "maxUnavailable": 1}, {"rollout": {"mode": "ResourceAware"}}),
        (
            {"maxSurge": 2, "maxUnavailable": 0},
            {"rollout": {"mode": "ResourceAware"}, "deploymentStrategy": {"rollingUpdate": {"maxSurge": 2}}},
        ),
    ],
)
def test_the_mode_of_a_rollout_decides_which_pod_comes_first(
    expected: dict[str, int], predictor: dict[str, Any]
) -> None:
    desired = planned(**predictor, **SKLEARN)

    assert expected == child(desired, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    told = [note.text for note in desired.notes if "rollout.mode" in note.text]
    assert ("deploymentStrategy" in predictor) == bool(told)


def test_an_api_key_comes_from_a_secret_by_the_environment() -> None:
    key = {"name": "PILLION_API_KEY", "valueFrom": {"secretKeyRef": {"name": "iris-key", "key": "key"}}}

    container = pod(planned(sklearn={"storageUri": "s3://models/iris", "env": [key]}))["containers"][0]

    assert [key] == container["env"]


def policy(asked: dict[str, Any], operator_namespace: str = "") -> dict[str, Any]:
    settings = RenderSettings(operator_namespace=operator_namespace)
    desired = plan(service(networkPolicy=asked, **SKLEARN), "uid-1", builtin(), StorageCredentials(), settings)
    kinds = [c.kind.name for c in desired.children]
    assert kinds.index("NetworkPolicy") < kinds.index("Deployment")
    found: dict[str, Any] = child(desired, "NetworkPolicy")["spec"]
    return found


MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def test_a_policy_without_peers_lets_the_namespace_in_and_everybody_read_metrics() -> None:
    spec = policy({})

    data, admin = spec["ingress"]
    assert ([{"podSelector": {}}], [8080, 8081]) == (data["from"], [port["port"] for port in data["ports"]])
    assert ([{"namespaceSelector": {}}], [8082]) == (admin["from"], [port["port"] for port in admin["ports"]])
    assert ["Ingress"] == spec["policyTypes"]
    assert "egress" not in spec
    assert "iris" == spec["podSelector"]["matchLabels"]["serving.pillion.dev/inferenceservice"]


def test_the_admin_port_is_read_by_the_monitoring_that_is_named_and_by_the_operator() -> None:
    admin = policy({"adminFrom": [MONITORING]}, operator_namespace="pillion")["ingress"][1]

    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "pillion"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "operator"}},
    }
    assert [MONITORING, operator] == admin["from"]


def test_an_empty_list_of_peers_lets_nobody_in() -> None:
    assert [] == policy({"from": [], "adminFrom": []})["ingress"]


def test_what_leaves_the_pods_is_bounded_only_where_that_is_asked_for() -> None:
    spec = policy({"egress": [{"to": [MONITORING]}]})

    assert ["Ingress", "Egress"] == spec["policyTypes"]
    assert [{"to": [MONITORING]}] == spec["egress"]


def test_a_policy_of_containers_of_ones_own_opens_their_ports_only() -> None:
    ports = [{"containerPort": 9000}, {"containerPort": 9001, "name": "grpc"}]
    containers = [{"name": "mine", "image": "a", "ports": ports}]

    found = child(planned(networkPolicy={}, containers=containers), "NetworkPolicy")["spec"]["ingress"]

    assert [[9000, 9001]] == [[port["port"] for port in rule["ports"]] for rule in found]


def test_an_image_that_brings_its_model_is_run_as_our_runtime_with_settings_and_no_model_of_the_manifests() -> None:
    image = f"registry.example/mood@sha256:{'a' * 64}"
    desired = planned(containers=[{"name": "runtime", "image": image}])

    container = pod(desired)["containers"][0]
    assert (image, True) == (container["image"], "preStop" in container["lifecycle"])
    assert not {"command", "args"} & container.keys()
    file = json.loads(child(desired, "ConfigMap")["data"]["runtime.yaml"])
    assert ([], ["drain"]) == (file.get("models", []), sorted(file["settings"]))


def monitored(asked: dict[str, Any], *kinds: Kind, **predictor: Any) -> Desired:
    service_ = service(metrics={"monitor": asked}, **(predictor or SKLEARN))
    return plan(service_, "uid-1", builtin(), StorageCredentials(), SETTINGS, frozenset(kinds))


def test_a_service_monitor_scrapes_the_admin_port_of_the_pods() -> None:
    asked = {"kind": "ServiceMonitor", "interval": "15s", "labels": {"release": "prometheus"}}

    found = child(monitored(asked, SERVICE_MONITOR), "ServiceMonitor")

    assert [{"targetPort": 8082, "path": "/metrics", "interval": "15s"}] == found["spec"]["endpoints"]
    assert "prometheus" == found["metadata"]["labels"]["release"]
    assert "iris" == found["metadata"]["labels"]["serving.pillion.dev/inferenceservice"]


def test_a_pod_monitor_scrapes_the_admin_port_by_its_name() -> None:
    found = child(monitored({"kind": "PodMonitor"}, SERVICE_MONITOR, POD_MONITOR), "PodMonitor")

    assert [{"port": "admin", "path": "/metrics"}] == found["spec"]["podMetricsEndpoints"]


@pytest.mark.parametrize(
    ("said", "kinds", "predictor"),
    [
        ("no PodMonitor of monitoring.coreos.com/v1", [SERVICE_MONITOR], SKLEARN),
        ("is not Pillion's runtime", [POD_MONITOR], {"containers": [{"name": "mine", "image": "a"}]}),
    ],
)
def test_a_monitor_that_cannot_be_made_is_named(said: str, kinds: list[Kind], predictor: dict[str, Any]) -> None:
    desired = monitored({"kind": "PodMonitor"}, *kinds, **predictor)

    assert "PodMonitor" not in [c.kind.name for c in desired.children]
    assert any(said in note.text for note in desired.notes)


@pytest.mark.parametrize(
    ("grace", "predictor"),
    [
        (90, {}),
        (25 + 300 + 5, {"timeout": 300}),
        (10 + 20 + 5, {"drain": {"windowSeconds": 10, "timeoutSeconds": 20}}),
    ],
)
def test_the_grace_period_is_window_and_longest_request_and_five_seconds(grace: int, predictor: dict[str, Any]) -> None:
    assert grace == pod(planned(**SKLEARN, **predictor))["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(
    ("uri", "shown", "volume"),
    [
        ("configmap://iris", "file:///mnt/source", {"configMap": {"name": "iris"}}),
        ("configmap://iris/a.skops", "file:///mnt/source/a.skops", {"configMap": {"name": "iris"}}),
        (
            "pvc://claim/models/iris",
            "file:///mnt/source/models/iris",
            {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
        ),
        (
            "pvc://claim/$(HF_TOKEN)/$$",  # Kubernetes makes $(HF_TOKEN)/$$ of it again
            "file:///mnt/source/$$(HF_TOKEN)/$$$$",
            {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
        ),
        (
            "pvc://claim/a%20b/c d",  # as it stands; the file: URI is a URL, and is read as one
            "file:///mnt/source/a%2520b/c d",
            {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
        ),
    ],
)
def test_sources_of_the_cluster_are_mounted_for_the_storage_step(uri: str, shown: str, volume: dict[str, Any]) -> None:
    desired = planned(sklearn={"storageUri": uri})

    assert ["--uri", shown] == storage_args(desired)[:2]
    assert {"name": "source", **volume} in pod(desired)["volumes"]


def test_a_digest_reaches_the_storage_step_and_the_runtime() -> None:
    digest = "sha256:" + "a" * 64
    desired = planned(sklearn={"storageUri": "s3://models/iris", "digest": digest})

    assert digest in storage_args(desired)
    assert digest == runtime_file(desired)["models"][0]["digest"]


def test_several_sources_are_placed_each_at_its_path_and_the_first_is_the_models() -> None:
    digest = "sha256:" + "a" * 64
    sources = [
        {"uri": "s3://models/base", "mountPath": "/mnt/models/base"},
        {"uri": f"https://example.com/words.txt#{digest}", "mountPath": "/data/words"},
        {"uri": "configmap://labels", "mountPath": "/mnt/models/base/labels/"},
    ]

    desired = planned(model={"modelFormat": {"name": "sklearn"}}, storageUris=sources)

    placed = [
        "--uri", "s3://models/base", "--dest", "/mnt/models/base",
        "--uri", "https://example.com/words.txt", "--dest", "/data/words",
        "--uri", "file:///mnt/source/2", "--dest", "/mnt/models/base/labels",
        "--link-root", "/mnt/source", "--digest", "-", "--digest", digest, "--digest", "-",
    ]  # fmt: skip
    assert placed == storage_args(desired)
    files = [
        {"name": "models", "mountPath": "/data/words", "subPath": "data/words"},
        {"name": "models", "mountPath": "/mnt/models/base", "subPath": "mnt/models/base"},
    ]
    step, (serving, *_) = pod(desired)["initContainers"][0], pod(desired)["containers"]
    assert files == [mount for mount in step["volumeMounts"] if mount["name"] == "models"]
    assert {"name": "source-2", "mountPath": "/mnt/source/2", "readOnly": True} in step["volumeMounts"]
    assert [{**mount, "readOnly": True} for mount in files] == [
        mount for mount in serving["volumeMounts"] if mount["name"] == "models"
    ]
    (model,) = runtime_file(desired)["models"]
    assert ("/mnt/models/base", "s3://models/base") == (model["path"], model["uri"])


def test_one_source_of_a_list_is_the_same_pod_as_the_models_own() -> None:
    one = planned(sklearn={}, storageUris=[{"uri": "pvc://claim/iris"}])

    assert planned(sklearn={"storageUri": "pvc://claim/iris"}).children == one.children


def test_sources_serve_containers_of_ones_own_too() -> None:
    containers = [{"name": "main", "image": "example.com/own:1"}]

    desired = planned(containers=containers, storageUris=[{"uri": "s3://models/x", "mountPath": "/weights"}])

    assert {"name": "models", "mountPath": "/weights", "readOnly": True} in pod(desired)["containers"][0][
        "volumeMounts"
    ]


@pytest.mark.parametrize(
    ("says", "sources"),
    [
        (
            "storageUris[1].mountPath: /mnt/models is the path of s3://models/x",
            [{"uri": "s3://models/x"}, {"uri": "s3://models/y"}],
        ),
        ("storageUris[0].mountPath: /tmp is in use", [{"uri": "s3://models/x", "mountPath": "/mnt/../tmp"}]),
        ("storageUris[0].mountPath: /etc/pillion is in use", [{"uri": "s3://models/x", "mountPath": "/etc/pillion"}]),
        ("storageUris[0].mountPath: / is in use", [{"uri": "s3://models/x", "mountPath": "/"}]),
        # Above what is in use: it would hide the runtime itself.
        ("storageUris[0].mountPath: /opt is in use", [{"uri": "s3://models/x", "mountPath": "/opt"}]),
        ("storageUris[0].mountPath: /mnt is in use", [{"uri": "s3://models/x", "mountPath": "/mnt/"}]),
        ("storageUris[0].mountPath: /mnt/sources is in use", [{"uri": "s3://models/x", "mountPath": "/mnt/sources"}]),
        ("storageUris[0].mountPath: /etc/pillion is in use", [{"uri": "s3://models/x", "mountPath": "//etc/pillion"}]),
        ("storageUris[1].uri: ", [{"uri": "s3://models/x"}, {"uri": "s3://models/../x", "mountPath": "/a"}]),
    ],
)
def test_a_source_that_cannot_be_placed_is_named(says: str, sources: list[dict[str, str]]) -> None:
    desired = planned(model={"modelFormat": {"name": "sklearn"}}, storageUris=sources)

    assert desired.problem is not None
    assert "InvalidSpec" == desired.problem.reason
    assert says in desired.problem.text


@pytest.mark.parametrize(
    ("reason", "uri"),
    [("LocalFile", "file:///tmp/x"), ("UnsupportedStorage", "hdfs://x/y"), ("InvalidSpec", "s3://a/../b")],
)
def test_storage_that_pods_cannot_reach_is_a_problem_and_prunes_nothing(reason: str, uri: str) -> None:
    desired = planned(sklearn={"storageUri": uri})

    assert desired.problem is not None
    assert reason == desired.problem.reason
    assert not desired.complete
    assert () == desired.children


def test_tls_mounts_the_secret_and_moves_the_service_to_443() -> None:
    desired = planned(tls={"secretName": "cert", "clientCASecretName": "ca"}, **SKLEARN)

    mounts = {mount["name"]: mount["mountPath"] for mount in pod(desired)["containers"][0]["volumeMounts"]}
    assert ("/etc/pillion/tls", "/etc/pillion/client-ca") == (mounts["tls"], mounts["client-ca"])
    ports = child(desired, "Service")["spec"]["ports"]
    assert [(443, "https"), (8081, "grpc")] == [(port["port"], port["appProtocol"]) for port in ports]
    assert "/etc/pillion/tls/tls.crt" == runtime_file(desired)["settings"]["tls"]["server"]["cert"]
    assert desired.endpoints.url.startswith("https://")


def test_another_secret_rolls_the_pods() -> None:
    one, other = (child(planned(tls={"secretName": name}, **SKLEARN), "Deployment") for name in ("one", "other"))

    assert one["spec"]["template"] != other["spec"]["template"]


def test_a_setting_of_the_runtime_rolls_the_pods_by_its_hash() -> None:
    def annotation(**predictor: Any) -> str:
        template = child(planned(**SKLEARN, **predictor), "Deployment")["spec"]["template"]
        found: str = template["metadata"]["annotations"]["serving.pillion.dev/config-hash"]
        return found

    assert annotation() == annotation()
    assert annotation() != annotation(containerConcurrency=3)
    assert annotation() != annotation(execution={"executor": "process", "processes": 2})
    assert annotation() == annotation(execution={})


def test_the_hash_is_of_the_file_as_pods_read_it_as_former_releases_have_it() -> None:
    desired = planned(timeout=7, **SKLEARN)
    text: str = child(desired, "ConfigMap")["data"]["runtime.yaml"]
    read = runtimefile.dump(runtimefile.load(text, source="runtime.yaml"))
    assert '"timeoutSeconds": 7\n' in text
    assert '"timeoutSeconds": 7.0\n' in read

    template = child(desired, "Deployment")["spec"]["template"]

    digest = hashlib.sha256(read.encode()).hexdigest()[:16]
    assert digest == template["metadata"]["annotations"]["serving.pillion.dev/config-hash"]


def test_the_manifest_is_merged_over_the_runtime_by_name_and_arguments_are_appended() -> None:
    mine = runtime(
        "mine",
        container_fields={"args": ["--a"], "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]},
    )
    desired = planned(
        mine, sklearn={"storageUri": "s3://models/i", "args": ["--b"], "env": [{"name": "Y", "value": "2"}]}
    )

    container = pod(desired)["containers"][0]
    assert ["--a", "--b"] == container["args"]
    assert [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}] == container["env"]


def test_placeholders_stand_for_the_services_metadata() -> None:
    env = [{"name": "TIER", "value": "{{.Labels.tier}}"}, {"name": "NS", "value": "{{ .Namespace }}"}]
    mine = runtime("mine", container_fields={"args": ["--name={{.Name}}", "{{ messages }}"], "env": env})

    container = pod(planned(mine))["containers"][0]

    assert ["--name=iris", "{{ messages }}"] == container["args"]
    assert ["gold", "ns"] == [variable["value"] for variable in container["env"]]


@pytest.mark.parametrize(
    ("fields", "where", "remedy"),
    [
        ({"args": ["--a", "--b={{.Unknown}}"]}, "args[1]", "placeholders are {{.Name}}"),
        ({"command": ["{{ .Labels.none }}"]}, "command[0]", "the label 'none'"),
        ({"env": [{"name": "X", "value": "{{.Annotations.a.b/c}}"}]}, "env[X].value", "the annotation 'a.b/c'"),
    ],
)
def test_a_placeholder_without_a_value_is_a_problem_and_reaches_no_container(
    fields: dict[str, Any], where: str, remedy: str
) -> None:
    desired = planned(runtime("mine", container_fields=fields))

    assert desired.problem is not None
    assert ("PlaceholderUnfilled", False) == (desired.problem.reason, desired.problem.transient)
    assert f"containers[kserve-container].{where}" == desired.problem.location
    assert "the ClusterServingRuntime 'mine'" in desired.problem.text
    assert remedy in desired.problem.sentence
    assert () == desired.children


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "s3://models/iris",
            {"AWS_REGION": "eu-1", "PILLION_STORAGE_MAX_BYTES": "2Gi", "AWS_ENDPOINT_URL": "http://s3"},
        ),
        ("pvc://claim/iris", {"PILLION_STORAGE_MAX_BYTES": "2Gi"}),
    ],
)
def test_what_a_remedy_of_the_storage_step_names_is_set_in_the_models_env(uri: str, expected: dict[str, str]) -> None:
    env = [
        {"name": "PILLION_STORAGE_MAX_BYTES", "value": "2Gi"},
        {"name": "AWS_REGION", "value": "eu-1"},
        {"name": "OTHER", "value": "x"},
    ]
    known = StorageCredentials(
        env=({"name": "AWS_REGION", "value": "us-1"}, {"name": "AWS_ENDPOINT_URL", "value": "http://s3"})
    )

    step = pod(planned(credentials=known, sklearn={"storageUri": uri, "env": env}))["initContainers"][0]

    assert expected == {variable["name"]: variable["value"] for variable in step["env"]}
    assert len(expected) == len(step["env"])


@pytest.mark.parametrize(("value", "expected"), [("1337", 1337), ("0", None), ("root", None)])
def test_the_storage_step_runs_as_the_user_of_kserve_s_annotation(value: str, expected: int | None) -> None:
    desired = planned(annotations={"serving.kserve.io/storage-initializer-uid": value})

    assert expected == pod(desired)["initContainers"][0]["securityContext"].get("runAsUser")
    assert "runAsUser" not in pod(desired)["containers"][0]["securityContext"]


def test_a_runtime_that_is_not_ours_gets_neither_our_files_nor_our_security_context() -> None:
    desired = planned(runtime("mine"))

    assert "ConfigMap" not in {c.kind.name for c in desired.children}
    assert "securityContext" not in pod(desired)["containers"][0]
    assert {"name": "models", "mountPath": "/mnt/models", "readOnly": True} in pod(desired)["containers"][0][
        "volumeMounts"
    ]


def test_containers_of_ones_own_are_served_as_they_are() -> None:
    desired = planned(containers=[{"name": "mine", "image": "a", "ports": [{"containerPort": 9000}]}])

    assert desired.choice is None
    assert ["mine"] == [container["name"] for container in pod(desired)["containers"]]
    assert "initContainers" not in pod(desired)
    assert 9000 == child(desired, "Service")["spec"]["ports"][0]["targetPort"]


def test_a_second_container_runs_beside_the_model() -> None:
    desired = planned(containers=[{"name": "proxy", "image": "proxy"}], **SKLEARN)

    assert ["runtime", "proxy"] == [container["name"] for container in pod(desired)["containers"]]


def test_a_runtime_version_is_the_tag_of_the_image() -> None:
    desired = planned(sklearn={"storageUri": "s3://models/i", "runtimeVersion": "2.1"})

    assert "registry/pillion-runtime:2.1" == pod(desired)["containers"][0]["image"]


def test_entries_that_stand_twice_are_merged_and_told() -> None:
    volumes = [{"name": "tmp", "hostPath": {"path": "/tmp"}}]
    credentials = StorageCredentials(env=({"name": "A", "value": "1"}, {"name": "A", "value": "2"}))
    desired = planned(credentials=credentials, volumes=volumes, **SKLEARN)

    assert [{"name": "A", "value": "2"}] == pod(desired)["initContainers"][0]["env"]
    assert "initContainers[storage].env[A]" in desired.notes[0].text


def test_a_stopped_service_has_no_pods() -> None:
    desired = planned(annotations={"serving.pillion.dev/stop": "true"}, minReplicas=3, **SKLEARN)

    assert (0, 0) == (desired.replicas.least, desired.replicas.most)


def test_a_budget_is_planned_from_two_replicas_up() -> None:
    kinds = {c.kind.name for c in planned(minReplicas=1, **SKLEARN).children}

    assert "PodDisruptionBudget" not in kinds
    assert (
        "AlwaysAllow"
        == child(planned(minReplicas=2, **SKLEARN), "PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"]
    )


def test_pods_are_scraped_unless_switched_off() -> None:
    def annotations(**predictor: Any) -> dict[str, str]:
        template = child(planned(**SKLEARN, **predictor), "Deployment")["spec"]["template"]
        found: dict[str, str] = template["metadata"]["annotations"]
        return found

    assert "8082" == annotations()["prometheus.io/port"]
    assert "prometheus.io/port" not in annotations(metrics={"enabled": False})


@pytest.mark.parametrize(
    ("chosen", "candidates", "model"),
    [
        ("here", [runtime("there"), runtime("here", kind="ServingRuntime")], {}),
        (
            "high",
            [
                runtime("low", formats=[{"name": "sklearn", "autoSelect": True, "priority": 1}]),
                runtime("high", formats=[{"name": "sklearn", "autoSelect": True, "priority": 2}]),
            ],
            {},
        ),
        (
            "exact",
            [runtime("any"), runtime("exact", formats=[{"name": "sklearn", "version": "1", "autoSelect": True}])],
            {"modelFormat": {"name": "sklearn", "version": "1"}},
        ),
        (
            "auto",
            [runtime("asked", formats=[{"name": "sklearn"}]), runtime("auto")],
            {},
        ),
        ("asked", [runtime("asked", formats=[{"name": "sklearn"}]), runtime("auto")], {"runtime": "asked"}),
        (
            "v2",
            [runtime("v1", protocolVersions=["v1"]), runtime("v2", protocolVersions=["v2"])],
            {"protocolVersion": "v2"},
        ),
        ("on", [runtime("a-off", disabled=True), runtime("on")], {}),
        ("a", [runtime("b"), runtime("a")], {}),
    ],
)
def test_the_runtime_is_chosen_by_scope_priority_version_and_name(
    chosen: str, candidates: list[Candidate], model: dict[str, Any]
) -> None:
    given = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/i", **model}

    desired = planned(*candidates, model=given)

    assert desired.choice is not None
    assert chosen == desired.choice.name


def test_runtimes_that_fit_as_well_are_named_and_lesser_ones_are_counted() -> None:
    low = [{"name": "sklearn", "autoSelect": True, "priority": 1}]
    high = [{"name": "sklearn", "autoSelect": True, "priority": 2}]
    candidates = [runtime("b", formats=high), runtime("a", formats=high), runtime("c", formats=low)]

    desired = planned(*candidates, model={"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/i"})

    assert desired.choice is not None
    assert "a" == desired.choice.name
    assert "; 'b' would fit as well, and the first by name is taken: name one in model.runtime" in desired.choice.why
    assert desired.choice.why.endswith("; 1 other would fit")


def test_a_version_that_no_runtime_has_is_a_problem_that_lists_what_there_is() -> None:
    only = runtime("one", formats=[{"name": "sklearn", "version": "1", "autoSelect": True}])

    desired = planned(only, model={"modelFormat": {"name": "sklearn", "version": "2"}, "storageUri": "s3://models/i"})

    assert desired.problem is not None
    assert "NoServingRuntime" == desired.problem.reason
    assert "those there serve sklearn" in desired.problem.text


def test_credentials_go_to_the_pod_by_reference_never_by_value() -> None:
    secret = SecretSummary(
        "s3",
        {
            "serving.kserve.io/s3-endpoint": "minio:9000",
            "serving.kserve.io/s3-usehttps": "0",
            "serving.kserve.io/s3-region": "eu",
        },
        frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "unrelated"}),
    )

    credentials = credentials_from([secret])

    env: dict[str, dict[str, Any]] = {str(variable["name"]): variable for variable in credentials.env}
    assert {"name": "s3", "key": "AWS_ACCESS_KEY_ID"} == env["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]
    assert "http://minio:9000" == env["AWS_ENDPOINT_URL"]["value"]
    assert "eu" == env["AWS_REGION"]["value"]
    assert "unrelated" not in env


def test_a_google_key_is_mounted_as_a_file() -> None:
    credentials = credentials_from([SecretSummary("gcs", {}, frozenset({"gcloud-application-credentials.json"}))])

    assert "GOOGLE_APPLICATION_CREDENTIALS" == credentials.env[0]["name"]
    assert {"secretName": "gcs"} == credentials.volumes[0]["secret"]


def test_logins_of_registries_are_mounted_each_as_a_file_of_its_own() -> None:
    keys = frozenset({".dockerconfigjson"})
    given = [SecretSummary("one", {}, keys), SecretSummary("s3", {}, frozenset()), SecretSummary("two", {}, keys)]
    credentials = credentials_from(given)
    desired = planned(credentials=credentials, sklearn={"storageUri": "oci://registry.example/models/iris:1"})

    made = pod(desired)
    (init,) = made["initContainers"]
    (mount,) = [one for one in init["volumeMounts"] if one["name"] == "registry-logins"]
    files = [f"{mount['mountPath']}/{name}.json" for name in ("one", "two")]
    assert {"name": "PILLION_STORAGE_REGISTRY_CONFIGS", "value": ":".join(files)} in init["env"]
    (volume,) = [one for one in made["volumes"] if one["name"] == "registry-logins"]
    assert ["one.json", "two.json"] == [
        item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]
    ]
    assert all("registry-logins" not in str(container) for container in made["containers"])


def test_the_tracking_server_and_who_we_are_to_it_reach_the_storage_step() -> None:
    secret = SecretSummary("mlflow", {}, frozenset({"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}))
    server = {"name": "MLFLOW_TRACKING_URI", "value": "https://mlflow.example"}
    model = {"storageUri": "models:/iris@champion", "env": [server]}

    (init,) = pod(planned(credentials=credentials_from([secret]), sklearn=model))["initContainers"]

    env = {variable["name"]: variable for variable in init["env"]}
    assert server == env["MLFLOW_TRACKING_URI"]
    password = {"name": "mlflow", "key": "MLFLOW_TRACKING_PASSWORD"}
    assert password == env["MLFLOW_TRACKING_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert "models:/iris@champion" in init["args"]


def test_the_same_manifest_gives_the_same_plan() -> None:
    assert planned(minReplicas=2, **SKLEARN) == planned(minReplicas=2, **SKLEARN)


STORE = {"type": "s3", "bucket": "models", "access_key_id": "id", "secret_access_key": "hidden"}


def entries(**values: Any) -> tuple[StorageEntry, ...]:
    return entries_of({key: base64.b64encode(json.dumps(value).encode()).decode() for key, value in values.items()})


def stored_model(**storage: Any) -> dict[str, Any]:
    return {"sklearn": {"storage": storage}}


def test_an_entry_of_storage_config_gives_the_uri_and_goes_to_the_pod_by_reference() -> None:
    spec = ModelStorageSpec(key="store", path="/iris/1", parameters={"bucket": "other"})
    credentials = credentials_of_entry(entries(store=STORE), spec)

    desired = planned(credentials=credentials, **stored_model(key="store", path="iris/1"))

    assert ["--uri", "s3://other/iris/1"] == storage_args(desired)[:2]
    assert "s3://other/iris/1" == runtime_file(desired)["models"][0]["uri"]
    variable = pod(desired)["initContainers"][0]["env"][0]
    assert {"name": "storage-config", "key": "store"} == variable["valueFrom"]["secretKeyRef"]
    assert "hidden" not in json.dumps([c.manifest for c in desired.children])


@pytest.mark.parametrize(
    ("found", "storage"),
    [
        ("s3://models/a", ModelStorageSpec(path="a", parameters={"type": "s3"})),
        ("s3://fallback/a", ModelStorageSpec(path="a")),
    ],
)
def test_without_a_key_the_type_names_the_entry_then_default(found: str, storage: ModelStorageSpec) -> None:
    known = entries(s3=STORE, default=STORE | {"bucket": "fallback"})

    assert found == credentials_of_entry(known, storage).uri


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("no entry 'store'", {}),
        ("its keys are other", {"other": STORE}),
        ("names no bucket", {"store": {"type": "s3"}}),
        ("'hdfs' is not one of", {"store": {"type": "hdfs", "bucket": "b"}}),
    ],
)
def test_an_entry_that_cannot_be_used_is_a_problem(said: str, known: dict[str, Any]) -> None:
    credentials = credentials_of_entry(entries(**known), ModelStorageSpec(key="store"))

    desired = planned(credentials=credentials, **stored_model(key="store"))

    assert desired.problem is not None
    assert "StorageConfigInvalid" == desired.problem.reason
    assert said in desired.problem.text


def serving(desired: Desired) -> dict[str, Any]:
    found: dict[str, Any] = pod(desired)["containers"][0]
    return found


@pytest.mark.parametrize(
    ("allowed", "policy", "own"),
    [
        (None, "perObject", {}),
        (True, "perObject", {"allowPickle": True}),
        (True, "allow", {}),
        (True, "allow", {"allowPickle": False}),
        (None, "deny", {"allowPickle": True}),
        (None, "deny", {}),
    ],
)
def test_a_pickle_is_allowed_by_the_policy_or_by_policy_and_object(
    allowed: object, policy: str, own: dict[str, Any]
) -> None:
    desired = planned(pickle=ConsentRule(ConsentPolicy(policy), "X"), sklearn={"storageUri": "s3://models/iris", **own})

    model = runtime_file(desired)["models"][0]
    assert (allowed, policy) == (model.get("allowPickle"), model.get("picklePolicy", "perObject"))


def test_allow_pickle_that_a_policy_denies_is_said_to_have_no_effect() -> None:
    rule = ConsentRule(ConsentPolicy.DENY, "the label")
    desired = planned(pickle=rule, sklearn={"storageUri": "s3://models/iris", "allowPickle": True})

    assert ["the model's allowPickle (the pickle policy is 'deny', by the label)"] == [n.text for n in desired.notes]


PYTHON_MODEL = {"modelFormat": {"name": "python"}, "storageUri": "s3://models/mood"}


@pytest.mark.parametrize(
    ("trusted", "policy", "own"),
    [
        (True, "perObject", {"trustCode": True}),
        (True, "allow", {}),
        (True, "allow", {"trustCode": False}),
    ],
)
def test_a_class_from_storage_runs_by_the_policy_or_by_policy_and_object(
    trusted: object, policy: str, own: dict[str, Any]
) -> None:
    desired = planned(code=ConsentRule(ConsentPolicy(policy), "X"), model=PYTHON_MODEL | own)

    model = runtime_file(desired)["models"][0]
    assert ("python", trusted) == (model["format"], model.get("trustCode"))
    assert policy == model.get("codePolicy", "perObject")
    assert desired.choice is not None
    assert "pillion-python" == desired.choice.name


@pytest.mark.parametrize(
    ("policy", "own", "said"),
    [
        ("perObject", {}, "set spec.predictor.model.trustCode: true if you trust everybody who can write there"),
        ("perObject", {"trustCode": False}, "set spec.predictor.model.trustCode: true"),
        ("deny", {}, "the code policy is 'deny', by the label"),
        ("deny", {"trustCode": True}, "the code policy is 'deny', by the label"),
    ],
)
def test_a_class_from_storage_that_may_not_run_gets_no_pods_and_the_field_and_the_remedy(
    policy: str, own: dict[str, Any], said: str
) -> None:
    desired = planned(code=ConsentRule(ConsentPolicy(policy), "the label"), model=PYTHON_MODEL | own)

    assert () == desired.children
    problem = desired.problem
    assert problem is not None
    assert ("UntrustedCode", "spec.predictor.model.trustCode", False) == (
        problem.reason,
        problem.location,
        problem.transient,
    )
    assert said in problem.sentence
    assert "pillion deploy FOLDER --image" in problem.sentence
    assert ("set spec.predictor.model.trustCode" in problem.sentence) == (policy == "perObject")


def test_a_runtime_of_others_for_python_has_rules_of_its_own() -> None:
    theirs = runtime("theirs", formats=[{"name": "python", "autoSelect": True}])

    assert planned(theirs, model=PYTHON_MODEL).problem is None


def test_trust_code_of_a_format_without_code_is_said_to_have_no_effect_and_stays_out_of_the_file() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris", "trustCode": True}
    desired = planned(code=ConsentRule(ConsentPolicy.DENY, "X"), model=model)

    assert ["the model's trustCode (the format 'sklearn' holds no class)"] == [n.text for n in desired.notes]
    assert set() == {"trustCode", "codePolicy"} & set(runtime_file(desired)["models"][0])


def test_types_are_trusted_by_the_installation_and_by_the_manifest() -> None:
    settings = replace(SETTINGS, trusted_types=("house.Scale", "house.Clip"))
    desired = planned(
        settings=settings, sklearn={"storageUri": "s3://models/iris", "trustedTypes": ["own.T", "house.Clip"]}
    )

    assert ["house.Scale", "house.Clip", "own.T"] == runtime_file(desired)["models"][0]["trustedTypes"]


@pytest.mark.parametrize(
    ("image", "version", "container"),
    [
        ("registry/pillion-runtime:2", "2", {}),
        ("registry/pillion-runtime:1-sklearn-1.6", "sklearn-1.6", {}),
        ("registry/pillion-runtime:2-sklearn-1.6", "2-sklearn-1.6", {}),
        ("registry:5000/r:1-sklearn-1.6", "sklearn-1.6", {"image": "registry:5000/r:1"}),
        ("registry:5000/r:9", "9", {"image": "registry:5000/r"}),
        ("r:1-sklearn-1.6", "sklearn-1.6", {"image": "r:1@sha256:" + "0" * 64}),
        ("r:9", "9", {"image": "r@sha256:" + "0" * 64}),
    ],
)
def test_runtime_version_is_a_tag_or_a_variant_of_the_installed_release(
    image: str, version: str, container: dict[str, str]
) -> None:
    model = {"storageUri": "s3://models/iris", "runtimeVersion": version, **container}

    assert image == serving(planned(sklearn=model))["image"]


def test_a_variant_is_only_a_tag_for_an_image_of_others() -> None:
    model = {"storageUri": "s3://models/iris", "runtimeVersion": "sklearn-1.6"}

    assert "example.com/mlserver:sklearn-1.6" == serving(planned(runtime("mlserver"), sklearn=model))["image"]


def test_runtime_version_counts_where_a_runtime_of_ours_names_no_image() -> None:
    bare = runtime("bare", container="runtime", container_fields={"image": None})
    model = {"storageUri": "s3://models/iris", "runtimeVersion": "sklearn-1.6"}

    assert "registry/pillion-runtime:1-sklearn-1.6" == serving(planned(bare, sklearn=model))["image"]


def test_a_variant_of_an_image_without_a_tag_is_refused_with_the_remedy() -> None:
    model = {"storageUri": "s3://models/iris", "runtimeVersion": "sklearn-1.6", "image": "r@sha256:" + "0" * 64}
    problem = planned(sklearn=model).problem

    assert problem is not None
    assert ("InvalidSpec", False) == (problem.reason, problem.transient)
    assert "give the runtime's image a tag" in problem.sentence


def test_the_log_of_payloads_reaches_the_runtime_with_who_the_service_is() -> None:
    logger = {
        "url": "http://broker.events/ns/default",
        "mode": "request",
        "metadataHeaders": ["X-Team"],
        "metadataAnnotations": ["owner", "absent"],
        "samplePercent": 5,
    }
    desired = planned(annotations={"owner": "us=all", "other": "x"}, **SKLEARN, logger=logger)
    assert {
        "url": "http://broker.events/ns/default",
        "mode": "request",
        "service": "iris",
        "namespace": "ns",
        "metadata_headers": ["X-Team"],
        "annotations": ["owner=us=all"],
        "share": 0.05,
    } == runtime_file(desired)["settings"]["logger"]
    assert () == desired.notes


def test_what_the_builder_says_of_the_logger_the_runtime_takes() -> None:
    logger = {"url": "https://sink.events", "metadataAnnotations": ["owner"]}
    desired = planned(annotations={"owner": "us"}, **SKLEARN, logger=logger, metrics={"onDataPort": True})
    settings = load_settings(file=runtime_file(desired)["settings"], environ={}).settings
    assert ("https://sink.events", "all", ("owner=us",)) == (
        settings.logger.url,
        settings.logger.mode,
        settings.logger.annotations,
    )
    assert settings.metrics.on_data_port


def test_the_keep_alive_time_reaches_the_runtime_and_a_change_rolls_the_pods() -> None:
    desired = planned(**SKLEARN, http={"keepAliveTimeoutSeconds": 33})
    assert 33 == load_settings(file=runtime_file(desired)["settings"], environ={}).settings.http.keep_alive_timeout
    assert runtime_file(desired) != runtime_file(planned(**SKLEARN))


@pytest.mark.parametrize(
    ("said", "logger"),
    [
        ("without url", {"mode": "all"}),
        ("is no address of a sink", {"url": "s3://bucket/logs"}),
        ("holds a password", {"url": "http://user:word@sink"}),
    ],
)
def test_a_logger_that_nothing_can_be_sent_to_is_named_and_stays_out_of_the_file(
    said: str, logger: dict[str, Any]
) -> None:
    desired = planned(**SKLEARN, logger=logger)
    assert [True] == [said in note.text for note in desired.notes]
    assert "logger" not in runtime_file(desired)["settings"]


def test_a_runtime_of_others_does_not_log_payloads() -> None:
    desired = planned(runtime("other"), **SKLEARN, logger={"url": "http://sink"})
    assert [True] == ["spec.predictor.logger on the container" in note.text for note in desired.notes]


def test_words_of_the_consent_for_models_that_mean_nothing_are_named() -> None:
    desired = planned(annotations={MODELS_CONSENT_ANNOTATION: "pickle,everything"}, **SKLEARN)

    assert any("'everything' in the annotation" in note.text for note in desired.notes)
    assert not planned(annotations={MODELS_CONSENT_ANNOTATION: "pickle, code"}, **SKLEARN).notes


def test_following_trainings_has_no_effect_on_containers_and_that_is_said() -> None:
    containers = [{"name": "mine", "image": "mine:1"}]

    desired = planned(containers=containers, followTrainings=True)

    assert any("followTrainings on the container 'mine'" in note.text for note in desired.notes)
    assert not planned(containers=containers).notes


def test_pods_with_a_share_of_the_models_know_their_name_and_may_ask_one_another() -> None:
    asked: dict[str, Any] = {"networkPolicy": {"from": [], "egress": []}, **SKLEARN}
    alike, spread = planned(**asked), planned(**asked, modelPlacement={"copies": 2})

    template = child(spread, "Deployment")["spec"]["template"]
    (variable,) = [one for one in template["spec"]["containers"][0]["env"] if one["name"] == "PILLION_POD_NAME"]
    assert "metadata.name" == variable["valueFrom"]["fieldRef"]["fieldPath"]
    assert "true" == template["metadata"]["annotations"]["serving.pillion.dev/models-placed"]
    assert "PILLION_POD_NAME" not in str(child(alike, "Deployment"))
    own = child(spread, "NetworkPolicy")["spec"]
    peers = [{"podSelector": own["podSelector"]}]
    assert [peers] == [rule["from"] for rule in own["ingress"] if {"port": 8080, "protocol": "TCP"} in rule["ports"]]
    assert [peers] == [rule["to"] for rule in own["egress"]]
    assert [] == child(alike, "NetworkPolicy")["spec"]["egress"]
