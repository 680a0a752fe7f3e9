"""The model of a service, asked over HTTP: REST of the V1 protocol, so many requests at a time as the order says.

429 and 503 are waited out as `Retry-After` says, by all requests together; so is a service that cannot be reached. One
that stays away longer than the order's patience costs this pod, and its successor goes on where it was.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from pillion.batchpod.predictor import RowsRefusedError
from pillion.batchpod.rows import Columns
from pillion.podword import FAILED, LOST, EndedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from pillion.batchpod.order import Service

__all__ = ["RemoteModel", "retry_after"]

_OF_THE_ROWS: Final = frozenset({400, 413, 422})
_LATER: Final = frozenset({408, 425, 429, 502, 503, 504})
_OVER_TIME: Final = frozenset({408, 504})
_MOST_OVER_TIME: Final = 3
"""So often rows may take longer than the service allows before they are what is wrong."""
_MOST_FAULTS: Final = 5
"""So often the service may fail (500) at a request before the run does: a fault of its own is none of the rows'."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SOON: Final = 10.0
"""Seconds within which a service that is well tells its metadata."""
_TEXT: Final = 500
_KEY: Final = "PILLION_API_KEY"


class RemoteModel:
    """A :class:`~pillion.batchpod.predictor.Predictor`, and an asynchronous context manager.

    Args:
        service: whom to ask.
        concurrency: requests at a time.

    Raises:
        EndedError: what certifies who is who cannot be read, or the key cannot be sent.
    """

    def __init__(self, service: Service, concurrency: int) -> None:
        self._service = service
        key = _key(os.environ)
        self._http = httpx.AsyncClient(
            base_url=service.url,
            headers={"X-API-Key": key} if key else {},
            timeout=service.timeout_seconds,
            limits=httpx.Limits(max_connections=concurrency + 1, max_keepalive_connections=concurrency),
            verify=_trust(service),
            trust_env=False,  # the service is in the cluster, where no proxy is to be asked
        )
        self._metadata = f"/v2/models/{service.model}"
        self._again_at = 0.0
        self._well_at = time.monotonic()
        self.columns = Columns({})

    async def __aenter__(self) -> Self:
        """Wait until the service answers, and ask for its columns."""
        answer = await self._asked("GET", self._metadata, b"")
        # Servers of others may know V1 only: then rows are sent as they are read.
        self.columns = _columns(answer) if answer.status_code == httpx.codes.OK else Columns({})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End its connections."""
        del kind, error, trace
        await self._http.aclose()

    async def predict(self, body: bytes) -> list[Any]:
        """See :meth:`pillion.batchpod.predictor.Predictor.predict`."""
        answer = await self._asked("POST", f"/v1/models/{self._service.model}:predict", body)
        if answer.status_code in _OF_THE_ROWS | _OVER_TIME:
            raise RowsRefusedError(_said(answer))
        if answer.is_error or answer.is_redirect:
            remedy = {
                401: f"give the key in the variable {_KEY}: spec.env",
                403: f"give the key in the variable {_KEY}: spec.env",
                404: "check that the service speaks the V1 protocol and has a model of its own name",
            }.get(answer.status_code, "see the service's log")
            text = f"{self._service.url} answered {answer.status_code}: {_said(answer)}"
            raise EndedError(FAILED, "ServiceRefused", text, remedy)
        try:
            predictions = msgspec.json.decode(answer.content)["predictions"]
        except (msgspec.MsgspecError, KeyError, TypeError):
            predictions = None
        if not isinstance(predictions, list):
            text = f"{self._service.url} answered what is no answer of the V1 protocol"
            raise EndedError(FAILED, "ServiceRefused", text, "check that the service speaks the V1 protocol")
        return predictions

    async def _asked(self, method: str, path: str, body: bytes) -> httpx.Response:
        """The answer that is not about the moment; those that are, are waited out."""
        pause, over_time, faults = _FIRST_PAUSE, 0, 0
        while True:
            await asyncio.sleep(max(0.0, self._again_at - time.monotonic()))
            asked = _FIRST_PAUSE
            try:
                answer = await self._http.request(
                    method, path, content=body or None, headers={"Content-Type": "application/json"} if body else {}
                )
            except httpx.TimeoutException:
                over_time += 1
                said = f"gave no answer within {self._service.timeout_seconds:g} s"
                if over_time >= _MOST_OVER_TIME and await self._is_well():
                    raise RowsRefusedError(f"the service {said}") from None
            except httpx.HTTPError as error:
                said = f"cannot be reached: {_told(error)}"
            else:
                if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and faults < _MOST_FAULTS - 1:
                    faults, self._well_at = faults + 1, time.monotonic()
                elif answer.status_code not in _LATER:
                    self._well_at = time.monotonic()
                    return answer
                if answer.status_code in _OVER_TIME:
                    # It is there: what takes too long is the rows.
                    over_time, self._well_at = over_time + 1, time.monotonic()
                if over_time >= _MOST_OVER_TIME:
                    return answer
                said = f"answered {answer.status_code}: {_said(answer)}"
                asked = retry_after(answer.headers, time.time())
            self._check_patience(said)
            # With jitter, or all requests of all pods would come back together.
            wait = max(asked, pause) * random.uniform(1.0, 1.5)  # noqa: S311 - no secret
            self._again_at = max(self._again_at, time.monotonic() + min(wait, 2 * _LONGEST_PAUSE))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _is_well(self) -> bool:
        """Whether the service answers something that costs it nothing, so that what gave no answer is the rows."""
        try:
            answer = await self._http.get(self._metadata, timeout=_SOON)
        except httpx.HTTPError:
            return False
        if answer.status_code in _LATER:
            return False
        self._well_at = time.monotonic()
        return True

    def _check_patience(self, said: str) -> None:
        away = time.monotonic() - self._well_at
        if away > self._service.patience_seconds:
            text = f"the service {self._service.url} {said}, for {away:.0f} s by now"
            raise EndedError(LOST, "ServiceUnavailable", text, "see 'kubectl get pisvc', and its pods")


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds that `Retry-After` asks to wait, at most a minute; 0 where it does not say. Source: RFC 9110, 10.2.3."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said) if said.replace(".", "", 1).isdigit() else parsedate_to_datetime(said).timestamp() - now
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), 60.0)


def _key(environment: Mapping[str, str]) -> str:
    """The key to show, empty where there is none.

    Raises:
        EndedError: it cannot be sent; the value is not told.
    """
    key = environment.get(_KEY, "").strip()  # a Secret made from a file ends in a line end
    if not (key.isascii() and key.isprintable()):
        text = f"the variable {_KEY} cannot be sent: it has characters that are not printable ASCII"
        raise EndedError(FAILED, "KeyInvalid", text, "correct the Secret that spec.env names")
    return key


def _told(error: httpx.HTTPError) -> str:
    # h11 quotes what it refuses to send, and headers hold the key.
    text = "" if isinstance(error, httpx.LocalProtocolError) else " ".join(str(error).split())
    return text[:_TEXT] or type(error).__name__


def _said(answer: httpx.Response) -> str:
    try:
        found = msgspec.json.decode(answer.content)
        text = found.get("error") or found.get("detail") or ""
    except (msgspec.MsgspecError, AttributeError):
        text = answer.text
    return " ".join(str(text).split())[:_TEXT] or answer.reason_phrase


def _columns(answer: httpx.Response) -> Columns:
    """The columns by the metadata of the Open Inference Protocol; what is not as it says is passed over."""
    try:
        inputs = [one for one in msgspec.json.decode(answer.content)["inputs"] if isinstance(one["name"], str)]
        if len(inputs) == 1:
            names = (inputs[0].get("parameters") or {}).get("columns")
            if names:
                return Columns(dict.fromkeys(names, str(inputs[0]["datatype"])))
            shape = inputs[0]["shape"]
            if len(shape) == 2 and shape[1] != 1:
                return Columns({}, str(inputs[0]["datatype"]))
        return Columns({one["name"]: str(one["datatype"]) for one in inputs})
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return Columns({})


def _trust(service: Service) -> ssl.SSLContext | bool:
    if not service.url.startswith("https://"):
        return True
    try:
        ca = service.ca if service.ca and Path(service.ca).exists() else None
        context = ssl.create_default_context(cafile=ca)
        if service.certificate:
            folder = Path(service.certificate)
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    except (OSError, ValueError) as error:
        text = f"the certificates for {service.url} cannot be used: {error}"
        raise EndedError(FAILED, "CertificateInvalid", text, "see the Secrets of the service and of spec.tls") from None
    return context
