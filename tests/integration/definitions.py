"""Waits for what the API server does a moment after it has answered."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
from typing import TYPE_CHECKING

from pillion.resources.base import API_VERSION
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster.node.apiserver import ControlPlane
    from pillion.resources.crd import Kind

_POLL_SECONDS = 0.05


def wait_until_established(control_plane: ControlPlane, kind: Kind) -> None:
    """Return once the API server serves the kind and says so to those who ask what it serves.

    `kubectl wait` is of no use for this: it fails at once while the definition has no conditions yet.
    """
    deadline = time.monotonic() + WITHIN
    while kind.plural not in _served(control_plane):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{kind.crd_name} was not served within {WITHIN:.0f} s")
        time.sleep(_POLL_SECONDS)


def eventually(kubectl: Callable[[], str]) -> str:
    """Return what kubectl prints once it succeeds; raise its last failure after the deadline."""
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            return kubectl()
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _served(control_plane: ControlPlane) -> set[str]:
    """Return the plural names of Pillion's kinds that discovery lists."""
    try:
        answer = control_plane.request("GET", f"/apis/{API_VERSION}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return set()
        raise
    return {resource["name"] for resource in json.loads(answer)["resources"]}
