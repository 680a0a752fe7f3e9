"""The chart against Helm, kubeconform and a real API server."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion_operator.settings import OperatorSettings
from scripts.chart.later import LATER
from tests.integration.chart.conftest import CHART
from tests.yamls import parsed

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
    "sidecars": "{sidecarInjector: {enabled: true}}",
    "namespaced-sidecars": "{sidecarInjector: {enabled: true}, scope: namespaced, namespaces: [team-a, team-b]}",
    "selected": "{scope: selected, namespaceSelector: {matchExpressions: [{key: tenant, operator: Exists}]}}",
    "one-replica": "{replicaCount: 1, leaderElection: {enabled: false}, podDisruptionBudget: {enabled: false}}",
    "no-definitions": "{crds: {enabled: false}}",
    "closed": "{networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {matchLabels: {a: b}}}]}}",
    "closed-sidecars": "{sidecarInjector: {enabled: true}, networkPolicy: {enabled: true, egress: false, "
    "apiServer: {from: [{ipBlock: {cidr: 10.0.0.10/32}}]}}}",
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
    objects = parsed(manifests)
    for namespace in sorted({d["metadata"].get("namespace", NAMESPACE) for d in objects}):
        made = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        control_plane.kubectl("apply", "-f", "-", stdin=made)

    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifests)

    assert len(objects) == len(said.splitlines())


def test_the_chart_holds_no_custom_resources(manifests: str) -> None:
    kinds = {document["kind"] for document in parsed(manifests)}

    assert set() == kinds & {"InferenceService", "ServingRuntime", "ClusterServingRuntime"}


def test_no_secret_can_be_listed_and_nothing_is_granted_by_a_wildcard(manifests: str) -> None:
    roles = [d for d in parsed(manifests) if d["kind"] in {"Role", "ClusterRole"}]
    rules = [rule for role in roles for rule in role["rules"]]

    # The webhook's own certificate is one Secret in the operator's namespace, by its name.
    of_secrets = [rule for rule in rules if "secrets" in rule["resources"] and not rule.get("resourceNames")]
    assert {"get"} >= {verb for rule in of_secrets for verb in rule["verbs"]}
    assert "*" not in {word for rule in rules for part in ("apiGroups", "resources", "verbs") for word in rule[part]}


@pytest.mark.parametrize(
    ("value", "verbs"), [("false", {"get"}), ("true", {"get", "create", "update"})], ids=["not asked", "asked"]
)
def test_only_an_operator_that_is_asked_to_make_certificates_writes_secrets(
    helm: Run, value: str, verbs: set[str]
) -> None:
    documents = _rendered(helm, "--set", f"certificates.selfSigned={value}")
    rules = [rule for d in documents if "Role" in d["kind"] for rule in d.get("rules", [])]

    assert verbs == {verb for rule in rules if "secrets" in rule["resources"] for verb in rule["verbs"]}
    env = {one["name"]: one.get("value") for one in _container(documents)["env"]}
    assert value == env["PILLION_OPERATOR_SELF_SIGNED"]


def test_namespaced_scope_binds_roles_in_the_listed_namespaces_only(helm: Run) -> None:
    documents = _rendered(helm, "--set", "scope=namespaced", "--set", "namespaces={team-a,team-b}")
    subjects = [d for d in documents if d["kind"] in {"RoleBinding", "ClusterRoleBinding"}]

    assert {("RoleBinding", "team-a"), ("RoleBinding", "team-b"), ("RoleBinding", NAMESPACE)} == {
        (binding["kind"], binding["metadata"].get("namespace")) for binding in subjects
    }


def test_releases_of_one_name_that_select_their_namespaces_share_nothing_of_the_cluster(helm: Run) -> None:
    def named(namespace: str) -> set[tuple[str, str]]:
        values = ("--set", "scope=selected", "--set", "namespaceSelector.matchLabels.tenant=shop")
        found = _rendered(helm, "--namespace", namespace, *values, "--set", "crds.enabled=false")
        return {(d["kind"], d["metadata"]["name"]) for d in found if d["metadata"].get("namespace") is None}

    assert {kind for kind, _ in named("one") & named("two")} == set()


def _operator(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return next(d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "pillion-operator")


def _container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = _operator(documents)["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(
    ("off", "variable", "gone"),
    [
        ("routes.ingress", "INGRESS_ROUTES", {"ingresses"}),
        ("routes.gateway", "GATEWAY_ROUTES", {"httproutes", "grpcroutes", "tlsroutes", "gateways"}),
        ("certificates.certManager", "CERT_MANAGER", {"certificates"}),
    ],
)
def test_a_kind_that_is_off_needs_no_right_and_the_operator_knows(
    helm: Run, off: str, variable: str, gone: set[str]
) -> None:
    def granted(*values: str) -> set[str]:
        rules = [rule for d in _rendered(helm, *values) if "Role" in d["kind"] for rule in d.get("rules", [])]
        return {resource for rule in rules for resource in rule["resources"]}

    without = ("--set", f"{off}=false")

    assert gone == granted() - granted(*without)
    env = {one["name"]: one.get("value") for one in _container(_rendered(helm, *without))["env"]}
    assert "false" == env[f"PILLION_OPERATOR_{variable}"]


def test_the_sidecar_injector_adds_rights_to_two_objects_by_name(helm: Run) -> None:
    bare, given = _rendered(helm), _rendered(helm, "--set", "sidecarInjector.enabled=true")

    def rules(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [rule for d in documents if d["kind"] in {"Role", "ClusterRole"} for rule in d.get("rules", [])]

    added = [rule for rule in rules(given) if rule not in rules(bare)]
    assert [
        (["mutatingwebhookconfigurations"], ["pillion-sidecar"], ["get", "patch"]),
        (["secrets"], ["pillion-operator-webhook"], ["get", "update"]),
    ] == [(rule["resources"], rule["resourceNames"], rule["verbs"]) for rule in added]


def test_rights_on_kserves_objects_come_with_its_mode_alone(helm: Run) -> None:
    def granted(*values: str) -> set[tuple[str, str]]:
        documents = _rendered(helm, "--set", "rbac.aggregateClusterRoles=false", *values)
        rules = [rule for d in documents if "Role" in d["kind"] for rule in d.get("rules", [])]
        return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]
                if "kserve" in str(rule) or resource == "inferenceservices"}  # fmt: skip

    on = ("--set", "kserve.enabled=true", "--set", "kserve.objects=all")

    assert {
        ("inferenceservices/status", "patch"),
        ("validatingwebhookconfigurations", "get"),
        *(("inferenceservices", verb) for verb in ("create", "patch", "update", "delete")),
    } == granted(*on) - granted()
    assert "kserve" not in str([d for d in _rendered(helm) if "Role" in d["kind"]])
    env = {one["name"]: one.get("value") for one in _container(_rendered(helm, *on))["env"]}
    assert ("true", "all") == (env["PILLION_OPERATOR_KSERVE"], env["PILLION_OPERATOR_KSERVE_OBJECTS"])


def test_the_sidecar_webhook_is_a_service_that_is_asked_about_labelled_pods_only(helm: Run) -> None:
    values = ("--set", "sidecarInjector.enabled=true", "--set", "scope=namespaced", "--set", "namespaces={team-a}")
    documents = _rendered(helm, *values)
    (webhook,) = next(d for d in documents if d["kind"] == "MutatingWebhookConfiguration")["webhooks"]
    service = webhook["clientConfig"]["service"]

    assert service["name"] in {d["metadata"]["name"] for d in documents if d["kind"] == "Service"}
    assert "caBundle" not in webhook["clientConfig"]
    assert (5, "Fail", "None") == (webhook["timeoutSeconds"], webhook["failurePolicy"], webhook["sideEffects"])
    assert [{"key": "serving.pillion.dev/sidecar", "operator": "Exists"}] == webhook["objectSelector"][
        "matchExpressions"
    ]
    assert ["team-a"] == webhook["namespaceSelector"]["matchExpressions"][0]["values"]


def test_the_sidecar_webhook_is_not_asked_about_pods_of_namespaces_that_are_not_selected(helm: Run) -> None:
    values = ("--set", "sidecarInjector.enabled=true", "--set", "scope=selected")
    documents = _rendered(helm, *values, "--set", "namespaceSelector.matchLabels.tenant=shop")
    (webhook,) = next(d for d in documents if d["kind"] == "MutatingWebhookConfiguration")["webhooks"]

    assert {"tenant": "shop"} == webhook["namespaceSelector"]["matchLabels"]


def test_with_the_sidecar_injector_the_operators_settings_are_whole(helm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = _rendered(helm, "--set", "sidecarInjector.enabled=true")
    (container,) = _operator(documents)["spec"]["template"]["spec"]["containers"]
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", NAMESPACE))

    settings = OperatorSettings()

    assert settings.sidecar_injector
    assert (f"pillion-operator-webhook.{NAMESPACE}.svc",) == settings.webhook_hosts
    assert settings.webhook_port in {port["containerPort"] for port in container["ports"]}
    assert "pillion-sidecar" == settings.webhook_configuration


def test_selected_scope_tells_operator_roles_and_policies_of_the_labels(helm: Run, tmp_path: Path) -> None:
    selector = {
        "matchLabels": {"tenant": "shop"},
        "matchExpressions": [
            {"key": "stage", "operator": "NotIn", "values": ["test", "dev"]},
            {"key": "models", "operator": "Exists"},
            {"key": "frozen", "operator": "DoesNotExist"},
        ],
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"scope": "selected", "namespaceSelector": selector}))
    documents = _rendered(helm, "--values", str(values))
    deployment = _operator(documents)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    bindings = [
        d
        for d in documents
        if d["kind"] == "ValidatingAdmissionPolicyBinding" and "-activator-" not in d["metadata"]["name"]
    ]
    rules = [rule for d in documents if d["kind"] == "ClusterRole" for rule in d["rules"]]

    said = "tenant=shop,stage notin (test,dev),models,!frozen"
    assert "Role" not in {d["kind"] for d in documents if d["metadata"].get("namespace", NAMESPACE) != NAMESPACE}
    assert said == environment["PILLION_OPERATOR_NAMESPACE_SELECTOR"]
    assert {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]} in rules
    assert all(
        binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] == {"tenant": "shop"}
        for binding in bindings
    )
    assert {f"pillion-{NAMESPACE}-operator"} == {
        d["roleRef"]["name"]
        for d in documents
        if d["kind"] == "ClusterRoleBinding" and d["roleRef"]["name"].endswith("-operator")
    }


def _ways_in(documents: list[dict[str, Any]], name: str) -> dict[int, Any]:
    """From each port that a policy opens to those whom it lets in; None is everybody."""
    (policy,) = (d for d in documents if d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == name)
    return {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}


def test_no_network_policy_is_made_unless_it_is_asked_for(helm: Run) -> None:
    assert [] == [d for d in _rendered(helm) if d["kind"] == "NetworkPolicy"]


def test_network_policies_select_the_pods_of_the_release_and_open_what_these_listen_on(helm: Run) -> None:
    api_server = 'networkPolicy.apiServer.from=[{"ipBlock": {"cidr": "10.0.0.10/32"}}]'
    documents = _rendered(
        helm, "--set", "networkPolicy.enabled=true,sidecarInjector.enabled=true", "--set-json", api_server
    )

    assert {8083: None, 8084: [{"ipBlock": {"cidr": "10.0.0.10/32"}}]} == _ways_in(documents, "pillion-operator")
    assert {20000: None, 8084: None} == _ways_in(documents, "pillion-activator")
    for name in ("pillion-operator", "pillion-activator"):
        policy, deployment = (
            next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))
            for kind in ("NetworkPolicy", "Deployment")
        )
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        listened = {port["containerPort"] for port in container["ports"]}
        assert listened <= set(_ways_in(documents, name))
        # DNS on whichever port its pods have, and at whatever address.
        names = policy["spec"]["egress"][0]
        assert "to" not in names
        opened = {(port["port"], port["protocol"]) for port in names["ports"]}
        assert {(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP"), (443, "TCP"), (6443, "TCP")} == opened


def test_the_operator_reads_the_activator_whoever_else_may_read_metrics(helm: Run) -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    only = f"networkPolicy.metricsFrom={json.dumps(peers)}"
    documents = _rendered(helm, "--set", "networkPolicy.enabled=true", "--set-json", only)
    operator = _operator(documents)["spec"]["selector"]["matchLabels"]

    assert peers == _ways_in(documents, "pillion-operator")[8083]
    assert [{"podSelector": {"matchLabels": operator}}, *peers] == _ways_in(documents, "pillion-activator")[8084]


def test_one_registry_value_moves_both_images(helm: Run) -> None:
    rendered = str(_rendered(helm, "--set", "image.registry=mirror.example.com/x", "--set", "image.tag=v9"))

    assert "mirror.example.com/x/pillion-operator:v9" in rendered
    assert "mirror.example.com/x/pillion-runtime:v9" in rendered
    assert "localhost/" not in rendered


def test_the_definitions_are_kept_on_uninstall_unless_that_is_switched_off(helm: Run) -> None:
    kept = [_policy(d) for d in _rendered(helm) if d["kind"] == "CustomResourceDefinition"]
    given_up = [_policy(d) for d in _rendered(helm, "--set", "crds.keep=false") if "CustomResource" in d["kind"]]

    assert ["keep"] * 6 == kept
    assert [None] * 6 == given_up


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--set", "replicas=3"), "replicas"),
        (("--set", "image.repository=x"), "repository"),
        (("--set", "scope=everywhere"), "scope"),
        (("--set", "leaderElection.enabled=false"), "replicaCount: 1"),
        (("--set", "namespaces={a}"), "scope: namespaced"),
        (("--set", "scope=selected"), "namespaceSelector.matchLabels"),
        (("--set", "namespaceSelector.matchLabels.tenant=shop"), "scope: selected"),
        (("--set", "admissionPolicy.actions={Deny,Warn}"), "both Deny and Warn"),
        (("--set", "podDisruptionBudget.minAvailable=1"), "minAvailable or maxUnavailable"),
        (("--set", "networkPolicy.enabled=true,sidecarInjector.enabled=true"), "networkPolicy.apiServer.from"),
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
    service = next(d for d in documents if (d["kind"], d["metadata"]["name"]) == ("Service", "pillion-operator"))

    assert "PrometheusRule" in {d["kind"] for d in documents}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def _rendered(helm: Run, *arguments: str) -> list[dict[str, Any]]:
    done = helm("template", "pillion", "{chart}", "--namespace", NAMESPACE, *arguments)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


def _policy(definition: dict[str, Any]) -> str | None:
    annotations: dict[str, str] = definition["metadata"].get("annotations", {})
    return annotations.get("helm.sh/resource-policy")


#: What turns on what is off by default.
_ALL = (
    *("--set", "sidecarInjector.enabled=true,dashboards.enabled=true,prometheusRule.enabled=true"),
    *("--set", "networkPolicy.enabled=true,networkPolicy.apiServer.from[0].ipBlock.cidr=10.0.0.10/32"),
    *("--api-versions", "monitoring.coreos.com/v1"),
)


def _reusing(helm: Run, folder: Path, values: dict[str, Any]) -> Done:
    """What an upgrade with --reuse-values renders: the chart with the values of the former release as its defaults."""
    chart = folder / "pillion"
    shutil.copytree(CHART, chart, dirs_exist_ok=True)
    (chart / "values.yaml").write_text(yaml.safe_dump(values))
    return helm("template", "pillion", str(chart), "--namespace", NAMESPACE, *_ALL)


def _without(values: dict[str, Any], path: str) -> dict[str, Any]:
    *parents, last = path.split(".")
    found = copy.deepcopy(values)
    place = found
    for key in parents:
        place = place[key]
    del place[last]
    return found


def test_values_of_a_former_release_give_what_the_chart_gives_by_itself(helm: Run, tmp_path: Path) -> None:
    former = yaml.safe_load((Path(__file__).parent / "values" / "former.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) - set(former) == {path for path in LATER if "." not in path}

    done = _reusing(helm, tmp_path, former)

    assert done.returncode == 0, done.stderr
    assert helm("template", "pillion", "{chart}", "--namespace", NAMESPACE, *_ALL).stdout == done.stdout


def test_each_value_that_came_later_may_be_missing(helm: Run, tmp_path: Path) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    whole = helm("template", "pillion", "{chart}", "--namespace", NAMESPACE, *_ALL).stdout
    inner = [f"{name}.{key}" for name in LATER for key, value in values.get(name, {}).items() if value != {}]

    for path in (*LATER, *(one for one in inner if not one.endswith(".resources"))):
        done = _reusing(helm, tmp_path, _without(values, path))
        assert done.returncode == 0, (path, done.stderr)
        assert whole == done.stdout, path


def test_what_was_taken_out_stays_out(helm: Run) -> None:
    taken = "activator.resources=null,nodeSelector=null,podDisruptionBudget.maxUnavailable=null"
    documents = _rendered(helm, "--set", f"{taken},podDisruptionBudget.minAvailable=1")

    deployments = {d["metadata"]["name"]: d for d in documents if d["kind"] == "Deployment"}
    pod = deployments["pillion-activator"]["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    assert not pod["containers"][0].get("resources")
    budgets = [d for d in documents if d["kind"] == "PodDisruptionBudget"]
    budget = next(d["spec"] for d in budgets if d["metadata"]["name"] == "pillion-operator")
    assert "maxUnavailable" not in budget
