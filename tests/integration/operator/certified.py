"""What a client of a service with TLS does, and what keeps a certificate."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
from typing import TYPE_CHECKING

from pillion_operator.builders.serving_certificate import SERVICE_TIMES, Material, next_step

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.operator.harness import Object

#: What a service `iris` of a namespace is asked by.
NAMES = (
    "iris-predictor",
    "iris-predictor.{}",
    "iris-predictor.{}.svc",
    "iris-predictor.{}.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "::1",
)


def texts(secret: Object) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def encoded(data: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def aged(names: tuple[str, ...], *, ca_days: float, certificate_days: float) -> Material:
    """A CA that is so old, and a certificate by it that is so old; both are good for long still."""
    now = dt.datetime.now(dt.UTC)
    began = now - dt.timedelta(days=ca_days)
    made = next_step(None, "", names, SERVICE_TIMES, began)
    assert made is not None
    signed = next_step(made, made.bundle, names, SERVICE_TIMES, now - dt.timedelta(days=certificate_days))
    assert signed is not None
    return signed


def shake_hands(certificate: str, key: str, bundle: str, name: str, folder: Path) -> None:
    """Have a client that trusts `bundle` alone meet a server with that certificate under that name.

    Raises:
        ssl.SSLError: they do not come together.
    """
    pair = folder / "tls.crt", folder / "tls.key"
    for file, text in zip(pair, (certificate, key), strict=True):
        file.write_text(text)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(*pair)
    trusting = ssl.create_default_context(cadata=bundle)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = served.wrap_bio(to_server, to_client, server_side=True)
    # Three flights of TLS 1.3, and one more that finds nothing to do.
    waiting = [client, server]
    for _ in range(4):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting, "the handshake did not end"
