"""Waits for what the API server does a moment after it has answered."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster.node.apiserver import ControlPlane
    from pillion.resources.crd import Kind

_WITHIN_SECONDS = 30.0
_POLL_SECONDS = 0.05


def wait_until_established(control_plane: ControlPlane, kind: Kind) -> None:
    """Return once the API server serves the kind.

    `kubectl wait` is of no use for this: it fails at once while the definition has no conditions yet.
    """
    deadline = time.monotonic() + _WITHIN_SECONDS
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.crd_name}"
    while True:
        conditions = json.loads(control_plane.request("GET", path)).get("status", {}).get("conditions") or []
        if {"type": "Established", "status": "True"}.items() <= _by_type(conditions).get("Established", {}).items():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{kind.crd_name} was not established within {_WITHIN_SECONDS:.0f} s: {conditions}")
        time.sleep(_POLL_SECONDS)


def eventually(kubectl: Callable[[], str]) -> str:
    """Return what kubectl prints once it succeeds; raise its last failure after the deadline."""
    deadline = time.monotonic() + _WITHIN_SECONDS
    while True:
        try:
            return kubectl()
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _by_type(conditions: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {condition["type"]: condition for condition in conditions}
