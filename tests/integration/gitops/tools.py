"""What GitOps tools make of objects: asked of their own code, built from Go modules."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster.node import gotools
from e2e.harness.go_source import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ARGOCD", "Judgement", "argo", "argo_of_kserve", "build", "flux", "kstatus"]

_REPOSITORY = Path(__file__).parents[3]
ARGOCD = _REPOSITORY / "config" / "argocd"
GUIDE = _REPOSITORY / "docs" / "how-to" / "gitops.md"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a tool says of an object."""

    status: str
    message: str


def build() -> None:
    """Build all of them now, where a test must not wait for that in its middle."""
    gotools.ensure(["kstatus", "flux-health", "argo-health"])


def kstatus(*objects: dict[str, Any]) -> list[Judgement]:
    """Ask the library of Flux, kpt and Helm 4."""
    return _ask([str(gotools.ensure(["kstatus"])["kstatus"])], objects)


def argo(kind: str, *objects: dict[str, Any]) -> list[Judgement]:
    """Run our health script of the kind in Argo CD's interpreter."""
    script = ARGOCD / f"{kind.lower()}.lua"
    return _ask([str(gotools.ensure(["argo-health"])["argo-health"]), str(script)], objects)


def argo_of_kserve(*objects: dict[str, Any]) -> list[Judgement]:
    """Run the rule for KServe's InferenceServices that Argo CD itself comes with."""
    module = "github.com/argoproj/argo-cd/v3@v3.2.1"
    folder = folder_of("argo-cd", module, "h1:rvrkW/JdH4V+xJgNDZI9wa/Ygd+fWoGbd1rAhvno22c=")
    script = folder / "resource_customizations" / "serving.kserve.io" / "InferenceService" / "health.lua"
    return _ask([str(gotools.ensure(["argo-health"])["argo-health"]), str(script)], objects)


def flux(*objects: dict[str, Any]) -> list[Judgement]:
    """Run the guide's expressions in Flux' own evaluator."""
    (written,) = re.findall(r"```yaml\n(healthCheckExprs:\n.*?)```", GUIDE.read_text(), re.DOTALL)
    (expressions,) = yaml.safe_load(written)["healthCheckExprs"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(expressions, file)
        file.flush()
        return _ask([str(gotools.ensure(["flux-health"])["flux-health"]), file.name], objects)


def _ask(command: list[str], objects: Iterable[dict[str, Any]]) -> list[Judgement]:
    told = "\n".join(json.dumps(found) for found in objects)
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Judgement(**json.loads(line)) for line in done.stdout.splitlines()]
