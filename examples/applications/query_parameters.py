"""A handler that answers with its query parameters.

pillion serve query_parameters.py:handle
curl '127.0.0.1:8080/?a=b&c=d'
"""

from pillion import Request


async def handle(request: Request) -> object:
    return request.query_params
