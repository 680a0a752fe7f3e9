"""`spec.predictor.jobs`: what pods are told of trainings, and the rights that they get."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService, TrainingJobSpec, validate
from pillion.server.sources import load_settings
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.service_trainings import training_settings
from pillion_operator.builders.sidecar_service import not_carried_over, on_sockets
from pillion_operator.rbac import namespace_rules, service_training_rules
from pillion_operator.state.kinds import OPTIONAL, ROLE, ROLE_BINDING
from tests.unit.operator.test_builders import SETTINGS, builtin, child, pod, runtime_file, service

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Desired

JOBS: dict[str, Any] = {
    "enabled": True,
    "output": {"uri": "s3://models/trained"},
    "checkpoint": {"uri": "s3://models/checkpoints", "every": "30s"},
    "resources": {"limits": {"memory": "1Gi"}},
}
CONTAINER: dict[str, Any] = {
    "name": "runtime",
    "image": "registry/mood:3",
    "env": [{"name": "STAGE", "value": "test"}, {"name": "PILLION_MANAGEMENT__TOKEN", "value": "t"}],
    "volumeMounts": [{"name": "code", "mountPath": "/code"}],
}
PREDICTOR: dict[str, Any] = {
    "containers": [CONTAINER],
    "volumes": [{"name": "code", "configMap": {"name": "code"}}],
    "serviceAccountName": "trainer",
    "nodeSelector": {"pool": "gpu"},
    "jobs": JOBS,
}


def planned(given: InferenceService, kinds: frozenset[Kind] = frozenset(OPTIONAL)) -> Desired:
    return plan(given, "uid-1", builtin(), StorageCredentials(), SETTINGS, kinds)


def test_the_pods_account_may_make_read_and_cancel_trainings_of_its_namespace_and_no_more() -> None:
    desired = planned(service(**PREDICTOR))

    role, binding = child(desired, "Role"), child(desired, "RoleBinding")
    verbs = ["create", "get", "list", "patch"]
    assert [{"apiGroups": ["serving.pillion.dev"], "resources": ["trainingjobs"], "verbs": verbs}] == role["rules"]
    assert ["ns"] * 2 == [one["metadata"]["namespace"] for one in (role, binding)]
    assert [{"kind": "ServiceAccount", "name": "trainer", "namespace": "ns"}] == binding["subjects"]
    assert role["metadata"]["name"] == binding["roleRef"]["name"]
    order = [one.kind.name for one in desired.children]
    assert order.index("RoleBinding") < order.index("Deployment")


def test_the_operator_may_itself_do_all_that_it_grants() -> None:
    granted = {
        (rule["apiGroups"][0], rule["resources"][0], verb)
        for rule in child(planned(service(**PREDICTOR)), "Role")["rules"]
        for verb in rule["verbs"]
    }
    own = {
        (rule.group, rule.resource, verb)
        for rule in (*namespace_rules(), *service_training_rules())
        for verb in rule.verbs
        if not rule.names
    }

    assert granted <= own


def test_the_runtime_is_told_what_all_its_trainings_have() -> None:
    given = runtime_file(planned(service(**PREDICTOR, followTrainings=True)))["settings"]

    section = load_settings(file=given, environ={}).settings.jobs
    template = json.loads(section.training_spec)
    assert ("iris", True) == (section.inference_service, section.follows_trainings)
    assert {
        "image": "registry/mood:3",
        "env": [{"name": "STAGE", "value": "test"}],
        "volumeMounts": CONTAINER["volumeMounts"],
        "volumes": PREDICTOR["volumes"],
        "nodeSelector": {"pool": "gpu"},
        "serviceAccountName": "trainer",
        "output": JOBS["output"],
        "checkpoint": JOBS["checkpoint"],
        "resources": JOBS["resources"],
    } == template
    TrainingJobSpec.from_api({**template, "module": "/code/mood.py:Mood"})


def test_what_a_serving_runtime_gives_its_pods_is_there_beside_what_the_manifest_does() -> None:
    runtime: Any = {"volumes": [{"name": "tools", "emptyDir": {}}], "nodeSelector": {"zone": "a"}}
    context: Any = SimpleNamespace(
        name="iris", predictor=service(**PREDICTOR).spec.predictor, runtime_pod=runtime, container=CONTAINER
    )

    template = json.loads(cast("str", training_settings(context)["training_spec"]))

    assert {"tools", "code"} == {volume["name"] for volume in template["volumes"]}
    assert {"zone": "a", "pool": "gpu"} == template["nodeSelector"]


def test_only_the_container_that_serves_gets_the_token() -> None:
    spec = pod(planned(service(**{**PREDICTOR, "containers": [CONTAINER, {"name": "beside", "image": "a:1"}]})))

    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounts = {one["name"]: [mount["mountPath"] for mount in one.get("volumeMounts", [])] for one in spec["containers"]}
    assert account in mounts["runtime"]
    assert account not in mounts["beside"]
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("jobs", [None, {"enabled": False, "output": JOBS["output"]}])
def test_without_it_pods_get_neither_rights_nor_token(jobs: dict[str, Any] | None) -> None:
    desired = planned(service(**{**PREDICTOR, "jobs": jobs}))

    assert not {ROLE, ROLE_BINDING} & {one.kind for one in desired.children}
    assert "jobs" not in runtime_file(desired)["settings"]
    assert "account" not in [volume["name"] for volume in pod(desired)["volumes"]]


def test_an_operator_that_may_grant_nothing_makes_no_role() -> None:
    desired = planned(service(**PREDICTOR), frozenset())

    assert not {ROLE, ROLE_BINDING} & {one.kind for one in desired.children}


def test_a_container_of_others_is_said_to_know_nothing_of_it() -> None:
    desired = planned(service(**{**PREDICTOR, "containers": [{"name": "kserve-container", "image": "a:1"}]}))

    assert not {ROLE, ROLE_BINDING} & {one.kind for one in desired.children}
    assert any("spec.predictor.jobs on the container 'kserve-container'" in note.text for note in desired.notes)


def test_a_sidecar_makes_no_trainings_and_its_author_is_told() -> None:
    given = service(**PREDICTOR)

    assert "jobs" not in runtime_file(planned(on_sockets(given)))["settings"]
    assert any("spec.predictor.jobs" in text for text in not_carried_over(given, {}))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"serviceAccountName": None}, "without a serviceAccountName other than 'default'"),
        ({"serviceAccountName": "default"}, "without a serviceAccountName other than 'default'"),
        ({"jobs": {"enabled": True}}, "spec.predictor.jobs.enabled without jobs.output.uri"),
    ],
)
def test_a_manifest_of_former_versions_stays_valid_gets_no_rights_and_is_told_what_lacks(
    changed: dict[str, Any], says: str
) -> None:
    given = service(**{**PREDICTOR, **changed})
    assert [] == validate(given.to_api())

    desired = planned(given)

    assert not {ROLE, ROLE_BINDING} & {one.kind for one in desired.children}
    assert "jobs" not in runtime_file(desired)["settings"]
    assert any(says in note.text for note in desired.notes)
