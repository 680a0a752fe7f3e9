"""What the API server itself says of manifests that are valid and risky, by the chart's policies."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.cluster.node import gotools
from e2e.cluster.node.apiserver import ControlPlane
from pillion.resources.crd import KINDS, crd_yaml
from pillion.resources.risks import risks_of
from tests.integration.definitions import wait_until_established
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., subprocess.CompletedProcess[str]]

_DIGEST = "sha256:" + "0" * 64
_LIMITS: dict[str, Any] = {"limits": {"memory": "1Gi"}}
_MEMORY = "no memory limit: what grows here can take the memory of the whole node; set resources.limits.memory"
_IMAGE = (
    "the image has no tag or the tag latest, so pods that start later can run something else; "
    "name a version or a digest"
)
_DOWNLOAD = (
    "files from a web server without digest: whoever answers decides what is loaded; set digest, or take the URI and "
    "digest that pillion push prints"
)
_URL = "https://models.example.com/iris.skops"


TRAINING: dict[str, Any] = {"module": "a:B", "output": {"uri": "s3://models"}}
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("Model", {"inferenceServiceRef": {"name": "x"}, "storageUri": _URL}, f"spec.storageUri: {_DOWNLOAD}"),
    (
        "ServingRuntime",
        {"containers": [{"name": "runtime", "image": "x"}]},
        f"spec.containers[runtime].image: {_IMAGE}",
    ),
    (
        "ClusterServingRuntime",
        {"containers": [{"name": "runtime", "image": "x:latest"}]},
        f"spec.containers[runtime].image: {_IMAGE}",
    ),
    ("TrainingJob", TRAINING, f"spec: {_MEMORY}"),
    ("TrainingJob", TRAINING | {"image": "x", "resources": _LIMITS}, f"spec.image: {_IMAGE}"),
    (
        "TrainingJob",
        TRAINING | {"resources": _LIMITS, "dataset": {"uri": "http://data.example.com/a.csv"}},
        f"spec.dataset.uri: {_DOWNLOAD}",
    ),
    (
        "BatchPrediction",
        {
            "model": {"storageUri": _URL},
            "input": {"uri": "s3://a/b.csv"},
            "output": {"uri": "s3://a/c"},
            "resources": _LIMITS,
        },
        f"spec.model.storageUri: {_DOWNLOAD}",
    ),
]


@pytest.fixture(scope="module")
def policed(helm: Run) -> Iterator[ControlPlane]:
    """A control plane with the definitions and the chart's policies, and the controller that types them."""
    with ControlPlane(controllers=("validatingadmissionpolicy-status-controller",)) as started:
        for kind in KINDS:
            started.kubectl("apply", "--server-side", "-f", "-", stdin=crd_yaml(kind))
        for kind in KINDS:
            wait_until_established(started, kind)
        started.kubectl("apply", "-f", "-", stdin=_policies(helm))
        risky = [service({}), *(object_of(kind, spec) for kind, spec, _ in OTHERS)]
        until_now(lambda: _in_force(said_of(started, *risky)))
        yield started


def said_of(cluster: ControlPlane, *manifests: dict[str, Any], verb: str = "create") -> str:
    """What kubectl prints on stderr: the server's warnings, or its refusal."""
    program = gotools.ensure(["kubectl"])["kubectl"]
    done = subprocess.run(
        [program, "--kubeconfig", cluster.kubeconfig, verb, "--dry-run=server", "--filename=-"],
        input=yaml.safe_dump_all(manifests),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def object_of(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "serving.pillion.dev/v1beta1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}


def service(predictor: dict[str, Any], **spec: Any) -> dict[str, Any]:  # any manifest
    predictor = predictor or {"sklearn": {"storageUri": "s3://models/iris"}}
    return object_of("InferenceService", {"predictor": predictor, **spec})


def sklearn(**fields: Any) -> dict[str, Any]:  # any field
    return {"sklearn": {"storageUri": "s3://models/iris", "resources": _LIMITS, **fields}}


def own(**fields: Any) -> dict[str, Any]:  # any field
    return {"containers": [{"name": "own", "image": "team/own:1.2", "resources": _LIMITS, **fields}]}


def by_name(manifest: dict[str, Any]) -> list[str]:
    """What the command line warns of; the policies name items of lists, which have lines there."""
    found = []
    for path, message in risks_of(manifest):
        place: Any = manifest
        address = ""
        for part in path:
            place = place[part]
            item = isinstance(part, int)
            address += f"[{place.get('name') or place['predictor']['name']}]" if item else f".{part}"
        found.append(f"{address.removeprefix('.')}: {message}")
    return found


def test_the_expressions_have_the_types_that_the_definitions_give_them(policed: ControlPlane) -> None:
    def policies() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(policed.kubectl("get", "validatingadmissionpolicies", "-o", "json"))[
            "items"
        ]
        return found

    until_now(lambda: all("typeChecking" in policy.get("status", {}) for policy in policies()))

    assert 5 == len(policies())
    assert {} == {
        policy["metadata"]["name"]: policy["status"]["typeChecking"]
        for policy in policies()
        if policy["status"]["typeChecking"].get("expressionWarnings")
    }


@pytest.mark.parametrize(
    ("risky", "warned"),
    [
        (service({}), f"spec.predictor.sklearn: {_MEMORY}"),
        (service(sklearn(resources={"limits": {"cpu": "1"}})), f"spec.predictor.sklearn: {_MEMORY}"),
        (service(own(resources={})), f"spec.predictor.containers[own]: {_MEMORY}"),
        (service(sklearn(), transformer=own(resources={})), f"spec.transformer.containers[own]: {_MEMORY}"),
        (service(own(image="team/own")), f"spec.predictor.containers[own].image: {_IMAGE}"),
        (service(own(image="team/own:latest")), f"spec.predictor.containers[own].image: {_IMAGE}"),
        (service(own(image="registry:5000/own")), f"spec.predictor.containers[own].image: {_IMAGE}"),
        (service(sklearn(image="runtime:latest")), f"spec.predictor.sklearn.image: {_IMAGE}"),
        (service(sklearn(runtimeVersion="latest")), f"spec.predictor.sklearn.runtimeVersion: {_IMAGE}"),
        (
            service(own() | {"initContainers": [{"name": "first", "image": "busybox"}]}),
            f"spec.predictor.initContainers[first].image: {_IMAGE}",
        ),
        (service(sklearn(storageUri=_URL)), f"spec.predictor.sklearn.storageUri: {_DOWNLOAD}"),
        (
            service({"models": [{"name": "a", "modelFormat": {"name": "onnx"}, "storageUri": _URL}]}),
            f"spec.predictor.models[a].storageUri: {_DOWNLOAD}",
        ),
        (
            service({**sklearn(), "storageUris": [{"uri": _URL}]} | {"sklearn": {"resources": _LIMITS}}),
            f"spec.predictor.storageUris: {_DOWNLOAD}",
        ),
        (
            service(sklearn(), canary=[{"trafficPercent": 1, "predictor": {"name": "new"} | sklearn(storageUri=_URL)}]),
            f"spec.canary[new].predictor.sklearn.storageUri: {_DOWNLOAD}",
        ),
    ],
)
def test_a_risky_service_is_taken_and_kubectl_shows_the_field_and_the_remedy(
    policed: ControlPlane, risky: dict[str, Any], warned: str
) -> None:
    said = said_of(policed, risky)

    speaker = "ValidatingAdmissionPolicy 'pillion-inferenceservices' with binding 'pillion-inferenceservices'"
    assert [f"Warning: Validation failed for {speaker}: {warned}"] == said.splitlines()
    assert [warned] == by_name(risky)


@pytest.mark.parametrize(
    "careful",
    [
        service(sklearn()),
        service(sklearn(storageUri=_URL, digest=_DIGEST)),
        service(own()),
        service(own(image=f"registry:5000/team/own@{_DIGEST}")),
        service(own(resources={}) | {"resources": _LIMITS}),
        service({"sklearn": {"storageUri": "s3://models/iris", "runtime": "team-runtime"}}),
        service(
            sklearn(),
            canary=[{"trafficPercent": 1, "predictor": {"name": "new", "resources": _LIMITS} | sklearn(resources={})}],
        ),
    ],
)
def test_a_careful_service_is_applied_in_silence(policed: ControlPlane, careful: dict[str, Any]) -> None:
    assert "" == said_of(policed, careful)
    assert [] == by_name(careful)


def test_all_risks_of_a_service_are_told_at_once(policed: ControlPlane) -> None:
    risky = service({"sklearn": {"storageUri": _URL, "image": "own"}})
    said = said_of(policed, risky)

    assert [_MEMORY, _IMAGE, _DOWNLOAD] == [line.split(": ", 3)[3] for line in said.splitlines()]
    assert [_MEMORY, _IMAGE, _DOWNLOAD] == [message for _, message in risks_of(risky)]


@pytest.mark.parametrize(("kind", "spec", "warned"), OTHERS)
def test_the_other_kinds_are_looked_at_too(policed: ControlPlane, kind: str, spec: dict[str, Any], warned: str) -> None:
    said = said_of(policed, object_of(kind, spec))

    assert [warned] == [line.split("': ", 1)[1] for line in said.splitlines()] == by_name(object_of(kind, spec))


def test_an_edit_that_leaves_the_spec_alone_warns_nobody_again(policed: ControlPlane) -> None:
    risky = service({})
    policed.kubectl("apply", "--filename=-", stdin=json.dumps(risky))

    labelled = {**risky, "metadata": {**risky["metadata"], "labels": {"team": "ml"}}}
    assert _MEMORY not in said_of(policed, labelled, verb="apply")
    assert _MEMORY in said_of(policed, service({"sklearn": {"storageUri": "s3://models/other"}}), verb="apply")


def test_a_platform_can_refuse_instead(helm: Run) -> None:
    with ControlPlane() as strict:
        for kind in KINDS:
            strict.kubectl("apply", "--server-side", "-f", "-", stdin=crd_yaml(kind))
        for kind in KINDS:
            wait_until_established(strict, kind)
        strict.kubectl("apply", "-f", "-", stdin=_policies(helm, "--set", "admissionPolicy.actions={Deny}"))

        until_now(lambda: "denied request" in said_of(strict, service({})))

        assert f"spec.predictor.sklearn: {_MEMORY}" in said_of(strict, service({}))
        assert "" == said_of(strict, service(sklearn()))


def test_a_release_for_some_namespaces_speaks_in_those_only(policed: ControlPlane, helm: Run) -> None:
    scoped = _policies(helm, "--set", "scope=namespaced,namespaces={watched}", "--namespace", "team")
    policed.kubectl("create", "namespace", "watched")
    policed.kubectl("apply", "-f", "-", stdin=scoped)
    risky = service({})
    there = {**risky, "metadata": {**risky["metadata"], "namespace": "watched"}}

    until_now(lambda: "'pillion-team-inferenceservices'" in said_of(policed, there))

    assert "'pillion-team-inferenceservices'" not in said_of(policed, risky)


def _policies(helm: Run, *arguments: str) -> str:
    done = helm("template", "pillion", "{chart}", "--show-only", "templates/admissionpolicies.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _in_force(said: str) -> bool:
    """Whether each policy has spoken; the server takes them up one by one, a moment after it has stored them."""
    return _MEMORY in said and all(warned in said for _, _, warned in OTHERS)
