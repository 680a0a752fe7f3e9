"""A throw-away certificate authority for one cluster, made with the `openssl` command.

Keys are NIST P-256: they take a few milliseconds to make, where RSA takes seconds.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_VALID_DAYS = "30"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A PEM certificate and its PEM private key on disk."""

    certificate: Path
    key: Path


def subject(common_name: str, organizations: Sequence[str] = ()) -> str:
    """Return an OpenSSL subject string; Kubernetes reads groups from O and the user from CN."""
    return "".join([f"/O={_escape(organization)}" for organization in organizations] + [f"/CN={_escape(common_name)}"])


def _escape(value: str) -> str:
    # "/" starts an attribute and "+" a further value of the same one; "\" is the escape itself.
    return value.replace("\\", "\\\\").replace("/", "\\/").replace("+", "\\+")


class CertificateAuthority:
    """Signs serving and client certificates for the parts and the users of one cluster."""

    def __init__(self, directory: Path) -> None:
        """Keep the authority's files in `directory`, which is made where it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self.directory = directory
        self.root = KeyPair(directory / "ca.crt", directory / "ca.key")
        if not self.root.certificate.exists():
            _openssl(
                "req", "-x509", *_NEW_KEY, "-days", _VALID_DAYS, "-subj", "/CN=pillion-e2e-ca",
                "-keyout", str(self.root.key), "-out", str(self.root.certificate),
            )  # fmt: skip  # option and value read as pairs

    def issue(
        self,
        file_name: str,
        common_name: str,
        *,
        organizations: Sequence[str] = (),
        alternative_names: Sequence[str] = (),
    ) -> KeyPair:
        """Write and return a certificate good for both serving and authenticating as a client.

        `alternative_names` are in OpenSSL's notation: `DNS:localhost`, `IP:127.0.0.1`.
        """
        pair = KeyPair(self.directory / f"{file_name}.crt", self.directory / f"{file_name}.key")
        extensions = ["extendedKeyUsage=serverAuth,clientAuth"]
        if alternative_names:
            extensions.append("subjectAltName=" + ",".join(alternative_names))
        with tempfile.TemporaryDirectory() as scratch:
            request, extension_file = Path(scratch, "request"), Path(scratch, "extensions")
            extension_file.write_text("\n".join(extensions) + "\n")
            _openssl(
                "req", *_NEW_KEY, "-subj", subject(common_name, organizations),
                "-keyout", str(pair.key), "-out", str(request),
            )  # fmt: skip  # option and value read as pairs
            _openssl(
                "x509", "-req", "-in", str(request), "-days", _VALID_DAYS,
                "-CA", str(self.root.certificate), "-CAkey", str(self.root.key),
                "-set_serial", f"0x{secrets.token_hex(8)}",
                "-extfile", str(extension_file), "-out", str(pair.certificate),
            )  # fmt: skip  # option and value read as pairs
        return pair

    def signing_key(self, file_name: str) -> Path:
        """Write and return a private key for service account tokens; it also holds the public one."""
        key = self.directory / f"{file_name}.key"
        if not key.exists():
            _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        return key


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
