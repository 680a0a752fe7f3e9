"""The webhook's certificate: the leader makes and rotates it, every replica takes it up.

The Secret and the webhook's configuration come with the installation, so neither needs a right to create. The leader
alone writes them, the Secret first: whoever leads next finds in it what the configuration should trust.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.server.tls import TlsError
from pillion_operator.builders.certificates import encoded, texts_of
from pillion_operator.builders.serving_certificate import CertificateTimes, Material, next_step, of_secret
from pillion_operator.client.errors import ApiError, NotLeaderError
from pillion_operator.state.kinds import MUTATING_WEBHOOK_CONFIGURATION, SECRET
from pillion_operator.state.manifest import Key, array, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.manifest import Manifest

__all__ = ["WebhookCertificates", "WebhookPlace"]

_log: Final = logging.getLogger(__name__)
#: Several looks fit into the time that a change may take to be known everywhere.
_LOOKS, _LONGEST_LOOK_SECONDS = 4, 10.0
#: A first installation takes two steps, and the third finds nothing to do.
_MOST_STEPS: Final = 3


@dataclass(frozen=True, slots=True)
class WebhookPlace:
    """Where the certificate is kept, who is told of its CA, and what it is for."""

    secret: Key
    configuration: str
    names: tuple[str, ...]
    times: CertificateTimes


class WebhookCertificates:
    """Keeps Secret, configuration and this replica's server in step."""

    def __init__(
        self,
        client: KubernetesClient,
        place: WebhookPlace,
        leading: Callable[[], bool],
        serve: Callable[[Material], Awaitable[None]],
    ) -> None:
        self._client = client
        self._place = place
        self._leading = leading
        self._serve = serve
        self._said = ""
        self.looked = False
        """Whether this replica serves what there was to serve when it began."""

    async def run(self) -> None:
        """Look for ever."""
        pause = min(self._place.times.settle / _LOOKS, _LONGEST_LOOK_SECONDS)
        while True:
            try:
                await self.look()
                self.looked = True
            except (ApiError, TlsError) as error:
                _log.warning("the webhook's certificate could not be looked after: %s", error)
            except NotLeaderError:
                _log.info("the webhook's certificate is looked after by another replica now")
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Take the next steps that are due, where this replica leads; serve what is there.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; look again.
            NotLeaderError: the lease is not held any more.
            TlsError: what is kept cannot be served.
        """
        place = self._place
        secret = await self._client.get(SECRET, place.secret)
        if secret is None:
            self._say(f"the Secret {place.secret} is not there: apply the chart or config/install.yaml again")
            return
        material = of_secret(texts_of(secret))
        if self._leading():
            material = await self._rotated(secret, material)
        if material is not None and material.certificate:
            await self._serve(material)

    async def _rotated(self, secret: Manifest, material: Material | None) -> Material | None:
        kind, key = MUTATING_WEBHOOK_CONFIGURATION, Key("", self._place.configuration)
        configuration = await self._client.get(kind, key)
        if configuration is None:
            self._say(f"the {kind.name} {key} is not there: apply the chart or config/install.yaml again")
            return material
        self._said = ""
        for _ in range(_MOST_STEPS):
            now = dt.datetime.now(dt.UTC)
            trusted = _trusted(configuration)
            step = next_step(material, trusted, self._place.names, self._place.times, now)
            if step is not None:
                secret = await self._client.replace(SECRET, secret | {"data": encoded(step.as_data())})
                material = step
                _log.info("the webhook's certificates were renewed: %d CAs are trusted", len(step.authorities))
            if material is not None and trusted != material.bundle:
                configuration = await self._tell(configuration, material.bundle)
            elif step is None:
                break
        return material

    async def _tell(self, configuration: Manifest, bundle: str) -> Manifest:
        """Have the API server trust those CAs; of each webhook that field only is ours."""
        told = _encode(bundle)
        webhooks: list[Manifest] = [
            {"name": text_at(webhook, "name"), "clientConfig": {"caBundle": told}}
            for webhook in objects_at(configuration, "webhooks")
        ]
        kind = MUTATING_WEBHOOK_CONFIGURATION
        ours: Manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": {"name": self._place.configuration},
            "webhooks": array(webhooks),
        }
        return await self._client.apply(kind, ours)

    def _say(self, what: str) -> None:
        if what != self._said:
            _log.warning("no sidecar can be given: %s", what)
        self._said = what


def _trusted(configuration: Manifest) -> str:
    """Return what every webhook of the configuration trusts; nothing where they differ."""
    found = {text_at(webhook, "clientConfig", "caBundle") for webhook in objects_at(configuration, "webhooks")}
    return _decode(found.pop()) if len(found) == 1 else ""


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
