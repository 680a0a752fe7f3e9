"""Keeping the certificate current: watch, judge, swap; keep the old one when the new one is not usable."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import TYPE_CHECKING

from pillion.server.failures import ExitCode, StartError
from pillion.server.tls import TlsConfig, TlsError, TlsMaterial, context_of, read
from pillion.server.watch import changes, identity_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    import grpc

    from pillion.server.metrics import ServerMetrics

__all__ = ["TlsKeeper"]

_log = logging.getLogger(__name__)


class TlsKeeper:
    """Holds the material in use and replaces it as its files change.

    Args:
        config: where the material is.
        metrics: told of expiry and reloads.
        interval: seconds between looks at the files.

    Raises:
        StartError: the material cannot be used; at start there is no older one to keep.
    """

    def __init__(self, config: TlsConfig, metrics: ServerMetrics, *, interval: float = 0.5) -> None:
        self._config = config
        self._metrics = metrics
        self._interval = interval
        self._identity = identity_of(config.paths)
        try:
            self.material = read(config)
            self.context = context_of(config, self.material)
            self.http2_context = context_of(config, self.material, "h2")
        except TlsError as error:
            raise StartError(ExitCode.TLS, str(error)) from None
        self._metrics.tls_expiry(self.material.not_after)

    @property
    def mutual(self) -> bool:
        """Whether clients must show a certificate."""
        return self.material.client_ca is not None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials that look up the material at each handshake."""
        import grpc  # noqa: PLC0415 - the server may run without its gRPC port

        def configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
            return grpc.ssl_server_certificate_configuration(
                [(material.key, material.cert)], root_certificates=material.client_ca
            )

        served = self.material

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal served
            if served is self.material:
                return None
            served = self.material
            return configuration(served)

        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            configuration(served),
            fetch,  # type: ignore[arg-type]  # None means unchanged, says grpc's documentation; the stubs leave it out
            require_client_authentication=self.mutual,
        )
        return credentials

    async def watch(self, swap: Callable[[ssl.SSLContext], Awaitable[None]]) -> None:
        """Reload for ever; ``swap`` puts a new context behind the HTTP port."""
        if not self._config.paths:
            return
        async for _ in changes(self._config.paths, since=self._identity, interval=self._interval):
            await self._reload(swap)

    async def _reload(self, swap: Callable[[ssl.SSLContext], Awaitable[None]]) -> None:
        for attempt in (1, 2, 3):
            try:
                material, context, http2_context = await asyncio.to_thread(self._load)
                break
            except TlsError as error:
                failure = error
                # A pair that is written file by file is whole a moment later; the next change is noticed anyway.
                if attempt < 3:
                    await asyncio.sleep(self._interval / 5)
        else:
            self._metrics.tls_reload("failed")
            _log.error(
                "kept the certificate in use, the new one cannot be served: %s",
                failure,
                extra={"certificate": self.material.subject, "not_after": self.material.not_after.isoformat()},
            )
            return
        if material == self.material:
            return
        self.material, self.context, self.http2_context = material, context, http2_context
        await swap(context)
        self._metrics.tls_expiry(material.not_after)
        self._metrics.tls_reload("succeeded")
        left = material.not_after - dt.datetime.fromtimestamp(time.time(), dt.UTC)
        _log.info(
            "serving a new certificate",
            extra={
                "certificate": material.subject,
                "not_after": material.not_after.isoformat(),
                "days_left": left.days,
            },
        )

    def _load(self) -> tuple[TlsMaterial, ssl.SSLContext, ssl.SSLContext]:
        material = read(self._config)
        return material, context_of(self._config, material), context_of(self._config, material, "h2")
