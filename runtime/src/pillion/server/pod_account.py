"""The API server of the cluster that the pod is in, asked with the pod's own ServiceAccount.

Source: Kubernetes, "Accessing the Kubernetes API from a Pod".
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACCOUNT", "PodAccount"]

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its token."""
_SECONDS: Final = 5.0


class PodAccount:
    """The token is read anew each time: the kubelet renews it.

    Args:
        account: the folder with `token`, `ca.crt` and `namespace`.
        environ: tells where the API server is.

    Raises:
        OSError: this is no pod with a ServiceAccount's token.
        ssl.SSLError: its certificate cannot be read.
    """

    def __init__(self, account: Path = ACCOUNT, environ: Mapping[str, str] = os.environ) -> None:
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise FileNotFoundError("KUBERNETES_SERVICE_HOST is not set")
        self.namespace = (account / "namespace").read_text(encoding="utf-8").strip()
        self._token = account / "token"
        self._token.read_text(encoding="utf-8")
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        address = f"[{host}]" if ":" in host else host
        # No proxy of the environment stands between a pod and its API server.
        self._client = httpx.AsyncClient(
            base_url=f"https://{address}:{port}", verify=context, timeout=_SECONDS, trust_env=False
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        """One request, whatever it is answered.

        Raises:
            OSError: there is no token.
            httpx.HTTPError: there is no answer.
        """
        own = (await asyncio.to_thread(self._token.read_text, encoding="utf-8")).strip()
        headers = {"Authorization": f"Bearer {own}", "Content-Type": content_type}
        content = None if body is None else orjson.dumps(body)
        return await self._client.request(method, path, content=content, params=params, headers=headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
