"""What is in registries: images and artifacts, written without our code and pushed by a client that nobody here wrote;
and a token server in front of a registry, which gives what the registry itself verifies.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.integration.storage.faultyserver import FaultyServer

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PASSWORD = "pa55word"
IDENTITY = "1dentity-token"


def tar(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    """A layer: a tar in gzip."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


@dataclass(slots=True)
class Content:
    """Blobs, and manifests that name them."""

    blobs: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def image(self, *layers: bytes, architecture: str = "amd64") -> dict[str, Any]:
        """An image of these layers, the lowest first."""
        diffs = [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers]
        config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}
        described = self.put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
        return self.manifest(described, [self.put(layer, LAYER) for layer in layers])

    def artifact(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """An artifact of these files, as ORAS writes it."""
        config = self.put(b"{}", "application/vnd.oci.empty.v1+json")
        title = "org.opencontainers.image.title"
        layers = [self.put(data, "application/octet-stream", annotations={title: name}) for name, data in files.items()]
        return self.manifest(config, layers, artifactType="application/vnd.example.model")

    def manifest(self, config: Mapping[str, Any], layers: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list(layers), **more}
        return self.put(json.dumps(document).encode(), MANIFEST)

    def index(self, images: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """An index of images, each for an architecture."""
        entries = [
            {**image, "platform": {"os": "linux", "architecture": architecture}}
            for architecture, image in images.items()
        ]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return self.put(json.dumps(document).encode(), INDEX)

    def push(self, folder: Path, root: Mapping[str, Any], where: str, crane: Path, env: Mapping[str, str]) -> str:
        """Push what `root` describes; its digest, as the client says it."""
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for digest, data in self.blobs.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(data)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        entries = [root] if root["mediaType"] != INDEX else json.loads(self.blobs[root["digest"]])["manifests"]
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
        how = ["--index"] if root["mediaType"] == INDEX else []
        run(crane, env, "push", *how, str(folder), where)
        return run(crane, env, "digest", where).strip()

    def serve(self, server: FaultyServer, root: Mapping[str, Any], repository: str, tag: str) -> None:
        """Have a server that fails on command answer for all of it."""
        for digest, data in self.blobs.items():
            server.put(f"/v2/{repository}/blobs/{digest}", data)
            server.put(f"/v2/{repository}/manifests/{digest}", data)
        headers = {"Content-Type": str(root["mediaType"])}
        server.put(f"/v2/{repository}/manifests/{tag}", self.blobs[str(root["digest"])], headers=headers)


def run(crane: Path, env: Mapping[str, str], *arguments: str) -> str:
    """What crane says."""
    done = subprocess.run([crane, *arguments], env=dict(env), capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


class TokenServer:
    """Gives tokens that a registry takes which trusts its certificate: for `public/` to everybody to pull, else to ann.

    The registry verifies signature, issuer, audience and rights itself. Source: Docker, "Token authentication
    specification".
    """

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token server")])
        now = dt.datetime.now(dt.UTC)
        self._certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
            .serial_number(1).not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=24)).sign(self._key, hashes.SHA256())
        )  # fmt: skip
        bundle = folder / "bundle.pem"
        bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        handler = type("Handler", (_TokenHandler,), {"tokens": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.settings = {
            "realm": f"http://127.0.0.1:{self._server.server_address[1]}/token", "service": "registry.test",
            "issuer": "test", "rootcertbundle": str(bundle),
        }  # fmt: skip
        """The registry's settings for it."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, query: Mapping[str, list[str]], given: str) -> tuple[int, bytes]:
        """A token for who asks, with what they may do of what they want."""
        scope = query.get("scope", [""])[0]
        basic = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
        refreshed = query.get("refresh_token", [""])[0]
        known = given == basic or refreshed == IDENTITY
        self.asked.append((scope, "identity" if refreshed else "password" if given else ""))
        if (given or refreshed) and not known:
            return 401, b"{}"
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = actions.split(",") if known else ["pull"] if name.startswith("public/") else []
        access = [{"type": kind, "name": name, "actions": allowed}] if allowed else []
        return 200, json.dumps({"token": self._signed(access)}).encode()

    def _signed(self, access: list[dict[str, Any]]) -> str:
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {
            "iss": "test", "sub": "", "aud": "registry.test", "exp": now + 3600, "nbf": now - 60, "iat": now,
            "jti": str(time.monotonic_ns()), "access": access,
        }  # fmt: skip
        text = ".".join(_coded(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_coded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _TokenHandler(BaseHTTPRequestHandler):
    tokens: ClassVar[TokenServer]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name that the base class gives it)
        pass

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, query: str) -> None:
        status, body = self.tokens.answer(parse_qs(query), self.headers.get("Authorization", ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def logged_in(folder: Path, host: str, **login: str) -> dict[str, str]:
    """An environment in which ann is logged in, else who `login` says."""
    folder.mkdir(exist_ok=True)
    entry = login or {"auth": base64.b64encode(f"ann:{PASSWORD}".encode()).decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return {"DOCKER_CONFIG": str(folder)}
