"""A registry that nobody here wrote, a client of it that nobody here wrote, and a base to build on."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.node import gotools
from tests.integration.server.process import environment
from tests.registry import registry
from tests.unit.cli.command import PILLION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SERVICE = """from pillion import Model, task

class Mood(Model):
    def load(self):
        self.score = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> int:
        return sum(self.score.get(word, 0) for word in text.split())
"""
#: bcrypt of "secret", as `htpasswd -nbB ann secret` writes it.
HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


def environ(folder: Path, **extra: str) -> dict[str, str]:
    """An environment whose caches and logins are the test's own."""
    return environment(
        XDG_CACHE_HOME=str(folder / "cache"), DOCKER_CONFIG=str(folder / "docker"), NO_COLOR="1", **extra
    )


def pillion(*arguments: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The command line, to its end; a traceback is never an answer."""
    done = subprocess.run(
        [*PILLION, *arguments], cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=100, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@dataclass(frozen=True, slots=True)
class Project:
    """A project's folder, the base it is built on, and the environment of its author."""

    folder: Path
    base: Path
    env: Mapping[str, str]

    def builds(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `pillion build` in the folder."""
        return pillion("build", "--base", str(self.base), *arguments, cwd=self.folder, env=self.env)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A class, a base for both platforms, and nothing cached."""
    folder = tmp_path / "mood"
    folder.mkdir()
    (folder / "service.py").write_text(SERVICE)
    return Project(folder, write_base(tmp_path / "base"), environ(tmp_path))


def write_base(folder: Path, entry: tuple[str, ...] = ("python", "-m", "pillion.server")) -> Path:
    """An OCI layout of an image for amd64 and arm64, each with one layer; written without our code."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    manifests = []
    for architecture in ("amd64", "arm64"):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as archive:
            member = tarfile.TarInfo("etc/os-release")
            member.size = len(architecture)
            archive.addfile(member, io.BytesIO(architecture.encode()))
        layer = put(gzip.compress(plain.getvalue(), mtime=0), "layer.v1.tar+gzip")
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"User": "65532:0", "Entrypoint": [*entry], "Env": ["PATH=/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"]},
        }
        described = put(json.dumps(config).encode(), "config.v1+json")
        manifest = {"schemaVersion": 2, "config": described, "layers": [layer]}
        platform = {"os": "linux", "architecture": architecture}
        manifests.append(put(json.dumps(manifest).encode(), "manifest.v1+json") | {"platform": platform})
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that everybody may read and write."""
    with registry(tmp_path_factory.mktemp("registry") / "open") as started:
        yield started


@pytest.fixture(scope="session")
def crane() -> Path:
    """A client of registries."""
    return gotools.ensure(["crane"])["crane"]
