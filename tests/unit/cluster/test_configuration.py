"""The configuration of the node's programs."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path

from e2e.cluster.node import configuration, images, leftovers, paths
from e2e.cluster.node.layout import DNS_SERVICE_ADDRESS, POD_NETWORK, SERVICE_NETWORK, Layout
from e2e.cluster.node.pki import subject

_LAYOUT = Layout("e2e", 3)
_PROGRAMS = {
    name: Path("/bin") / name
    for name in (
        "containerd",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    )
}


def test_every_file_and_socket_of_the_programs_is_in_the_nodes_own_folder() -> None:
    text = json.dumps([daemon.command for daemon in configuration.daemons(_LAYOUT, _PROGRAMS)])
    text += configuration.kubelet(_LAYOUT) + configuration.kube_proxy(_LAYOUT) + configuration.cni(_LAYOUT)
    text += configuration.containerd(_LAYOUT, cni_plugins=Path("/bin"), snapshotter="overlayfs")
    found = {path for path in re.findall(r"(?<![\w.:/])/[\w.-]+/[\w./-]+", text) if not path.startswith("/bin/")}
    assert found
    assert {"/dev/null"} >= {path for path in found if not path.startswith(str(_LAYOUT.home))}


def test_containerd_starts_before_kubelet_and_the_api_server_before_its_clients() -> None:
    order = [daemon.name for daemon in configuration.daemons(_LAYOUT, _PROGRAMS)]
    assert order.index("containerd") < order.index("kubelet")
    clients = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
    assert all(order.index("kube-apiserver") < order.index(client) for client in clients)


def test_pods_of_different_nodes_are_in_different_control_groups() -> None:
    groups = {json.loads(configuration.kubelet(Layout(name, 0)))["cgroupRoot"] for name in ("one", "two")}
    assert {"/pillion-one", "/pillion-two"} == groups


def test_the_api_server_is_known_by_the_addresses_that_clients_use() -> None:
    names = configuration.apiserver_names(_LAYOUT)
    assert {"DNS:kubernetes.default.svc", "IP:127.0.0.1", "IP:10.96.0.1", "IP:10.231.3.2"} <= set(names)


def test_the_name_server_that_pods_ask_is_a_service_and_the_one_that_is_applied() -> None:
    assert [DNS_SERVICE_ADDRESS] == json.loads(configuration.kubelet(_LAYOUT))["clusterDNS"]
    assert ipaddress.ip_address(DNS_SERVICE_ADDRESS) in ipaddress.ip_network(SERVICE_NETWORK)
    manifest = Path(paths.CLUSTER_SOURCE, "manifests", "coredns.yaml").read_text()
    assert f"clusterIP: {DNS_SERVICE_ADDRESS}" in manifest


def test_pods_and_services_have_networks_apart() -> None:
    assert not ipaddress.ip_network(POD_NETWORK).overlaps(ipaddress.ip_network(SERVICE_NETWORK))


def test_the_images_of_the_manifests_are_the_ones_that_are_built() -> None:
    built = {image.reference for image in images.IMAGES.values()}
    folder = Path(paths.CLUSTER_SOURCE, "manifests")
    used = {name for file in folder.glob("*.yaml") for name in re.findall(r"image: (\S+)", file.read_text())}
    assert used
    assert used <= built


def test_a_user_and_groups_with_the_separators_of_a_subject_stay_what_they_are() -> None:
    assert r"/O=team\/a/O=b/CN=jane\+x" == subject("jane+x", ["team/a", "b"])
    assert "/CN=system:serviceaccount:default:bob" == subject("system:serviceaccount:default:bob")


def test_a_mount_of_another_folder_with_the_same_beginning_is_not_the_nodes() -> None:
    mounts = "a /nodes/one tmpfs rw 0 0\nb /nodes/one/x tmpfs rw 0 0\nc /nodes/one-more/x tmpfs rw 0 0\n"
    assert ["/nodes/one", "/nodes/one/x"] == leftovers.mounts_under("/nodes/one", mounts)
