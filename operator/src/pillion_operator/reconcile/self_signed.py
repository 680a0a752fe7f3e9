"""Certificates of `tls.selfSigned`: a Secret for each such service, made, renewed, and made again where it has gone.

Secrets are not watched, so each is read by its name from time to time. Only one that the InferenceService owns is
written, at the version that was read.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import authority_config
from pillion_operator.builders.certificates import (
    AUTHORITY_KEY,
    encoded,
    in_the_way,
    self_signed_name,
    self_signed_secret,
    texts_of,
)
from pillion_operator.builders.serving_certificate import next_step, of_secret
from pillion_operator.builders.tls import certificate_names
from pillion_operator.client.errors import ApiError
from pillion_operator.observe.certificates import server_facts
from pillion_operator.state.certificates import KeptCertificate
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, SECRET
from pillion_operator.state.manifest import Key, controller_uid, key_of, objects_at, text_at, uid_of
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources import InferenceService
    from pillion_operator.builders.serving_certificate import CertificateTimes, Material
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import Observed

__all__ = ["SelfSigned"]

_log: Final = logging.getLogger(__name__)
#: Several looks fit into the time that a change may take to be known everywhere.
_LOOKS: Final = 4
_LONGEST_LOOK_SECONDS, _TROUBLE_SECONDS = 60.0, 10.0
#: From nothing there are two: a CA, and what it signs. The third finds nothing to do.
_MOST_STEPS: Final = 3


class SelfSigned:
    """Keeps the certificate of each service that asks for one.

    Args:
        client: to read and write Secrets.
        times: lives of CAs and certificates, and how long clients may take to learn of a new CA.
        cluster_domain: of cluster DNS.
        enabled: whether the operator may write Secrets.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        client: KubernetesClient,
        times: CertificateTimes,
        cluster_domain: str,
        *,
        enabled: bool,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._times = times
        self._domain = cluster_domain
        self._enabled = enabled
        self._clock = clock
        self._pause = min(times.settle / _LOOKS, _LONGEST_LOOK_SECONDS)
        self._known: dict[Key, tuple[float, object, KeptCertificate]] = {}

    async def keep(
        self, service: InferenceService, observed: Observed, *, secure: bool, known: bool = True
    ) -> KeptCertificate | None:
        """Take the next steps that are due and return what there is then; None where none is asked for.

        Pods of a version that was gone back to may serve with one that the manifest does not ask for any more.

        Args:
            service: as parsed.
            observed: what there is.
            secure: whether the pods that the manifest asks for speak TLS.
            known: whether all names of the service are; else those that it has a certificate for stay.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        key, tls = key_of(observed.service), service.spec.predictor.tls
        # A Secret of one's own beside it was not refused by earlier releases, and is what counts.
        wanted = secure and tls is not None and bool(tls.self_signed) and not tls.secret_name
        if not wanted and not _serves_with(observed, self_signed_name(key.name)):
            self.forget(key)
            return None
        names = certificate_names(service, observed.service, self._domain)
        config = observed.children.get(CONFIG_MAP, {}).get(authority_config(key.name), {})
        trusted = text_at(config, "data", AUTHORITY_KEY)
        asked = (uid_of(observed.service), names, trusted, wanted, known)
        due, before, last = self._known.get(key, (0.0, None, None))
        if last is not None and before == asked and self._clock() < due:
            return last
        found = await self._look(service, observed, names, trusted, wanted=wanted, known=known)
        kept = replace(found, wanted=wanted)
        self._known[key] = (self._clock() + kept.wait, asked, kept)
        return kept

    def forget(self, key: Key) -> None:
        """Say that there is no such service any more, or that it asks for none."""
        self._known.pop(key, None)

    async def _look(
        self,
        service: InferenceService,
        observed: Observed,
        names: tuple[str, ...],
        trusted: str,
        *,
        wanted: bool,
        known: bool,
    ) -> KeptCertificate:
        key = key_of(observed.service)
        secret_key = Key(key.namespace, self_signed_name(key.name))
        secret = await self._client.get(SECRET, secret_key)
        if secret is not None and controller_uid(secret) != uid_of(observed.service):
            # Pods may serve with a Secret of that name that somebody else makes, where the manifest names it.
            return (
                KeptCertificate(_TROUBLE_SECONDS, problem=in_the_way(secret_key.name))
                if wanted
                else KeptCertificate(_LONGEST_LOOK_SECONDS)
            )
        material = None if secret is None else of_secret(texts_of(secret))
        if material is not None and not known:
            names = tuple(dict.fromkeys((*names, *material.names)))
        now = dt.datetime.fromtimestamp(observed.now, dt.UTC)
        step = _steps(material, trusted, names, self._times, now)
        if step is not None:
            if not self._enabled:
                return KeptCertificate(_TROUBLE_SECONDS, problem=_off(wanted=wanted))
            try:
                secret = await self._write(service, observed.service, secret, step)
            except ApiError as error:
                if not error.refused:
                    raise
                return KeptCertificate(_TROUBLE_SECONDS, problem=_refused(secret_key, error))
            material = step
            _log.info("the certificate of %s was renewed: %d CAs are trusted", secret_key, len(step.authorities))
        bundle = "" if material is None else material.bundle
        return KeptCertificate(self._pause, bundle, server_facts(secret_key.name, secret))

    async def _write(
        self, service: InferenceService, stored: Manifest, secret: Manifest | None, material: Material
    ) -> Manifest:
        if secret is None:
            return await self._client.create(SECRET, self_signed_secret(service, stored, material))
        return await self._client.replace(SECRET, secret | {"data": encoded(material.as_data())})


def _steps(
    kept: Material | None, trusted: str, names: tuple[str, ...], times: CertificateTimes, now: dt.datetime
) -> Material | None:
    """Return what is to be kept once all steps are taken that may be taken now; None where none is."""
    found: Material | None = None
    for _ in range(_MOST_STEPS):
        step = next_step(found or kept, trusted, names, times, now, urgent=True)
        if step is None:
            break
        found = step
    return found


def _serves_with(observed: Observed, secret: str) -> bool:
    """Whether a Deployment's pods have that Secret as their certificate, and no manifest gave it to them by its name.

    Of one that is named, the whole Secret is mounted: it is its owner's to make.
    """
    return any(
        text_at(volume, "secret", "secretName") == secret and objects_at(volume, "secret", "items")
        for live in observed.children.get(DEPLOYMENT, {}).values()
        for volume in objects_at(live, "spec", "template", "spec", "volumes")
        if text_at(volume, "name") == "tls"
    )


def _off(*, wanted: bool) -> Problem:
    text = "spec.predictor.tls.selfSigned is set" if wanted else "pods serve with a certificate of tls.selfSigned"
    text += ", and this operator writes no Secrets"
    return Problem(Reason.SELF_SIGNED_OFF, text, "spec.predictor.tls.selfSigned", transient=False)


def _refused(secret: Key, error: ApiError) -> Problem:
    reason = Reason.FORBIDDEN if error.status == 403 else Reason.REFUSED
    text = f"the API server refused Secret {secret.name!r} with the certificate of the service: {error.message}"
    return Problem(reason, text, f"{SECRET.name}/{secret.name}", transient=reason is Reason.FORBIDDEN)
