"""Where files of declared models come from: buckets and the web, and what the server's own pod has mounted for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pillion.storage.errors import Reason, StorageError
from pillion.storage.options import FetchOptions
from pillion.storage.uri import REMOTE_SCHEMES, parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.modelsfile import DeclaredModel
    from pillion.storage.uri import StorageUri

__all__ = ["DeclaredSources", "Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """One fetch."""

    uri: StorageUri
    options: FetchOptions
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeclaredSources:
    """What a server lets declared models be fetched from.

    Attributes:
        volumes: the folder of mounted volumes, KIND/NAME; empty: there are none.
        stores: the folder of files that describe stores; empty: there are none.
        environ: settings and credentials of a fetch that names no such file.
    """

    volumes: str
    stores: str
    environ: Mapping[str, str]

    def order(self, wanted: DeclaredModel) -> Order:
        """Return how to fetch a declared model. Reads the description of its store, where it names one.

        Raises:
            StorageError: it is to come from where no declared model may, or from a store that is not described.
        """
        uri = parse_uri(wanted.uri)
        if uri.scheme == "file":
            options = FetchOptions.from_environment(
                self.environ, digest=wanted.digest or None, link_root=self._volume_of(uri)
            )
            return Order(uri, options, self.environ)
        if uri.scheme not in REMOTE_SCHEMES:
            raise _refused(uri)
        environ = self.environ
        if wanted.store:
            environ = {**environ, "STORAGE_CONFIG": self._store(wanted.store)}
            # What the process has of another store is not meant for this one.
            environ.pop("STORAGE_OVERRIDE_CONFIG", None)
            if wanted.store_parameters:
                environ["STORAGE_OVERRIDE_CONFIG"] = msgspec.json.encode(wanted.store_parameters).decode()
        return Order(uri, FetchOptions.from_environment(environ, digest=wanted.digest or None), environ)

    def _volume_of(self, uri: StorageUri) -> Path:
        """Return the volume that a file is on; links that lead out of it are not followed."""
        path, root = Path(uri.path), Path(self.volumes)
        if not self.volumes or ".." in path.parts or not path.is_relative_to(root):
            raise _refused(uri)
        volume = path.relative_to(root).parts[:2]
        if len(volume) != 2:
            raise _refused(uri)
        return root.joinpath(*volume)

    def _store(self, name: str) -> str:
        try:
            return (Path(self.stores) / name).read_text()
        except (OSError, ValueError) as error:
            raise StorageError(
                Reason.INVALID_SETTING,
                f"the description of the store {name!r} cannot be read: {error}",
                remedy="see that the Secret storage-config has that entry",
            ) from error


def _refused(uri: StorageUri) -> StorageError:
    return StorageError(
        Reason.UNSUPPORTED_SCHEME,
        f"{uri} is nothing that a running server can fetch",
        remedy=f"name one of {', '.join(sorted(REMOTE_SCHEMES))}",
    )
