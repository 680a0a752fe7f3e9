"""Who we are to a registry: what `docker login` left in Docker's configuration, credential helpers included."""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.oci.content import Document, parsed
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Credentials", "configuration_file", "credentials_in", "find_credentials"]

_HUB: Final = "docker.io"
_HUB_KEY: Final = "https://index.docker.io/v1/"
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a name, no secret
"""The user name by which a credential helper says that the secret is an identity token."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name with a password, or an identity token in place of both."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Credentials({self.username!r})"

    @property
    def basic(self) -> str:
        """The header of the Basic scheme."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def configuration_file(environ: Mapping[str, str]) -> Path:
    """Where Docker keeps its configuration."""
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path(environ.get("HOME", "~")).expanduser() / ".docker") / "config.json"


def find_credentials(registry: str, environ: Mapping[str, str]) -> Credentials | None:
    """What Docker's configuration has for the registry; None where nobody has logged in there.

    Raises:
        ImageError: the configuration cannot be read, or its helper fails.
    """
    file = configuration_file(environ)
    return credentials_in(file, registry, environ) if file.is_file() else None


def credentials_in(file: Path, registry: str, environ: Mapping[str, str]) -> Credentials | None:
    """What one such file has for the registry.

    Raises:
        ImageError: it cannot be read, or its helper fails.
    """
    try:
        document = parsed(file.read_bytes(), str(file))
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror or error}") from None
    keys = (_HUB_KEY, "index.docker.io", _HUB) if registry == _HUB else (registry, f"https://{registry}")
    helper = _text(_object(document, "credHelpers"), *keys) or _text(document, "credsStore")
    if helper:
        return _asked(helper, keys[0], environ)
    entries = _object(document, "auths")
    entry = next((entries[key] for key in keys if isinstance(entries.get(key), dict)), None)
    return None if entry is None else _read(entry, file, registry)


def _object(document: Document, key: str) -> Document:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _text(document: Document, *keys: str) -> str:
    return next((str(document[key]) for key in keys if document.get(key)), "")


def _read(entry: Document, file: Path, registry: str) -> Credentials | None:
    if entry.get("identitytoken"):
        return Credentials(identity_token=str(entry["identitytoken"]))
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password", "")))
    if not entry.get("auth"):
        return None
    try:
        user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ImageError(f"{file}: auths.{registry}.auth is not base64: log in again") from None
    return Credentials(user, password.rstrip("\0"))


def _asked(helper: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user's configuration names
            [program, "get"], input=key, env=dict(environ), capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{program}, which Docker's configuration names, cannot be asked: {error}") from None
    if done.returncode != 0:
        if "not found" in done.stdout + done.stderr:
            return None
        raise ImageError(f"{program} fails: {(done.stdout + done.stderr).strip()}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ImageError(f"{program} answers what is no credential") from None
    return Credentials(identity_token=secret) if user == _TOKEN_USER else Credentials(user, secret)
