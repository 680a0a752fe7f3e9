"""Starting and ending a node: the acts, in their order."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import (
    addons,
    cgroups,
    configuration,
    containerd,
    etcd,
    gotools,
    images,
    init,
    kernel,
    kubeconfig,
    leftovers,
    lock,
    network,
    paths,
    prerequisites,
    progress,
)
from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.layout import LOCAL_REGISTRY, Layout, free_index, validate_name
from e2e.cluster.node.pki import CertificateAuthority
from e2e.cluster.node.record import NodeRecord, Process, all_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTAINERD_WITHIN_SECONDS = 30.0
_INIT_WITHIN_SECONDS = 10.0
_KILL_WITHIN_SECONDS = 30.0
_POLL_SECONDS = 0.05

#: kubeconfig file to the user and the groups in its certificate.
_USERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("admin", ("system:masters",)),
    "controllers": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
}


def up(name: str, *, keep_failed: bool = False) -> Layout:
    """Start a node and return once its own pods are ready; a running one is left as it is.

    A failed start is taken down again, unless `keep_failed`; its logs are kept for reading.
    """
    validate_name(name)
    prerequisites.require_root("run a node")
    prerequisites.require(prerequisites.PACKAGES, "run a node")
    programs = _programs()
    archives = images.system_archives()
    with lock.exclusive(paths.cache_home() / "nodes.lock", "another start or end of a node"):
        record = NodeRecord.read(name)
        if record is not None and record.init.alive:
            progress.say(f"node {name} runs already")
            return record.layout
        # What a start or an end that was killed has left.
        _abandon(Layout(name, 0))
        # A node of another user has no record here, but its link is seen by all.
        taken = network.taken_indices(network.interfaces()) | {other.layout.index for other in all_nodes()}
        layout = Layout(name, free_index(taken))
        try:
            _start(layout, programs, archives)
        except BaseException as error:
            if keep_failed:
                raise
            logs = _save_logs(layout)
            _abandon(layout)
            if isinstance(error, ClusterError):
                raise ClusterError(f"{error}\nThe node's logs are in {logs}") from error
            raise
    return layout


def down(name: str) -> None:
    """End a node and remove all that it made; raises ClusterError that lists what is left over."""
    prerequisites.require_root("end a node")
    with lock.exclusive(paths.cache_home() / "nodes.lock", "another start or end of a node"):
        record = NodeRecord.read(name)
        layout = record.layout if record else Layout(name, 0)
        if layout.home.exists():
            with progress.step(f"end node {name}"):
                _abandon(layout)
        else:
            progress.say(f"there is no node {name}")
        left = leftovers.of(layout)
        if left:
            raise ClusterError("left over, to be removed by hand:\n" + "\n".join(f"  {each}" for each in left))


def _programs() -> dict[str, Path]:
    built = gotools.ensure(list(gotools.GROUPS["kubernetes"].programs))
    system = shutil.which("containerd")
    assert system is not None  # `require` has looked for it
    return {**built, "etcd": etcd.program(), "containerd": Path(system)}


def _start(layout: Layout, programs: Mapping[str, Path], archives: list[Path]) -> None:
    with progress.step(f"start node {layout.name} at {layout.node_address}"):
        _write_files(layout, programs)
        cgroups.create(layout.cgroup)
        process = _start_init(layout)
        with ThreadPoolExecutor() as pool:
            loading = pool.submit(_load, layout, process, archives)
            addons.wait_for_api(layout, process)
            addons.apply(layout)
            loading.result()
    with progress.step("node Ready"):
        addons.wait_for_node(layout, process)
    with progress.step("cluster DNS, metrics and volumes ready"):
        addons.wait_for_addons(layout, process)


def _write_files(layout: Layout, programs: Mapping[str, Path]) -> None:
    home = layout.home
    registries = (home / "registries" / host for host in ("_default", LOCAL_REGISTRY))
    for folder in (home, layout.logs, layout.volumes, home / "cni", *registries):
        folder.mkdir(parents=True, exist_ok=True)
    authority = CertificateAuthority(layout.pki)
    front_proxy = CertificateAuthority(layout.pki / "front-proxy")
    authority.signing_key("service-accounts")
    authority.issue("apiserver", "kube-apiserver", alternative_names=configuration.apiserver_names(layout))
    authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", organizations=["system:masters"])
    front_proxy.issue("client", "front-proxy-client")
    for file_name, (user, groups) in _USERS.items():
        pair = authority.issue(file_name, user, organizations=groups)
        _write_kubeconfig(layout, file_name, kubeconfig.certificate_user(pair))
    pair = authority.issue(
        "kubelet",
        f"system:node:{layout.hostname}",
        organizations=["system:nodes"],
        alternative_names=[f"DNS:{layout.hostname}", f"IP:{layout.node_address}"],
    )
    _write_kubeconfig(layout, "kubelet", kubeconfig.certificate_user(pair))
    plugins = prerequisites.cni_plugins()
    assert plugins is not None  # `require` has looked for them
    snapshotter = prerequisites.snapshotter(home)
    files = {
        "containerd.toml": configuration.containerd(layout, cni_plugins=plugins, snapshotter=snapshotter),
        "registries/_default/hosts.toml": configuration.registries(),
        f"registries/{LOCAL_REGISTRY}/hosts.toml": configuration.local_registry(),
        "cni/10-bridge.conflist": configuration.cni(layout),
        "kubelet.json": configuration.kubelet(layout),
        "kube-proxy.json": configuration.kube_proxy(layout),
        "kernel.json": json.dumps(_kernel_settings()),
        "boot.json": json.dumps(
            {
                "hostname": layout.hostname,
                "containerd_socket": str(layout.containerd_socket),
                "daemons": [[each.name, each.command] for each in configuration.daemons(layout, programs)],
            }
        ),
    }
    for file_name, content in files.items():
        (home / file_name).write_text(content)


def _kernel_settings() -> dict[str, str]:
    """Return the settings as they were before the first of the nodes that run now."""
    for other in all_nodes():
        settings: dict[str, str] = json.loads((other.layout.home / "kernel.json").read_text())
        return settings
    return kernel.settings()


def _write_kubeconfig(layout: Layout, file_name: str, user: Mapping[str, str]) -> None:
    content = kubeconfig.document(layout.server, layout.pki / "ca.crt", user, context=layout.context)
    kubeconfig.write(layout.home / f"{file_name}.kubeconfig", content)


def _start_init(layout: Layout) -> Process:
    with (layout.logs / "init.log").open("ab") as log:
        unshare = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--propagation=private",
             sys.executable, "-I", init.__file__, str(layout.home)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the node outlives the command that starts it
            cwd="/",
        )  # fmt: skip  # one command line
    # Collects it at the node's end where this process is still there then.
    threading.Thread(target=unshare.wait, daemon=True).start()
    process = _first_child(unshare)
    NodeRecord(layout, process).write()
    network.connect(layout, process.pid)
    assert unshare.stdin is not None  # opened as a pipe above
    unshare.stdin.write(b"go\n")
    unshare.stdin.close()
    return process


def _first_child(parent: subprocess.Popen[bytes]) -> Process:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + _INIT_WITHIN_SECONDS
    while time.monotonic() < deadline and parent.poll() is None:
        found = children.read_text().split()
        if found:
            return Process.of(int(found[0]))
        time.sleep(_POLL_SECONDS)
    parent.kill()
    raise ClusterError("the node's namespaces could not be made; the machine may forbid it")


def _load(layout: Layout, process: Process, archives: list[Path]) -> None:
    containerd.wait(layout, process, _CONTAINERD_WITHIN_SECONDS)
    for archive in archives:
        containerd.load(layout, archive)


def _remove(record: NodeRecord) -> None:
    layout = record.layout
    if not record.init.kill(_KILL_WITHIN_SECONDS):
        raise ClusterError(
            f"process {record.init.pid} of node {layout.name} did not end within {_KILL_WITHIN_SECONDS:.0f} s; "
            f"look for processes in state D with `ps -eo pid,stat,cmd`"
        )
    network.disconnect(layout)
    cgroups.remove(layout.cgroup)
    others = [other for other in all_nodes() if other.layout != layout]
    if not others:
        kernel.restore(json.loads((layout.home / "kernel.json").read_text()))
        kernel.remove_empty_folders(init.COVERED)
    shutil.rmtree(layout.home)


def _abandon(layout: Layout) -> None:
    """Remove a node in whatever state it is, also one that has no record yet or none any more."""
    record = NodeRecord.read(layout.name)
    if record is not None:
        _remove(record)
    else:
        cgroups.remove(layout.cgroup)
        shutil.rmtree(layout.home, ignore_errors=True)


def _save_logs(layout: Layout) -> Path:
    saved = paths.cache_home() / "failed" / layout.name
    shutil.rmtree(saved, ignore_errors=True)
    for folder in (layout.logs, layout.pod_logs):
        if folder.exists():
            shutil.copytree(folder, saved / folder.name, symlinks=True)
    return saved
