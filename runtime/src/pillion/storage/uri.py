"""Storage URIs: what users write into ``storageUri``, taken apart. Pure, standard library only.

==============================================  =====================================================================
``file:///abs/path``                            a file or a directory of this machine or of a mounted volume
``pvc://claim[/path]``                          a PersistentVolumeClaim; the operator mounts it and passes ``file:``
``configmap://name[/key]``                      a ConfigMap, or one key of it; mounted by the operator, too
``s3://bucket[/key]``                           Amazon S3 and what speaks its protocol
``gs://bucket[/key]``                           Google Cloud Storage (``gcs:`` is the same)
``az://container[/path]``                       Azure Blob Storage (``azure: abfs: abfss:`` are the same); the account
                                                by the environment, or in
                                                ``abfss://container@account.dfs.core.windows.net/path`` or
                                                ``https://account.blob.core.windows.net/container/path``
``http://host/path``, ``https://host/path``     one file; an archive is unpacked
``hf://owner/model[:revision]``                 a model of the Hugging Face Hub, or of what speaks its protocol; the
                                                revision is a branch, a tag or a commit, `main` where none is given
``oci://registry/repository[:tag][@sha256:..]``  an image with a folder ``/models``, or an artifact of a registry
                                                (``oci+fetch:`` is the same)
``models:/name/version``, ``models:/name@alias`` a version of a model that is registered with MLflow; ``models:/m-..``
                                                a model that it has logged
``runs:/run/path``                              what a run of MLflow has logged
==============================================  =====================================================================

Keys of buckets and paths in claims are taken as they stand: ``%20``, ``?`` and ``#`` are part of them. Only ``file:``,
``http:`` and ``https:`` are URLs in which ``%20`` is a blank. A trailing ``/`` means "all
objects below". Every form may end in ``#sha256:<64 hex digits>``, the digest that is then verified (see
`pillion.storage.digest`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from pillion.oci.errors import ImageError
from pillion.oci.reference import Reference
from pillion.storage.digest import parse_digest
from pillion.storage.errors import Reason, StorageError

__all__ = [
    "MLFLOW_SCHEMES",
    "REMOTE_SCHEMES",
    "SUPPORTED_SCHEMES",
    "StorageUri",
    "file_uri",
    "is_uri",
    "parse_uri",
    "redact",
]

MLFLOW_SCHEMES: Final = ("models", "runs")
"""Those that MLflow's tracking server says the place of. They have one slash: no host follows."""
SUPPORTED_SCHEMES: Final = (
    "file", "pvc", "configmap", "s3", "gs", "az", "http", "https", "hf", "oci", *MLFLOW_SCHEMES,
)  # fmt: skip
REMOTE_SCHEMES: Final = frozenset({"s3", "gs", "az", "http", "https", "hf", "oci", *MLFLOW_SCHEMES})
"""Those whose places are reached over the network, with credentials where they ask for them."""
_SAME_AS: Final = {"gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "oci+fetch": "oci"}

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_FRAGMENT_DIGEST: Final = re.compile(r"#(?:digest=)?(sha256[:=][^#/]*)$")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CONTAINER: Final = re.compile(r"\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62}")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_AZURE_HOST: Final = re.compile(r"([a-z0-9]{3,24})\.(?:blob|dfs)\.core\.windows\.net", re.IGNORECASE)
_KUBERNETES_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_CONFIGMAP_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_HUB_PART: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_HUB: Final = re.compile(rf"({_HUB_PART})/({_HUB_PART})(?::([A-Za-z0-9][A-Za-z0-9._/-]{{0,127}}))?/?")
_REGISTERED: Final = re.compile(r"(?:m-[0-9a-f]{32}|[^/@:]{1,256}/[^/@:]{1,256}|[^/@:]{1,256}@[^/@:]{1,256})")
_RUN: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,255})/(.+)")
_MAX_LENGTH: Final = 4096


@dataclass(frozen=True, slots=True)
class StorageUri:
    """A storage URI, taken apart; `str()` of it is fit for logs.

    Attributes:
        scheme: one of `SUPPORTED_SCHEMES`.
        authority: bucket, container, claim or ConfigMap name; ``host[:port]`` for http(s); the owner of a model of a
            hub; the registry of an image; empty for ``file`` and for MLflow's.
        path: key, or path, without a leading slash (with one for ``file``); a trailing slash is kept. Of a model of a
            hub ``name:revision``, of an image ``repository:tag@digest``, of MLflow's what follows ``models:/``.
        account: the storage account of Azure where the URI names it.
        query: the query of an http(s) URI, which may hold a signature: never shown.
        userinfo: ``user:password`` of an https URI: never shown.
        digest: the expected digest, ``sha256:<hex>``, where the URI has one.
        text: the URI as written, without the digest: may hold secrets, never shown.
    """

    scheme: str
    authority: str
    path: str
    account: str | None = None
    query: str = field(default="", repr=False)
    userinfo: str = field(default="", repr=False)
    digest: str | None = None
    text: str = field(default="", repr=False)

    def __str__(self) -> str:
        return redact(self.text)

    @property
    def name(self) -> str:
        """The last part of the path, unquoted for http(s): the name of the file that a single object becomes."""
        last = self.path.rstrip("/").rpartition("/")[2]
        return unquote(last) if self.scheme in {"http", "https"} else last

    @property
    def identity(self) -> str:
        """A hash that tells two sources apart; user names and passwords do not count."""
        bare = self.text.replace(f"//{self.userinfo}@", "//", 1) if self.userinfo else self.text
        return hashlib.sha256(bare.encode()).hexdigest()


def redact(text: str) -> str:
    """The URI without what may be secret: user information, and the values of the query."""
    head, mark, query = text.partition("?")
    if _SCHEME.match(text) and text.partition(":")[0].lower() not in {"http", "https"}:
        head, mark, query = text, "", ""  # elsewhere `?` is part of a key
    azure = head.lower().startswith(("abfs://", "abfss://", "azure://", "az://"))
    # In Azure's forms the container stands before the @; it has no colon in it.
    head = re.sub(r"(:/*)[^/?#]*:[^/?#]*@" if azure else r"(:/*)[^/?#]*@", r"\1***@", head, count=1)
    hidden = "&".join(f"{part.partition('=')[0]}=***" if "=" in part else "***" for part in query.split("&"))
    return f"{head}{mark}{hidden}" if mark else head


def file_uri(path: str) -> str:
    """The ``file:`` URI of an absolute path, of which :func:`parse_uri` makes just that path again."""
    return f"file://{path.replace('%', '%25')}"


def is_uri(text: str) -> bool:
    """Whether the text has a scheme, and so is no path of this machine."""
    return "://" in text or text.startswith(tuple(f"{scheme}:/" for scheme in MLFLOW_SCHEMES))


def parse_uri(text: str) -> StorageUri:
    """Take a storage URI apart; an absolute path is taken as ``file:``.

    Raises:
        StorageError: `Reason.INVALID_URI` or `Reason.UNSUPPORTED_SCHEME`, naming the part that is wrong.
    """
    if len(text) > _MAX_LENGTH:
        raise _invalid(f"the storage URI has {len(text)} characters, more than {_MAX_LENGTH}", "shorten it")
    if not text or text != text.strip() or _CONTROL.search(text):
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} is empty or has blanks around it or control characters in it",
            "write one URI, such as s3://bucket/path",
        )
    bare, digest = _split_digest(text)
    if bare.startswith("/"):
        return StorageUri("file", "", _clean_segments(bare, text, absolute=True), digest=digest, text=bare)
    match = _SCHEME.fullmatch(bare)
    if match is None:
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} has no scheme",
            f"begin it with one of {_listed(SUPPORTED_SCHEMES)}; a path must be absolute",
        )
    written, rest = match[1].lower(), match[2]
    scheme = _SAME_AS.get(written, written)
    if scheme not in SUPPORTED_SCHEMES:
        raise StorageError(
            Reason.UNSUPPORTED_SCHEME,
            f"the scheme {written[:40]!r} of the storage URI is not supported",
            remedy="write oci://, and the image is fetched"
            if scheme == "oci+native"
            else f"use one of {_listed(SUPPORTED_SCHEMES)}",
        )
    if scheme in MLFLOW_SCHEMES:
        return _parse_mlflow(scheme, rest, digest, bare)
    if not rest.startswith("//"):
        raise _invalid(f"the storage URI {redact(text)[:200]!r} lacks '//' after its scheme", f"write {written}://...")
    if scheme in {"http", "https"}:
        return _parse_http(scheme, bare, digest)
    if scheme == "file":
        return _parse_file(bare, digest)
    if scheme in {"hf", "oci"}:
        return (_parse_hub if scheme == "hf" else _parse_oci)(rest[2:], digest, bare)
    authority, _, path = rest[2:].partition("/")
    path = _clean_segments(path, text)
    account = None
    if scheme == "az" and "@" in authority:
        authority, account = _split_azure_authority(authority)
    _check_authority(scheme, authority, path)
    return StorageUri(scheme, authority, path, account=account, digest=digest, text=bare)


def _split_digest(text: str) -> tuple[str, str | None]:
    match = _FRAGMENT_DIGEST.search(text)
    if match is None:
        return text, None
    try:
        return text[: match.start()], parse_digest(match[1])
    except StorageError as error:
        raise _invalid(f"{error.message}, at the end of the storage URI", error.remedy) from None


def _clean_segments(path: str, text: str, *, absolute: bool = False) -> str:
    """The path, if none of its parts is empty, ``.`` or ``..``: no store can be trusted to treat those alike."""
    inner = (path.removeprefix("/") if absolute else path).removesuffix("/")
    if inner and any(part in {"", ".", ".."} for part in inner.split("/")):
        raise _invalid(
            f"the path of the storage URI {redact(text)[:200]!r} has a part that is empty, '.' or '..'",
            "write the path without them",
        )
    return path


def _parse_http(scheme: str, text: str, digest: str | None) -> StorageUri:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _invalid(f"the storage URI {redact(text)[:200]!r} is malformed", "check host and port") from error
    if not parts.hostname or port == 0 or "\\" in text or " " in text:
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} has no host, or has blanks or backslashes",
            "write https://host/path, with %20 for a blank",
        )
    userinfo, _, host = parts.netloc.rpartition("@")
    azure = _AZURE_HOST.fullmatch(parts.hostname)
    if azure and scheme == "https" and port in {None, 443} and not userinfo and not parts.query:
        container, _, blob = parts.path.removeprefix("/").partition("/")
        _check_authority("az", container, blob)
        return StorageUri(
            "az", container, _clean_segments(unquote(blob), text), azure[1].lower(), digest=digest, text=text
        )
    if userinfo and scheme == "http":
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} would send its password in clear text", "use https, or no password"
        )
    path = parts.path.removeprefix("/")
    if not path.rpartition("/")[2]:
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} does not end in the name of a file",
            "name one file or archive; http cannot list directories",
        )
    return StorageUri(scheme, host, path, query=parts.query, userinfo=userinfo, digest=digest, text=_defragment(parts))


def _defragment(parts: SplitResult) -> str:
    """The URL without its fragment, which is never sent to a server."""
    return parts._replace(fragment="").geturl()


def _parse_file(text: str, digest: str | None) -> StorageUri:
    authority, slash, path = text.partition("://")[2].partition("/")
    if authority not in {"", "localhost"} or not slash or not path:
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} does not name an absolute path",
            "write file:///absolute/path, with three slashes",
        )
    decoded = "/" + unquote(path)
    if _CONTROL.search(decoded):
        raise _invalid("the path of the file: URI has control characters", "rename the file")
    return StorageUri("file", "", _clean_segments(decoded, text, absolute=True), digest=digest, text=text)


def _parse_hub(model: str, digest: str | None, text: str) -> StorageUri:
    match = _HUB.fullmatch(model)
    if match is None or ".." in model or "--" in match[1] or "--" in match[2]:
        raise _invalid(
            f"{model.rpartition('@')[2][:200]!r} in the storage URI is not a model of a hub",
            "write hf://owner/model or hf://owner/model:revision; a token belongs in the variable HF_TOKEN of a Secret",
        )
    return StorageUri("hf", match[1], f"{match[2]}:{match[3] or 'main'}", digest=digest, text=text.rstrip("/"))


def _parse_oci(image: str, digest: str | None, text: str) -> StorageUri:
    if "@" in image.partition("/")[0]:
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} has an '@' before its first '/'",
            "write oci://registry/repository:tag; a login belongs in a Secret with .dockerconfigjson",
        )
    try:
        reference = Reference.parse(image if "/" in image else "")
    except ImageError:
        raise _invalid(
            f"{image[:200]!r} in the storage URI is not an image or artifact of a registry",
            "write oci://registry/repository:tag or oci://registry/repository@sha256:..., in lower case",
        ) from None
    if digest and reference.digest and digest != reference.digest:
        raise _invalid(f"the storage URI {redact(text)[:200]!r} has two digests", "give the one after '@' alone")
    path = f"{reference.repository}{f':{reference.tag}' if reference.tag else ''}"
    path += f"@{reference.digest}" if reference.digest else ""
    return StorageUri("oci", reference.registry, path, digest=reference.digest or digest, text=text)


def _parse_mlflow(scheme: str, rest: str, digest: str | None, text: str) -> StorageUri:
    path = rest.removeprefix("/")
    pattern, form = {
        "models": (_REGISTERED, "models:/name/version, models:/name@alias or models:/m-<the model's id>"),
        "runs": (_RUN, "runs:/run/path"),
    }[scheme]
    if path == rest or path.startswith("/") or not pattern.fullmatch(path):
        raise _invalid(
            f"the storage URI {redact(text)[:200]!r} names nothing of MLflow",
            f"write {form}; the server belongs in the variable MLFLOW_TRACKING_URI",
        )
    return StorageUri(scheme, "", _clean_segments(path, text), digest=digest, text=text)


def _split_azure_authority(authority: str) -> tuple[str, str]:
    container, _, host = authority.partition("@")
    match = _AZURE_HOST.fullmatch(host)
    if match is None:
        raise _invalid(
            f"the host {host[:100]!r} of the storage URI is not a storage account of Azure",
            "write abfss://container@account.dfs.core.windows.net/path; another cloud by AZURE_STORAGE_ENDPOINT",
        )
    return container, match[1].lower()


def _check_authority(scheme: str, authority: str, path: str) -> None:
    kind, pattern = {
        "s3": ("bucket", _BUCKET),
        "gs": ("bucket", _BUCKET),
        "az": ("container", _CONTAINER),
        "pvc": ("claim", _KUBERNETES_NAME),
        "configmap": ("ConfigMap", _KUBERNETES_NAME),
    }[scheme]
    if not pattern.fullmatch(authority):
        raise _invalid(
            f"{authority.rpartition('@')[2][:100]!r} in the storage URI is not a valid {kind} name",
            f"write {scheme}://{kind.lower()}/path; credentials belong in a Secret, not in the URI",
        )
    if scheme == "configmap" and path and not _CONFIGMAP_KEY.fullmatch(path):
        raise _invalid(f"{path[:100]!r} is not a key of a ConfigMap", "write configmap://name or configmap://name/key")


def _listed(schemes: tuple[str, ...]) -> str:
    return ", ".join(schemes)


def _invalid(message: str, remedy: str) -> StorageError:
    return StorageError(Reason.INVALID_URI, message, remedy=remedy)
