"""etcd and kube-apiserver on loopback: all of Kubernetes that an integration test needs.

    with ControlPlane() as control_plane:
        run(["kubectl", "--kubeconfig", control_plane.kubeconfig, "get", "namespaces"])

It needs no root, no containers and about six seconds; nothing runs in it, so Deployments make no
pods unless controllers are asked for, and pods stay Pending.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from e2e.cluster.node import etcd, gotools, kubeconfig, ports
from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.guardian import Guardian
from e2e.cluster.node.pki import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_READY_WITHIN_SECONDS = 180.0
_STOP_WITHIN_SECONDS = 5.0
_POLL_SECONDS = 0.05
#: The garbage of Go programs is collected a quarter as often, as long as they are not large: a third of their time.
_COLLECTION = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}

#: What `controllers` takes to have owner references and namespaces collected.
GARBAGE_COLLECTION = ("garbage-collector-controller", "namespace-controller")

#: What `controllers` takes to have HorizontalPodAutoscalers decide, once there are metrics.
AUTOSCALING = ("horizontal-pod-autoscaler-controller",)

#: What `controllers` takes to have a Deployment make ReplicaSets and Pods (that nothing runs).
WORKLOADS = (*GARBAGE_COLLECTION, "deployment-controller", "replicaset-controller")


class ControlPlane:
    """One etcd and one kube-apiserver with RBAC, in a temporary folder and on free ports.

    Everything it starts is killed and its folder removed even when this process is killed.
    """

    def __init__(
        self,
        *,
        controllers: Sequence[str] = (),
        apiserver_flags: Sequence[str] = (),
        controller_flags: Sequence[str] = (),
    ) -> None:
        """Describe a control plane; nothing is started yet.

        `controllers` are names of kube-controller-manager's controllers, such as
        `GARBAGE_COLLECTION`; without any, it is not started. `apiserver_flags` and
        `controller_flags` come last on the command lines.
        """
        self._controllers = tuple(controllers)
        self._flags = tuple(apiserver_flags)
        self._controller_flags = tuple(controller_flags)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> Self:
        """Start everything and return once the server is ready.

        Missing binaries are built first (minutes, once). Raises ClusterError with the end of the
        log where a part does not become ready.
        """
        self._binaries = _binaries(with_controllers=bool(self._controllers))
        self.directory = Path(tempfile.mkdtemp(prefix="pillion-control-plane-"))
        self._guardian = Guardian(self.directory)
        try:
            self._authority = CertificateAuthority(self.directory / "pki")
            self.ca_certificate = self._authority.root.certificate
            self._etcd_port, peer_port, self._port = ports.free_ports(3)
            self.url = f"https://127.0.0.1:{self._port}"
            self._admin = self._authority.issue("admin", "admin", organizations=["system:masters"])
            self.kubeconfig = self._write_kubeconfig("admin", kubeconfig.certificate_user(self._admin))
            self._serving = self._authority.issue(
                "apiserver",
                "kube-apiserver",
                alternative_names=["DNS:localhost", "DNS:kubernetes.default.svc", "IP:127.0.0.1"],
            )
            self._service_account_key = self._authority.signing_key("service-accounts")
            arguments = etcd.arguments(self.directory / "etcd", client_port=self._etcd_port, peer_port=peer_port)
            self._run("etcd", self._binaries["etcd"], arguments)
            self.start_apiserver()
            if self._controllers:
                self._start_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything, in the reverse order of its start, and remove the folder.

        At once: what they would write on a graceful end is removed with the folder.
        """
        for name in reversed(list(self._running)):
            self._running[name].kill()
            self._collect(name)
        self._guardian.close()

    def start_apiserver(self) -> None:
        """Start kube-apiserver on the port it had before, and wait until it is ready."""
        self._run("kube-apiserver", self._binaries["kube-apiserver"], self._apiserver_arguments())
        self._wait_until_ready()

    def stop_apiserver(self) -> None:
        """Stop kube-apiserver alone, as a restart of the control plane does; the data stays.

        It is given five seconds: with a watch open it would wait for a minute.
        """
        process = self._running["kube-apiserver"]
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._collect("kube-apiserver")

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig of another user, by a client certificate; RBAC gives it its rights.

        `system:authenticated` comes by itself.
        """
        file_name = f"user-{len(list(self.directory.glob('*.kubeconfig')))}"
        pair = self._authority.issue(file_name, user, organizations=groups)
        return self._write_kubeconfig(file_name, kubeconfig.certificate_user(pair))

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig of a service account that exists, by a token good for an hour."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )
        token = json.loads(answer)["status"]["token"]
        return self._write_kubeconfig(f"{namespace}.{name}", kubeconfig.token_user(token))

    def kubectl(self, *arguments: str, stdin: str | None = None, user: Path | None = None) -> str:
        """Run kubectl and return its standard output; `user` is another user's kubeconfig.

        Raises subprocess.CalledProcessError, with what it said on `stderr`, where it fails.
        """
        return subprocess.run(
            [self._binaries["kubectl"], "--kubeconfig", user or self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def request(self, method: str, path: str, body: Mapping[str, object] | None = None) -> str:
        """Send one request to the server as the administrator and return the body of the answer.

        Raises urllib.error.URLError (HTTPError for an answer that is not a success).
        """
        context = ssl.create_default_context(cafile=str(self.ca_certificate))
        context.load_cert_chain(self._admin.certificate, self._admin.key)
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        # Never by way of a proxy: the server is on loopback.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=60) as response:
            content: bytes = response.read()
        return content.decode()

    def create_namespace(self, name: str) -> None:
        """Create a namespace: at once, where a start of kubectl takes a tenth of a second of a processor."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def log(self, name: str) -> str:
        """Return what `etcd`, `kube-apiserver` or `kube-controller-manager` has logged so far."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _apiserver_arguments(self) -> list[str]:
        # The ServiceAccount plugin refuses pods until a controller has made the default account.
        disabled = [] if self._controllers else ["--disable-admission-plugins=ServiceAccount"]
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self.ca_certificate}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._service_account_key}",
            f"--service-account-signing-key-file={self._service_account_key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged",
            # The endpoint of the `kubernetes` Service may not be a loopback address, and nothing
            # looks for one here.
            "--endpoint-reconciler-type=none",
            *disabled,
            *self._flags,
        ]

    def _start_controllers(self) -> None:
        pair = self._authority.issue("controllers", "system:kube-controller-manager")
        config = self._write_kubeconfig("controllers", kubeconfig.certificate_user(pair))
        self._run(
            "kube-controller-manager",
            self._binaries["kube-controller-manager"],
            [
                f"--kubeconfig={config}",
                f"--controllers={','.join((*self._controllers, 'serviceaccount-controller'))}",
                f"--service-account-private-key-file={self._service_account_key}",
                f"--root-ca-file={self.ca_certificate}",
                "--use-service-account-credentials",
                "--leader-elect=false",
                "--secure-port=0",
                # How soon the garbage collector learns of a new custom resource is not settable;
                # how many objects it and the others handle at a time is.
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                *self._controller_flags,
            ],
        )

    def _write_kubeconfig(self, name: str, user: Mapping[str, str]) -> Path:
        content = kubeconfig.document(self.url, self.ca_certificate, user, context="pillion-integration")
        return kubeconfig.write(self.directory / f"{name}.kubeconfig", content)

    def _run(self, name: str, program: Path, arguments: Sequence[str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [program, *arguments],
                env=_COLLECTION | os.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guardian.watch(process.pid)
        self._running[name] = process

    def _collect(self, name: str) -> None:
        process = self._running.pop(name)
        process.wait()
        self._guardian.forget(process.pid)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        reason = "no answer"
        while time.monotonic() < deadline:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise ClusterError(
                        f"{name} ended with status {process.returncode}; its last lines:\n"
                        + "\n".join(self.log(name).splitlines()[-15:])
                    )
            try:
                self.request("GET", "/readyz")
            except (OSError, urllib.error.URLError) as error:
                reason = str(error)
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise ClusterError(
            f"kube-apiserver was not ready within {_READY_WITHIN_SECONDS:.0f} s ({reason}); "
            "its last lines:\n" + "\n".join(self.log("kube-apiserver").splitlines()[-15:])
        )


def _binaries(*, with_controllers: bool) -> dict[str, Path]:
    """Return the programs by name: those of `KUBEBUILDER_ASSETS` where set, else our own builds."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    found = {"etcd": etcd.program()}
    wanted = ["kube-apiserver", "kubectl"]
    if assets:
        found |= {name: Path(assets, name) for name in wanted if Path(assets, name).exists()}
    if with_controllers:
        wanted.append("kube-controller-manager")
    return found | gotools.ensure([name for name in wanted if name not in found])
