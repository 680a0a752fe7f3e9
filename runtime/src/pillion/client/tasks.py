"""Tasks by name, as requests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from pillion.client.exchange import Request, posted
from pillion.client.values import parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["call", "submission"]


def call(
    task: str, model: str | None, arguments: Mapping[str, object], *, streams: bool = False, idempotent: bool = False
) -> Request:
    """A task's request.

    Args:
        task: its name.
        model: only where several models have it.
        arguments: by name.
        streams: whether it answers with a stream.
        idempotent: whether doing it twice is the same as doing it once.
    """
    names = (task,) if model is None else (model, task)
    path = "".join(f"/{quote(name, safe='')}" for name in names)
    headers = {"accept": "text/event-stream"} if streams else {}
    form = parts_of(arguments)
    if form:
        return Request("POST", path, headers=headers, form=form, idempotent=idempotent, streams=streams)
    request = posted(path, dict(arguments))
    headers |= request.headers
    return Request("POST", path, headers=headers, content=request.content, idempotent=idempotent, streams=streams)


def submission(
    task: str, model: str | None, arguments: Mapping[str, object], *, key: str, priority: int | None
) -> Request:
    """A task handed in as a job, files as base64; ``key`` makes that the same job however often it is sent."""
    path = f"/api/v1/task/{quote(task.replace('_', '-'), safe='')}/job"
    query = () if priority is None else (("priority", str(priority)),)
    headers = {"idempotency-key": key}
    # Below `inputs` a task with one required parameter has its bare value; below `parameters` all go by name.
    body: dict[str, object] = {"parameters": dict(arguments)}
    if model is not None:
        body["model_id"] = model
    request = posted(path, body)
    return Request("POST", path, query, headers | dict(request.headers), request.content, idempotent=True)
