"""What a test may rely on in the node: each promise of e2e/README.md, on a node of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import backend, gotools
from e2e.cluster.node.environment import without_proxies
from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.layout import Layout
from e2e.cluster.node.paths import CLUSTER_SOURCE
from e2e.cluster.node.record import NodeRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.cluster.node.backend import Cluster

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

_WITHIN_SECONDS = 60.0
_NAMESPACE = "pillion-e2e-node"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node apart from the one that other scenarios use, ended after the module."""
    made = backend.choose("selftest")
    made.up()
    try:
        image = made.load("client")
        _kubectl(made, "create", "namespace", _NAMESPACE)
        _kubectl(made, "apply", "--filename=-", stdin=_MANIFEST.replace("IMAGE", image))
        yield made
    finally:
        made.down()


def test_a_pod_reaches_a_service_by_its_short_and_its_full_name(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/web", "pod/shell", "--for=condition=Ready", "--timeout=60s")
    for name in ("web", f"web.{_NAMESPACE}.svc", f"web.{_NAMESPACE}.svc.cluster.local"):
        assert "hello" in _shell(cluster, "curl", "--silent", "--fail", "--max-time", "5", f"http://{name}/")


def test_a_pod_reaches_itself_through_its_own_service(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    answer = _kubectl(
        cluster,
        "exec",
        "web",
        "--container=web",
        "--",
        "curl",
        "--silent",
        "--max-time",
        "5",
        f"http://web.{_NAMESPACE}/",
    )
    assert "hello" in answer


def test_a_name_outside_the_cluster_does_not_resolve(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/shell", "--for=condition=Ready", "--timeout=60s")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        _shell(cluster, "python", "-c", "import socket; socket.gethostbyname('example.com')")
    assert "gaierror" in refused.value.stderr


def test_the_command_exec_reaches_services_by_name_from_the_host(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    url = f"http://web.{_NAMESPACE}.svc.cluster.local/"
    command, variables = cluster.enter(["curl", "--silent", "--fail", "--max-time", "5", url])
    done = subprocess.run(command, env={**without_proxies(), **variables}, capture_output=True, text=True, check=True)
    assert "hello" in done.stdout


def test_a_native_sidecar_starts_before_the_main_container_and_runs_beside_it(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    pod = json.loads(_kubectl(cluster, "get", "pod", "web", "--output=json"))
    sidecar, main = pod["status"]["initContainerStatuses"][0], pod["status"]["containerStatuses"][0]
    assert (sidecar["started"], sidecar["ready"]) == (True, True)
    assert sidecar["state"]["running"]["startedAt"] <= main["state"]["running"]["startedAt"]


def test_logs_and_port_forwarding_work_through_the_api_server(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    assert "sidecar is up" in _kubectl(cluster, "logs", "web", "--container=sidecar")
    str(gotools.program("kubectl"))
    command = [*_kubectl_command(cluster), "port-forward", "pod/web", ":8000"]
    with subprocess.Popen(command, env=without_proxies(), stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        answer = subprocess.run(
            ["curl", "--silent", "--noproxy", "*", "--max-time", "5", f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            check=True,
        )
        forward.terminate()
    assert "hello" in answer.stdout


def test_a_container_above_its_memory_limit_is_seen_as_oom_killed(cluster: Cluster) -> None:
    def reason() -> str | None:
        pod = json.loads(_kubectl(cluster, "get", "pod", "greedy", "--output=json"))
        states = pod["status"].get("containerStatuses", [{}])
        found = states[0].get("state", {}).get("terminated", {}).get("reason")
        return None if found is None else str(found)

    assert _eventually(reason) == "OOMKilled"


def test_an_image_that_was_not_loaded_is_refused_without_waiting_for_a_time_out(cluster: Cluster) -> None:
    def reason() -> str | None:
        pod = json.loads(_kubectl(cluster, "get", "pod", "absent", "--output=json"))
        waiting = pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {})
        return str(waiting["reason"]) if waiting.get("reason") not in {None, "ContainerCreating"} else None

    assert _eventually(reason) in {"ErrImagePull", "ImagePullBackOff"}


def test_a_claim_without_a_class_gets_a_volume_that_any_user_may_write_and_another_pod_reads(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/writer", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    _kubectl(cluster, "wait", "pod/reader", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert "kept" in _kubectl(cluster, "logs", "reader")


def test_kubectl_top_shows_nodes_and_pods(cluster: Cluster) -> None:
    _kubectl(cluster, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")

    def row() -> str | None:
        try:
            return next((line for line in _kubectl(cluster, "top", "pod").splitlines() if line.startswith("web")), None)
        except subprocess.CalledProcessError:  # no sample of this namespace yet
            return None

    assert _eventually(row).split()[2].endswith("Mi")
    assert "%" in _kubectl(cluster, "top", "node")


def test_a_second_start_of_a_running_node_changes_nothing(cluster: Cluster) -> None:
    before = _kubectl(cluster, "get", "namespace", _NAMESPACE, "--output=jsonpath={.metadata.uid}")
    cluster.up()
    assert before == _kubectl(cluster, "get", "namespace", _NAMESPACE, "--output=jsonpath={.metadata.uid}")


def test_a_node_leaves_nothing_behind_even_with_pods_running_and_its_neighbour_goes_on(cluster: Cluster) -> None:
    other = backend.choose("selftest-two")
    other.up()
    node = NodeRecord.read("selftest-two")
    try:
        if node is None:
            pytest.skip("kind's cluster is in containers, of which Docker keeps the books")
        namespaces = {str(Path(f"/proc/{node.init.pid}/ns/{kind}").readlink()) for kind in ("pid", "mnt", "net")}
        assert namespaces <= _namespaces_in_use()
    finally:
        other.down()
    assert set() == namespaces & _namespaces_in_use()
    assert not Path("/sys/class/net", node.layout.interface).exists()
    assert "selftest-two" not in Path("/proc/self/mountinfo").read_text()
    assert list(Path("/sys/fs/cgroup").glob("**/pillion-selftest-two")) == []
    assert not node.layout.home.exists()
    assert cluster.running
    assert "hello" in _shell(cluster, "curl", "--silent", "--fail", "--max-time", "5", f"http://web.{_NAMESPACE}/")


def test_what_a_killed_start_has_left_is_removed_by_the_end_of_the_node() -> None:
    record = Layout("selftest-killed", 0).record
    start = [sys.executable, str(CLUSTER_SOURCE / "cluster.py"), "up", "--name=selftest-killed"]
    with subprocess.Popen(start, stderr=subprocess.DEVNULL) as starting:
        while not record.exists() and starting.poll() is None:  # the test's time limit is the deadline
            time.sleep(0.01)
        starting.kill()
    assert record.exists()
    backend.choose("selftest-killed").down()
    assert not record.parent.exists()


def test_the_end_of_a_node_that_is_not_there_is_no_error_and_its_use_is() -> None:
    absent = backend.choose("selftest-absent")
    absent.down()
    with pytest.raises(ClusterError, match="make cluster-up"):
        absent.load("pause")


def _namespaces_in_use() -> set[str]:
    """Return the namespaces of all processes, and those that only a mount keeps, as `net:[4026532008]`."""
    kept = {line.split(" ")[3] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - nsfs " in line}
    for link in Path("/proc").glob("[0-9]*/ns/*"):
        # Processes end meanwhile; the machine's own first process may forbid looking.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            kept.add(str(link.readlink()))
    return kept


def _kubectl_command(cluster: Cluster) -> list[str]:
    return [str(gotools.program("kubectl")), f"--kubeconfig={cluster.kubeconfig}", f"--namespace={_NAMESPACE}"]


def _kubectl(cluster: Cluster, *arguments: str, stdin: str | None = None) -> str:
    return subprocess.run(
        [*_kubectl_command(cluster), *arguments],
        input=stdin,
        env=without_proxies(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _shell(cluster: Cluster, *command: str) -> str:
    return _kubectl(cluster, "exec", "shell", "--", *command)


def _eventually(observe: Callable[[], str | None]) -> str:
    deadline = time.monotonic() + _WITHIN_SECONDS
    while time.monotonic() < deadline:
        seen = observe()
        if seen is not None:
            return seen
        time.sleep(0.2)
    raise AssertionError(f"not seen within {_WITHIN_SECONDS:.0f} s")


_MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
    - name: sidecar
      image: IMAGE
      restartPolicy: Always
      command: [sh, -c, "echo sidecar is up; touch /shared/up; exec sleep 3600"]
      startupProbe: {exec: {command: [test, -e, /shared/up]}, periodSeconds: 1}
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: web
      image: IMAGE
      command: [sh, -c, "echo hello > /shared/index.html; exec python -m http.server --directory /shared"]
      readinessProbe: {httpGet: {path: /, port: 8000}, periodSeconds: 1}
      volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {medium: Memory}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  containers: [{name: shell, image: IMAGE}]
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
    - name: greedy
      image: IMAGE
      command: [python, -c, "hoard = [bytearray(b'x') * (1 << 20) for _ in range(512)]"]
      resources: {limits: {memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: absent}
spec:
  containers: [{name: absent, image: "docker.io/library/never-loaded:1"}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 12345, runAsNonRoot: true}
  containers:
    - name: writer
      image: IMAGE
      command: [sh, -c, "echo kept > /disk/file"]
      volumeMounts: [{name: disk, mountPath: /disk}]
  volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}]
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 54321, runAsNonRoot: true}
  containers:
    - name: reader
      image: IMAGE
      command: [sh, -c, "while ! test -s /disk/file; do sleep 0.2; done; cat /disk/file"]
      volumeMounts: [{name: disk, mountPath: /disk, readOnly: true}]
  volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}]
"""
