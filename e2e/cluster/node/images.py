"""The images of the cluster: what each is made of, and how it becomes an archive."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import base_image, files, gotools, lock, paths, pip_settings, prerequisites, progress
from e2e.cluster.node.buildah import Buildah
from e2e.cluster.node.configuration import PAUSE_IMAGE
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOURCE = paths.CLUSTER_SOURCE / "images"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is built from a Dockerfile of the checkout."""

    reference: str
    dockerfile: Path
    #: The folder that COPY reads; None for a folder that holds only `programs`.
    context: Path | None = None
    #: Go tools that the Dockerfile copies by `COPY --from=tools`, or from such a context.
    programs: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    #: Further folders that COPY reads, by the name after `--from=`.
    contexts: Mapping[str, Path] = field(default_factory=dict)
    #: Whether it is made from the Python base image.
    on_base: bool = True


def _program(name: str, reference: str | None = None) -> Image:
    return Image(
        reference or f"localhost/pillion-e2e/{name}:local",
        _SOURCE / "program" / "Dockerfile",
        programs=(name,),
        arguments={"PROGRAM": name},
        on_base=False,
    )


#: Image name, as the command line takes it, to what it is.
IMAGES: Mapping[str, Image] = {
    "pause": _program("pause", PAUSE_IMAGE),
    "coredns": _program("coredns"),
    "metrics-server": _program("metrics-server"),
    "hostpath-provisioner": _program("hostpath-provisioner"),
    "operator": Image("localhost/pillion-operator:e2e", paths.REPOSITORY / "operator" / "Dockerfile", paths.REPOSITORY),
    "runtime": Image("localhost/pillion-runtime:e2e", paths.REPOSITORY / "runtime" / "Dockerfile", paths.REPOSITORY),
    **{
        f"runtime-{backend}": Image(
            f"localhost/pillion-runtime:e2e-{backend}",
            paths.REPOSITORY / "runtime" / "Dockerfile",
            paths.REPOSITORY,
            arguments={"LOCK": f"runtime-{backend}"},
        )
        for backend in ("torch", "huggingface")
    },
    "s3": Image("localhost/pillion-e2e/s3:local", _SOURCE / "s3" / "Dockerfile", programs=("rclone",), on_base=False),
    "registry": _program("registry"),
    "gcs": Image(
        "localhost/pillion-e2e/gcs:local",
        _SOURCE / "gcs" / "Dockerfile",
        programs=("fake-gcs-server",),
        on_base=False,
    ),
    "mlserver": Image(
        "localhost/pillion-e2e/mlserver:local", _SOURCE / "mlserver" / "Dockerfile", _SOURCE / "mlserver"
    ),
    "kserve": Image(
        "localhost/pillion-e2e/kserve:local",
        _SOURCE / "kserve" / "Dockerfile",
        _SOURCE / "kserve",
        contexts={"client": paths.REPOSITORY / "tests" / "conformance" / "clients" / "kserve"},
    ),
    "gateway": Image(
        "localhost/pillion-e2e/gateway:local",
        _SOURCE / "gateway" / "Dockerfile",
        _SOURCE / "gateway",
        programs=("envoy-gateway",),
    ),
    "prometheus": Image("localhost/pillion-e2e/prometheus:local", _SOURCE / "prometheus" / "Dockerfile"),
    "client": Image(
        "localhost/pillion-e2e/client:local",
        _SOURCE / "client" / "Dockerfile",
        _SOURCE / "client",
        programs=("ghz", "grpcurl", "loadgen"),
    ),
}

#: The images that a node needs in order to be ready.
SYSTEM = ("pause", "coredns", "metrics-server", "hostpath-provisioner")


def image(name: str) -> Image:
    """Return the image with that name on the command line; raises ClusterError for an unknown one."""
    if name not in IMAGES:
        raise ClusterError(f"no image is called {name!r}; there are: {', '.join(IMAGES)}")
    return IMAGES[name]


def archives() -> Path:
    """Return the folder of image archives, named after the image and a digest of its content."""
    return paths.cache_home() / "archives"


def build(name: str, *, arm64: bool = False) -> Path:
    """Build one image where something of it has changed, and return its archive.

    Raises ClusterError with the end of the builder's output where it fails, and for an image of arm64
    that holds Go programs: those are made for this machine only.
    """
    wanted = image(name)
    tag = wanted.reference
    if arm64 and wanted.programs:
        raise ClusterError(f"the image {name} holds Go programs, which are built for this machine only")
    prerequisites.require({"buildah": "buildah"}, "build images")
    programs = gotools.ensure(wanted.programs)
    turn = paths.cache_home() / ("buildah-arm64.lock" if arm64 else "buildah.lock")
    with lock.exclusive(turn, "another build of images"):
        builder = Buildah(arm64=arm64)
        if wanted.on_base:
            base_image.ensure(builder)
        with progress.step(f"build image {tag}"), contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pillion-image-")))
            tools = scratch / "tools"
            tools.mkdir()
            for program, path in programs.items():
                files.link_or_copy(path, tools / program)
            identity = builder.build(
                tag,
                wanted.dockerfile,
                wanted.context or tools,
                arguments=wanted.arguments,
                named_contexts={**({"tools": tools} if wanted.context else {}), **wanted.contexts},
                secrets=build_secrets(scratch),
            )
        kept = f"{name}-arm64" if arm64 else name
        archive = archives() / f"{kept}-{identity[:16]}.tar"
        if not archive.exists():
            archives().mkdir(parents=True, exist_ok=True)
            with progress.step(f"write archive of {tag}"):
                for outdated in archives().glob(f"{kept}-{'?' * 16}.tar"):
                    outdated.unlink()
                builder.save(tag, archive)
    return archive


def system_archives() -> list[Path]:
    """Return the archives of the node's own images, built where they are missing.

    They change only with their pins, so an archive is looked for by the binary's folder before any
    builder is asked: this keeps a warm start free of it.
    """
    found = []
    for name in SYSTEM:
        pinned = archives() / f"system-{gotools.folder(gotools.group_of(name)).name}.tar"
        if not pinned.exists():
            archive = build(name)
            files.link_or_copy(archive, pinned.with_suffix(".new"))
            pinned.with_suffix(".new").rename(pinned)
        found.append(pinned)
    return found


def build_secrets(scratch: Path) -> dict[str, Path]:
    """Write into `scratch`, and return by name, what builds mount to reach a package index."""
    listing = pip_settings.listing()
    configuration = scratch / "pip.conf"
    configuration.write_text(pip_settings.pip_configuration(listing))
    bundle = pip_settings.ca_bundle(listing)
    if bundle is None:
        raise ClusterError("this machine has no bundle of CA certificates; on Debian: apt-get install ca-certificates")
    return {"pip": configuration, "ca": bundle}
