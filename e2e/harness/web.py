"""A web server in the cluster, with files that models are fetched from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.harness import manifests

if TYPE_CHECKING:
    from e2e.harness import models
    from e2e.harness.stage import Stage

__all__ = ["serve_files"]

_PORT: Final = 8080


def serve_files(stage: Stage, **files: models.Artifact) -> str:
    """Start a web server with a folder for each file; its address."""
    for name, artifact in files.items():
        stage.apply(manifests.config_map(name, artifact))
    image = stage.target.image("client")
    command = ["python3", "-m", "http.server", str(_PORT), "--directory", "/srv"]
    served = {name: f"/srv/{name}" for name in files}
    stage.apply(
        manifests.pod("web", image, command, config_maps=served, ports=[_PORT]), manifests.service("web", _PORT)
    )
    stage.target.kubectl("wait", "pod/web", f"--namespace={stage.namespace}", "--for=condition=Ready", "--timeout=60s")
    return f"http://web.{stage.namespace}.svc.cluster.local:{_PORT}"
