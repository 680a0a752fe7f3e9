"""The sidecar injector of one replica: the webhook, its certificate, and what it answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Self

from pillion_operator.observe.candidates import RuntimeCandidates
from pillion_operator.observe.references import ReferenceReader
from pillion_operator.reconcile.sidecars import SidecarAdmission, SidecarParts
from pillion_operator.reconcile.webhook_certificates import WebhookCertificates, WebhookPlace
from pillion_operator.state.manifest import Key
from pillion_operator.webhook import WebhookServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.store import Store
    from pillion_operator.settings import OperatorSettings

__all__ = ["Injector", "sidecar_parts"]

#: Time for every node to learn that this replica is leaving.
_LINGER_SECONDS: Final = 5.0


class Injector:
    """Answers from the moment that it has a certificate. An asynchronous context manager."""

    def __init__(self, settings: OperatorSettings, namespace: str, parts: SidecarParts) -> None:
        """Prepare; `namespace` is the operator's own."""
        self._place = WebhookPlace(
            Key(namespace, settings.webhook_secret),
            settings.webhook_configuration,
            settings.webhook_hosts,
            settings.certificate_times,
        )
        self._certificates: WebhookCertificates | None = None
        self._server = WebhookServer(settings.http_host, settings.webhook_port, SidecarAdmission(parts).answer)

    async def __aenter__(self) -> Self:
        """Prepare."""
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening."""
        await self._server.__aexit__(kind, error, traceback)

    async def run(self, client: KubernetesClient, synced: asyncio.Event, leading: Callable[[], bool]) -> None:
        """Look after the certificate, once the caches can answer for what is in the cluster."""
        await synced.wait()
        self._certificates = WebhookCertificates(client, self._place, leading, self._server.serve)
        await self._certificates.run()

    async def linger(self) -> None:
        """Answer for as long as the API server may still ask this replica."""
        if self._server.listening:
            self._server.leave()
            await asyncio.sleep(_LINGER_SECONDS)

    def unready(self) -> str:
        """Say why the API server should not ask this replica yet; nothing where it may.

        Where nobody has made a certificate, a replica is ready without one: the leader may be of a release that makes
        none, and would never be replaced if its successors waited for it.
        """
        looked = self._certificates is not None and self._certificates.looked
        return "" if looked else "the webhook's certificate has not been looked for yet"


def sidecar_parts(
    settings: OperatorSettings,
    client: KubernetesClient,
    store: Store,
    policies: NamespacePolicies,
    on_answer: Callable[[str], None],
) -> SidecarParts:
    """Return what answers are made of: what the reconciler plans the services' own pods with."""
    render = settings.render
    return SidecarParts(
        client=client,
        store=store,
        candidates=RuntimeCandidates(store, render, cluster_runtimes=not settings.namespaces),
        references=ReferenceReader(client, time.monotonic),
        policies=policies,
        settings=render,
        on_answer=on_answer,
    )
