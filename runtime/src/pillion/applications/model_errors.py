"""Errors of models in applications that answer errors themselves.

Starlette and FastAPI turn an exception that no handler of theirs is for into a bare 500, before we see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from pillion.authoring.context import CURRENT
from pillion.errors import PillionError
from pillion.transport.http.answer import error_answer

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

__all__ = ["answer_errors_of_models"]


def answer_errors_of_models(app: object) -> None:
    """Have an error of a model answered as a call of the model itself would be, unless the application has a handler
    for it. Before its first request, for the handlers are taken up then; applications of another kind stay as they are.
    """
    handlers: Any = getattr(app, "exception_handlers", None)
    if isinstance(handlers, dict) and not {Exception, 500} & handlers.keys():
        handlers.setdefault(PillionError, _answer)


async def _answer(request: HTTPConnection, error: PillionError) -> Response:
    del request
    current = CURRENT.get()
    answer = error_answer(error, getattr(current, "request_id", ""))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, answer.content_type.decode("latin-1"))
