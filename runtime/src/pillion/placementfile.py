"""``placement.json``: which pod of a service has which of its declared models, and where the others are found.

The operator writes it beside ``models.json`` into the same ConfigMap, so that both change at once. A runtime of an
earlier release does not look at it, and serves all models.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pillion.runtimefile import API_VERSION, Name

__all__ = ["PLACEMENT_FILE", "Peer", "Placed", "PlacementFile", "PlacementFileError", "dump", "load", "seen_of"]

PLACEMENT_FILE: Final = "placement.json"
"""The file's name, beside that of the models."""

_PodName = Annotated[str, Meta(min_length=1, max_length=253)]
_Port = Annotated[int, Meta(ge=1, le=65535)]


class PlacementFileError(ValueError):
    """The file cannot be used; the text names the field."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of the file. What a later release adds is passed over."""


class Peer(_Part, frozen=True, kw_only=True):
    """Where a pod answers; its ports are those of whoever reads it where they are not said."""

    address: Annotated[str, Meta(min_length=1, max_length=64)]
    http: _Port | None = None
    grpc: _Port | None = None


class Placed(_Part, frozen=True, kw_only=True):
    """The pods of one model."""

    pods: tuple[_PodName, ...] = ()
    """Those that are to have it."""
    until: tuple[_PodName, ...] = ()
    """Those that have it besides, until the others serve it."""
    missing: Annotated[int, Meta(ge=0)] = 0
    """Copies that no pod has room for."""
    bytes: Annotated[int, Meta(ge=0)] = 0
    """Memory that it takes, as far as is known."""
    why: str = ""
    """The sentence for what is missing."""

    @property
    def holders(self) -> tuple[str, ...]:
        """All pods that have it or are to have it, those first that have had it for longest."""
        return (*self.until, *self.pods)


class PlacementFile(_Part, frozen=True, kw_only=True):
    """The whole file."""

    api_version: Literal["runtime.pillion.dev/v1"] = API_VERSION
    pods: dict[_PodName, Peer] = {}
    """Every pod that takes part, also those that are leaving."""
    models: dict[Name, Placed] = {}


#: Made here, once: msgspec takes types apart at their first use, and two threads that do so at once crash the process.
_DECODER: Final = msgspec.json.Decoder(PlacementFile)


def load(text: bytes | str) -> PlacementFile:
    """Read the file's text.

    Raises:
        PlacementFileError: it is no JSON, or not of this schema.
    """
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # as of bytes that are no UTF-8
        raise PlacementFileError(str(error)) from error


def seen_of(text: bytes | str) -> str:
    """By which pods report the file that they follow."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def dump(file: PlacementFile) -> str:
    """The file's text, in stable order, so that equal content is equal text."""
    document = msgspec.to_builtins(file)
    document["apiVersion"] = API_VERSION
    return msgspec.json.encode(document, order="sorted").decode() + "\n"
