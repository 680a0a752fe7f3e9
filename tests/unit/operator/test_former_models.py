"""From `predictor.models` to one model: what pods that are still to be replaced, or are gone back to, go on serving."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.modelsfile import MODELS_FILE, MOST_MODELS
from pillion.policy import ConsentPolicy
from pillion.resources import InferenceService, ServingRuntimeSpec
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.selection import Candidate
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.stages import Stages
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT
from pillion_operator.state.manifest import key_of
from pillion_operator.state.observed import Observed
from pillion_operator.state.policies import ConsentRule, NamespaceRules
from pillion_operator.state.revisions import Revision
from pillion_operator.state.settings import RenderSettings

if TYPE_CHECKING:
    from pillion_operator.state.plan import Desired

SETTINGS = RenderSettings(runtime_image="registry/pillion-runtime:1")
UID = "uid-1"
ASKS = NamespaceRules()
A = {"name": "a", "modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/a.skops"}
SEVERAL: dict[str, Any] = {"models": [A]}
ONE: dict[str, Any] = {"sklearn": {"storageUri": "s3://models/one.skops"}}


def manifest(predictor: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "many", "namespace": "ns", "uid": UID, "generation": 2},
        "spec": {"predictor": predictor},
    }


def added(name: str) -> dict[str, Any]:
    """A Model object that adds a model of that name."""
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "Model",
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-of-{name}", "generation": 1},
        "spec": {"inferenceServiceRef": {"name": "many"}, "storageUri": f"s3://models/{name}.skops"},
    }


def planned(predictor: dict[str, Any], *objects: dict[str, Any]) -> Desired:
    runtimes: list[Candidate] = []
    for one in builtin_runtimes(SETTINGS):
        data: dict[str, Any] = one
        spec = ServingRuntimeSpec.from_api(data["spec"])
        runtimes.append(Candidate("ClusterServingRuntime", data["metadata"]["name"], spec))
    service = InferenceService.from_manifest(manifest(predictor))
    return plan(service, UID, runtimes, StorageCredentials(), SETTINGS, models=objects)


def config(desired: Desired) -> dict[str, Any]:
    """The ConfigMap of the models that pods are told of; empty where there is none."""
    found = (child.manifest for child in desired.children if child.kind is CONFIG_MAP)
    return next((cast("Any", one) for one in found if MODELS_FILE in cast("Any", one)["data"]), {})


def told(desired: Desired) -> dict[str, str]:
    found = config(desired)
    models = json.loads(found["data"][MODELS_FILE])["models"] if found else []
    return {model["name"]: model["uri"] for model in models}


def deployment(desired: Desired) -> dict[str, Any]:
    """The Deployment that the plan makes, with all of its pods."""
    found: Any = next(child.manifest for child in desired.children if child.kind is DEPLOYMENT)
    status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    made: dict[str, Any] = found | {
        "metadata": found["metadata"] | {"generation": 1},
        "spec": found["spec"] | {"replicas": 1},
        "status": status | {"observedGeneration": 1},
    }
    return made


class Kept:
    """The last good revision."""

    def __init__(self, desired: Desired) -> None:
        self._desired = desired

    async def read(self, *_: Any) -> Any:
        return {"template": deployment(self._desired)["spec"]["template"], "service": {}}


def course(
    before: Desired,
    running: Desired,
    predictor: dict[str, Any],
    after: Desired,
    *revisions: Revision,
    rules: NamespaceRules = ASKS,
) -> Desired:
    nobody = cast("Any", None)
    parts = RolloutParts(cast("Any", Kept(before)), nobody, nobody, Stages(nobody, lambda: 0.0), nobody)
    live, there = config(before), deployment(running)
    children = {
        CONFIG_MAP: {key_of(live).name: live} if live else {},
        DEPLOYMENT: {key_of(there).name: there},
    }
    observed = Observed(
        cast("Any", manifest(predictor)), cast("Any", children), revisions=revisions, now=2e9, rules=rules
    )
    service = InferenceService.from_api(observed.service)
    return asyncio.run(Rollouts(parts).course(service, observed, after))


def test_pods_that_are_still_to_be_replaced_keep_the_models_that_the_manifest_had() -> None:
    before, after = planned(SEVERAL), planned(ONE)
    assert {} == told(after)

    desired = course(before, before, ONE, after)

    assert {"a": "s3://models/a.skops"} == told(desired)
    assert before.models_digest == desired.models_digest
    assert {"many-predictor-runtime"} < {key_of(child.manifest).name for child in desired.children}


def test_they_go_once_every_pod_is_of_the_new_version() -> None:
    before, after = planned(SEVERAL), planned(ONE)

    desired = course(before, after, ONE, after)

    assert ({}, "") == (told(desired), desired.models_digest)


def test_a_version_that_is_gone_back_to_has_its_models() -> None:
    before, after = planned(SEVERAL), planned(ONE)
    good = Revision("many-1", "1", before.revision, 1, "RolledOut")
    failed = Revision("many-2", "2", after.revision, 2, "Failed", 2, "it does not start")

    desired = course(before, before, ONE, after, good, failed)

    assert desired.rolled_back is not None
    assert {"a": "s3://models/a.skops"} == told(desired)


def test_they_load_no_pickle_that_is_denied_by_now() -> None:
    before, after = planned({"models": [A | {"allowPickle": True}, A | {"name": "b"}]}), planned(ONE)

    def models(desired: Desired) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(config(desired)["data"][MODELS_FILE])["models"]
        return found

    desired = course(before, before, ONE, after, rules=NamespaceRules(ConsentRule(ConsentPolicy.DENY)))

    (pickled, plain), (refused, other) = models(before), models(desired)
    assert models(course(before, before, ONE, after)) == [pickled, plain]
    assert other == plain
    assert ("deny", None) == (refused["picklePolicy"], refused.get("allowPickle"))
    assert pickled["id"] != refused["id"]
    assert pickled["version"] != refused["version"], "the former is served on by pods that have it"


def test_what_model_objects_say_is_as_they_say_it_now() -> None:
    before, after = planned(SEVERAL, added("b"), added("c")), planned(ONE, added("b"), added("d"))

    desired = course(before, before, ONE, after)

    assert {"a", "b", "d"} == set(told(desired))


def test_a_name_that_a_model_object_has_taken_is_its_own() -> None:
    taken = added("other")
    taken["spec"]["name"] = "a"
    before, after = planned(SEVERAL), planned(ONE, taken)

    assert {"a": "s3://models/other.skops"} == told(course(before, before, ONE, after))


def test_the_file_has_no_more_models_than_pods_take() -> None:
    objects = [added(f"m{number:03}") for number in range(MOST_MODELS)]
    before, after = planned(SEVERAL), planned(ONE, *objects)

    desired = course(before, before, ONE, after)

    assert (MOST_MODELS, False) == (len(told(desired)), "a" in told(desired))


@pytest.mark.parametrize("models", [[A], [A | {"name": "z"}]])
def test_a_manifest_that_declares_several_says_all_of_them(models: list[dict[str, Any]]) -> None:
    predictor = {"models": models, "containers": [{"name": "runtime", "env": [{"name": "X", "value": "1"}]}]}
    before, after = planned(SEVERAL), planned(predictor)
    assert before.revision != after.revision

    assert {model["name"] for model in models} == set(told(course(before, before, predictor, after)))
