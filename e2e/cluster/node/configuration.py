"""The configuration files and the command lines of the node's programs, as pure functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.cluster.node import etcd
from e2e.cluster.node.layout import (
    API_SERVICE_ADDRESS,
    CLUSTER_DOMAIN,
    DNS_SERVICE_ADDRESS,
    LOCAL_REGISTRY,
    POD_NETWORK,
    SERVICE_NETWORK,
    Layout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PAUSE_IMAGE = "localhost/pillion-e2e/pause:local"
_ETCD_PORT, _ETCD_PEER_PORT = 2379, 2380


@dataclass(frozen=True, slots=True)
class Daemon:
    """One program of the node, with its arguments."""

    name: str
    command: tuple[str, ...]


def apiserver_names(layout: Layout) -> tuple[str, ...]:
    """Return the alternative names of kube-apiserver's certificate, in OpenSSL's notation."""
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.{CLUSTER_DOMAIN}")
    addresses = ("127.0.0.1", API_SERVICE_ADDRESS, layout.node_address)
    return (*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses))


def daemons(layout: Layout, programs: Mapping[str, Path]) -> tuple[Daemon, ...]:
    """Return the node's programs in the order in which they are started."""
    home, pki = layout.home, layout.pki

    def daemon(name: str, *arguments: str) -> Daemon:
        return Daemon(name, (str(programs[name]), *arguments))

    def kubeconfigs(user: str) -> list[str]:
        path = home / f"{user}.kubeconfig"
        return [
            f"--kubeconfig={path}",
            f"--authentication-kubeconfig={path}",
            f"--authorization-kubeconfig={path}",
        ]

    return (
        daemon("containerd", f"--config={home / 'containerd.toml'}"),
        daemon("etcd", *etcd.arguments(home / "etcd", client_port=_ETCD_PORT, peer_port=_ETCD_PEER_PORT)),
        daemon(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{_ETCD_PORT}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={layout.node_address}",
            "--secure-port=6443",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            # What follows lets metrics-server trust requests that come through the aggregator.
            f"--requestheader-client-ca-file={pki}/front-proxy/ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy/client.crt",
            f"--proxy-client-key-file={pki}/front-proxy/client.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/service-accounts.key",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
        ),
        daemon(
            "kube-controller-manager",
            *kubeconfigs("controllers"),
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
            # A replica on a node that is gone would be replaced only after five minutes.
            "--node-monitor-grace-period=16s",
        ),
        daemon("kube-scheduler", *kubeconfigs("scheduler"), "--leader-elect=false"),
        daemon(
            "kubelet",
            f"--config={home / 'kubelet.json'}",
            f"--kubeconfig={home / 'kubelet.kubeconfig'}",
            f"--root-dir={home / 'kubelet'}",
            f"--cert-dir={pki}",
            f"--hostname-override={layout.hostname}",
            f"--node-ip={layout.node_address}",
        ),
        daemon("kube-proxy", f"--config={home / 'kube-proxy.json'}"),
    )


def containerd(layout: Layout, *, cni_plugins: Path, snapshotter: str) -> str:
    """Return containerd's configuration: nothing of it is shared with the system's containerd."""
    home = layout.home
    return f"""\
version = 2
root = "{home}/containerd/root"
state = "{home}/containerd/state"

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Lowering the score needs a privilege that many continuous integration sandboxes withhold.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{home}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{home}/registries"

[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/containerd/opt"
"""


def registries() -> str:
    """Return the settings of every image registry: none is reachable.

    All images come from archives. A missing one is refused at once, as it would be by a registry
    that does not have it, rather than after the time-outs of a name server that is not there.
    """
    return 'server = "https://127.0.0.1:1"\n'


def local_registry() -> str:
    """Return the settings of the one registry that there may be: a Service's port on the node's own loopback."""
    return f'server = "http://{LOCAL_REGISTRY}"\n'


def cni(layout: Layout) -> str:
    """Return the network configuration of pods: a bridge inside the node's network namespace."""
    configuration = {
        "cniVersion": "1.0.0",
        "name": layout.context,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                # Pods are known to each other and to the node by their own addresses.
                "ipMasq": False,
                # A pod reaches itself through its own Service.
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.home / "cni-addresses"),
                    "ranges": [[{"subnet": POD_NETWORK}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    return json.dumps(configuration, indent=1)


def kubelet(layout: Layout) -> str:
    """Return kubelet's configuration."""
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "tlsCertFile": f"{layout.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet.key",
        # A rotated Secret or ConfigMap is seen by pods within about this time; the default is 1 min.
        "syncFrequency": "10s",
        # There is no name server but the cluster's own.
        "resolvConf": "/dev/null",
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "200Mi"},
        # Images come from archives and could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "enforceNodeAllocatable": ["pods"],
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(layout.home / "volume-plugins"),
    }
    return json.dumps(configuration, indent=1)


def kube_proxy(layout: Layout) -> str:
    """Return kube-proxy's configuration."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(layout.home / "proxy.kubeconfig")},
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": layout.hostname,
        # The table's size belongs to the host and is not to be changed.
        "conntrack": {"maxPerCore": 0},
        # A changed endpoint takes effect at once; the default waits up to a second.
        "iptables": {"minSyncPeriod": "0s"},
    }
    return json.dumps(configuration, indent=1)
