"""Settings of a fetch, each with its default, its environment variable and its flag.

Flags win over the environment, the environment over the defaults. The environment variable of a setting is
``PILLION_STORAGE_`` and its name in capitals; the flag is ``--`` and its name with dashes. Credentials and endpoints
are not here: they come from the providers' own variables, see `pillion.storage.credentials`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pillion.storage.digest import parse_digest
from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ENVIRONMENT_PREFIX", "FetchOptions", "Setting", "settings"]

ENVIRONMENT_PREFIX: Final = "PILLION_STORAGE_"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def _setting(default: object, meaning: str, read: Callable[[str], object]) -> Any:  # noqa: ANN401  (a dataclass field takes the type of its annotation, as dataclasses.field does)
    return field(default=default, metadata={"meaning": meaning, "read": read})


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError("neither true nor false")
    return lowered in _TRUE


def _byte_count(text: str) -> int:
    """A number of bytes: ``5000``, ``10Gi``, ``500M``."""
    units = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    for unit in sorted(units, key=len, reverse=True):
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * units[unit])
    return int(text)


def _reuse(text: str) -> str:
    if text not in {"always", "revalidate", "never"}:
        raise ValueError("not one of always, revalidate, never")
    return text


def _hub_files(text: str) -> str:
    if text not in {"needed", "all"}:
        raise ValueError("neither needed nor all")
    return text


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(":") if part)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if any("/" in name for name in names):
        raise ValueError("a host has no '/' in it")
    return names


def _path(text: str) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to fetch an artifact; the meaning of each field is in its metadata and in ``--help``."""

    digest: str | None = _setting(None, "expected digest, sha256:<hex>; a digest in the URI must agree", parse_digest)
    max_bytes: int = _setting(
        0, "largest artifact, downloaded and unpacked, in bytes (Ki Mi Gi Ti allowed); 0: no cap", _byte_count
    )
    max_files: int = _setting(20_000, "most files in one artifact", int)
    max_unpack_ratio: float = _setting(
        100.0, "most bytes unpacked for each byte of an archive; 64 MiB are always allowed", float
    )
    unpack: bool = _setting(True, "unpack .tar .tar.gz .tgz .zip, and do not keep the archive", _boolean)
    stall_seconds: float = _setting(60.0, "give a connection up after so many seconds without a byte", float)
    connect_seconds: float = _setting(10.0, "give an attempt to connect up after so many seconds", float)
    attempts: int = _setting(5, "tries in a row that bring less than 8 MiB before giving up", int)
    backoff_seconds: float = _setting(0.5, "pause before the second try; doubles, with jitter, up to 30 s", float)
    concurrency: int = _setting(4, "files downloaded at the same time", int)
    max_redirects: int = _setting(5, "most redirects of an http(s) URI", int)
    reuse: Literal["always", "revalidate", "never"] = _setting(
        "always",
        "what to do with an intact artifact of the same URI in the destination: keep it (always), keep it if the "
        "source has not changed (revalidate), fetch again (never)",
        _reuse,
    )
    hub_files: Literal["needed", "all"] = _setting(
        "needed",
        "which files of a model of a hub: without weights in other formats beside safetensors (needed), or all",
        _hub_files,
    )
    registry_configs: tuple[Path, ...] = _setting(
        (),
        "files of Docker's configuration with logins for registries, separated by ':'; default: config.json in "
        "DOCKER_CONFIG, or in ~/.docker",
        _paths,
    )
    insecure_registries: tuple[str, ...] = _setting(
        (), "registries that are reached over plain HTTP, as host:port, separated by ','", _names
    )
    allow_private_hosts: bool = _setting(
        False,
        "allow loopback and link-local addresses (cloud metadata addresses stay forbidden); for use on one's own "
        "machine. Private networks such as 10.0.0.0/8 are always allowed",
        _boolean,
    )
    ca_bundle: Path | None = _setting(  # noqa: RUF009  (it is dataclasses.field under another name)
        None, "PEM file of further certificate authorities to trust", _path
    )
    link_root: Path | None = _setting(  # noqa: RUF009  (as above)
        None,
        "directory that symbolic links of a file: source may not leave; default: the source itself (the mount path, "
        "where a volume is mounted)",
        _path,
    )

    def __post_init__(self) -> None:
        for name, least in (
            ("max_files", 1),
            ("attempts", 1),
            ("concurrency", 1),
            ("max_bytes", 0),
            ("max_redirects", 0),
        ):
            _require(name, getattr(self, name) >= least, f"at least {least}")
        for name in ("stall_seconds", "connect_seconds", "max_unpack_ratio"):
            _require(name, 0 < getattr(self, name) < float("inf"), "a positive number")
        _require("backoff_seconds", 0 <= self.backoff_seconds <= 30, "between 0 and 30")
        if self.digest is not None:
            object.__setattr__(self, "digest", parse_digest(self.digest))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **given: object) -> Self:
        """The options that `environment` sets; `given` wins over it.

        Raises:
            StorageError: `Reason.INVALID_SETTING`, naming the variable.
        """
        values = dict(given)
        for setting in settings():
            text = environment.get(setting.variable)
            if text is not None and text != "" and setting.name not in given:
                values[setting.name] = setting.parse(text, where=setting.variable)
        return cls(**values)  # type: ignore[arg-type]  # each value was made by its own setting's reader


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of `FetchOptions`, described for documentation and command lines."""

    name: str
    default: object
    meaning: str
    read: Callable[[str], object]

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The flag of ``python -m pillion.storage``."""
        return "--" + self.name.replace("_", "-")

    def parse(self, text: str, *, where: str) -> object:
        """The value written as `text` in the flag or variable `where`.

        Raises:
            StorageError: `Reason.INVALID_SETTING`.
        """
        try:
            return self.read(text)
        except (ValueError, OverflowError) as error:
            raise StorageError(
                Reason.INVALID_SETTING,
                f"{where} is {text[:100]!r}, which is not valid",
                remedy=f"{where}: {self.meaning}",
            ) from error


def settings() -> Iterator[Setting]:
    """Every setting, in the order of `FetchOptions`."""
    for item in fields(FetchOptions):
        yield Setting(item.name, item.default, str(item.metadata["meaning"]), item.metadata["read"])


def _require(name: str, holds: bool, what: str) -> None:  # noqa: FBT001  (a condition, like assert's)
    if not holds:
        raise StorageError(Reason.INVALID_SETTING, f"the setting {name} is out of range", remedy=f"set it to {what}")
