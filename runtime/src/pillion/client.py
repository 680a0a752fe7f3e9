"""Calling a server: tasks by name, models by arrays.

client = Client("http://127.0.0.1:8080")
client.call("classify", text="good good bad")
client.predict([[5.1, 3.5, 1.4, 0.2]])
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from email.message import Message
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
from pydantic_core import to_jsonable_python

from pillion.authoring.file import File

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CallError", "Client"]

_SECONDS: Final = 60.0


class CallError(Exception):
    """The server answered with an error.

    Args:
        status: HTTP status.
        message: the server's sentence.
        code: the kind of error; on task routes the status again.
        id: of the request, as in the server's log.
    """

    def __init__(self, status: int, message: str, code: str, id: str) -> None:  # noqa: A002 - the name in the body
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.id = id


class Client:
    """A connection to one server. A context manager; from any thread.

    Args:
        url: of the HTTP port.
        api_key: where the server asks for one; by default that of the environment, ``PILLION_API_KEY``.
        timeout: seconds for one call.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = _SECONDS) -> None:
        self.url = url.rstrip("/")
        key = api_key or os.environ.get("PILLION_API_KEY")
        headers = {} if key is None else {"X-API-Key": key}
        # No proxies of the environment: they are for the web, and the server may be on loopback.
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def call(self, task: str, /, *, model: str | None = None, **arguments: Any) -> Any:  # noqa: ANN401 - by the task
        """The result of a task, as JSON gives it; a :class:`~pillion.File` where it is one.

        Args:
            task: its name.
            model: only where several models have it.
            arguments: by name; dataclasses, pydantic models, numpy arrays and files as they are.

        Raises:
            CallError: the server says why.
        """
        files = {name: value for name, value in arguments.items() if isinstance(value, File)}
        if not files:
            return self._answer(self._http.post(_path(task, model), json=_json(arguments)))
        parts: list[tuple[str, Any]] = [
            (name, (None, json.dumps(value), "application/json"))
            for name, value in _json({key: value for key, value in arguments.items() if key not in files}).items()
        ]
        with contextlib.ExitStack() as stack:
            for name, file in files.items():
                content = file.read() if file.in_memory else stack.enter_context(file.open())
                parts.append((name, (file.filename or name, content, file.media_type)))
            return self._answer(self._http.post(_path(task, model), files=parts))

    def stream(self, task: str, /, *, model: str | None = None, **arguments: Any) -> Iterator[Any]:  # noqa: ANN401 - by the task
        """The results of a task that streams, one by one; leaving the loop ends the task.

        Args:
            task: its name.
            model: only where several models have it.
            arguments: as for :meth:`call`.

        Raises:
            CallError: the server says why, at the first item or later.
        """
        with self._http.stream("POST", _path(task, model), json=_json(arguments)) as response:
            if response.is_error:
                response.read()
                self._answer(response)
            name = ""
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "error":
                    raise _call_error(json.loads(value), response)
                elif field == "data":
                    yield json.loads(value)

    def predict(self, instances: Any, *, model: str | None = None) -> Any:  # noqa: ANN401 - rows in, predictions out
        """Predictions for rows: nested lists or an array; a list of dicts for a model with several inputs.

        Args:
            instances: one item a row.
            model: only where several models are served.

        Raises:
            CallError: the server says why.
        """
        name = model or self._only_model()
        body = {"instances": to_jsonable_python(instances, fallback=_numpy)}
        return self._post(f"/v1/models/{name}:predict", body)["predictions"]

    def _only_model(self) -> str:
        names: list[str] = self._answer(self._http.get("/v2/models"))["models"]
        if len(names) != 1:
            raise ValueError(f"the server has the models {', '.join(names) or 'none'}: name one, model=...")
        return names[0]

    def _post(self, path: str, body: Any) -> Any:  # noqa: ANN401 - JSON
        return self._answer(self._http.post(path, json=body))

    def _answer(self, response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
        if not response.is_error:
            return _file(response) if "content-disposition" in response.headers else response.json()
        try:
            said: dict[str, Any] = response.json()
        except ValueError:
            said = {}
        raise _call_error(said, response)

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _file(response: httpx.Response) -> File:
    """The answer of a task that gives a file."""
    said = Message()
    said["content-disposition"] = response.headers["content-disposition"]
    return File(response.content, filename=said.get_filename(), media_type=response.headers.get("content-type"))


def _path(task: str, model: str | None) -> str:
    return f"/{task}" if model is None else f"/{model}/{task}"


def _json(arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    return to_jsonable_python(arguments, fallback=_numpy, bytes_mode="base64")


def _call_error(said: dict[str, Any], response: httpx.Response) -> CallError:
    message = said.get("details") or said.get("error") or response.text[:500] or response.reason_phrase
    status = int(said["code"]) if response.is_success else response.status_code
    return CallError(status, str(message), str(said.get("code", "")), str(said.get("id", "")))


def _numpy(value: Any) -> Any:  # noqa: ANN401 - a file, an array or a numpy scalar
    if isinstance(value, File):
        return {
            "data": base64.b64encode(value.read()).decode(),
            "filename": value.filename,
            "media_type": value.media_type,
        }
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
