"""The routes of model management, called over HTTP."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from pillion.cli.failures import CommandError
from pillion.cli.http_answers import document, key_header, on_this_machine, told
from pillion.cli.predict_rest import trusted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Client"]


class Client:
    """One server.

    Args:
        url: where it is.
        ca: who signed its certificate, where that is nobody the system knows.
        cert: who we are, where it wants to know.
        key: the key of that.
        timeout: seconds for an answer.
    """

    def __init__(self, url: str, ca: Path | None, cert: Path | None, key: Path | None, timeout: float) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._client = httpx.Client(timeout=timeout, verify=trusted(ca, cert, key), trust_env=not on_this_machine(url))

    def models(self, *names: str) -> list[dict[str, Any]]:
        """What the server tells of its models.

        Raises:
            CommandError: it cannot be asked, or refuses.
        """
        answer = self._ask("GET", "/info/models", params={"model_ids": list(names)})
        models: list[dict[str, Any]] = answer["models"]
        return models

    def deploy(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Deploy what the server fetches or has.

        Raises:
            CommandError: as above.
        """
        return self._ask("POST", "/management/models", json=dict(body))

    def upload(self, fields: Mapping[str, Any], source: str) -> dict[str, Any]:
        """Deploy a file or a folder of this machine; large ones are sent piece by piece.

        Raises:
            CommandError: as above, and where there are no such files.
        """
        root = Path(source).expanduser()
        if not root.exists():
            raise CommandError(f"{source}: no such file", code=2)
        paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        if not paths:
            raise CommandError(f"{source}: has no files in it", code=2)
        data = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        with contextlib.ExitStack() as opened:
            files = [
                (
                    "model_files",
                    (
                        path.name if path == root else path.relative_to(root).as_posix(),
                        opened.enter_context(path.open("rb")),
                    ),
                )
                for path in paths
            ]
            return self._ask("POST", "/management/models", data=data, files=files)

    def undeploy(self, name: str, *, purge: bool) -> None:
        """Take a model out of service.

        Raises:
            CommandError: as above.
        """
        self._ask("DELETE", "/management/models", params={"model_id": name} | ({"purge": "true"} if purge else {}))

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's own arguments
        headers = key_header("PILLION_MANAGEMENT__TOKEN", "PILLION_API_KEY")
        with told(self._url, self._timeout):
            response = self._client.request(method, self._url + path, headers=headers, **content)
        return document(response)
