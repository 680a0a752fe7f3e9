"""KServe's own files at one released version: CRDs, serving runtimes, samples. They are read where they lie.

They come from KServe's Go module, by its checksum, into the user's cache; nothing of them is in this repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from e2e.harness.go_source import folder_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.harness.manifests import Manifest

VERSION = "v0.17.0"
_MODULE = f"github.com/kserve/kserve@{VERSION}"
_CHECKSUM = "h1:IaynaBFzVQz1Xyrw5n3ncqzd5Y7L1RkO+YWvVwwtMQE="


def folder() -> Path:
    """Return the folder with KServe's files, downloaded on first use."""
    return folder_of("kserve", _MODULE, _CHECKSUM)


def definitions() -> list[Path]:
    """Return the files of KServe's CRDs that have the kinds of ours: services and serving runtimes."""
    full = folder() / "config" / "crd" / "full"
    return [
        full / f"serving.kserve.io_{kind}.yaml"
        for kind in ("inferenceservices", "servingruntimes", "clusterservingruntimes")
    ]


def sample(path: str) -> Path:
    """Return a file of KServe's samples by its path below `docs/samples`."""
    return folder() / "docs" / "samples" / path


def runtime(name: str) -> Path:
    """Return the file of one of KServe's serving runtimes."""
    return folder() / "config" / "runtimes" / f"{name}.yaml"


@dataclass(frozen=True, slots=True)
class Converted:
    """What `pillion convert` printed."""

    objects: list[Manifest]
    remarks: str


def convert(*files: Path) -> Converted:
    """Convert the files as they stand with the command line."""
    flags = [f"--file={file}" for file in files]
    done = subprocess.run(
        [sys.executable, "-m", "pillion.cli.main", "convert", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Converted([document for document in yaml.safe_load_all(done.stdout) if document], done.stderr)


def request(path: str) -> Any:  # noqa: ANN401  # JSON
    """Return the body of a request that stands beside a sample."""
    return json.loads(sample(path).read_text())
