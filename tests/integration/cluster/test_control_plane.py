"""What the control plane of the integration tests promises to them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node.apiserver import GARBAGE_COLLECTION, ControlPlane
from e2e.cluster.node.failure import ClusterError
from tests.integration.definitions import eventually
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane of the module's own: these tests stop and start it."""
    with ControlPlane(controllers=GARBAGE_COLLECTION) as started:
        yield started


def test_another_user_has_exactly_the_rights_that_roles_give(control_plane: ControlPlane) -> None:
    user = control_plane.kubeconfig_for("jane/x+y", ["readers"])
    with pytest.raises(subprocess.CalledProcessError) as refused:
        control_plane.kubectl("get", "configmaps", user=user)
    assert 'User "jane/x+y" cannot list' in refused.value.stderr
    control_plane.kubectl("create", "clusterrole", "read", "--verb=get,list", "--resource=configmaps")
    control_plane.kubectl("create", "clusterrolebinding", "read", "--clusterrole=read", "--group=readers")
    # Its authorizer follows roles and bindings, and may come to them a moment later.
    asked = ("get", "configmaps", "--namespace=kube-system", "--output=name")
    assert "configmap/" in eventually(lambda: control_plane.kubectl(*asked, user=user))


def test_a_service_account_authenticates_as_itself(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "serviceaccount", "robot")
    user = control_plane.kubeconfig_for_service_account("default", "robot")
    answer = json.loads(control_plane.kubectl("auth", "whoami", "--output=json", user=user))
    assert "system:serviceaccount:default:robot" == answer["status"]["userInfo"]["username"]


def test_data_survives_a_restart_of_the_api_server_on_the_same_port(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "configmap", "kept", "--from-literal=key=value")
    control_plane.stop_apiserver()
    with pytest.raises(subprocess.CalledProcessError):
        control_plane.kubectl("get", "configmap", "kept", "--request-timeout=2s")
    control_plane.start_apiserver()
    assert "value" == control_plane.kubectl("get", "configmap", "kept", "--output=jsonpath={.data.key}")


def test_an_object_whose_owner_is_gone_is_collected_where_asked_for(
    control_plane: ControlPlane,
) -> None:
    control_plane.kubectl("create", "configmap", "owner")
    uid = control_plane.kubectl("get", "configmap", "owner", "--output=jsonpath={.metadata.uid}")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "child", "ownerReferences": [owner]},
    }
    control_plane.kubectl("create", "--filename=-", stdin=json.dumps(child))
    control_plane.kubectl("delete", "configmap", "owner")
    control_plane.kubectl("wait", "configmap/child", "--for=delete", "--timeout=60s")


def test_nothing_is_left_of_a_control_plane_that_was_stopped() -> None:
    with ControlPlane() as other:
        folder = other.directory
        assert _processes_naming(folder)
    assert not folder.exists()
    until_now(lambda: not _processes_naming(folder))


def test_a_server_that_cannot_start_is_reported_with_its_last_lines_and_taken_down() -> None:
    broken = ControlPlane(apiserver_flags=["--no-such-flag"])
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"kube-apiserver ended with status 1(.|\n)*no-such-flag"):
        broken.start()
    assert time.monotonic() - began < 60
    assert not broken.directory.exists()


def _processes_naming(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command:
            found.append(command)
    return found
