"""Calling a server: tasks by name, models by arrays.

client = Client("http://127.0.0.1:8080")
client.call("classify", text="good good bad")
client.predict([[5.1, 3.5, 1.4, 0.2]])
"""

from __future__ import annotations

import os
from typing import Any, Final, Self

import httpx
from pydantic_core import to_jsonable_python

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
        """The result of a task, as JSON gives it.

        Args:
            task: its name.
            model: only where several models have it.
            arguments: by name; dataclasses, pydantic models and numpy arrays as they are.

        Raises:
            CallError: the server says why.
        """
        path = f"/{task}" if model is None else f"/{model}/{task}"
        return self._post(path, to_jsonable_python(arguments, fallback=_numpy, bytes_mode="base64"))

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
            return response.json()
        try:
            said: dict[str, Any] = response.json()
        except ValueError:
            said = {}
        message = said.get("details") or said.get("error") or response.text[:500] or response.reason_phrase
        raise CallError(response.status_code, str(message), str(said.get("code", "")), str(said.get("id", "")))

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _numpy(value: Any) -> Any:  # noqa: ANN401 - an array or a numpy scalar
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
