"""A server's jobs, asked for by the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from pillion.cli.failures import CommandError
from pillion.cli.http_answers import document, key_header, on_this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["JobClient"]

_SECONDS = 30.0
_SILENT_SECONDS = 60.0
"""Without a word from a server that says every fifteen seconds that it is there."""


class JobClient:
    """Talks to one server; the key is that of ``PILLION_MANAGEMENT__TOKEN``, or of ``PILLION_API_KEY``."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.local = on_this_machine(url)
        """Whether it runs on this machine."""
        self._http = httpx.Client(
            base_url=self.url,
            timeout=_SECONDS,
            trust_env=not self.local,
            headers=key_header("PILLION_MANAGEMENT__TOKEN", "PILLION_API_KEY"),
        )

    def ask(self, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        """One call.

        Raises:
            CommandError: the server cannot be reached, or refuses; in its own words.
        """
        try:
            answer = self._http.request(method, path, params=query, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        return document(answer)

    def text(self, path: str) -> str:
        """A text.

        Raises:
            CommandError: as :meth:`ask`.
        """
        try:
            answer = self._http.get(path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        if answer.is_error:
            document(answer)
        return answer.text

    def follow(self, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Server-sent events: the name of each, and its data. Goes on where it was when the connection is lost.

        Raises:
            CommandError: as :meth:`ask`; also where a connection is lost before it brought anything new.
        """
        seen = ""
        while True:
            before = seen
            try:
                for place, name, data in self._events(path, seen):
                    seen = place or seen
                    yield name, data
            except httpx.TransportError as error:
                if seen == before:
                    raise self._unreachable(error) from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._unreachable(error) from None
            else:
                return

    def _events(self, path: str, seen: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Those of one connection, behind the one that was seen last: the id of each, its name and data."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": seen} if seen else {})
        timeout = httpx.Timeout(_SECONDS, read=_SILENT_SECONDS)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                document(answer)
            place, name = "", "message"
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "id":
                    place = value
                elif field == "event":
                    name = value
                elif field == "data":
                    yield place, name, json.loads(value)
                elif not line:
                    place, name = "", "message"

    def job(self, identity: str) -> dict[str, Any]:
        """A job of any kind."""
        return self.ask("GET", "/management/jobs", job_id=identity)

    def cancel(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Have a job stopped; as it is then."""
        if "training_id" in job:
            return self.ask("DELETE", "/management/trainings", training_id=job["training_id"])
        task = quote(job["task"].replace("_", "-"))
        return self.ask("DELETE", f"/api/v1/task/{task}/job", prediction_id=job["prediction_id"])

    def _unreachable(self, error: Exception) -> CommandError:
        return CommandError(f"cannot talk to {self.url}: {error}: is the server running there? (--url)")
