"""Changes of a server's models: what is deployed, and the requests over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.authoring.file import OCTETS, File
from pillion.client.exchange import Part, Request, posted
from pillion.client.uploads import Upload
from pillion.client.values import json_text
from pillion.storage.uri import is_uri

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from pillion.client.services import Progress

__all__ = ["Deployment", "deployment", "undeployment"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model to be deployed: a file or folder of this machine, a storage URI, or a version of the store.

    Raises:
        ValueError: not exactly one of source and version.
    """

    name: str
    source: str | os.PathLike[str] | None
    version: str | None
    format: str | None = None
    digest: str | None = None
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if (self.source is None) == (self.version is None):
            raise ValueError("name what to deploy: source, a file, a folder or a storage URI; or version")

    @property
    def uri(self) -> str | None:
        """The source, where it is a storage URI."""
        return str(self.source) if self.source is not None and is_uri(str(self.source)) else None

    def files(self) -> list[tuple[str, Path]]:
        """The files of this machine, by the names that they have for the server.

        Raises:
            FileNotFoundError: there are none.
        """
        root = Path(self.source or "").expanduser()
        paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        if not paths:
            raise FileNotFoundError(f"source: {root}: no such file, or a folder without files")
        return [(path.name if path == root else path.relative_to(root).as_posix(), path) for path in paths]


def deployment(what: Deployment, progress: Progress | None = None) -> Request:
    """Deploy it; files are read as they are sent, of which ``progress`` is told.

    Raises:
        FileNotFoundError: there are no such files.
    """
    given = (("format", what.format), ("digest", what.digest), ("metadata", what.metadata))
    fields: dict[str, object] = {"model_id": what.name} | {key: value for key, value in given if value}
    if what.source is None:
        return posted("/management/models", fields | {"version": what.version})
    if what.uri is not None:
        return posted("/management/models", fields | {"storage_uri": what.uri})
    files = what.files()
    form = [Part(key, json_text(value).encode(), None, "text/plain") for key, value in fields.items()]
    form += [Part("model_files", File(path), name, OCTETS) for name, path in files]
    return Request("POST", "/management/models", form=tuple(form), upload=Upload(progress))


def reconfiguration(name: str, config: Mapping[str, object], version: str | None) -> Request:
    """Give a model that serves another config."""
    body: dict[str, object] = {"model_id": name, "config": dict(config)}
    return posted("/management/config", body | ({} if version is None else {"version": version}), idempotent=True)


def undeployment(name: str, *, purge: bool) -> Request:
    """Take a model out of service; ``purge`` removes its versions from the store, too."""
    query = (("model_id", name),) + ((("purge", "true"),) if purge else ())
    return Request("DELETE", "/management/models", query, idempotent=True)
