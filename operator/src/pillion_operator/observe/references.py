"""Objects that a manifest refers to and that are not watched: Secrets, ServiceAccounts, sources of models.

They are read by name only, never listed or watched, and remembered briefly. Secrets are kept as facts, not as values.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import StorageError
from pillion.storage.uri import REMOTE_SCHEMES, parse_uri
from pillion_operator.builders.auth import reviewing_account
from pillion_operator.builders.batch_places import batch_claims, batch_uris
from pillion_operator.builders.credentials import SecretSummary, StorageCredentials, credentials_from
from pillion_operator.builders.own_models import claim_of
from pillion_operator.builders.storage import check_uri
from pillion_operator.builders.storage_config import (
    STORAGE_CONFIG_SECRET,
    StorageEntry,
    credentials_of_entry,
    entries_of,
)
from pillion_operator.builders.tls import server_secret
from pillion_operator.builders.training_places import claims_of
from pillion_operator.client.errors import ApiError
from pillion_operator.observe.certificates import authority_facts, server_facts
from pillion_operator.observe.gateways import gateway_facts
from pillion_operator.observe.remembered import Remembered
from pillion_operator.observe.reviewers import ReviewerRights
from pillion_operator.state.kinds import CONFIG_MAP, GATEWAY, PERSISTENT_VOLUME_CLAIM, SECRET, SERVICE_ACCOUNT
from pillion_operator.state.manifest import Key, annotations_of, object_at, objects_at, text_at, texts_at
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason
from pillion_operator.state.routes import GatewayFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pillion.resources import BatchPrediction, InferenceService, ModelStorageSpec, TrainingJob
    from pillion.storage.uri import StorageUri
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.certificates import KeptCertificate
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.observed import CertificateFacts

__all__ = ["ReferenceReader", "References"]


@dataclass(frozen=True, slots=True)
class References:
    """What the objects that a manifest refers to come to."""

    certificates: tuple[CertificateFacts, ...] = ()
    credentials: StorageCredentials = field(default_factory=StorageCredentials)
    missing: tuple[Problem, ...] = ()
    gateway: GatewayFacts | None = None

    def with_kept(self, kept: KeptCertificate | None) -> References:
        """Return the same with the operator's own certificate: a plan is told what keeps it from being made, where the
        manifest asks for it, and else it is something that lacks to pods that serve.
        """
        if kept is None:
            return self
        if not kept.wanted:
            return self if kept.problem is None else replace(self, missing=(*self.missing, kept.problem))
        return self if kept.facts is None else replace(self, certificates=(*self.certificates, kept.facts))


@dataclass(frozen=True, slots=True)
class _Account:
    """A ServiceAccount's Secrets, as far as credentials go."""

    found: bool
    secrets: tuple[SecretSummary, ...] = ()


class ReferenceReader:
    """Reads what a manifest refers to."""

    def __init__(self, client: KubernetesClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._facts: Remembered[CertificateFacts] = Remembered(clock)
        self._accounts: Remembered[_Account] = Remembered(clock)
        self._there: Remembered[bool] = Remembered(clock)
        self._entries: Remembered[tuple[StorageEntry, ...]] = Remembered(clock)
        self._gateways: Remembered[GatewayFacts] = Remembered(clock)
        self._reviewers = ReviewerRights(client, clock)

    async def read(self, service: InferenceService, *, healthy: bool, fetches: bool = False) -> References:
        """Return what the manifest's references come to; sources are not looked at while everything runs.

        `fetches` says that the pods fetch from elsewhere than the manifest says, too.
        """
        certificates = await self._certificates(service)
        credentials, missing = await self._credentials(service, fetches=fetches or bool(service.spec.predictor.models))
        credentials = replace(credentials, of_models=await self._of_models(service))
        missing += await self._callers(service)
        if not healthy:
            missing += await self._sources(service)
        return References(certificates, credentials, missing, await self._gateway(service))

    async def of_training(self, job: TrainingJob) -> References:
        """Return what a TrainingJob's references come to.

        Raises:
            PlanError: one of its URIs cannot be read.
        """
        spec, namespace = job.spec, job.metadata.namespace or ""
        missing: list[Problem] = []
        account = await self._account(Key(namespace, spec.service_account_name or "default"))
        if not account.found and spec.service_account_name:
            text = f"ServiceAccount {spec.service_account_name!r}, named in serviceAccountName, is not there"
            remedy = "create it; the training begins by itself"
            missing.append(Problem(Reason.SERVICE_ACCOUNT_NOT_FOUND, text, spec.service_account_name, remedy=remedy))
        for claim, field_ in claims_of(job).items():
            missing += await self._source(PERSISTENT_VOLUME_CLAIM, Key(namespace, claim), field_)
        data = check_uri(spec.dataset.uri, "spec.dataset.uri") if spec.dataset else None
        if data is not None and data.scheme == "configmap":
            missing += await self._source(CONFIG_MAP, Key(namespace, data.authority), "spec.dataset.uri")
        return References(credentials=credentials_from(account.secrets), missing=tuple(missing))

    async def of_batch(self, batch: BatchPrediction) -> References:
        """Return what a BatchPrediction's references come to.

        Raises:
            PlanError: one of its URIs cannot be read.
        """
        spec, namespace = batch.spec, batch.metadata.namespace or ""
        missing: list[Problem] = []
        account = await self._account(Key(namespace, spec.service_account_name or "default"))
        if not account.found and spec.service_account_name:
            text = f"ServiceAccount {spec.service_account_name!r}, named in serviceAccountName, is not there"
            remedy = "create it; the pods are made by themselves then"
            missing.append(Problem(Reason.SERVICE_ACCOUNT_NOT_FOUND, text, spec.service_account_name, remedy=remedy))
        for claim, field_ in batch_claims(batch).items():
            missing += await self._source(PERSISTENT_VOLUME_CLAIM, Key(namespace, claim), field_)
        for field_, text in batch_uris(batch):
            uri = check_uri(text, field_)
            if uri.scheme == "configmap":
                missing += await self._source(CONFIG_MAP, Key(namespace, uri.authority), field_)
        return References(credentials=credentials_from(account.secrets), missing=tuple(missing))

    async def _callers(self, service: InferenceService) -> tuple[Problem, ...]:
        """Return what keeps the pods from knowing their callers."""
        auth, namespace = service.spec.auth, service.metadata.namespace or ""
        found: list[Problem] = []
        if auth is not None and auth.api_keys is not None:
            name = auth.api_keys.secret_name
            there = self._there.get((SECRET, name, namespace))
            if there is None:
                there = await self._client.get(SECRET, Key(namespace, name)) is not None
                self._there.put((SECRET, name, namespace), there, found=there)
            if not there:
                text = f"Secret {name!r}, named in auth.apiKeys, is not there"
                found.append(Problem(Reason.SECRET_NOT_FOUND, text, f"{SECRET.name}/{name}"))
        account = reviewing_account(service)
        problem = await self._reviewers.problem(Key(namespace, account)) if account else None
        return (*found, *([] if problem is None else [problem]))

    async def _gateway(self, service: InferenceService) -> GatewayFacts | None:
        asked = service.spec.networking
        if asked is None or asked.gateway is None:
            return None
        key = Key(asked.gateway.namespace or service.metadata.namespace or "", asked.gateway.name)
        known = self._gateways.get(key)
        if known is not None:
            return known
        try:
            facts = gateway_facts(await self._client.get(GATEWAY, key))
        except ApiError as error:
            # In another namespace it may be none of ours: then the URL is not told.
            if not error.refused and error.status < 500:
                raise
            may = "may not" if error.refused else "cannot"
            facts = GatewayFacts(found=False, forbidden=f"the Gateway {key} {may} be read: {error.message}")
        return self._gateways.put(key, facts, found=facts.found)

    async def _source(self, kind: Kind, key: Key, field_: str) -> tuple[Problem, ...]:
        there = self._there.get((kind, key))
        if there is None:
            there = await self._client.get(kind, key) is not None
            self._there.put((kind, key), there, found=there)
        reason = Reason.CONFIG_MAP_NOT_FOUND if kind == CONFIG_MAP else Reason.CLAIM_NOT_FOUND
        text = f"{kind.name} {key.name!r}, named in {field_}, is not there"
        return () if there else (Problem(reason, text, key.name, remedy="create it; it is taken up by itself"),)

    async def _certificates(self, service: InferenceService) -> tuple[CertificateFacts, ...]:
        tls, namespace = service.spec.predictor.tls, service.metadata.namespace or ""
        facts: list[CertificateFacts] = []
        if tls and (tls.secret_name or tls.cert_manager):
            facts.append(await self._certificate("server", Key(namespace, server_secret(service))))
        if tls and tls.client_ca_secret_name:
            facts.append(await self._certificate("authority", Key(namespace, tls.client_ca_secret_name)))
        return tuple(facts)

    async def _certificate(self, role: str, key: Key) -> CertificateFacts:
        known = self._facts.get((role, key))
        if known is not None:
            return known
        secret = await self._client.get(SECRET, key)
        facts = (server_facts if role == "server" else authority_facts)(key.name, secret)
        return self._facts.put((role, key), facts, found=facts.found)

    async def _credentials(
        self, service: InferenceService, *, fetches: bool
    ) -> tuple[StorageCredentials, tuple[Problem, ...]]:
        predictor, namespace = service.spec.predictor, service.metadata.namespace or ""
        model = predictor.serving_model
        entry: StorageCredentials | None = None
        if model is not None and model.storage is not None and not (model.storage_uri or predictor.storage_uris):
            entry = await self._entry(namespace, model.storage)
            if not fetches:
                return entry, ()
        named = predictor.service_account_name or predictor.service_account
        remote = any(uri.scheme in REMOTE_SCHEMES for _, uri in _uris(service))
        if not remote and not named and not fetches:
            return StorageCredentials(), ()
        account = await self._account(Key(namespace, named or "default"))
        if not account.found and named:
            text = f"ServiceAccount {named!r}, named in predictor.serviceAccountName, is not there"
            return entry or StorageCredentials(), (Problem(Reason.SERVICE_ACCOUNT_NOT_FOUND, text, named),)
        found = credentials_from(account.secrets)
        return found if entry is None else replace(entry, of_account=found), ()

    async def _of_models(self, service: InferenceService) -> dict[str, StorageCredentials]:
        """Return what those of `predictor.models` come to that name an entry of a Secret, or a volume.

        Only a claim that is not there has a problem: it would keep the pods from starting, with every other model.
        """
        found: dict[str, StorageCredentials] = {}
        namespace = service.metadata.namespace or ""
        for model in service.spec.predictor.models or ():
            if model.storage is not None and not model.storage_uri:
                found[model.name] = await self._entry(namespace, model.storage)
            claim = claim_of(model.storage_uri or "")
            if claim:
                where = f"storageUri of the model {model.name!r}"
                missing = await self._source(PERSISTENT_VOLUME_CLAIM, Key(namespace, claim), where)
                if missing:
                    found[model.name] = StorageCredentials(problem=missing[0])
        return found

    async def _entry(self, namespace: str, storage: ModelStorageSpec) -> StorageCredentials:
        key = Key(namespace, STORAGE_CONFIG_SECRET)
        known = self._entries.get(key)
        if known is None:
            secret = await self._client.get(SECRET, key)
            entries = () if secret is None else entries_of(texts_at(secret, "data"))
            known = self._entries.put(key, entries, found=secret is not None)
        return credentials_of_entry(known, storage)

    async def _account(self, key: Key) -> _Account:
        known = self._accounts.get(key)
        if known is not None:
            return known
        stored = await self._client.get(SERVICE_ACCOUNT, key)
        if stored is None:
            return self._accounts.put(key, _Account(found=False), found=False)
        secrets: list[SecretSummary] = []
        for entry in objects_at(stored, "secrets"):
            name = text_at(entry, "name")
            secret = await self._client.get(SECRET, Key(key.namespace, name)) if name else None
            if secret is not None:
                secrets.append(SecretSummary(name, annotations_of(secret), frozenset(object_at(secret, "data"))))
        return self._accounts.put(key, _Account(found=True, secrets=tuple(secrets)), found=True)

    async def _sources(self, service: InferenceService) -> tuple[Problem, ...]:
        namespace = service.metadata.namespace or ""
        missing: list[Problem] = []
        for field_, uri in _uris(service):
            if uri.scheme in _MOUNTED:
                missing += await self._source(_MOUNTED[uri.scheme], Key(namespace, uri.authority), field_)
        return tuple(missing)


#: Schemes of sources that are mounted, and what is mounted.
_MOUNTED: Final = {"configmap": CONFIG_MAP, "pvc": PERSISTENT_VOLUME_CLAIM}


def _uris(service: InferenceService) -> Iterator[tuple[str, StorageUri]]:
    """Yield where the service's files come from, each with its field; malformed ones are told of elsewhere."""
    predictor = service.spec.predictor
    model = predictor.serving_model
    given = [("storageUri", model.storage_uri)] if model is not None and model.storage_uri else []
    given += [(f"storageUris[{index}].uri", one.uri) for index, one in enumerate(predictor.storage_uris or ())]
    for field_, text in given:
        with suppress(StorageError):
            yield field_, parse_uri(text)
