"""A server that speaks the protocol of the Hugging Face Hub, and a store that it redirects to for large files.

The hub itself is not reachable from where tests run. That this one answers as the hub does is held by its own client:
`tests/backends/test_hub.py` fetches from here with the package `huggingface_hub`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.storage.faultyserver import Fault

if TYPE_CHECKING:
    from tests.integration.storage.faultyserver import FaultyServer, Resource

__all__ = ["Hub"]

_JSON = {"Content-Type": "application/json"}
_LARGE = 1000
"""From so many bytes on a file is kept in the store."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Models on `server`, their large files on `store`."""

    server: FaultyServer
    store: FaultyServer

    @property
    def environment(self) -> dict[str, str]:
        """What leads a client here."""
        return {"HF_ENDPOINT": self.server.url()}

    def put(self, model: str, files: dict[str, bytes], *, revision: str = "main", token: str | None = None) -> str:
        """Make a commit of these files the newest of a branch; its name."""
        commit = hashlib.sha1(repr((model, sorted(files.items()))).encode()).hexdigest()
        entries: list[dict[str, object]] = []
        for name, data in files.items():
            entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": _blob(data)}
            sha256 = hashlib.sha256(data).hexdigest()
            path = f"/{model}/resolve/{commit}/{name}"
            headers = {"X-Repo-Commit": commit}
            if len(data) >= _LARGE:
                entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
                self.store.put(f"/blobs/{sha256}", data, etag='"of-the-store"')
                headers |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{sha256}"'}
                redirect = f"{self.store.url(f'/blobs/{sha256}')}?signature=5ecret"
                self.server.put(path, b"", headers=headers, redirect=redirect, token=token)
            else:
                self.server.put(path, data, etag=f'"{_blob(data)}"', headers=headers, token=token)
            entries.append(entry)
        about = f"/api/models/{model}"
        told = json.dumps({"id": model, "modelId": model, "sha": commit}).encode()
        for named in (revision, commit):
            self.server.put(f"{about}/revision/{named}", told, headers=_JSON, token=token)
        # In two pages: the second is at an address that the first one's Link header names.
        middle = len(entries) // 2
        further = f"{about}/tree/{commit}/further"
        link = {"Link": f'<{self.server.url(further)}?cursor=1>; rel="next"'}
        self.server.put(
            f"{about}/tree/{commit}", json.dumps(entries[:middle]).encode(), headers=_JSON | link, token=token
        )
        self.server.put(further, json.dumps(entries[middle:]).encode(), headers=_JSON, token=token)
        return commit

    def refuse(self, model: str, code: str, status: int = 401) -> Resource:
        """Answer requests for a model as the hub does that does not give it, with one of its error codes."""
        listing = self.server.put(f"/api/models/{model}/revision/main", b"")
        listing.faults.append(Fault(status=status, headers={"X-Error-Code": code}))
        return listing


def _blob(data: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
