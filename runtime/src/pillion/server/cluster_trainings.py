"""Trainings of a pod: TrainingJob objects of its namespace, so that every replica answers for each of them.

The object is the truth, and the operator has it done. Nothing is kept here. The pod's ServiceAccount creates, reads and
patches TrainingJobs; the operator binds those rights to it where the service says ``jobs.enabled``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import httpx
import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.asked import Submitter, check_key, unknown_job
from pillion.jobs.following import Beat, Became, Wrote
from pillion.jobs.states import JobKind
from pillion.jobs.training import code_of, found_training, opened, validate
from pillion.jobs.training_objects import (
    SERVICE_LABEL,
    Asked,
    job_of,
    log_line,
    metrics_of,
    module_of,
    name_of,
    newest_of,
    object_of,
    page_from,
    request_digest_of,
    spec_of,
)
from pillion.jobs.training_runner import LOG
from pillion.server.failures import ExitCode, StartError
from pillion.server.pod_account import ACCOUNT, PodAccount

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from pillion.jobs.states import Job
    from pillion.jobs.store import JobFilter, Page
    from pillion.jobs.training import TrainingRoute

__all__ = ["ClusterTrainings"]

_log: Final = logging.getLogger(__name__)
_ACCOUNT: Final = ACCOUNT
_SECONDS: Final = 2.0
"""Between two looks at a training that somebody follows."""
_RETRY: Final = 2.0
_CHUNK: Final = 200
_MOST_LISTED: Final = 10_000
_PATCH: Final = "application/merge-patch+json"
_RIGHTS: Final = "see the condition JobStoreReady of the InferenceService"


class ClusterTrainings:
    """See :class:`~pillion.jobs.training_keeper.TrainingKeeper`. Event loop's thread only.

    Args:
        service: the InferenceService that this pod is of.
        template: what all its trainings have, as the spec of a TrainingJob.
        follows: whether the service serves what its trainings make.
        routes: the trainings that are offered now.
        loading: whether there may be more of them in a moment.
        account: the folder of the pod's ServiceAccount.

    Raises:
        StartError: this is no pod with a ServiceAccount's token.
    """

    def __init__(
        self,
        service: str,
        template: dict[str, Any],
        follows: bool,  # noqa: FBT001 - a setting
        routes: Callable[[], Sequence[TrainingRoute]],
        loading: Callable[[], bool],
        account: Path | None = None,
    ) -> None:
        self._service = service
        self._template = template
        self._follows = follows
        self._routes = routes
        self._loading = loading
        self._stopping = asyncio.Event()
        try:
            self._pod = PodAccount(account or _ACCOUNT)
        except (OSError, ssl.SSLError) as error:
            raise StartError(
                ExitCode.USAGE, f"jobs.inference_service needs a pod with a ServiceAccount's token ({error})"
            ) from None
        self._path = f"/apis/serving.pillion.dev/v1beta1/namespaces/{self._pod.namespace}/trainingjobs"

    async def submit(
        self,
        name: str,
        body: bytes | memoryview,
        *,
        request_id: str,
        idempotency_key: str,
        caller: Submitter | None = None,
        priority: int = 0,
    ) -> Job:
        """See :class:`~pillion.jobs.training_keeper.TrainingKeeper`."""
        route = found_training(self._routes(), name, loading=self._loading)
        check_key(idempotency_key)
        if priority:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                "priority: in the cluster its scheduler, or Kueue, decides which training begins; leave it out",
                field="priority",
            )
        request = opened(body)
        _, sources = validate(route.signature, request)
        if request.deploy and not self._follows:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"deploy: the InferenceService {self._service} does not serve what its trainings make",
                field="deploy",
                remedy="set spec.predictor.followTrainings: true there",
            )
        spec = spec_of(self._template, module_of(code_of(route)), name, request, sources, self._service)
        who = caller or Submitter()
        digest = await asyncio.to_thread(request_digest_of, request.model_name, name, body)
        asked = Asked(
            name=name_of(self._service, who, idempotency_key, secrets.token_hex(10)),
            service=self._service,
            model=request.model_name,
            submitted=time.time(),
            digest=digest,
            caller=who,
            request_id=request_id,
            spec=spec,
        )
        answer = await self._ask("POST", body=object_of(asked, self._pod.namespace))
        if answer.status_code != httpx.codes.CONFLICT:
            return job_of(_read(answer))
        try:
            job = job_of(await self._object(asked.name))
        except PillionError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            raise PillionError(  # deleted in between: nobody asked for one that is not there
                ErrorCode.NOT_READY, f"the TrainingJob {asked.name} has just been deleted", retry_after=_RETRY
            ) from None
        if job.request_digest != digest:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"Idempotency-Key {idempotency_key!r} came with another request before",
                field="Idempotency-Key",
                remedy="a new request takes a new key",
            )
        return job

    async def get(self, identity: str) -> Job:
        """See :class:`~pillion.jobs.training_keeper.TrainingKeeper`."""
        return job_of(await self._object(identity))

    async def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """See :class:`~pillion.jobs.training_keeper.TrainingKeeper`."""
        newest: list[Job] = []
        seen = 0
        params = {"labelSelector": f"{SERVICE_LABEL}={self._service}", "limit": str(_CHUNK)}
        while True:
            # Each may be of 100 kB: no more of them are held than are shown, and the event loop reads none.
            answer = await self._ask("GET", params=params)
            jobs, following = await asyncio.to_thread(_listed, answer)
            seen += len(jobs)
            newest = newest_of([*newest, *jobs], which, after, size)
            if not following:
                return page_from(newest, size)
            if seen >= _MOST_LISTED:
                raise PillionError(
                    ErrorCode.CONFLICT,
                    f"{self._service} has more than {_MOST_LISTED} TrainingJobs, which are more than are listed",
                    remedy="delete those whose models are not served any more: kubectl delete trainingjob",
                )
            params["continue"] = following

    async def cancel(self, identity: str) -> Job:
        """See :class:`~pillion.jobs.training_keeper.TrainingKeeper`."""
        found = await self._object(identity)
        job = job_of(found)
        if job.ended or job.cancel_requested:
            return job
        patch = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": {"cancel": True}}
        answer = await self._ask("PATCH", identity, body=patch, content_type=_PATCH)
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            raise unknown_job(JobKind.TRAINING, identity)  # another object has the name since
        return job_of(_read(answer))

    async def written(self, identity: str, name: str, place: int) -> bytes:
        """See :class:`~pillion.jobs.training_keeper.TrainingKeeper`."""
        found = await self._object(identity)
        if place:
            return b""
        return log_line(found) if name == LOG else metrics_of(found, time.time())

    async def following(
        self, identity: str, name: str, place: int, beat: float
    ) -> AsyncGenerator[Wrote | Became | Beat]:
        """What the object's status tells, whenever it tells something else, until the training has ended.

        An API server that is away for a while ends nothing: it is asked again.
        """
        shown: Job | None = None
        told: object = None
        quiet = 0.0
        while True:
            try:
                found = await self._object(identity)
            except PillionError as error:
                if shown is None or error.code is not ErrorCode.NOT_READY:
                    raise
            else:
                job = job_of(found)
                said = log_line(found) if name == LOG else found.get("status", {}).get("metrics")
                if said and said != told and not (name == LOG and place):
                    text = said if isinstance(said, bytes) else metrics_of(found, time.time())
                    told, place, quiet = said, place + len(text), 0.0
                    yield Wrote(text, place)
                if job != shown or job.ended:
                    shown, quiet = job, 0.0
                    yield Became(job)
                if job.ended:
                    return
            try:
                await asyncio.wait_for(self._stopping.wait(), _SECONDS)
            except TimeoutError:
                quiet += _SECONDS
                if quiet >= beat:
                    quiet = 0.0
                    yield Beat()
            else:
                return

    async def stop(self) -> None:
        """End what follows trainings, and the connections. The trainings go on."""
        self._stopping.set()
        await self._pod.close()

    async def _object(self, identity: str) -> dict[str, Any]:
        """The TrainingJob of that name.

        Raises:
            PillionError: ``NOT_FOUND``: there is none that this service was asked for; ``NOT_READY``.
        """
        if not identity.replace("-", "").isalnum() or not identity.isascii():
            raise unknown_job(JobKind.TRAINING, identity)  # no name of an object, so nothing to put into a path
        answer = await self._ask("GET", identity)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise unknown_job(JobKind.TRAINING, identity)
        found = _read(answer)
        if found["metadata"].get("labels", {}).get(SERVICE_LABEL) != self._service:
            raise unknown_job(JobKind.TRAINING, identity)
        return found

    async def _ask(
        self,
        method: str,
        name: str = "",
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        """One request about TrainingJobs, of which "not found" and "conflict" are answers.

        Raises:
            PillionError: ``NOT_READY``: the API server cannot be asked, or refuses; ``INVALID_ARGUMENT``: it does not
                take the object.
        """
        try:
            path = f"{self._path}/{name}" if name else self._path
            answer = await self._pod.ask(method, path, body, params=params, content_type=content_type)
        except (OSError, httpx.HTTPError) as error:
            _refuse(f"the API server of the cluster cannot be asked: {str(error) or type(error).__name__}")
        code = answer.status_code
        if answer.is_success or code == httpx.codes.CONFLICT or (name and code == httpx.codes.NOT_FOUND):
            return answer
        text = _message_of(answer)
        if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            # Also a quota, or a policy of the cluster, answers 403: its own words tell.
            _refuse(f"the API server does not let this pod {method} TrainingJobs: {text}", _RIGHTS)
        if code in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
            raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the cluster does not take the training: {text}")
        return _refuse(f"the API server answered {code}: {text}")


def _read(answer: httpx.Response) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        _refuse("the API server answered what is no object")
    return found


def _listed(answer: httpx.Response) -> tuple[list[Job], str]:
    """The trainings of a part of the list, and what asks for the next part; empty for the last."""
    listed = _read(answer)
    return [job_of(one) for one in listed.get("items", ())], str(listed.get("metadata", {}).get("continue") or "")


def _message_of(answer: httpx.Response) -> str:
    try:
        told = msgspec.json.decode(answer.content, type=dict[str, Any]).get("message")
    except msgspec.MsgspecError:
        told = None
    return " ".join(str(told or "without a reason").split())[:500]


def _refuse(text: str, remedy: str | None = None) -> NoReturn:
    _log.error("trainings: %s", text)
    raise PillionError(ErrorCode.NOT_READY, text, remedy=remedy, retry_after=_RETRY)
