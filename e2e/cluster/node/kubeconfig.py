"""kubeconfig files, written as JSON, which every client reads because JSON is YAML."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from e2e.cluster.node.pki import KeyPair


def certificate_user(pair: KeyPair) -> dict[str, str]:
    """Return the `user` entry that authenticates with a client certificate, embedded."""
    return {
        "client-certificate-data": _base64(pair.certificate),
        "client-key-data": _base64(pair.key),
    }


def token_user(token: str) -> dict[str, str]:
    """Return the `user` entry that authenticates with a bearer token."""
    return {"token": token}


def document(server: str, ca_certificate: Path, user: Mapping[str, str], *, context: str) -> dict[str, object]:
    """Return a kubeconfig with one cluster, one user and one context, which is the current one."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _base64(ca_certificate),
                },
            }
        ],
        "users": [{"name": context, "user": dict(user)}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }


def write(path: Path, content: Mapping[str, object]) -> Path:
    """Write a kubeconfig that only its owner can read, and return its path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
