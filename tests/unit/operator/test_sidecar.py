from __future__ import annotations

import copy
from typing import Any

import pytest

from pillion.runtimefile import load
from pillion.server.sources import flag_of, leaves, variable_of
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.sidecar import Sidecar, SidecarError, sidecar_patch, sidecar_request
from pillion_operator.builders.sidecar_service import not_carried_over, on_sockets
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT
from tests.unit.operator.test_builders import SETTINGS, builtin, runtime, service

Pod = dict[str, Any]
LABEL = "serving.pillion.dev/sidecar"
CONTAINERS = "serving.pillion.dev/sidecar-containers"
ADMIN_PORT = "serving.pillion.dev/sidecar-admin-port"
RUNTIME = "serving.pillion.dev/sidecar-runtime"


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> Pod:
    metadata: Pod = {"name": "shop", "labels": {LABEL: "iris"}}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "shop:1"}], **spec}}


def sidecar(candidates: Any = None, **predictor: Any) -> Sidecar:
    served = on_sockets(service(**predictor))
    desired = plan(served, "uid", candidates or builtin(), StorageCredentials(), SETTINGS)
    assert desired.problem is None
    children: list[Any] = list(desired.children)
    template = next(child.manifest for child in children if child.kind == DEPLOYMENT)["spec"]["template"]
    files = [child.manifest["data"]["runtime.yaml"] for child in children if child.kind == CONFIG_MAP]
    return Sidecar(template, files[0] if files else "")


def patched(before: Pod, patch: list[Any]) -> Pod:
    """Apply a JSON patch of `add` operations onto members. Source: RFC 6902."""
    after = copy.deepcopy(before)
    for operation in patch:
        assert operation["op"] == "add"
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        target: Any = after
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        target[last] = copy.deepcopy(operation["value"])
    return after


def injected(before: Pod, **predictor: Any) -> Pod:
    request = sidecar_request(before)
    assert request is not None
    return patched(before, sidecar_patch(before, sidecar(**predictor), request))


def named(items: list[Any], name: str) -> Any:
    return next(item for item in items if item["name"] == name)


def test_a_pod_without_the_label_asks_for_nothing() -> None:
    assert sidecar_request({"metadata": {"labels": {}}, "spec": {}}) is None


def test_the_runtime_comes_as_a_native_sidecar_after_its_storage_step() -> None:
    spec = injected(pod())["spec"]
    names = [(step["name"], step.get("restartPolicy")) for step in spec["initContainers"]]
    assert names == [("pillion-storage", None), ("pillion-runtime", "Always")]
    made = named(spec["initContainers"], "pillion-runtime")
    assert "lifecycle" not in made
    assert "ports" not in made
    assert made["image"] == "registry/pillion-runtime:1"
    assert made["startupProbe"]["httpGet"] == {"path": "/readyz", "port": 8082}
    assert made["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_calls_come_by_sockets_and_the_applications_ports_are_left_to_it() -> None:
    made = named(injected(pod())["spec"]["initContainers"], "pillion-runtime")
    environment = {variable["name"]: variable.get("value") for variable in made["env"]}
    assert environment["PILLION_HTTP__SOCKET"] == "/run/pillion-sidecar/http.sock"
    assert environment["PILLION_GRPC__SOCKET"] == "/run/pillion-sidecar/grpc.sock"
    assert (environment["PILLION_HTTP__HOST"], environment["PILLION_HTTP__PORT"]) == ("127.0.0.1", "0")
    assert (environment["PILLION_GRPC__HOST"], environment["PILLION_GRPC__PORT"]) == ("127.0.0.1", "0")


def test_a_variable_of_the_service_does_not_move_the_sockets() -> None:
    moved = {
        "storageUri": "s3://models/iris",
        "env": [{"name": "PILLION_WORKERS", "value": "4"}, {"name": "A", "value": "b"}],
    }
    made = named(injected(pod(), sklearn=moved)["spec"]["initContainers"], "pillion-runtime")
    assert [v["value"] for v in made["env"] if v["name"] in {"PILLION_WORKERS", "A"}] == ["b", "1"]


def test_every_container_gets_the_sockets_and_their_address() -> None:
    spec = injected(pod(containers=[{"name": "app"}, {"name": "worker"}]))["spec"]
    for container in spec["containers"]:
        assert container["env"] == [{"name": "PILLION_URL", "value": "unix:///run/pillion-sidecar/http.sock"}]
        assert container["volumeMounts"] == [
            {"name": "pillion-sockets", "mountPath": "/run/pillion-sidecar", "readOnly": True}
        ]
    assert named(spec["volumes"], "pillion-sockets") == {"name": "pillion-sockets", "emptyDir": {"medium": "Memory"}}


def test_only_the_named_containers_get_them() -> None:
    spec = injected(pod({CONTAINERS: " worker "}, containers=[{"name": "app"}, {"name": "worker"}]))["spec"]
    assert ["volumeMounts" in container for container in spec["containers"]] == [False, True]


def test_the_applications_own_address_of_a_server_is_kept() -> None:
    own = [{"name": "PILLION_URL", "value": "http://elsewhere"}]
    assert injected(pod(containers=[{"name": "app", "env": own}]))["spec"]["containers"][0]["env"] == own


def test_the_pod_carries_the_runtime_file_that_it_was_admitted_with() -> None:
    made = injected(pod({"team": "shop"}))
    file = load(made["metadata"]["annotations"][RUNTIME], source=RUNTIME)
    assert ["iris"] == [model.name for model in file.models]
    assert made["metadata"]["annotations"]["team"] == "shop"
    assert named(made["spec"]["volumes"], "pillion-config")["downwardAPI"]["items"] == [
        {"path": "runtime.yaml", "fieldRef": {"fieldPath": f"metadata.annotations['{RUNTIME}']"}}
    ]


def test_the_services_tls_does_not_come_along() -> None:
    made = injected(pod(), sklearn={"storageUri": "s3://models/iris"}, tls={"secretName": "cert"})
    assert "tls" not in load(made["metadata"]["annotations"][RUNTIME], source=RUNTIME).settings
    assert [volume for volume in made["spec"]["volumes"] if "secret" in volume] == []


def test_a_pod_that_has_its_sidecar_is_not_changed_again() -> None:
    once = injected(pod())
    request = sidecar_request(once)
    assert request is not None
    assert sidecar_patch(once, sidecar(), request) == []


def test_what_others_add_to_the_sidecar_survives_another_look() -> None:
    once = injected(pod())
    token = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    named(once["spec"]["initContainers"], "pillion-runtime")["volumeMounts"].append(token)
    named(once["spec"]["initContainers"], "pillion-runtime")["terminationMessagePath"] = "/dev/termination-log"
    named(once["spec"]["volumes"], "pillion-config")["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] = "v1"
    once["spec"]["initContainers"].insert(0, {"name": "istio-proxy", "restartPolicy": "Always"})
    request = sidecar_request(once)
    assert request is not None
    assert sidecar_patch(once, sidecar(), request) == []


def test_a_copied_pod_gets_the_sidecar_of_today() -> None:
    once = injected(pod(), sklearn={"storageUri": "s3://models/iris", "image": "registry/old:1"})
    request = sidecar_request(once)
    assert request is not None
    again = patched(once, sidecar_patch(once, sidecar(), request))
    runtimes = [step["image"] for step in again["spec"]["initContainers"]]
    assert runtimes == ["registry/pillion-runtime:1", "registry/pillion-runtime:1"]


def test_a_container_that_joins_later_gets_the_sockets_too() -> None:
    once = injected(pod())
    once["spec"]["containers"].append({"name": "late"})
    request = sidecar_request(once)
    assert request is not None
    again = sidecar_patch(once, sidecar(), request)
    assert [operation["path"] for operation in again] == [
        "/spec/containers/1/volumeMounts",
        "/spec/containers/1/env",
    ]


def test_sidecars_that_may_be_the_network_stay_first_and_init_containers_of_the_application_come_last() -> None:
    steps = [{"name": "istio-proxy", "restartPolicy": "Always"}, {"name": "migrate"}]
    made = injected(pod(initContainers=steps))["spec"]["initContainers"]
    assert [step["name"] for step in made] == ["istio-proxy", "pillion-storage", "pillion-runtime", "migrate"]


def test_all_that_is_added_fits_the_restricted_standard() -> None:
    for step in injected(pod())["spec"]["initContainers"]:
        context = step["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True


def test_the_sidecar_is_not_root_in_a_pod_that_is() -> None:
    made = injected(pod(securityContext={"runAsUser": 0}))["spec"]
    assert [step["securityContext"]["runAsUser"] for step in made["initContainers"]] == [65532, 65532]
    assert made["securityContext"] == {"runAsUser": 0}


def test_pull_secrets_join_those_of_the_pod() -> None:
    made = injected(pod(imagePullSecrets=[{"name": "mine"}]))["spec"]
    assert made["imagePullSecrets"] == [{"name": "mine"}, {"name": "pull"}]


def test_the_pod_is_not_taken_for_one_of_the_services_own() -> None:
    assert injected(pod())["metadata"]["labels"] == {LABEL: "iris"}


def test_another_admin_port_is_the_runtimes_and_the_probes() -> None:
    made = named(injected(pod({ADMIN_PORT: "9082"}))["spec"]["initContainers"], "pillion-runtime")
    assert {"name": "PILLION_ADMIN__PORT", "value": "9082"} in made["env"]
    assert made["readinessProbe"]["httpGet"]["port"] == 9082


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (pod({CONTAINERS: "ap"}), rf"annotations\[{CONTAINERS}\] names 'ap'.*write some of app"),
        (pod({CONTAINERS: ""}), rf"annotations\[{CONTAINERS}\] names ''"),
        (pod({ADMIN_PORT: "http"}), rf"annotations\[{ADMIN_PORT}\] is 'http': write a port from 1024 to 65535"),
        (pod({ADMIN_PORT: "80"}), rf"annotations\[{ADMIN_PORT}\] is '80'"),
        (pod({f"{LABEL}-container": "app"}), rf"{LABEL}-container\] is not known: did you mean {CONTAINERS}"),
        (
            pod(containers=[{"name": "app", "ports": [{"containerPort": 8082}]}]),
            rf"container 'app' has port 8082.*give them another by metadata.annotations\[{ADMIN_PORT}\]",
        ),
        (pod(volumes=[{"name": "pillion-models"}]), r"spec.volumes\[pillion-models\].*choose another"),
        (pod(initContainers=[{"name": "pillion-runtime"}]), r"spec.initContainers\[pillion-runtime\].*choose another"),
        ({"metadata": {"labels": {LABEL: ""}}, "spec": {}}, rf"labels\[{LABEL}\] is empty: write the name"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_field_and_the_remedy(given: Pod, sentence: str) -> None:
    with pytest.raises(SidecarError, match=sentence):
        sidecar_request(given)


def test_a_mount_where_the_sockets_go_is_refused() -> None:
    own = [{"name": "mine", "mountPath": "/run/pillion-sidecar/"}]
    with pytest.raises(SidecarError, match=r"spec.containers\[app\].volumeMounts.*mount yours elsewhere"):
        injected(pod(containers=[{"name": "app", "volumeMounts": own}]))


@pytest.mark.parametrize(
    ("flag", "variable"),
    [
        (["--http-port", "8080"], "PILLION_HTTP__PORT"),
        (["--grpc-socket-mode=600"], "PILLION_GRPC__SOCKET_MODE"),
        (["--workers", "4"], "PILLION_WORKERS"),
    ],
)
def test_an_argument_that_would_win_over_the_sidecars_own_is_refused(flag: list[str], variable: str) -> None:
    model = {"storageUri": "s3://models/iris", "args": flag}
    name = flag[0].partition("=")[0]
    with pytest.raises(SidecarError, match=rf"has {name} among its args.*as {variable} among its env"):
        injected(pod(), sklearn=model)


def test_other_arguments_and_variables_of_the_service_come_along() -> None:
    env = [{"name": "PILLION_WORKERS", "value": "4"}, {"name": "PILLION_LOG__LEVEL", "value": "debug"}]
    model = {"storageUri": "s3://models/iris", "args": ["--log-format", "json"], "env": env}

    runtime_ = named(injected(pod(), sklearn=model)["spec"]["initContainers"], "pillion-runtime")

    assert ["--log-format", "json"] == runtime_["args"][-2:]
    found = {one["name"]: one.get("value") for one in runtime_["env"]}
    assert ("1", "debug") == (found["PILLION_WORKERS"], found["PILLION_LOG__LEVEL"])


def test_a_service_of_another_runtime_is_refused() -> None:
    request = sidecar_request(pod())
    assert request is not None
    with pytest.raises(SidecarError, match="is not served by Pillion's runtime"):
        sidecar_patch(pod(), sidecar([runtime("mlserver")]), request)


def test_a_service_with_containers_beside_the_runtime_is_refused() -> None:
    predictor: Any = {"sklearn": {"storageUri": "s3://models/iris"}, "containers": [{"name": "spy", "image": "spy"}]}
    with pytest.raises(SidecarError, match=r"beside the runtime \(spy\)"):
        injected(pod(), **predictor)


def test_fields_that_place_the_services_own_pods_are_told_of() -> None:
    served = service(
        sklearn={"storageUri": "s3://models/iris"}, nodeSelector={"gpu": "yes"}, serviceAccountName="reader"
    )
    placed, account = not_carried_over(served, pod())
    assert "spec.predictor.nodeSelector" in placed
    assert "'reader'" in account
    assert not_carried_over(service(), pod()) == []


def test_every_variable_of_the_sidecar_has_a_flag_of_the_runtime() -> None:
    request = sidecar_request(pod())
    assert request is not None
    flags = {variable_of(key): flag_of(key) for key in leaves()}
    runtime_ = named(injected(pod())["spec"]["initContainers"], "pillion-runtime")
    ours = [one["name"] for one in runtime_["env"] if one["name"] in flags]
    assert len(ours) >= 10
    for variable in ours:
        with pytest.raises(SidecarError, match=rf"has {flags[variable]} among"):
            injected(pod(), sklearn={"storageUri": "s3://models/iris", "args": [flags[variable]]})
