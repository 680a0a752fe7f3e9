"""The chart against Helm, kubeconform and a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.cluster.node.apiserver import ControlPlane

    Done = subprocess.CompletedProcess[str]
    Run = Callable[..., Done]

NAMESPACE = "pillion-chart"
_EVERYTHING = """
image: {registry: registry.example.com/team, tag: v1, pullPolicy: Always}
imagePullSecrets: [{name: pull}]
replicaCount: 3
logLevel: debug
podDisruptionBudget: {minAvailable: 50%, maxUnavailable: null}
serviceAccount: {name: custom, annotations: {a: b}, labels: {c: d}}
metrics: {annotations: false, service: {annotations: {a: b}, labels: {c: d}}}
deploymentAnnotations: {a: b}
podAnnotations: {a: "1"}
podLabels: {team: ml}
commonLabels: {owner: platform}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 1
        podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {team: ml}}}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: ml}}}
priorityClassName: system-cluster-critical
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
volumes: [{name: extra, emptyDir: {}}]
volumeMounts: [{name: extra, mountPath: /extra}]
builtinRuntimes: {enabled: false}
"""
VARIANTS = {
    "defaults": "{}",
    "everything": _EVERYTHING,
    "namespaced": "{scope: namespaced, namespaces: [team-a, team-b]}",
    "own-namespace-only": "{scope: namespaced}",
    "one-replica": "{replicaCount: 1, leaderElection: {enabled: false}, podDisruptionBudget: {enabled: false}}",
    "no-definitions": "{crds: {enabled: false}}",
    "bare": "{rbac: {create: false, aggregateClusterRoles: false}, serviceAccount: {create: false}}",
}


@pytest.fixture(scope="module", params=list(VARIANTS.values()), ids=list(VARIANTS))
def manifests(request: pytest.FixtureRequest, helm: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What Helm renders of the chart with some values."""
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    values.write_text(request.param)
    done = helm("template", "pillion", "{chart}", "--namespace", NAMESPACE, "--values", str(values))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_helm_lint_has_nothing_to_say(helm: Run) -> None:
    done = helm("lint", "--strict", "{chart}")

    assert "0 chart(s) failed" in done.stdout, done.stdout


def test_kubeconform_finds_every_object_valid(manifests: str, kubeconform: Run) -> None:
    done = kubeconform(manifests)

    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout, done.stdout


def test_kubeconform_finds_an_unknown_field(kubeconform: Run) -> None:
    done = kubeconform(yaml.safe_dump({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spex": {}}))

    assert "spex" in done.stdout


def test_the_api_server_takes_every_object_with_strict_validation(manifests: str, control_plane: ControlPlane) -> None:
    documents = [document for document in yaml.safe_load_all(manifests) if document]
    for namespace in sorted({d["metadata"].get("namespace", NAMESPACE) for d in documents}):
        made = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        control_plane.kubectl("apply", "-f", "-", stdin=made)

    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifests)

    assert len(documents) == len(said.splitlines())


def test_the_chart_holds_no_custom_resources(manifests: str) -> None:
    kinds = {document["kind"] for document in yaml.safe_load_all(manifests) if document}

    assert set() == kinds & {"InferenceService", "ServingRuntime", "ClusterServingRuntime"}


def test_no_secret_can_be_listed_and_nothing_is_granted_by_a_wildcard(manifests: str) -> None:
    rules = [rule for d in yaml.safe_load_all(manifests) if d and "Role" in d["kind"] for rule in d.get("rules", [])]

    assert {"get"} >= {verb for rule in rules if "secrets" in rule["resources"] for verb in rule["verbs"]}
    assert "*" not in {word for rule in rules for part in ("apiGroups", "resources", "verbs") for word in rule[part]}


def test_namespaced_scope_binds_roles_in_the_listed_namespaces_only(helm: Run) -> None:
    documents = _rendered(helm, "--set", "scope=namespaced", "--set", "namespaces={team-a,team-b}")
    subjects = [d for d in documents if d["kind"] in {"RoleBinding", "ClusterRoleBinding"}]

    assert {("RoleBinding", "team-a"), ("RoleBinding", "team-b"), ("RoleBinding", NAMESPACE)} == {
        (binding["kind"], binding["metadata"].get("namespace")) for binding in subjects
    }


def test_one_registry_value_moves_both_images(helm: Run) -> None:
    rendered = str(_rendered(helm, "--set", "image.registry=mirror.example.com/x", "--set", "image.tag=v9"))

    assert "mirror.example.com/x/pillion-operator:v9" in rendered
    assert "mirror.example.com/x/pillion-runtime:v9" in rendered
    assert "localhost/" not in rendered


def test_the_definitions_are_kept_on_uninstall_unless_that_is_switched_off(helm: Run) -> None:
    kept = [_policy(d) for d in _rendered(helm) if d["kind"] == "CustomResourceDefinition"]
    given_up = [_policy(d) for d in _rendered(helm, "--set", "crds.keep=false") if "CustomResource" in d["kind"]]

    assert ["keep"] * 5 == kept
    assert [None] * 5 == given_up


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--set", "replicas=3"), "replicas"),
        (("--set", "image.repository=x"), "repository"),
        (("--set", "scope=everywhere"), "scope"),
        (("--set", "leaderElection.enabled=false"), "replicaCount: 1"),
        (("--set", "namespaces={a}"), "scope: namespaced"),
        (("--set", "podDisruptionBudget.minAvailable=1"), "minAvailable or maxUnavailable"),
        (("--set", "serviceMonitor.enabled=true"), "monitoring.coreos.com/v1"),
        (("--set", "prometheusRule.enabled=true"), "monitoring.coreos.com/v1"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_with_the_remedy(helm: Run, wrong: tuple[str, ...], said: str) -> None:
    done = helm("template", "pillion", "{chart}", *wrong)

    assert done.returncode != 0
    assert said in done.stderr


def test_monitors_are_rendered_where_the_prometheus_operator_is(helm: Run) -> None:
    on = ("--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true")
    documents = _rendered(helm, *on, "--api-versions", "monitoring.coreos.com/v1")
    monitor = next(d for d in documents if d["kind"] == "ServiceMonitor")
    service = next(d for d in documents if d["kind"] == "Service")

    assert "PrometheusRule" in {d["kind"] for d in documents}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def _rendered(helm: Run, *arguments: str) -> list[dict[str, Any]]:
    done = helm("template", "pillion", "{chart}", "--namespace", NAMESPACE, *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def _policy(definition: dict[str, Any]) -> str | None:
    annotations: dict[str, str] = definition["metadata"].get("annotations", {})
    return annotations.get("helm.sh/resource-policy")
