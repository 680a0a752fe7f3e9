"""A roll-back does not open what the newest manifest has closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService
from pillion.server.sources import load_settings
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.kept import revision_manifest
from pillion_operator.builders.predictor import plan
from pillion_operator.judge.status import facts_of, status_of
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.stages import Stages
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import condition_of, object_at, revision
from pillion_operator.state.observed import CertificateFacts, Observed, Outcome
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason
from pillion_operator.state.revisions import Revision
from tests.unit.operator.test_builders import SETTINGS, SKLEARN, builtin, child, pod, runtime_file, service

if TYPE_CHECKING:
    from pillion_operator.state.plan import Desired

KEYS: dict[str, Any] = {"apiKeys": {"secretName": "iris-keys"}}
ACCOUNT: dict[str, Any] = {"serviceAccount": {}}
GUARDS = {"api-keys", "reviewer", "tls", "client-ca"}
#: Another version than the one before, so that a roll-back has something to take back.
NEWEST: dict[str, Any] = {**SKLEARN, "timeout": 7}
FOREIGN: dict[str, Any] = {"containers": [{"name": "predictor", "image": "somebodys:1"}]}


def planned(predictor: dict[str, Any], auth: dict[str, Any] | None = None) -> tuple[InferenceService, Desired]:
    manifest: dict[str, Any] = service(**predictor).to_api()
    manifest["metadata"] |= {"uid": "uid-1", "generation": 2}
    manifest["spec"] |= {} if auth is None else {"auth": auth}
    found = InferenceService.from_api(manifest)
    return found, plan(found, "uid-1", builtin(), StorageCredentials(), SETTINGS)


class Kept:
    def __init__(self, desired: Desired) -> None:
        self._data = revision_manifest(cast("Any", {"metadata": {"name": "iris"}}), desired, 1, {})["data"]

    async def read(self, *_: Any) -> Any:
        return self._data


class Named:
    """Secrets by name, with their keys."""

    def __init__(self, keys: dict[str, set[str]]) -> None:
        self._keys = keys

    async def read(self, _: str, sources: Any) -> Any:
        return {(kind, name): frozenset(self._keys[name]) for kind, name in sources if name in self._keys}


def running(desired: Desired) -> dict[str, Any]:
    """The Deployment of the plan, with its only pod available."""
    found: Any = child(desired, "Deployment")
    status: dict[str, Any] = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    metadata = found["metadata"] | {"generation": 1}
    live: dict[str, Any] = found | {
        "metadata": metadata,
        "spec": found["spec"] | {"replicas": 1},
        "status": status | {"observedGeneration": 1},
    }
    return live


class RollBack:
    """From one version, which was rolled out, to another, which failed: what is to serve, and what is told of it."""

    def __init__(
        self,
        before: tuple[dict[str, Any], dict[str, Any] | None],
        newest: tuple[dict[str, Any], dict[str, Any] | None],
        live: Desired | None = None,
        *,
        failed: bool = True,
        keys: dict[str, set[str]] | None = None,
        **observed: Any,
    ) -> None:
        _, self.before = planned(*before)
        self.service, self.newest = planned(*newest)
        good = Revision("iris-1", "1", self.before.revision, 1, "RolledOut")
        lost = Revision("iris-2", "2", self.newest.revision, 2, "Failed", 2, "exit code 1")
        children: Any = {DEPLOYMENT: {"iris-predictor": running(live or self.before)}}
        revisions = (good, lost) if failed else (good,)
        self._observed = Observed(
            cast("Any", self.service.to_api()), children, revisions=revisions, now=2e9, **observed
        )
        nobody = cast("Any", None)
        names: Any = Named(keys or {})
        parts = RolloutParts(cast("Any", Kept(self.before)), nobody, nobody, Stages(nobody, lambda: 0.0), names)
        self.plan = asyncio.run(Rollouts(parts).course(self.service, self._observed, self.newest))

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = runtime_file(self.plan)["settings"]
        return found

    @property
    def mounted(self) -> set[str]:
        spec = pod(self.plan)
        mounts = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} & GUARDS
        assert mounts == {volume["name"] for volume in spec["volumes"]} & GUARDS
        return mounts

    def said(self) -> str:
        facts = facts_of(self.service, self._observed, self.plan, Outcome())
        message = condition_of({"status": status_of(facts, "now")}, "Ready")["message"]
        assert isinstance(message, str)
        return message


@pytest.mark.parametrize(
    ("auth", "mounted", "settings"),
    [
        (KEYS, {"api-keys"}, {"api_keys": "/etc/pillion/api-keys"}),
        (ACCOUNT, {"reviewer"}, {"inference_service": "iris"}),
    ],
)
@pytest.mark.parametrize("before", [None, {**KEYS, "apiKeys": {"secretName": "old"}}, ACCOUNT])
def test_pods_that_are_gone_back_to_ask_their_callers_as_the_newest_manifest_does(
    auth: dict[str, Any], mounted: set[str], settings: dict[str, Any], before: dict[str, Any] | None
) -> None:
    back = RollBack((SKLEARN, before), (NEWEST, auth))

    assert settings == back.settings["auth"]
    assert mounted == back.mounted
    assert "limits" not in back.settings
    secrets = [one["secret"]["secretName"] for one in pod(back.plan)["volumes"] if one["name"] == "api-keys"]
    assert secrets == (["iris-keys"] if auth is KEYS else [])


def test_a_roll_back_that_closes_nothing_brings_the_same_pods_back() -> None:
    back = RollBack((SKLEARN, KEYS), (NEWEST, KEYS))
    opened = RollBack((SKLEARN, KEYS), (NEWEST, None))

    assert pod(back.before) == pod(back.plan)
    assert back.before.revision == revision(object_at(child(back.plan, "Deployment"), "spec", "template"))
    assert {"api-keys"} == opened.mounted, "what the kept version asks of its own stays"


def test_such_pods_are_another_version_by_their_digest_and_by_that_of_their_configuration() -> None:
    back = RollBack((SKLEARN, None), (NEWEST, KEYS))
    found, kept, newest = (
        object_at(child(one, "Deployment"), "spec", "template", "metadata", "annotations")
        for one in (back.plan, back.before, back.newest)
    )

    for name in ("serving.pillion.dev/revision", "serving.pillion.dev/config-hash"):
        assert found[name] not in (kept[name], newest[name])


def test_the_account_that_reviews_callers_goes_along() -> None:
    back = RollBack((SKLEARN, None), ({**NEWEST, "serviceAccountName": "iris"}, ACCOUNT))

    assert "iris" == pod(back.plan)["serviceAccountName"]


def test_an_account_that_may_not_review_callers_does_not_stay() -> None:
    back = RollBack(({**SKLEARN, "serviceAccountName": "iris"}, None), (NEWEST, ACCOUNT))

    assert "serviceAccountName" not in pod(back.plan), "it is `default` that is asked to be bound"
    assert "spec.auth of the manifest" in back.said()


def test_the_account_is_another_where_only_it_has_changed() -> None:
    back = RollBack((SKLEARN, ACCOUNT), ({**NEWEST, "serviceAccountName": "iris"}, ACCOUNT))

    assert "iris" == pod(back.plan)["serviceAccountName"]
    assert "its pods get spec.auth of the manifest" in back.said()


KEY = {"name": "PILLION_API_KEY", "valueFrom": {"secretKeyRef": {"name": "iris-keys", "key": "all"}}}


def keyed(*env: Any, **fields: Any) -> dict[str, Any]:
    return {"sklearn": {**SKLEARN["sklearn"], "env": [*env]}, **fields}


def test_a_key_of_a_variable_that_the_newest_manifest_has_no_more_is_good_for_nobody() -> None:
    path = {"name": "PILLION_AUTH__API_KEYS", "value": "/old"}
    back = RollBack((keyed(KEY, path, {"name": "SPEED", "value": "2"}), None), (NEWEST, KEYS))
    opened = RollBack((keyed(KEY), None), (NEWEST, None))

    assert [{"name": "SPEED", "value": "2"}] == pod(back.plan)["containers"][0]["env"], "variables outdo runtime.yaml"
    assert {"api-keys"} == back.mounted
    assert KEY in pod(opened.plan)["containers"][0]["env"]


def test_a_field_that_the_newest_manifest_has_exchanged_for_a_variable_lets_nobody_in_by_its_keys() -> None:
    back = RollBack((SKLEARN, KEYS), (keyed(KEY, timeout=7), None))

    assert set() == back.mounted
    assert "auth" not in back.settings
    assert KEY in pod(back.plan)["containers"][0]["env"]


def test_keys_that_are_given_by_variables_go_along() -> None:
    key, other = KEY, {"name": "SPEED", "value": "2"}
    back = RollBack((SKLEARN, None), (keyed(key, other), None))

    env = pod(back.plan)["containers"][0].get("env", [])
    assert key in env
    assert other not in env


def out_of(*secrets: str, prefix: str = "", env: Any = (), **fields: Any) -> dict[str, Any]:
    given = [{"prefix": prefix, "secretRef": {"name": name}} for name in secrets]
    return {"sklearn": {**SKLEARN["sklearn"], "envFrom": given, **({"env": [*env]} if env else {})}, **fields}


def variable(name: str, secret: str, key: str | None = None) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key or name}}}


def test_keys_that_are_given_by_env_from_go_along_and_nothing_else_of_it() -> None:
    keys = {"keys": {"PILLION_API_KEY", "SPEED"}}
    back = RollBack((SKLEARN, None), (out_of("keys", timeout=7), None), keys=keys)
    prefixed = RollBack((SKLEARN, None), (out_of("keys", prefix="PILLION_"), None), keys={"keys": {"AUTH__API_KEY"}})

    (container,) = pod(back.plan)["containers"]
    assert [variable("PILLION_API_KEY", "keys")] == container["env"]
    assert "envFrom" not in container
    assert "its pods get the variables of the runtime's auth of the manifest" in back.said()
    (container,) = pod(prefixed.plan)["containers"]
    assert [variable("PILLION_AUTH__API_KEY", "keys", "AUTH__API_KEY")] == container["env"]


@pytest.mark.parametrize("keys", [{"speeds": {"SPEED"}}, {}])
def test_variables_that_guard_nothing_close_nothing_and_open_nothing(keys: dict[str, set[str]]) -> None:
    back = RollBack((SKLEARN, KEYS), (out_of("speeds", timeout=7), None), keys=keys)

    assert {"api-keys"} == back.mounted
    assert pod(back.before) == pod(back.plan)
    told = "ATTENTION: it serves without secretRef 'speeds' of envFrom of the manifest (what it brings is not known"
    assert (told in back.said()) is (not keys)


def test_the_same_keys_in_another_form_change_no_pods() -> None:
    keys = {"keys": {"PILLION_API_KEY", "SPEED"}}
    back = RollBack((out_of("keys"), None), (keyed(variable("PILLION_API_KEY", "keys"), timeout=7), None), keys=keys)

    assert pod(back.before) == pod(back.plan)


def test_a_key_out_of_env_from_that_the_newest_manifest_has_no_more_is_good_for_nobody() -> None:
    keys = {"old": {"PILLION_API_KEY", "SPEED", "LEVEL"}, "later": {"LEVEL"}}
    back = RollBack((out_of("old", "later"), None), (NEWEST, KEYS), keys=keys)
    opened = RollBack((out_of("old", "later"), None), (NEWEST, None), keys=keys)
    other = RollBack((out_of("old"), None), (keyed(KEY, timeout=7), None), keys=keys)

    (container,) = pod(back.plan)["containers"]
    speed = variable("SPEED", "old")
    speed["valueFrom"]["secretKeyRef"]["optional"] = True
    assert [speed] == container["env"], "what comes later in envFrom still wins"
    assert [{"prefix": "", "secretRef": {"name": "later"}}] == container["envFrom"]
    assert pod(opened.before) == pod(opened.plan)
    # A variable of the container's own wins over any of envFrom.
    (container,) = pod(other.plan)["containers"]
    assert [KEY] == container["env"]
    assert [{"prefix": "", "secretRef": {"name": "old"}}] == container["envFrom"]


def test_a_key_out_of_env_from_does_not_come_to_light_where_the_variable_before_it_goes() -> None:
    keys = {"old": {"PILLION_API_KEY", "1.crt", ".."}}
    by_name = {"name": "PILLION_AUTH__API_KEY", "valueFrom": {"secretKeyRef": {"name": "new", "key": "a"}}}
    back = RollBack((out_of("old", env=[KEY]), None), (keyed(by_name, timeout=7), None), keys=keys)

    (container,) = pod(back.plan)["containers"]
    assert [by_name] == container["env"], "what is no name of a variable everywhere is not spelled out"
    assert "envFrom" not in container


def test_a_secret_that_goes_opens_no_pods_that_ask_by_it() -> None:
    newest = (out_of("keys", timeout=7), None)
    closed = RollBack((SKLEARN, None), newest, keys={"keys": {"PILLION_API_KEY"}}).plan
    later = RollBack((SKLEARN, None), newest, closed)

    assert pod(closed) == pod(later.plan)
    assert "ATTENTION" not in later.said()


CERTIFICATE = CertificateFacts("iris-tls", found=True, not_after=3e9)
MISSING = CertificateFacts("iris-tls", found=False)
TLS: dict[str, Any] = {**NEWEST, "tls": {"secretName": "iris-tls"}}
MUTUAL: dict[str, Any] = {**NEWEST, "tls": {"secretName": "iris-tls", "clientCASecretName": "clients"}}


@pytest.mark.parametrize(
    ("predictor", "certificate", "mounted"),
    [(TLS, CERTIFICATE, {"tls"}), (TLS, MISSING, set()), (MUTUAL, MISSING, {"tls", "client-ca"})],
)
def test_what_was_to_be_encrypted_is_not_served_in_plain_text_where_there_is_a_certificate(
    predictor: dict[str, Any], certificate: CertificateFacts, mounted: set[str]
) -> None:
    back = RollBack((SKLEARN, None), (predictor, None), certificates=(certificate,))

    assert mounted == back.mounted
    port = child(back.plan, "Service")["spec"]["ports"][0]
    assert ("https" if mounted else "http") == port["name"]
    assert ("https" if mounted else "http") == back.plan.endpoints.url.split(":")[0]
    assert ("ATTENTION: it serves without spec.predictor.tls" in back.said()) is (not mounted)


def test_pods_that_have_their_certificate_keep_it_where_its_secret_goes() -> None:
    there = RollBack((SKLEARN, None), (TLS, None), certificates=(CERTIFICATE,)).plan
    back = RollBack((SKLEARN, None), (TLS, None), there, certificates=(MISSING,))

    assert {"tls"} == back.mounted
    # Also once another version was tried, whose pods could not start.
    template = object_at(child(there, "Deployment"), "spec", "template")
    ready: Any = {"metadata": template["metadata"], "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    _, tried = planned({**TLS, "timeout": 9})
    again = RollBack((SKLEARN, None), ({**TLS, "timeout": 9}, None), tried, certificates=(MISSING,), pods=(ready,))
    assert {"tls"} == again.mounted


def test_the_condition_says_whether_pods_hold_to_it_by_now() -> None:
    gone = Problem(Reason.SECRET_NOT_FOUND, "Secret 'iris-keys', named in auth.apiKeys, is not there")
    first = RollBack((SKLEARN, None), (NEWEST, KEYS), missing=(gone,))
    later = RollBack((SKLEARN, None), (NEWEST, KEYS), first.plan)

    told = "its pods get spec.auth of the manifest, and until they are ready others may serve without "
    assert f"{told}({gone.text})" in first.said()
    assert "its pods have spec.auth of the manifest" in later.said()


def test_a_version_that_cannot_ask_is_named_as_one_that_serves_openly() -> None:
    back = RollBack((FOREIGN, None), (NEWEST, KEYS))

    assert "ATTENTION: it serves without spec.auth of the manifest" in back.said()
    assert "somebodys:1" == pod(back.plan)["containers"][0]["image"]
    by_variable = RollBack((FOREIGN, None), (keyed(KEY), None))
    assert "ATTENTION: it serves without the variables of the runtime's auth" in by_variable.said()


def test_a_share_for_the_next_version_takes_it_from_none() -> None:
    share = {**NEWEST, "timeout": 8, "canaryTrafficPercent": 20}
    closed = RollBack((SKLEARN, None), (NEWEST, KEYS)).plan
    back = RollBack((SKLEARN, None), (share, KEYS), closed, failed=False)
    first = RollBack((SKLEARN, None), (share, KEYS), failed=False)

    assert {"api-keys"} == back.mounted
    assert back.plan.split is not None
    assert set() == first.mounted, "a share alone changes no pod of the version that serves"
    (note,) = first.plan.notes
    assert note.text.startswith("spec.auth (pods of the last good revision serve as before until")
    assert () == back.plan.notes


@pytest.mark.parametrize(
    ("before", "auth", "predictor"),
    [(None, None, keyed(KEY, timeout=7)), ({"apiKeys": {"secretName": "leaked"}}, KEYS, NEWEST)],
)
def test_a_share_for_the_next_version_takes_neither_variables_nor_other_keys(
    before: dict[str, Any] | None, auth: dict[str, Any] | None, predictor: dict[str, Any]
) -> None:
    closed = RollBack((SKLEARN, before), (predictor, auth)).plan
    share = {**predictor, "timeout": 8, "canaryTrafficPercent": 20}
    back = RollBack((SKLEARN, before), (share, auth), closed, failed=False)

    (was,), (is_,) = pod(closed)["containers"], pod(back.plan)["containers"]
    assert was.get("env") == is_.get("env")
    assert pod(closed)["volumes"] == pod(back.plan)["volumes"]


def test_what_is_taken_over_is_written_as_the_runtime_reads_it() -> None:
    back = RollBack((SKLEARN, None), (MUTUAL, KEYS), certificates=(CERTIFICATE,))

    found = load_settings(file=back.settings, environ={}).settings
    assert "/etc/pillion/api-keys" == found.auth.api_keys
    assert found.tls.client is not None
